//! Folders of data that outlive the server that made them.

use std::fs;
use std::path::Path;

/// Copies files and folders; sockets, links and the like stay behind.
///
/// # Panics
/// If something cannot be read or written.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    let named = |error| panic!("{} cannot be copied to {}: {error}", from.display(), to.display());
    fs::create_dir_all(to).unwrap_or_else(named);
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{} cannot be read: {error}", from.display())) {
        let entry = entry.expect("an entry of a folder can be read");
        let kind = entry.file_type().expect("an entry has a type");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)
                .unwrap_or_else(|error| panic!("{} cannot be copied: {error}", entry.path().display()));
        }
    }
}
