//! The server's signing key, in Synapse's file format; made at the first start.

use std::{
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use linkim_federation::{KeyFileError, SigningKey};

use crate::random::Random;

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no signing key.
    #[error("{path}: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyFileError,
    },
}

/// The key that signs: the first of [`load_all_or_make`].
///
/// # Errors
/// [`SigningKeyError`]
pub fn load_or_make(path: &Path, random: &dyn Random) -> Result<SigningKey, SigningKeyError> {
    load_all_or_make(path, random).map(|mut keys| keys.swap_remove(0))
}

/// Reads the keys from `path`, one at least, or makes one there, readable by its owner alone. The first signs; all of them are
/// published.
///
/// # Errors
/// [`SigningKeyError`]
pub fn load_all_or_make(path: &Path, random: &dyn Random) -> Result<Vec<SigningKey>, SigningKeyError> {
    let io = |source| SigningKeyError::Io { path: path.to_owned(), source };
    let format = |source| SigningKeyError::Format { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let keys = SigningKey::parse_file(&text).map_err(format)?;
            if keys.is_empty() {
                return Err(io(std::io::Error::new(ErrorKind::InvalidData, "holds no key")));
            }
            Ok(keys)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let version = format!("a_{}", random.letters(4));
            let key = SigningKey::generate(random.bytes32(), &version).map_err(format)?;
            write_new(path, key.to_file_line().as_bytes()).map_err(io)?;
            tracing::info!(path = %path.display(), key = key.key_id(), "made a signing key; keep a copy of it in a safe place");
            Ok(vec![key])
        }
        Err(error) => Err(io(error)),
    }
}

/// Writes a file that must not be there yet, so that it is whole or absent after a crash.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn a_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let made = load_or_make(&path, &OsRandom).unwrap();
        let read = load_or_make(&path, &OsRandom).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        assert_eq!(made.key_id(), read.key_id());
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(load_or_make(&path, &OsRandom).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
    }
}
