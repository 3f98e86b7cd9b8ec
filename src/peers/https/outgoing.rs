//! Requests to addresses that strangers choose: well-known documents, media locations, push gateways, previewed pages.
//! The address rules hold for each of them, at each redirect.

use std::{error::Error as StdError, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{CONNECT_TIME, USER_AGENT, addresses::AddressRules, resolver::Resolver};
use crate::peers::bounded_body::{self, BodyError};

/// How long a request may take, its response included, where the caller does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a response at most, where the caller does not say.
const MAX_RESPONSE: usize = 1024 * 1024;

/// Idle connections that are kept for each host, and how long.
const MAX_IDLE: usize = 2;
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The URL is of a kind that is not asked for: not `https`, or not even `http`.
    #[error("{0} is not an address that this server asks")]
    Scheme(String),
    /// The host's addresses are private, and the configuration does not allow them.
    #[error("{0} is at a private address, which the configuration does not allow")]
    Private(String),
    /// One redirect after the other, or one that leads nowhere.
    #[error("too many redirects, or a wrong one")]
    Redirects,
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// The response is larger than it may be.
    #[error("the response is too large")]
    TooLarge,
    /// No address, no connection, no valid certificate, or the connection broke.
    #[error("{0}")]
    Broken(String),
}

impl From<BodyError> for OutgoingError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Broken(error) => Self::Broken(error),
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Fetch {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    redirects: usize,
    https_only: bool,
    timeout: Duration,
    limit: usize,
}

impl Fetch {
    /// `GET`; follows no redirects unless told.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            redirects: 0,
            https_only: false,
            timeout: TIMEOUT,
            limit: MAX_RESPONSE,
        }
    }

    /// `POST` of a body.
    pub fn post(url: Url, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let post = Self { method: Method::POST, body: body.into(), ..Self::get(url) };
        post.header(header::CONTENT_TYPE, content_type)
    }

    /// Sets a header. It is also sent to what a redirect leads to, unless it is `Authorization` and that is another origin.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Follows so many redirects. With another method than `GET` none is followed.
    #[must_use]
    pub fn redirects(mut self, most: usize) -> Self {
        self.redirects = most;
        self
    }

    /// Refuses `http`, of redirects too.
    #[must_use]
    pub fn https_only(mut self) -> Self {
        self.https_only = true;
        self
    }

    /// Sets how long it may take, the response included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes the response may have.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

/// A response, of whatever status.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Where it came from, redirects followed.
    pub url: Url,
}

/// A response whose body is still to be read. Whoever reads it bounds its length and time.
#[derive(Debug)]
pub struct Opened {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
    /// Where it came from, redirects followed.
    pub url: Url,
}

/// Sends requests to any host.
pub struct Outgoing {
    client: reqwest::Client,
    rules: Arc<AddressRules>,
}

impl Outgoing {
    /// Asks `resolver` for addresses; goes to those that `rules` permit.
    ///
    /// # Errors
    /// What the HTTP library can't be set up with.
    pub fn new(
        resolver: Arc<dyn Resolver>,
        rules: Arc<AddressRules>,
        tls: rustls::ClientConfig,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(Lookup { resolver, rules: rules.clone() }))
            // A proxy of the environment would look up names itself, past the rules.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIME)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_idle_timeout(IDLE_TIME)
            .build()?;
        Ok(Self { client, rules })
    }

    /// Sends a request and reads the response.
    ///
    /// # Errors
    /// [`OutgoingError`]
    pub async fn fetch(&self, fetch: Fetch) -> Result<Fetched, OutgoingError> {
        let (timeout, limit) = (fetch.timeout, fetch.limit);
        let whole = async {
            let Opened { status, headers, body, url } = self.follow(fetch).await?;
            Ok(Fetched { status, headers, body: bounded_body::read(body, limit).await?, url })
        };
        tokio::time::timeout(timeout, whole).await.map_err(|_| OutgoingError::Timeout)?
    }

    /// Sends a request; the response's body is unread. The request's time counts until the response's head is here; its
    /// limit does not count.
    ///
    /// # Errors
    /// [`OutgoingError`]
    pub async fn open(&self, fetch: Fetch) -> Result<Opened, OutgoingError> {
        tokio::time::timeout(fetch.timeout, self.follow(fetch)).await.map_err(|_| OutgoingError::Timeout)?
    }

    async fn follow(&self, mut fetch: Fetch) -> Result<Opened, OutgoingError> {
        let mut left = if fetch.method == Method::GET { fetch.redirects } else { 0 };
        loop {
            let response = self.send(&fetch).await?;
            let redirect = fetch.redirects > 0 && fetch.method == Method::GET && is_redirect(response.status());
            if !redirect {
                let (head, body) = http::Response::from(response).into_parts();
                return Ok(Opened {
                    status: head.status,
                    headers: head.headers,
                    body: Body::new(body),
                    url: fetch.url,
                });
            }
            left = left.checked_sub(1).ok_or(OutgoingError::Redirects)?;
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| fetch.url.join(location).ok());
            let next = next.ok_or(OutgoingError::Redirects)?;
            if next.origin() != fetch.url.origin() {
                fetch.headers.remove(header::AUTHORIZATION);
            }
            fetch.url = next;
        }
    }

    async fn send(&self, fetch: &Fetch) -> Result<reqwest::Response, OutgoingError> {
        self.check(fetch)?;
        let request = self.client.request(fetch.method.clone(), fetch.url.clone()).headers(fetch.headers.clone());
        request.body(fetch.body.clone()).send().await.map_err(|error| broken(&fetch.url, &error))
    }

    /// The scheme; and the address, where the URL has one instead of a name, for then nobody looks it up.
    fn check(&self, fetch: &Fetch) -> Result<(), OutgoingError> {
        let scheme = fetch.url.scheme();
        if scheme != "https" && (fetch.https_only || scheme != "http") {
            return Err(OutgoingError::Scheme(fetch.url.to_string()));
        }
        let address = match fetch.url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(OutgoingError::Scheme(fetch.url.to_string())),
        };
        if self.rules.permit(address) { Ok(()) } else { Err(OutgoingError::Private(address.to_string())) }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The HTTP library wraps what a look-up or a handshake said; the innermost is what helps.
fn broken(url: &Url, error: &reqwest::Error) -> OutgoingError {
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if innermost.is::<OnlyPrivate>() {
        return OutgoingError::Private(url.host_str().unwrap_or_default().to_owned());
    }
    if error.is_timeout() { OutgoingError::Timeout } else { OutgoingError::Broken(innermost.to_string()) }
}

/// No address of a name may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("a private address")]
struct OnlyPrivate;

/// The resolver, and the rules behind it: the library connects to what this answers, and to nothing else.
struct Lookup {
    resolver: Arc<dyn Resolver>,
    rules: Arc<AddressRules>,
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, rules) = (self.resolver.clone(), self.rules.clone());
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await;
            if found.is_empty() {
                return Err(format!("no address of {}", name.as_str()).into());
            }
            // Port 0 stands for that of the URL.
            let found: Vec<SocketAddr> = found.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            let permitted: Vec<SocketAddr> = rules.permitted(&found).collect();
            if permitted.is_empty() {
                return Err(OnlyPrivate.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
