//! What can go wrong below the domain.

use std::path::PathBuf;

/// A failure of the store. "Not found" is not one: look-ups answer `Option`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the quota is full: the write did not happen, reads go on, a later write may succeed.
    #[error("the disk is full")]
    Full,
    /// The store is stopping; the write did not happen.
    #[error("the store is stopping")]
    Stopping,
    /// The database was written by a newer LinkIM.
    #[error("{path}: the database has schema {found}, this binary knows {known}; use the newer binary or restore a backup")]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Schema version found.
        found: i64,
        /// Newest schema version that this binary knows.
        known: i64,
    },
    /// The database has an older schema, and must not be changed now.
    #[error("{path}: the database has schema {found}, this binary knows {known}; start the server once to bring it up to date")]
    TooOld {
        /// The database file.
        path: PathBuf,
        /// Schema version found.
        found: i64,
        /// Newest schema version that this binary knows.
        known: i64,
    },
    /// The database belongs to a server of another name.
    #[error("{path}: the database belongs to {found}, the configuration says {expected}")]
    WrongServerName {
        /// The database file.
        path: PathBuf,
        /// Name in the database.
        found: String,
        /// Name in the configuration.
        expected: String,
    },
    /// Another process has the data directory.
    #[error("{path}: in use by another process")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A stored value has not the shape that the schema promises.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else that the engine says.
    #[error("database: {0}")]
    Engine(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            // A write beyond RLIMIT_FSIZE or a quota comes back as an I/O error of write, not as SQLITE_FULL.
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure) if is_write_failure(&error) => Self::Full,
            _ => Self::Engine(error.to_string()),
        }
    }
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error().map(|e| e.extended_code),
        Some(rusqlite::ffi::SQLITE_IOERR_WRITE | rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
    )
}
