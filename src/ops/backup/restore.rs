//! Puts a backup in the place of a server's data.
//!
//! Order matters: everything is copied, checked and made safe under a temporary name; the database gets its name last, so
//! that a crash leaves the old data, or none, or the new, and never a mixture.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{DATABASE, FileEntry, Manifest, ManifestError, SIGNING_KEY, files};
use crate::{
    config::{Config, StorageUrl},
    ops::data_dir,
    store::{
        StoreError,
        backup::{self, Counters, Facts},
    },
};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder is no backup.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The backup is another server's.
    #[error("the backup is of {found}, the configuration says {expected}")]
    OtherServer {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The backup was taken by a newer LinkIM.
    #[error("the backup has schema {found}, this binary knows {known}; use the newer binary")]
    TooNew {
        /// The backup's schema.
        found: i64,
        /// Newest schema that this binary knows.
        known: i64,
    },
    /// A file is not what the manifest says.
    #[error("{path}: damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        why: String,
    },
    /// The server runs.
    #[error("{0}: in use; stop the server first")]
    Running(PathBuf),
    /// There is data already.
    #[error("{0}: is there already; --replace moves it aside")]
    Occupied(PathBuf),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for RestoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { path } => Self::Running(path),
            other => Self::Store(other),
        }
    }
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What was in the backup.
    pub manifest: Manifest,
    /// Where the data is that it replaced.
    pub moved_aside: Vec<PathBuf>,
}

/// Restores the backup in the folder `from` for the server of `config`, which must not run. Data that is there is refused, or
/// with `replace` moved aside. `now_ms` is the time.
///
/// # Errors
/// [`RestoreError`]; the data is as it was then.
pub fn restore(config: &Config, from: &Path, replace: bool, now_ms: i64) -> Result<Restored, RestoreError> {
    let manifest = Manifest::read(from)?;
    let StorageUrl::Sqlite(database) = &config.storage.url;
    if manifest.server_name != config.server_name.as_str() {
        let (found, expected) = (manifest.server_name, config.server_name.to_string());
        return Err(RestoreError::OtherServer { found, expected });
    }
    let known = backup::known_schema();
    if manifest.schema > known {
        return Err(RestoreError::TooNew { found: manifest.schema, known });
    }
    let _lock = data_dir::hold(&config.data_dir)?;
    let key = Key::plan(config, from, &manifest, now_ms)?;
    if !replace {
        let occupied = [Some(database), key.aside.as_ref().map(|_| &config.signing_key)];
        if let Some(path) = occupied.into_iter().flatten().find(|path| path.symlink_metadata().is_ok()) {
            return Err(RestoreError::Occupied(path.clone()));
        }
    }
    let temporary = files::with_ending(database, ".restoring");
    let prepared = prepare(&manifest, from, &temporary, database, now_ms);
    let placed = prepared.and_then(|()| place(config, &temporary, database, &key, now_ms));
    if placed.is_err() {
        // The failure itself is what the operator must hear of.
        let _ = files::remove(&temporary);
    }
    Ok(Restored { manifest, moved_aside: placed? })
}

/// Copies the database to its temporary name, holds it to the manifest, and makes it safe to serve.
fn prepare(
    manifest: &Manifest,
    from: &Path,
    temporary: &Path,
    replaced: &Path,
    now_ms: i64,
) -> Result<(), RestoreError> {
    let source = from.join(DATABASE);
    files::remove(temporary).map_err(|source| io_at(temporary, source))?;
    let measured = files::copy(&source, temporary).map_err(|error| io_at(&source, error))?;
    compare(&source, manifest.file(DATABASE), &measured)?;
    let facts = backup::facts(temporary)?;
    let said = Facts {
        server_name: manifest.server_name.clone(),
        schema: manifest.schema,
        position: manifest.position,
        incarnation: manifest.incarnation,
    };
    if facts != said {
        let why = format!("the manifest says {said:?}, the database {facts:?}");
        return Err(RestoreError::Damaged { path: source, why });
    }
    let counters = match replaced.symlink_metadata() {
        Err(_) => Counters::default(),
        // It may be damaged, which is why it is replaced; then the gap alone must do.
        Ok(_) => backup::counters(replaced).unwrap_or_default(),
    };
    backup::make_safe(temporary, counters, now_ms / 1_000)?;
    std::fs::File::open(temporary).and_then(|file| file.sync_all()).map_err(|source| io_at(temporary, source))
}

/// Gives everything its name. Answers what was moved aside.
fn place(
    config: &Config,
    temporary: &Path,
    database: &Path,
    key: &Key,
    now_ms: i64,
) -> Result<Vec<PathBuf>, RestoreError> {
    let mut moved = Vec::new();
    let ending = format!(".replaced-{now_ms}");
    let aside = files::with_ending(database, &ending);
    // A log that is left belongs to the old database, and would be replayed into any other of its name.
    let log = files::with_ending(database, "-wal");
    if log.symlink_metadata().is_ok() {
        let new = files::with_ending(&aside, "-wal");
        std::fs::rename(&log, &new).map_err(|source| io_at(&log, source))?;
        moved.push(new);
    }
    let index = files::with_ending(database, "-shm");
    files::remove(&index).map_err(|source| io_at(&index, source))?;
    if database.symlink_metadata().is_ok() {
        // A second name, so that the first is never without a database; where there are no links, a move.
        std::fs::hard_link(database, &aside)
            .or_else(|_| std::fs::rename(database, &aside))
            .map_err(|source| io_at(database, source))?;
        moved.push(aside);
    }
    key.place(config, &mut moved)?;
    std::fs::rename(temporary, database)
        .and_then(|()| files::sync_folder(&files::parent(database)))
        .map_err(|source| io_at(database, source))?;
    Ok(moved)
}

/// The signing key of the backup, checked.
struct Key {
    bytes: Vec<u8>,
    /// Whether the same key is there already.
    there: bool,
    /// Where another key goes.
    aside: Option<PathBuf>,
}

impl Key {
    fn plan(config: &Config, from: &Path, manifest: &Manifest, now_ms: i64) -> Result<Self, RestoreError> {
        let path = from.join(SIGNING_KEY);
        let measured = files::measure(&path).map_err(|source| io_at(&path, source))?;
        compare(&path, manifest.file(SIGNING_KEY), &measured)?;
        let bytes = std::fs::read(&path).map_err(|source| io_at(&path, source))?;
        let target = &config.signing_key;
        match std::fs::read(target) {
            Ok(old) if old == bytes => Ok(Self { bytes, there: true, aside: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { bytes, there: false, aside: None }),
            _ => {
                let aside = files::with_ending(target, &format!(".replaced-{now_ms}"));
                Ok(Self { bytes, there: false, aside: Some(aside) })
            }
        }
    }

    fn place(&self, config: &Config, moved: &mut Vec<PathBuf>) -> Result<(), RestoreError> {
        let target = &config.signing_key;
        if self.there {
            return Ok(());
        }
        if let Some(aside) = &self.aside {
            std::fs::rename(target, aside).map_err(|source| io_at(target, source))?;
            moved.push(aside.clone());
        }
        let new = files::with_ending(target, ".restoring");
        files::remove(&new)
            .and_then(|()| files::write_private(&new, &self.bytes))
            .and_then(|()| std::fs::rename(&new, target))
            .and_then(|()| files::sync_folder(&files::parent(target)))
            .map_err(|source| io_at(target, source))
    }
}

fn compare(path: &Path, said: Option<&FileEntry>, found: &(u64, String)) -> Result<(), RestoreError> {
    let (bytes, sha256) = found;
    match said {
        Some(said) if said.bytes == *bytes && said.sha256 == *sha256 => Ok(()),
        Some(said) => {
            let why = format!(
                "{bytes} bytes with SHA-256 {sha256}; the manifest says {} bytes with {}",
                said.bytes, said.sha256
            );
            Err(RestoreError::Damaged { path: path.to_owned(), why })
        }
        None => Err(RestoreError::Damaged { path: path.to_owned(), why: "the manifest does not name it".to_owned() }),
    }
}

fn io_at(path: &Path, source: io::Error) -> RestoreError {
    RestoreError::Io { path: path.to_owned(), source }
}
