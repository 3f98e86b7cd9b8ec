//! The peer's requests: signed as they should be, or not.

use std::sync::Arc;
use std::time::Duration;

use linkim_federation::SigningKey;
use linkim_federation::x_matrix::SignedRequest;
use reqwest::Method;
use ruma::OwnedServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::room::now_ms;
use super::{Event, RawPeer};
use crate::{Authority, Reply, Server};

/// A request whose parts can be changed after, or before, it was signed.
///
/// What is signed are `origin`, `destination`, `method`, `uri` and `body`; what is sent are `sent_uri` and `sent_body`.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Who says to send it.
    pub origin: OwnedServerName,
    /// For whom.
    pub destination: OwnedServerName,
    /// In upper case.
    pub method: String,
    /// Path and query as they are signed.
    pub uri: String,
    /// The body as it is signed.
    pub body: Option<Vec<u8>>,
    /// What signs.
    pub key: SigningKey,
    /// Path and query as they are sent.
    pub sent_uri: String,
    /// The body as it is sent.
    pub sent_body: Option<Vec<u8>>,
    /// Sent in place of the `Authorization` header that was made.
    pub authorization: Option<String>,
}

impl Sending {
    /// Signs; gives the `Authorization` header.
    pub fn header(&self) -> String {
        if let Some(header) = &self.authorization {
            return header.clone();
        }
        let request = SignedRequest { method: &self.method, uri: &self.uri, content: self.body.as_deref() };
        let signed = request.sign(&self.origin, &self.destination, &self.key).expect("a JSON object to sign");
        signed.to_header_value()
    }
}

/// The body of a transaction.
pub fn transaction(origin: &str, events: &[&Event], edus: &[Value]) -> Value {
    let pdus: Vec<&Value> = events.iter().map(|event| &event.json).collect();
    json!({ "origin": origin, "origin_server_ts": now_ms(), "pdus": pdus, "edus": edus })
}

impl RawPeer {
    /// A request to the server as it should be.
    pub fn sending(&self, server: &Server, method: &str, uri: &str, body: Option<&Value>) -> Sending {
        let body = body.map(|body| body.to_string().into_bytes());
        Sending {
            origin: self.name.clone(),
            destination: OwnedServerName::try_from(server.name()).expect("a server name"),
            method: method.to_owned(),
            uri: uri.to_owned(),
            body: body.clone(),
            key: self.key.clone(),
            sent_uri: uri.to_owned(),
            sent_body: body,
            authorization: None,
        }
    }

    /// Sends a request that must be answered.
    pub async fn send(&self, server: &Server, sending: Sending) -> Reply {
        let described = describe(&sending);
        match self.try_send(server, sending).await {
            Ok(reply) => reply,
            Err(error) => panic!("{described}\nhad no answer: {error:?}"),
        }
    }

    /// Sends a request that may find the connection closed.
    ///
    /// # Errors
    /// reqwest's, if no answer came.
    pub async fn try_send(&self, server: &Server, sending: Sending) -> Result<Reply, reqwest::Error> {
        let (request, header) = (describe(&sending), sending.header());
        let method = Method::from_bytes(sending.method.as_bytes()).expect("a method");
        let url = format!("https://{}{}", server.name(), sending.sent_uri);
        let mut builder = self.http.request(method, url).header("content-type", "application/json");
        if !header.is_empty() {
            builder = builder.header("authorization", header);
        }
        if let Some(body) = sending.sent_body {
            builder = builder.body(body);
        }
        let response = builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply { request, status, headers, bytes, text, json })
    }

    /// Signed GET.
    pub async fn get(&self, server: &Server, uri: &str) -> Reply {
        self.send(server, self.sending(server, "GET", uri, None)).await
    }

    /// Signed PUT.
    pub async fn put(&self, server: &Server, uri: &str, body: &Value) -> Reply {
        self.send(server, self.sending(server, "PUT", uri, Some(body))).await
    }

    /// Signed POST.
    pub async fn post(&self, server: &Server, uri: &str, body: &Value) -> Reply {
        self.send(server, self.sending(server, "POST", uri, Some(body))).await
    }

    /// Sends a transaction under a new id.
    pub async fn transact(&self, server: &Server, events: &[&Event], edus: &[Value]) -> Reply {
        self.transact_as(server, &crate::unique("txn"), events, edus).await
    }

    /// Sends a transaction under this id.
    pub async fn transact_as(&self, server: &Server, id: &str, events: &[&Event], edus: &[Value]) -> Reply {
        let uri = format!("/_matrix/federation/v1/send/{}", crate::encode(id));
        self.put(server, &uri, &transaction(self.name.as_str(), events, edus)).await
    }

    /// Sends one EDU.
    pub async fn edu(&self, server: &Server, kind: &str, content: Value) -> Reply {
        self.transact(server, &[], &[json!({ "edu_type": kind, "content": content })]).await
    }

    /// A bare TLS connection to the server, for requests that never end.
    pub async fn connection(&self, server: &Server) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        let root = rustls::pki_types::CertificateDer::from_pem_slice(self.authority.certificate().as_bytes());
        roots.add(root.expect("a certificate")).expect("a root");
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", server.gate().port())).await.expect("a connection");
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.expect("a TLS handshake")
    }
}

fn describe(sending: &Sending) -> String {
    let body = String::from_utf8_lossy(sending.sent_body.as_deref().unwrap_or_default());
    let body: String = body.chars().take(500).collect();
    format!("{} {} by {} with {body:?}", sending.method, sending.sent_uri, sending.origin)
}

/// A client that trusts this authority.
pub(super) fn http_client(authority: &Authority) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(authority.certificate().as_bytes()).expect("a certificate");
    reqwest::Client::builder()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(root)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(90))
        .build()
        .expect("an HTTP client with these settings can be built")
}
