//! The data directory: made if absent, and held by one process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use crate::store::StoreError;

/// Holds the data directory until dropped.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Makes the directory if it is absent, readable by its owner alone, and takes its lock.
///
/// # Errors
/// `Locked` if another process has it, `Io`.
pub fn hold(data_dir: &Path) -> Result<DataDirLock, StoreError> {
    let io = |path: &Path, source| StoreError::Io { path: path.to_owned(), source };
    make(data_dir).map_err(|source| io(data_dir, source))?;
    let path = data_dir.join("lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|source| io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(DataDirLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(io(&path, source)),
    }
}

#[cfg(unix)]
fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let first = hold(&data_dir).unwrap();
        assert!(matches!(hold(&data_dir), Err(StoreError::Locked { .. })));
        drop(first);
        hold(&data_dir).unwrap();
    }
}
