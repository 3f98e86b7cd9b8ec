//! What a backup says of itself.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{DATABASE, MANIFEST, SIGNING_KEY};

/// The layout that this binary writes and reads.
const FORMAT: u32 = 1;

/// Longest manifest that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout; others than 1 are refused.
    pub format: u32,
    /// Whose data it is.
    pub server_name: String,
    /// The version of LinkIM that wrote it.
    pub linkim: String,
    /// Version of the database's schema.
    pub schema: i64,
    /// The newest place in the server-wide order: whatever was acknowledged up to it is there.
    pub position: i64,
    /// The incarnation of the server.
    pub incarnation: i64,
    /// When the backup began, in milliseconds since the Unix epoch.
    pub created_ts: i64,
    /// The files beside the manifest.
    pub files: Vec<FileEntry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
}

/// Why a folder is no backup.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no manifest, or it cannot be read.
    #[error("{path}: {source}; a folder without a manifest is no backup")]
    Unreadable {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what we write.
    #[error("{path}: {why}")]
    Malformed {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Manifest {
    /// A manifest of this binary.
    pub(super) fn new(facts: crate::store::backup::Facts, created_ts: i64, files: Vec<FileEntry>) -> Self {
        Self {
            format: FORMAT,
            server_name: facts.server_name,
            linkim: env!("CARGO_PKG_VERSION").to_owned(),
            schema: facts.schema,
            position: facts.position,
            incarnation: facts.incarnation,
            created_ts,
            files,
        }
    }

    /// Reads the manifest of a backup: exactly the two files that a backup has.
    pub(super) fn read(backup: &Path) -> Result<Self, ManifestError> {
        let path = backup.join(MANIFEST);
        let mut text = String::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        if let Err(source) = read {
            return Err(ManifestError::Unreadable { path, source });
        }
        let malformed = |why: String| ManifestError::Malformed { path: path.clone(), why };
        if text.len() as u64 > MAX_BYTES {
            return Err(malformed(format!("longer than {MAX_BYTES} bytes")));
        }
        // The format first: another one may have other fields.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if format != FORMAT {
            return Err(malformed(format!("format {format}; this binary knows {FORMAT}")));
        }
        let manifest: Self = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let mut names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        if names != [DATABASE, SIGNING_KEY] {
            return Err(malformed(format!("names the files {names:?}, not {DATABASE} and {SIGNING_KEY}")));
        }
        Ok(manifest)
    }

    /// The entry of a file; [`Self::read`] has seen to it that both are there.
    pub(super) fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.name == name)
    }
}
