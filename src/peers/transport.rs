//! The seam between what is said to other servers and how it gets there.

use std::{future::Future, pin::Pin};

use axum::body::Body;
use bytes::Bytes;
use ruma::ServerName;

/// Why a request got no response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// No address was found for the name.
    #[error("{0}")]
    NoRoute(String),
    /// All of its addresses are private, and the configuration does not allow them.
    #[error("{0} is at a private address, which the configuration does not allow")]
    Private(String),
    /// No connection, or none that is secure.
    #[error("{0}")]
    Connect(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
}

/// The answer of [`Transport::send`].
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, TransportError>> + Send + 'a>>;

/// Carries requests to servers by their Matrix names.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request whose URI is a path and query. The response's body is a stream; whoever reads it bounds it. No
    /// redirect is followed. It is for the caller to bound the time.
    fn send<'a>(&'a self, destination: &'a ServerName, request: http::Request<Bytes>) -> Sending<'a>;
}
