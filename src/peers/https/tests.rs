//! Over real sockets: TLS servers on loopback, whose certificates an authority of the test issues.

mod connections;
mod discovery;
mod fetching;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use linkim_federation::discovery::{SrvAnswer, SrvRecord};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ruma::ServerName;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::*;
use crate::{clock::SystemClock, config, random::OsRandom};

/// An authority, and the file that a configuration names.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// TLS as a server with a certificate for these names or addresses.
    fn acceptor(&self, names: &[&str], protocols: &[&str]) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_no_client_auth();
        let mut tls = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(tls))
    }

    /// A server that speaks HTTP/2 and HTTP/1.1.
    async fn serve(&self, names: &[&str], router: Router) -> Server {
        Server::start(self.acceptor(names, &["h2", "http/1.1"]), router).await
    }
}

/// What a server was asked.
#[derive(Clone, Debug)]
struct Seen {
    /// As HTTP/2 and HTTP/1.1 say it: `:authority`, `Host`.
    authority: Option<String>,
    host: Option<String>,
    path: String,
    version: Version,
    user_agent: Option<String>,
}

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(acceptor: TlsAcceptor, router: Router) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, acceptor, router).await
    }

    async fn start_at(address: Ipv4Addr, acceptor: TlsAcceptor, router: Router) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Seen>>>::default());
        let (counted, noted) = (connections.clone(), seen.clone());
        let task = tokio::spawn(async move {
            // Those end with the server.
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, router, noted) = (acceptor.clone(), router.clone(), noted.clone());
                open.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = router.map_request(move |request: Request<hyper::body::Incoming>| {
                        noted.lock().unwrap().push(see(&request));
                        request.map(Body::new)
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
                });
            }
        });
        Self { address, connections, seen, task }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Closes the listener and all connections.
    async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn see(request: &Request<hyper::body::Incoming>) -> Seen {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Seen {
        authority: request.uri().authority().map(ToString::to_string),
        host: header(header::HOST),
        path: request.uri().path_and_query().unwrap().to_string(),
        version: request.version(),
        user_agent: header(header::USER_AGENT),
    }
}

/// A DNS of the test's.
#[derive(Default)]
struct FakeResolver {
    addresses: Mutex<HashMap<String, Vec<IpAddr>>>,
    srv: Mutex<HashMap<String, SrvAnswer>>,
}

impl FakeResolver {
    /// Hosts that are on loopback.
    fn here(hosts: &[&str]) -> Arc<Self> {
        let fake = Self::default();
        for host in hosts {
            fake.put(host, Ipv4Addr::LOCALHOST.into());
        }
        Arc::new(fake)
    }

    fn put(&self, host: &str, address: IpAddr) {
        self.addresses.lock().unwrap().insert(host.to_owned(), vec![address]);
    }

    fn put_srv(&self, name: &str, target: &str, port: u16) {
        let record = SrvRecord { priority: 0, weight: 0, port, target: target.to_owned() };
        self.srv.lock().unwrap().insert(name.to_owned(), SrvAnswer::Records(vec![record]));
    }
}

impl Resolver for FakeResolver {
    fn addresses<'a>(&'a self, host: &'a str) -> Looking<'a, Vec<IpAddr>> {
        let found = self.addresses.lock().unwrap().get(host).cloned().unwrap_or_default();
        Box::pin(std::future::ready(found))
    }

    fn srv<'a>(&'a self, name: &'a str) -> Looking<'a, SrvAnswer> {
        let found = self.srv.lock().unwrap().get(name).cloned();
        Box::pin(std::future::ready(found.unwrap_or(SrvAnswer::Records(Vec::new()))))
    }
}

/// `[outgoing]` of a server that believes this authority and may reach loopback.
fn outgoing_config(authority: &Authority) -> config::Outgoing {
    config::Outgoing {
        extra_ca_certificates: vec![authority.file()],
        allow_private_addresses: false,
        allow_networks: vec!["127.0.0.1/32".parse().unwrap()],
    }
}

fn outgoing(config: &config::Outgoing, resolver: Arc<dyn Resolver>) -> Outgoing {
    Outgoing::new(resolver, Arc::new(AddressRules::new(config)), client_config(config).unwrap()).unwrap()
}

/// Our side. Well-known documents are asked for at `well_known_port`.
fn https(config: &config::Outgoing, resolver: Arc<dyn Resolver>, well_known_port: u16) -> Https {
    https_at(Arc::new(SystemClock), config, resolver, well_known_port)
}

fn https_at(
    clock: Arc<dyn Clock>,
    config: &config::Outgoing,
    resolver: Arc<dyn Resolver>,
    well_known_port: u16,
) -> Https {
    let surroundings = Surroundings { well_known_port, connect_time: Duration::from_secs(2) };
    Https::with(parts(clock, config, resolver), surroundings)
}

fn parts(clock: Arc<dyn Clock>, config: &config::Outgoing, resolver: Arc<dyn Resolver>) -> Parts {
    Parts {
        outgoing: Arc::new(outgoing(config, resolver.clone())),
        resolver,
        rules: Arc::new(AddressRules::new(config)),
        tls: client_config(config).unwrap(),
        clock,
        random: Arc::new(OsRandom),
    }
}

/// A clock that the test sets.
#[derive(Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A port at which nothing listens: nobody is given 0.
const NOWHERE: u16 = 0;

async fn get(https: &Https, server: &str, path: &str) -> Result<(StatusCode, Bytes), TransportError> {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    let response: Response<Body> = https.send(<&ServerName>::try_from(server).unwrap(), request).await?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| TransportError::Broken(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

/// Asks, and says how it went: the body, or the error.
async fn asked(https: &Https, server: &str) -> String {
    match get(https, server, "/_matrix/federation/v1/version").await {
        Ok((status, body)) => format!("{} {}", status.as_u16(), String::from_utf8_lossy(&body)),
        Err(error) => format!("{error:?}"),
    }
}

/// Answers everything with this text.
fn saying(text: &'static str) -> Router {
    Router::new().fallback(move || std::future::ready(text))
}
