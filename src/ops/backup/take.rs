//! Takes a backup, beside a running server or without one.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use linkim_federation::SigningKey;

use super::{DATABASE, FileEntry, MANIFEST, Manifest, SIGNING_KEY, files};
use crate::{
    config::{Config, StorageUrl},
    store::{StoreError, backup},
};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The name is taken.
    #[error("{0}: is there already; a backup needs a new name")]
    Exists(PathBuf),
    /// Another process writes the same backup.
    #[error("{0}: another backup of this name is under way")]
    Busy(PathBuf),
    /// The signing key is absent or none.
    #[error("{path}: {why}; without the signing key a backup is worth little")]
    SigningKey {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database could not be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A backup that was taken.
#[derive(Debug)]
pub struct Taken {
    /// What is in it.
    pub manifest: Manifest,
    /// The folder.
    pub path: PathBuf,
}

/// Writes a backup into the new folder `to`, whose parent must be there. `now_ms` is the time.
///
/// # Errors
/// [`BackupError`]; there is no folder `to` then, and what was begun is removed or left as `to` with `.partial` behind it,
/// which the next backup of this name replaces.
pub fn take(config: &Config, to: &Path, now_ms: i64) -> Result<Taken, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let partial = files::with_ending(to, ".partial");
    let _lock = begin(&partial)?;
    let written = write(config, &partial, now_ms);
    let done = written.and_then(|manifest| {
        // Refused if somebody has made `to` in the meantime and put something into it.
        std::fs::rename(&partial, to)
            .and_then(|()| files::sync_folder(&files::parent(to)))
            .map_err(|source| BackupError::Io { path: to.to_owned(), source })?;
        Ok(Taken { manifest, path: to.to_owned() })
    });
    if done.is_err() {
        // The failure itself is what the operator must hear of.
        let _ = clear(&partial).and_then(|()| std::fs::remove_dir(&partial));
    }
    done
}

/// Makes the folder, or takes over what an interrupted backup left of it. Held until the answer is dropped.
fn begin(partial: &Path) -> Result<File, BackupError> {
    let io = |source| BackupError::Io { path: partial.to_owned(), source };
    files::make_private_folder(partial).map_err(io)?;
    let folder = File::open(partial).map_err(io)?;
    match folder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(BackupError::Busy(partial.to_owned())),
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    clear(partial).map_err(io)?;
    Ok(folder)
}

/// Removes what a backup consists of, and nothing else.
fn clear(partial: &Path) -> io::Result<()> {
    for name in [MANIFEST, SIGNING_KEY, DATABASE, "linkim.db-journal", "linkim.db-wal", "linkim.db-shm"] {
        files::remove(&partial.join(name))?;
    }
    Ok(())
}

fn write(config: &Config, folder: &Path, now_ms: i64) -> Result<Manifest, BackupError> {
    let io = |path: &Path, source| BackupError::Io { path: path.to_owned(), source };
    let key = read_key(&config.signing_key)?;
    let StorageUrl::Sqlite(database) = &config.storage.url;
    let copy = folder.join(DATABASE);
    drop(files::create_private(&copy).map_err(|source| io(&copy, source))?);
    let facts = backup::copy(database, config.server_name.as_str(), &copy)?;
    let path = folder.join(SIGNING_KEY);
    files::write_private(&path, &key).map_err(|source| io(&path, source))?;
    let mut entries = Vec::new();
    for name in [DATABASE, SIGNING_KEY] {
        let path = folder.join(name);
        let (bytes, sha256) = files::measure(&path).map_err(|source| io(&path, source))?;
        entries.push(FileEntry { name: name.to_owned(), bytes, sha256 });
    }
    let manifest = Manifest::new(facts, now_ms, entries);
    let path = folder.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| io(&path, error.into()))?;
    files::write_private(&path, &text).map_err(|source| io(&path, source))?;
    files::sync_folder(folder).map_err(|source| io(folder, source))?;
    Ok(manifest)
}

/// The signing key's file, which must hold a key.
fn read_key(path: &Path) -> Result<Vec<u8>, BackupError> {
    let wrong = |why: String| BackupError::SigningKey { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match SigningKey::parse_file(&text) {
        Ok(keys) if keys.is_empty() => Err(wrong("holds no key".to_owned())),
        Ok(_) => Ok(text.into_bytes()),
        Err(error) => Err(wrong(error.to_string())),
    }
}
