//! Backups that are whole, and restores that are refused.

use std::path::{Path, PathBuf};

use ruma::owned_server_name;

use super::*;
use crate::{
    config::{Config, StorageUrl},
    ops::{data_dir, signing_key},
    random::OsRandom,
    store::Store,
};

const NOW: i64 = 1_800_000_000_000;

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of a server that ran, and its data in the folder of this name.
    fn server(&self, name: &str) -> Config {
        let config = self.no_data(name);
        let _lock = data_dir::hold(&config.data_dir).unwrap();
        Store::open(&database(&config), config.server_name.as_str()).unwrap().close();
        signing_key::load_or_make(&config.signing_key, &OsRandom).unwrap();
        config
    }

    fn no_data(&self, name: &str) -> Config {
        Config::new(owned_server_name!("a.example"), self.path(name))
    }

    /// The names in a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn database(config: &Config) -> PathBuf {
    let StorageUrl::Sqlite(path) = &config.storage.url;
    path.clone()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_backup_is_three_files_for_its_owner_alone() {
    let f = Fixture::new();
    let config = f.server("data");
    let taken = take(&config, &f.path("b"), NOW).unwrap();
    assert_eq!(f.names("b"), [DATABASE, MANIFEST, SIGNING_KEY]);
    for name in [DATABASE, MANIFEST, SIGNING_KEY] {
        assert_eq!(mode(&f.path("b").join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&f.path("b")), 0o700);
    assert_eq!(Manifest::read(&f.path("b")).unwrap(), taken.manifest);
    assert!(!f.path("b.partial").exists());
    // SHA-256 of the key as the sha2 crate has it for the whole, not chunk by chunk.
    use sha2::Digest;
    let whole = sha2::Sha256::digest(std::fs::read(&config.signing_key).unwrap());
    let entry = taken.manifest.file(SIGNING_KEY).unwrap();
    assert_eq!(entry.sha256, whole.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn no_backup_takes_anothers_place() {
    let f = Fixture::new();
    let config = f.server("data");
    std::fs::create_dir(f.path("b")).unwrap();
    assert!(matches!(take(&config, &f.path("b"), NOW), Err(BackupError::Exists(_))));
    assert!(f.names("b").is_empty());
}

#[test]
fn what_an_interrupted_backup_left_is_replaced_and_is_no_backup() {
    let f = Fixture::new();
    let config = f.server("data");
    std::fs::create_dir(f.path("b.partial")).unwrap();
    std::fs::write(f.path("b.partial").join(DATABASE), "half").unwrap();
    assert!(matches!(
        restore(&f.no_data("new"), &f.path("b.partial"), false, NOW),
        Err(RestoreError::Manifest(ManifestError::Unreadable { .. }))
    ));
    take(&config, &f.path("b"), NOW).unwrap();
    assert!(!f.path("b.partial").exists());
    restore(&f.no_data("new"), &f.path("b"), false, NOW).unwrap();
}

#[test]
fn a_backup_under_way_is_not_disturbed() {
    let f = Fixture::new();
    let config = f.server("data");
    std::fs::create_dir(f.path("b.partial")).unwrap();
    let other = std::fs::File::open(f.path("b.partial")).unwrap();
    other.try_lock().unwrap();
    std::fs::write(f.path("b.partial").join(DATABASE), "half").unwrap();
    assert!(matches!(take(&config, &f.path("b"), NOW), Err(BackupError::Busy(_))));
    assert_eq!(f.names("b.partial"), [DATABASE]);
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let f = Fixture::new();
    let config = f.server("data");
    std::fs::write(&config.signing_key, "nonsense").unwrap();
    assert!(matches!(take(&config, &f.path("b"), NOW), Err(BackupError::SigningKey { .. })));
    std::fs::remove_file(&config.signing_key).unwrap();
    assert!(matches!(take(&config, &f.path("b"), NOW), Err(BackupError::SigningKey { .. })));
    assert_eq!(f.names("."), ["data"]);
}

#[test]
fn a_restore_brings_back_key_and_database() {
    let f = Fixture::new();
    let config = f.server("data");
    take(&config, &f.path("b"), NOW).unwrap();
    let new = f.no_data("new");
    restore(&new, &f.path("b"), false, NOW).unwrap();
    assert_eq!(std::fs::read(&new.signing_key).unwrap(), std::fs::read(&config.signing_key).unwrap());
    let store = Store::open(&database(&new), "a.example").unwrap();
    assert_eq!(store.position(), 1_000_000);
    assert_eq!(store.incarnation(), NOW / 1_000 + 1);
    assert_eq!(mode(store.path()), 0o600);
    assert_eq!(mode(&new.signing_key), 0o600);
}

#[test]
fn a_running_server_is_not_restored() {
    let f = Fixture::new();
    let config = f.server("data");
    take(&config, &f.path("b"), NOW).unwrap();
    let _running = data_dir::hold(&config.data_dir).unwrap();
    assert!(matches!(restore(&config, &f.path("b"), true, NOW), Err(RestoreError::Running(_))));
}

#[test]
fn data_that_is_there_is_kept() {
    let f = Fixture::new();
    let config = f.server("data");
    take(&config, &f.path("b"), NOW).unwrap();
    let before = f.names("data");
    assert!(matches!(restore(&config, &f.path("b"), false, NOW), Err(RestoreError::Occupied(_))));
    assert_eq!(f.names("data"), before);
    let key = std::fs::read(&config.signing_key).unwrap();
    // The signing key alone is data, too, unless it is the same.
    std::fs::remove_file(database(&config)).unwrap();
    let other = f.server("other");
    std::fs::copy(&other.signing_key, &config.signing_key).unwrap();
    assert!(matches!(restore(&config, &f.path("b"), false, NOW), Err(RestoreError::Occupied(_))));
    let restored = restore(&config, &f.path("b"), true, NOW).unwrap();
    assert_eq!(std::fs::read(&config.signing_key).unwrap(), key);
    let [aside] = &restored.moved_aside[..] else { panic!("{restored:?}") };
    assert_eq!(std::fs::read(aside).unwrap(), std::fs::read(&other.signing_key).unwrap());
}

#[test]
fn with_replace_the_old_database_lies_beside_the_new_one_and_its_log_goes_with_it() {
    let f = Fixture::new();
    let config = f.server("data");
    take(&config, &f.path("b"), NOW).unwrap();
    let path = database(&config);
    std::fs::write(&path, "no database").unwrap();
    std::fs::write(f.path("data").join("linkim.db-wal"), "a log").unwrap();
    let restored = restore(&config, &f.path("b"), true, NOW).unwrap();
    assert_eq!(restored.moved_aside.len(), 2, "{restored:?}");
    let aside = f.path("data").join(format!("linkim.db.replaced-{NOW}"));
    assert_eq!(std::fs::read(&aside).unwrap(), b"no database");
    assert_eq!(std::fs::read(files::with_ending(&aside, "-wal")).unwrap(), b"a log");
    assert!(!f.path("data").join("linkim.db-wal").exists());
    Store::open(&path, "a.example").unwrap();
}

#[test]
fn another_servers_backup_is_refused() {
    let f = Fixture::new();
    take(&f.server("data"), &f.path("b"), NOW).unwrap();
    let other = Config::new(owned_server_name!("b.example"), f.path("new"));
    assert!(matches!(restore(&other, &f.path("b"), false, NOW), Err(RestoreError::OtherServer { .. })));
    assert!(!f.path("new").exists());
}

/// Changes the manifest's text.
fn edit(f: &Fixture, from: &str, to: &str) {
    let path = f.path("b").join(MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_damaged_backup_is_refused() {
    for name in [DATABASE, SIGNING_KEY] {
        let f = Fixture::new();
        take(&f.server("data"), &f.path("b"), NOW).unwrap();
        let path = f.path("b").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let refused = restore(&f.no_data("new"), &f.path("b"), false, NOW);
        assert!(matches!(refused, Err(RestoreError::Damaged { .. })), "{name}: {refused:?}");
        assert_eq!(f.names("new"), ["lock"]);
    }
}

#[test]
fn a_manifest_that_the_database_contradicts_is_refused() {
    let f = Fixture::new();
    take(&f.server("data"), &f.path("b"), NOW).unwrap();
    edit(&f, "\"position\": 0", "\"position\": 1");
    assert!(matches!(restore(&f.no_data("new"), &f.path("b"), false, NOW), Err(RestoreError::Damaged { .. })));
    assert_eq!(f.names("new"), ["lock"]);
}

#[test]
fn a_newer_schema_or_format_is_refused() {
    let known = crate::store::backup::known_schema();
    let f = Fixture::new();
    take(&f.server("data"), &f.path("b"), NOW).unwrap();
    edit(&f, &format!("\"schema\": {known}"), "\"schema\": 9999");
    let refused = restore(&f.no_data("new"), &f.path("b"), false, NOW);
    assert!(matches!(refused, Err(RestoreError::TooNew { found: 9999, .. })), "{refused:?}");
    edit(&f, "\"format\": 1", "\"format\": 2");
    let refused = restore(&f.no_data("new"), &f.path("b"), false, NOW);
    assert!(matches!(refused, Err(RestoreError::Manifest(ManifestError::Malformed { .. }))), "{refused:?}");
}

#[test]
fn a_manifest_names_no_file_elsewhere() {
    let f = Fixture::new();
    take(&f.server("data"), &f.path("b"), NOW).unwrap();
    edit(&f, "\"signing.key\"", "\"../signing.key\"");
    let refused = restore(&f.no_data("new"), &f.path("b"), false, NOW);
    assert!(matches!(refused, Err(RestoreError::Manifest(ManifestError::Malformed { .. }))), "{refused:?}");
}
