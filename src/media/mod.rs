//! Files: uploaded here, or copied from the servers that have them.
//!
//! A file's content lies below `data_dir/media`, named by its hash, so that equal ones are stored once; its names
//! (`mxc://server/id`) are rows of the store.
//!
//! Source: Client-Server API, "Content repository".

mod downloads;
mod files;
mod kinds;
mod multipart;
mod remote;
mod sweep;
mod thumbnails;
mod uploads;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ruma::{OwnedServerName, ServerName};
use tokio::sync::Notify;

pub use self::{
    downloads::{Content, Download, DownloadError},
    files::FileError,
    kinds::{disposition, safe_content_type},
    multipart::{multipart_head, multipart_tail, new_boundary},
    remote::{Located, LocationClient},
    sweep::run_sweeper,
    thumbnails::{Method, Wanted},
    uploads::{CreateError, Created, UploadError},
};
use self::{files::Files, remote::Remote, thumbnails::Thumbnails};
use crate::{clock::Clock, config::Config, peers::client::PeerClient, random::Random, store::Store};

/// The name of a file: `mxc://server/id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mxc {
    /// The server that has it.
    pub server: OwnedServerName,
    /// Its id there.
    pub media_id: String,
}

/// Bytes of a media id at most.
const MAX_MEDIA_ID: usize = 255;

impl Mxc {
    /// From the parts of a path; None if the id has other characters than it may, or the server is no server's name.
    ///
    /// Source: Client-Server API, "Content repository", "Security considerations".
    pub fn new(server: &str, media_id: &str) -> Option<Self> {
        let server = linkim_federation::server_name::ParsedServerName::parse(server).ok()?;
        let fits = !media_id.is_empty()
            && media_id.len() <= MAX_MEDIA_ID
            && media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        fits.then(|| Self { server: ServerName::to_owned(server.name()), media_id: media_id.to_owned() })
    }
}

impl std::fmt::Display for Mxc {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "mxc://{}/{}", self.server, self.media_id)
    }
}

/// All that handlers do with files.
pub struct Media {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    server_name: OwnedServerName,
    max_bytes: u64,
    files: Arc<Files>,
    thumbnails: Thumbnails,
    remote: Remote,
    /// Told whenever an id gets its content.
    uploaded: Notify,
}

impl Media {
    /// Files in the data directory of this configuration.
    ///
    /// # Errors
    /// If the folders can't be made.
    pub fn new(
        config: &Config,
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        peers: Arc<PeerClient>,
        locations: Arc<dyn LocationClient>,
    ) -> std::io::Result<Self> {
        let files = Arc::new(Files::open(config.data_dir.join("media"), random.clone())?);
        let max_bytes = config.media.max_upload_bytes;
        Ok(Self {
            thumbnails: Thumbnails::new(files.clone()),
            remote: Remote::new(peers, locations, files.clone(), max_bytes),
            store,
            clock,
            random,
            server_name: config.server_name.clone(),
            max_bytes,
            files,
            uploaded: Notify::new(),
        })
    }

    /// Bytes of a file at most.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }
}
