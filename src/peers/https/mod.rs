//! Requests to servers over HTTPS: names are resolved, connections pooled.
//!
//! Source: Server-Server API, "Server discovery" and "TLS".

mod addresses;
mod connector;
mod delegations;
pub mod outgoing;
mod resolver;
mod routes;
mod trust;

#[cfg(test)]
mod tests;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use linkim_federation::discovery::Route;
use ruma::ServerName;

pub use self::{
    addresses::AddressRules,
    outgoing::Outgoing,
    resolver::{Looking, Resolver, SystemResolver},
    trust::{TrustError, client_config, extra_certificates},
};
use self::{
    connector::{Connector, Proven},
    delegations::Delegations,
    routes::Routes,
};
use super::transport::{Sending, Transport, TransportError};
use crate::{clock::Clock, random::Random};

/// How this server introduces itself.
pub const USER_AGENT: &str = concat!("LinkIM/", env!("CARGO_PKG_VERSION"));

/// Idle connections that are kept for each server, and how long. All servers together are bounded by the connector.
const MAX_IDLE: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// How long a connection may take, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Bytes of a response's head. The library's smallest buffer is 8 KiB.
const MAX_HEAD: u32 = 64 * 1024;

/// Bytes that a server may send ahead of whoever reads: of one response, and over all of one HTTP/2 connection.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// An HTTP/2 connection with requests under way that stays silent this long is asked for a sign of life, and given this
/// long to answer: nothing else tells that the other end is gone.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIME: Duration = Duration::from_secs(10);

/// What [`Https`] is made of.
pub struct Parts {
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// Fetches well-known documents.
    pub outgoing: Arc<Outgoing>,
    /// Which addresses may be connected to.
    pub rules: Arc<AddressRules>,
    /// See [`client_config`].
    pub tls: rustls::ClientConfig,
    /// Tells when a delegation ends.
    pub clock: Arc<dyn Clock>,
    /// Orders SRV targets.
    pub random: Arc<dyn Random>,
}

/// What is otherwise in tests alone.
struct Surroundings {
    well_known_port: u16,
    connect_time: Duration,
}

/// Carries requests to servers over HTTPS.
pub struct Https {
    routes: Routes,
    client: Client<Connector, Full<Bytes>>,
}

impl Https {
    /// Made of these parts.
    pub fn new(parts: Parts) -> Self {
        Self::with(parts, Surroundings { well_known_port: 443, connect_time: CONNECT_TIME })
    }

    fn with(parts: Parts, surroundings: Surroundings) -> Self {
        let Parts { resolver, outgoing, rules, tls, clock, random } = parts;
        let delegations = Delegations::new(outgoing, clock, surroundings.well_known_port);
        let routes = Routes::new(resolver, delegations, rules.clone(), random);
        let connector = Connector::new(routes.targets(), rules, Arc::new(tls), surroundings.connect_time);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_idle_timeout(IDLE_TIME)
            .http1_max_buf_size(MAX_HEAD as usize)
            .http2_max_header_list_size(MAX_HEAD)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_TIME)
            .build(connector);
        Self { routes, client }
    }

    async fn carry(&self, destination: &ServerName, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        let route = self.routes.find(destination).await?;
        let request = addressed(&route, request)?;
        let mut unanswered = Unanswered { routes: &self.routes, destination, answered: false };
        let again = is_idempotent(request.method()).then(|| request.clone());
        let mut answer = self.client.request(request).await;
        if let (Err(error), Some(request)) = (&answer, again)
            && closed_while_idle(error)
        {
            answer = self.client.request(request).await;
        }
        let response = answer.map_err(|error| transport_error(&error))?;
        unanswered.answered = true;
        if let Some(proven) = response.extensions().get::<Proven>() {
            proven.set();
        }
        Ok(response.map(Body::new))
    }
}

/// Forgets a route where no answer came, also when the caller ran out of patience: the server may have moved.
struct Unanswered<'a> {
    routes: &'a Routes,
    destination: &'a ServerName,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.routes.forget(self.destination);
        }
    }
}

impl Transport for Https {
    fn send<'a>(&'a self, destination: &'a ServerName, request: Request<Bytes>) -> Sending<'a> {
        Box::pin(self.carry(destination, request))
    }
}

/// The request as it goes out. Its URI has the host of the `Host` header, by which the pool keeps connections apart and
/// which HTTP/2 sends as `:authority`.
fn addressed(route: &Route, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, TransportError> {
    let wrong = |error: &dyn std::fmt::Display| TransportError::NoRoute(format!("{}: {error}", route.host_header));
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme("https").authority(route.host_header.as_str()).path_and_query(path);
    head.uri = uri.build().map_err(|error| wrong(&error))?;
    let host = HeaderValue::from_str(&route.host_header).map_err(|error| wrong(&error))?;
    head.headers.insert(header::HOST, host);
    head.headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    Ok(Request::from_parts(head, Full::new(body)))
}

/// Whether a request may be sent twice: transactions have ids.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::PUT)
}

/// Whether a request failed on a connection that had worked before. The other side may have closed it as idle in the same
/// moment; a request on a new connection tells.
fn closed_while_idle(error: &legacy::Error) -> bool {
    let mut extensions = http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extensions);
    }
    extensions.get::<Proven>().is_some_and(Proven::get)
}

fn transport_error(error: &legacy::Error) -> TransportError {
    let mut innermost: &(dyn StdError + 'static) = error;
    loop {
        if let Some(error) = innermost.downcast_ref::<TransportError>() {
            return error.clone();
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    match error.is_connect() {
        true => TransportError::Connect(innermost.to_string()),
        false => TransportError::Broken(innermost.to_string()),
    }
}
