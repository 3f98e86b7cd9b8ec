//! A listener whose certificate changes, with clients that trust one authority each.

use std::net::SocketAddr;

use axum::routing::get;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsConnector;

use super::*;

struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn made() -> Made {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    Made { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
}

struct Files {
    folder: tempfile::TempDir,
    tls: Tls,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls { certificate: folder.path().join("chain.pem"), key: folder.path().join("key.pem") };
        Self { folder, tls }
    }

    /// As renewing programs do it: a new file in the place of the old.
    fn put(&self, path: &Path, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn put_both(&self, made: &Made) {
        self.put(&self.tls.certificate, &made.certificate);
        self.put(&self.tls.key, &made.key);
    }
}

fn client(trusted: &Made, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    address: SocketAddr,
    trusted: &Made,
    alpn: &[&[u8]],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    client(trusted, alpn).connect(ServerName::try_from("a.example").unwrap(), stream).await
}

#[tokio::test]
async fn https_is_served_and_the_certificate_replaced_while_it_runs() {
    let files = Files::new();
    let (first, second) = (made(), made());
    files.put_both(&first);
    let certificates = Arc::new(Certificates::load(&files.tls).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let router = axum::Router::new().route("/x", get(|| async { "answer" }));
    let serving = tokio::spawn(super::super::serve_tls(listener, router, stopping, certificates.clone()));

    let mut stream = connect(address, &first, &[b"http/1.1"]).await.unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("answer"), "{answer}");
    let stream = connect(address, &first, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(connect(address, &second, &[]).await.is_err(), "who trusts another authority gets no connection");

    // Half of a renewal: the old pair stays.
    files.put(&files.tls.certificate, &second.certificate);
    certificates.look();
    connect(address, &first, &[]).await.unwrap();
    files.put(&files.tls.certificate, "nonsense");
    certificates.look();
    std::fs::remove_file(&files.tls.key).unwrap();
    certificates.look();
    connect(address, &first, &[]).await.unwrap();

    files.put_both(&second);
    certificates.look();
    connect(address, &second, &[]).await.unwrap();
    assert!(connect(address, &first, &[]).await.is_err());

    // Who says nothing holds nothing up.
    let _silent = TcpStream::connect(address).await.unwrap();
    drop(stream);
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn http_2_is_spoken() {
    let files = Files::new();
    let made = made();
    files.put_both(&made);
    let certificates = Arc::new(Certificates::load(&files.tls).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopping) = watch::channel(false);
    let router = axum::Router::new().route("/x", get(|| async { "answer" }));
    tokio::spawn(super::super::serve_tls(listener, router, stopping, certificates));
    let stream = connect(address, &made, &[b"h2"]).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://a.example/x").body(axum::body::Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
}

#[test]
fn files_that_can_not_be_used_are_named() {
    let files = Files::new();
    let (first, second) = (made(), made());
    let says = |wanted: [&str; 2]| {
        let error = check(&files.tls).unwrap_err().to_string();
        assert!(wanted.iter().all(|part| error.contains(part)), "{error}");
    };
    says(["chain.pem: ", "No such file"]);
    files.put(&files.tls.certificate, &first.certificate);
    says(["key.pem: ", "No such file"]);
    files.put(&files.tls.key, "");
    says(["key.pem: ", "no private key"]);
    files.put(&files.tls.key, &second.key);
    says(["key.pem: not the key of the certificate in", "chain.pem"]);
    files.put(&files.tls.key, &first.key);
    check(&files.tls).unwrap();
    files.put(&files.tls.certificate, &first.key);
    says(["chain.pem: ", "no certificate"]);
    files.put(&files.tls.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    says(["chain.pem: ", ""]);
}
