//! Connections to other servers: to an address of the route, checked, and then TLS for its name.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use linkim_federation::discovery::{Route, TlsName};
use rustls::pki_types::ServerName as CertificateName;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{addresses::AddressRules, routes::Targets};
use crate::peers::transport::TransportError;

/// A long list of addresses does not leave each without a chance: it gets this part of the time at least.
const LEAST_SHARE: u32 = 10;

/// Connections to other servers at once, idle ones included. More wait until one ends.
const MAX_CONNECTIONS: usize = 4096;

/// [`MAX_CONNECTIONS`], or half of the files that this process may have open if that is less: clients need the others.
fn most_connections(limits: &str) -> usize {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(MAX_CONNECTIONS, |files| (files / 2).clamp(1, MAX_CONNECTIONS))
}

/// Makes connections for the pool, which asks for them by the `Host` header of a route.
#[derive(Clone)]
pub(super) struct Connector {
    targets: Targets,
    rules: Arc<AddressRules>,
    tls: TlsConnector,
    time: Duration,
    places: Arc<Semaphore>,
}

impl Connector {
    /// A connection may take `time` over all addresses of a server, TLS included.
    pub(super) fn new(
        targets: Targets,
        rules: Arc<AddressRules>,
        tls: Arc<rustls::ClientConfig>,
        time: Duration,
    ) -> Self {
        let most = most_connections(&std::fs::read_to_string("/proc/self/limits").unwrap_or_default());
        Self { targets, rules, tls: tls.into(), time, places: Arc::new(Semaphore::new(most)) }
    }

    async fn connect(self, uri: Uri) -> Result<Secured, TransportError> {
        let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let route = self.targets.get(host).ok_or_else(|| TransportError::NoRoute(format!("no route to {host}")))?;
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| TransportError::Connect("stopped".to_owned()))?;
        let addresses: Vec<SocketAddr> = self.rules.permitted(&route.addresses).collect();
        if addresses.is_empty() {
            return Err(TransportError::Private(route.host_header.clone()));
        }
        let deadline = Instant::now() + self.time;
        let mut last = String::new();
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let share = (left / others).max(self.time / LEAST_SHARE).min(left);
            match tokio::time::timeout(share, self.secure(*address, &route)).await {
                Ok(Ok(stream)) => return Ok(Secured::new(stream, place)),
                Ok(Err(error)) => last = format!("{address}: {error}"),
                Err(_) => last = format!("{address}: no connection in time"),
            }
        }
        Err(TransportError::Connect(last))
    }

    async fn secure(&self, address: SocketAddr, route: &Route) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = match &route.tls_name {
            TlsName::Dns(host) => {
                // A dot at the end is the DNS's way to write a name, not the certificate's.
                let host = host.strip_suffix('.').unwrap_or(host).to_owned();
                CertificateName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            }
            TlsName::Ip(address) => CertificateName::IpAddress((*address).into()),
        };
        self.tls.connect(name, stream).await
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Secured;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Secured, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Whether a connection has carried a response: if so, that it breaks may only mean that the other side closed it for
/// idleness in the moment of the request.
#[derive(Clone, Default)]
pub(super) struct Proven(Arc<AtomicBool>);

impl Proven {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection with TLS.
pub(super) struct Secured {
    stream: TokioIo<TlsStream<TcpStream>>,
    proven: Proven,
    _place: OwnedSemaphorePermit,
}

impl Secured {
    fn new(stream: TlsStream<TcpStream>, place: OwnedSemaphorePermit) -> Self {
        Self { stream: TokioIo::new(stream), proven: Proven::default(), _place: place }
    }
}

impl Connection for Secured {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.proven.clone());
        match self.stream.inner().get_ref().1.alpn_protocol() {
            Some(b"h2") => connected.negotiated_h2(),
            _ => connected,
        }
    }
}

impl Read for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_for_clients() {
        let limits = |soft: &str| {
            format!(
                "Limit  Soft Limit  Hard Limit  Units\nMax processes  77  77  processes\nMax open files   {soft}   4096   files\n"
            )
        };
        assert_eq!(most_connections(&limits("1024")), 512);
        assert_eq!(most_connections(&limits("1048576")), MAX_CONNECTIONS);
        assert_eq!(most_connections(&limits("unlimited")), MAX_CONNECTIONS);
        assert_eq!(most_connections(""), MAX_CONNECTIONS);
    }
}
