//! `linkim backup` and `linkim restore`.
//!
//! A backup is a folder with one copy of the database, the signing key, and a manifest that says what they are and what
//! their SHA-256 is. It has its name once it is whole and on the disk; before, the name ends with `.partial`. The
//! configuration is not in it: it may hold secrets that belong elsewhere.

mod files;
mod manifest;
mod restore;
mod take;

#[cfg(test)]
mod tests;

pub use self::{
    manifest::{FileEntry, Manifest, ManifestError},
    restore::{RestoreError, Restored, restore},
    take::{BackupError, Taken, take},
};

/// Name of the copy of the database in a backup.
pub const DATABASE: &str = "linkim.db";

/// Name of the signing key in a backup.
pub const SIGNING_KEY: &str = "signing.key";

/// Name of the manifest in a backup.
pub const MANIFEST: &str = "manifest.json";
