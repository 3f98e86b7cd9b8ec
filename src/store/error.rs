//! What can go wrong below the domain.

use std::path::PathBuf;

/// A failure of the store. "Not found" is not one: look-ups answer `Option`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the quota is full: the write did not happen, reads go on, a later write may succeed.
    #[error("the disk is full")]
    Full,
    /// The disk does not take what is written, for another reason: the write did not happen, reads go on, a later write may
    /// succeed.
    #[error("the database can't be written: {0}")]
    Unwritable(String),
    /// The store is stopping; the write did not happen.
    #[error("the store is stopping")]
    Stopping,
    /// The database was written by a newer LinkIM.
    #[error(
        "{path}: the database has schema {found}, this binary knows {known}; use the newer binary or restore a backup"
    )]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Schema version found.
        found: i64,
        /// Newest schema version that this binary knows.
        known: i64,
    },
    /// The database has an older schema, and must not be changed now.
    #[error(
        "{path}: the database has schema {found}, this binary knows {known}; start the server once to bring it up to date"
    )]
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

impl StoreError {
    /// The same failure, for another caller that it concerns.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Unwritable(reason) => Self::Unwritable(reason.clone()),
            Self::Stopping => Self::Stopping,
            other => Self::Engine(other.to_string()),
        }
    }

    /// Whether the disk is the cause, and time may mend it.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Full | Self::Unwritable(_))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{ErrorCode, ffi};
        let extended = error.sqlite_error().map(|e| e.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure) => match extended {
                // A write beyond RLIMIT_FSIZE or a quota comes back as an I/O error of write, not as SQLITE_FULL; so does one
                // that would make the log's index longer.
                Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
                Some(
                    ffi::SQLITE_IOERR_FSYNC
                    | ffi::SQLITE_IOERR_DIR_FSYNC
                    | ffi::SQLITE_IOERR_TRUNCATE
                    | ffi::SQLITE_IOERR_SHMOPEN
                    | ffi::SQLITE_IOERR_SHMMAP,
                ) => Self::Unwritable(error.to_string()),
                _ => Self::Engine(error.to_string()),
            },
            Some(ErrorCode::ReadOnly) => Self::Unwritable(error.to_string()),
            _ => Self::Engine(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn failures_of_the_disk_are_told_from_others() {
        for (code, disk) in [
            (ffi::SQLITE_FULL, true),
            (ffi::SQLITE_IOERR_WRITE, true),
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_READONLY, true),
            (ffi::SQLITE_IOERR_READ, false),
            (ffi::SQLITE_CORRUPT, false),
            (ffi::SQLITE_CONSTRAINT, false),
        ] {
            let error = StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(error.is_of_the_disk(), disk, "{code}: {error}");
            assert_eq!(error.again().is_of_the_disk(), disk, "{code}: {error}");
        }
    }
}
