//! Listeners, plain and with TLS: bounded in what an idle or slow client can hold, and stopped in time.

pub mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tower::ServiceExt;

use self::tls::Certificates;

/// Connections of one listener at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 20_000;

/// A client gets this long to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests under way get this long once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// How a connection begins, before HTTP.
trait Begin: Clone + Send + 'static {
    /// What HTTP is spoken on.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Makes it, in bounded time.
    fn begin(self, stream: TcpStream) -> impl Future<Output = io::Result<(Self::Stream, Version)>> + Send;
}

/// Which HTTP is spoken.
#[derive(Clone, Copy)]
enum Version {
    /// As the first bytes show.
    Any,
    One,
    Two,
}

/// Without TLS.
#[derive(Clone)]
struct Plain;

impl Begin for Plain {
    type Stream = TcpStream;

    async fn begin(self, stream: TcpStream) -> io::Result<(TcpStream, Version)> {
        Ok((stream, Version::Any))
    }
}

/// Serves `router` on `listener` until `stopping` turns true, then waits for requests under way, `GRACE` at most.
pub async fn serve(listener: TcpListener, router: Router, stopping: watch::Receiver<bool>) {
    serve_with(listener, router, stopping, Plain).await;
}

/// As [`serve`], with TLS.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    stopping: watch::Receiver<bool>,
    certificates: Arc<Certificates>,
) {
    serve_with(listener, router, stopping, certificates).await;
}

async fn serve_with(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>, beginning: impl Begin) {
    let builders = Builders::new();
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: let some connections end before the next try.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Replies are written in one piece; waiting for more to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let service = with_peer(router.clone(), peer);
        let (beginning, builders, watcher, mut stopping) =
            (beginning.clone(), builders.clone(), graceful.watcher(), stopping.clone());
        tokio::spawn(async move {
            let begun = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                begun = beginning.begin(stream) => begun,
            };
            match begun {
                Ok((stream, version)) => {
                    let builder = builders.of(version);
                    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(%error, %peer, "a connection ended");
                    }
                }
                Err(error) => tracing::debug!(%error, %peer, "a connection did not begin"),
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still under way");
    }
}

/// What speaks HTTP. Where TLS has settled the version nothing waits for bytes that show it.
#[derive(Clone)]
struct Builders {
    any: Arc<Builder<TokioExecutor>>,
    one: Arc<Builder<TokioExecutor>>,
    two: Arc<Builder<TokioExecutor>>,
}

impl Builders {
    fn new() -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100);
        Self {
            one: Arc::new(builder.clone().http1_only()),
            two: Arc::new(builder.clone().http2_only()),
            any: Arc::new(builder),
        }
    }

    fn of(&self, version: Version) -> &Builder<TokioExecutor> {
        match version {
            Version::Any => &self.any,
            Version::One => &self.one,
            Version::Two => &self.two,
        }
    }
}

/// Tells the handlers whom a connection comes from.
fn with_peer(
    router: Router,
    peer: SocketAddr,
) -> TowerToHyperService<
    impl tower::Service<
        hyper::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send,
> {
    TowerToHyperService::new(router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    }))
}
