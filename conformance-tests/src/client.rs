//! A user's device as the server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Reply, v3};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// An actor: a base address and, once registered or logged in, a user with a token and a device.
#[derive(Clone, Debug)]
pub struct Client {
    /// `http://host:port`
    pub base: String,
    /// Empty before login.
    pub user_id: String,
    /// Sent as `Authorization: Bearer` unless empty.
    pub access_token: String,
    /// Empty before login.
    pub device_id: String,
    http: reqwest::Client,
    transactions: Arc<AtomicU64>,
}

impl Client {
    /// Somebody without an account.
    pub fn anonymous(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            user_id: String::new(),
            access_token: String::new(),
            device_id: String::new(),
            http: http_client(ANSWER),
            transactions: Arc::default(),
        }
    }

    /// Registers with the dummy flow in one request, without a session.
    pub async fn register(base: &str, localpart: &str, password: &str) -> Self {
        let anonymous = Self::anonymous(base);
        let body = json!({ "username": localpart, "password": password, "auth": { "type": "m.login.dummy" } });
        let reply = anonymous.post(&v3!("/register"), body).await;
        anonymous.with_login(&reply.ok())
    }

    /// Logs a new device in with a password; `user` is a localpart or a full id.
    pub async fn login(base: &str, user: &str, password: &str) -> Self {
        let anonymous = Self::anonymous(base);
        let reply = anonymous.post(&v3!("/login"), password_login(user, password)).await;
        anonymous.with_login(&reply.ok())
    }

    /// The same connection as the user, device and token of a login or registration answer.
    pub fn with_login(&self, answer: &Value) -> Self {
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned();
        Self {
            user_id: text("user_id"),
            access_token: text("access_token"),
            device_id: text("device_id"),
            transactions: Arc::default(),
            ..self.clone()
        }
    }

    /// The same user and device with another token.
    pub fn with_token(&self, access_token: &str) -> Self {
        Self { access_token: access_token.to_owned(), ..self.clone() }
    }

    /// The same user and device at another address, after a restart on another port.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), http: http_client(ANSWER), ..self.clone() }
    }

    /// The same user and device, who waits so long for an answer; others wait a minute.
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { http: http_client(patience), ..self.clone() }
    }

    /// A transaction id that this device has not used.
    pub fn next_transaction(&self) -> String {
        format!("t{}", self.transactions.fetch_add(1, Ordering::Relaxed))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, None).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.request(Method::POST, path, Some(body)).await
    }

    /// DELETE, with a JSON body where there is one.
    pub async fn delete(&self, path: &str, body: Option<Value>) -> Reply {
        self.request(Method::DELETE, path, body).await
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let body = body.map(|body| body.to_string().into_bytes());
        self.raw(method, path, &[("content-type", "application/json")], body).await
    }

    /// A request with any method, headers and bytes; the token is added unless empty.
    pub async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Reply {
        let described = describe(&method, path, &self.user_id, body.as_deref());
        match self.try_raw(method, path, headers, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("{described}\nhad no answer: {error:?}"),
        }
    }

    /// As [`raw`](Self::raw), for requests that may find no server, as around a kill.
    pub async fn try_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, reqwest::Error> {
        let request = describe(&method, path, &self.user_id, body.as_deref());
        let mut builder = self.http.request(method, format!("{}{path}", self.base));
        if !self.access_token.is_empty() {
            builder = builder.bearer_auth(&self.access_token);
        }
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let response = builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply { request, status, headers, bytes, text, json })
    }
}

/// The body of a password login with the `m.id.user` identifier.
pub(crate) fn password_login(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

/// One pool of connections per actor: a pool may not outlive the runtime of the test that opened its connections.
fn http_client(patience: Duration) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(patience)
        .build()
        .expect("an HTTP client with these settings can be built")
}

fn describe(method: &Method, path: &str, user_id: &str, body: Option<&[u8]>) -> String {
    let body: String = String::from_utf8_lossy(body.unwrap_or_default()).chars().take(1000).collect();
    let user_id = if user_id.is_empty() { "nobody" } else { user_id };
    format!("{method} {path} by {user_id} with {body:?}")
}

/// A query string from pairs, encoded, with its leading `?`; empty without pairs.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut joined = String::new();
    for (index, (key, value)) in pairs.iter().enumerate() {
        joined += if index == 0 { "?" } else { "&" };
        joined += &format!("{key}={}", crate::encode(value));
    }
    joined
}
