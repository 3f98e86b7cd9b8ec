//! Files of other servers: fetched once, kept as copies.
//!
//! Source: Server-Server API, "Content Repository".

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::OwnedMutexGuard;

use super::{
    DownloadError, FileError, Mxc,
    files::{Files, Source, Stored},
    kinds,
};
use crate::{
    peers::{
        client::{Call, PeerClient, PeerError, Streamed},
        https::outgoing::{Fetch, Outgoing},
    },
    store::media::MediaRow,
};

/// How long a whole file may take to come.
const WHOLE: Duration = Duration::from_secs(600);

/// Bytes of the metadata part at most.
const MAX_METADATA: u64 = 64 * 1024;

/// Files that are fetched at once.
const AT_ONCE: usize = 16;

/// The answer of [`LocationClient::get`].
pub type Located<'a> = Pin<Box<dyn Future<Output = Result<Streamed, String>> + Send + 'a>>;

/// Fetches files from where other servers say that they lie, within what the configuration allows.
pub trait LocationClient: Send + Sync + 'static {
    /// `GET` of an absolute URL, unsigned; a 2xx response with its body unread.
    fn get<'a>(&'a self, url: &'a str) -> Located<'a>;
}

/// How long the head of a response from another place may take.
const LOCATION_WAIT: Duration = Duration::from_secs(30);

/// Redirects that are followed from such a place.
const LOCATION_REDIRECTS: usize = 3;

impl LocationClient for Outgoing {
    fn get<'a>(&'a self, url: &'a str) -> Located<'a> {
        Box::pin(async move {
            let url = url::Url::parse(url).map_err(|error| format!("{url:?} is no address: {error}"))?;
            let fetch = Fetch::get(url).redirects(LOCATION_REDIRECTS).timeout(LOCATION_WAIT);
            let response = self.open(fetch).await.map_err(|error| error.to_string())?;
            match response.status.is_success() {
                true => Ok(Streamed { headers: response.headers, body: response.body }),
                false => Err(format!("the place of a file answered {}", response.status)),
            }
        })
    }
}

/// Fetches files. Bound: [`AT_ONCE`] at a time, each of the largest size that may be uploaded, on disk.
pub(super) struct Remote {
    peers: Arc<PeerClient>,
    locations: Arc<dyn LocationClient>,
    files: Arc<Files>,
    max_bytes: u64,
    places: tokio::sync::Semaphore,
    /// Who is fetching what; entries without a holder go with the next one.
    fetching: Mutex<HashMap<Mxc, Weak<tokio::sync::Mutex<()>>>>,
}

impl Remote {
    pub(super) fn new(
        peers: Arc<PeerClient>,
        locations: Arc<dyn LocationClient>,
        files: Arc<Files>,
        max_bytes: u64,
    ) -> Self {
        let places = tokio::sync::Semaphore::new(AT_ONCE);
        Self { peers, locations, files, max_bytes, places, fetching: Mutex::default() }
    }

    /// Waits until nobody else fetches this file.
    pub(super) async fn alone(&self, mxc: &Mxc) -> OwnedMutexGuard<()> {
        let lock = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            fetching.retain(|_, lock| lock.strong_count() > 0);
            match fetching.get(mxc).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(tokio::sync::Mutex::new(()));
                    fetching.insert(mxc.clone(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }

    /// Fetches a file and stores its content.
    pub(super) async fn fetch(&self, mxc: &Mxc, wait: Duration, now_ms: i64) -> Result<MediaRow, DownloadError> {
        let Ok(_place) = self.places.acquire().await else { return Err(DownloadError::NotFound) };
        let path = format!("/_matrix/federation/v1/media/download/{}?timeout_ms={}", mxc.media_id, wait.as_millis());
        let call = Call::get(path).timeout(wait + Duration::from_secs(10));
        let whole = async {
            match self.peers.stream(&mxc.server, call).await {
                Ok(response) => self.parts(response).await,
                Err(error) if is_unrecognized(&error) => self.fetch_deprecated(mxc, wait).await,
                Err(error) => Err(peer_error(error)),
            }
        };
        let (stored, head) = tokio::time::timeout(WHOLE, whole).await.map_err(|_| DownloadError::NotYet)??;
        Ok(MediaRow {
            uploader: None,
            hash: Some(stored.hash),
            size: i64::try_from(stored.size).unwrap_or(i64::MAX),
            content_type: Some(head.content_type),
            filename: head.filename,
            expires_ts: None,
            last_access_ts: now_ms,
            quarantined: false,
        })
    }

    /// Reads the two parts of a response: metadata, then the file or where it lies.
    async fn parts(&self, response: Streamed) -> Result<(Stored, Head), DownloadError> {
        let malformed = |error: multer::Error| DownloadError::Malformed(error.to_string());
        let content_type = text(&response.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let boundary = boundary(&content_type)
            .ok_or_else(|| DownloadError::Malformed(format!("{content_type:?} is no multipart/mixed")))?;
        let constraints = multer::Constraints::new()
            .size_limit(multer::SizeLimit::new().whole_stream(self.max_bytes.saturating_add(2 * MAX_METADATA)));
        let stream = response.body.into_data_stream();
        let mut parts = multer::Multipart::with_constraints(stream, boundary, constraints);
        let missing = || DownloadError::Malformed("a part is missing".to_owned());
        let metadata = parts.next_field().await.map_err(malformed)?.ok_or_else(missing)?;
        drop(metadata);
        let file = parts.next_field().await.map_err(malformed)?.ok_or_else(missing)?;
        if let Some(location) = text(file.headers(), header::LOCATION.as_str()) {
            drop(file);
            let response = self.locations.get(&location).await.map_err(DownloadError::Malformed)?;
            return self.body(response).await;
        }
        let head = Head::of(file.headers());
        let stored = self.files.receive(Part(file), self.max_bytes).await?;
        Ok((stored, head))
    }

    /// A server from before Matrix 1.11 has only the deprecated endpoint.
    async fn fetch_deprecated(&self, mxc: &Mxc, wait: Duration) -> Result<(Stored, Head), DownloadError> {
        let path = format!(
            "/_matrix/media/v3/download/{}/{}?allow_remote=false&timeout_ms={}",
            mxc.server,
            mxc.media_id,
            wait.as_millis()
        );
        let call = Call::get(path).unsigned().timeout(wait + Duration::from_secs(10));
        let response = self.peers.stream(&mxc.server, call).await.map_err(peer_error)?;
        self.body(response).await
    }

    async fn body(&self, response: Streamed) -> Result<(Stored, Head), DownloadError> {
        let head = Head::of(&response.headers);
        let stored = self.files.receive(response.body, self.max_bytes).await?;
        Ok((stored, head))
    }
}

/// What a response's headers say about a file.
struct Head {
    content_type: String,
    filename: Option<String>,
}

impl Head {
    fn of(headers: &HeaderMap) -> Self {
        let content_type = text(headers, header::CONTENT_TYPE.as_str());
        Self {
            content_type: kinds::safe_content_type(content_type.as_deref()).to_owned(),
            filename: text(headers, header::CONTENT_DISPOSITION.as_str()).and_then(|value| kinds::filename_of(&value)),
        }
    }
}

/// The file's part of a response.
struct Part<'r>(multer::Field<'r>);

impl Source for Part<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        self.0.chunk().await.map_err(|error| match error {
            multer::Error::StreamSizeExceeded { limit } | multer::Error::FieldSizeExceeded { limit, .. } => {
                FileError::TooLarge(limit)
            }
            error => FileError::Broken(error.to_string()),
        })
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The boundary of a `multipart/mixed` content type.
fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (1..=70).contains(&value.len()).then_some(value)
}

fn is_unrecognized(error: &PeerError) -> bool {
    error.status() == Some(StatusCode::NOT_FOUND) && error.errcode() == Some("M_UNRECOGNIZED")
}

fn peer_error(error: PeerError) -> DownloadError {
    match (error.status(), error.errcode()) {
        (Some(StatusCode::NOT_FOUND), _) => DownloadError::NotFound,
        (Some(StatusCode::GATEWAY_TIMEOUT), Some("M_NOT_YET_UPLOADED")) => DownloadError::NotYet,
        (_, Some("M_TOO_LARGE")) => DownloadError::TooLarge,
        _ => DownloadError::Peer(error),
    }
}
