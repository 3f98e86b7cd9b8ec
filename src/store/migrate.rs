//! Brings a database to the schema of this binary.
//!
//! Migrations are numbered SQL files, each run once in a transaction of its own. Before the first one that changes an existing
//! database, a snapshot of it is put beside it (`linkim.db.before-N`), so that the older binary can be used again.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::StoreError;

/// All migrations in order; the schema's version is their count.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_reports.sql"),
    include_str!("../../migrations/sqlite/0003_servers_of_rooms.sql"),
    include_str!("../../migrations/sqlite/0004_server_keys.sql"),
    include_str!("../../migrations/sqlite/0005_outbox.sql"),
    include_str!("../../migrations/sqlite/0006_inbox.sql"),
    include_str!("../../migrations/sqlite/0007_remote_joins.sql"),
    include_str!("../../migrations/sqlite/0008_encryption.sql"),
    include_str!("../../migrations/sqlite/0009_media.sql"),
    include_str!("../../migrations/sqlite/0010_message_numbers.sql"),
    include_str!("../../migrations/sqlite/0011_filled_rooms.sql"),
    include_str!("../../migrations/sqlite/0012_presence.sql"),
    include_str!("../../migrations/sqlite/0013_accounts.sql"),
    include_str!("../../migrations/sqlite/0014_contacts.sql"),
    include_str!("../../migrations/sqlite/0015_groups.sql"),
    include_str!("../../migrations/sqlite/0016_conversations.sql"),
    include_str!("../../migrations/sqlite/0017_message_status.sql"),
    include_str!("../../migrations/sqlite/0018_announcements.sql"),
    include_str!("../../migrations/sqlite/0020_group_invitations.sql"),
];

/// The newest schema version that this binary knows.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Migrates the database at `path`. `TooNew` if a newer binary wrote it.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    connection.execute_batch(
        "-- Which migrations were run. One row each.
         CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER NOT NULL PRIMARY KEY)",
    )?;
    let found: i64 =
        connection.query_row("SELECT COALESCE(MAX(version), 0) FROM schema_migrations", [], |row| row.get(0))?;
    let known = known();
    if found > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    if found > 0 && found < known {
        snapshot(connection, path, found)?;
    }
    for (version, sql) in (1i64..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.execute("INSERT INTO schema_migrations VALUES (?1)", [version])?;
        transaction.commit()?;
        tracing::info!(version, "database migrated");
    }
    Ok(())
}

/// Whether the database at `path` has exactly this binary's schema; nothing is changed.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: i64 =
        connection.query_row("SELECT COALESCE(MAX(version), 0) FROM schema_migrations", [], |row| row.get(0))?;
    let known = known();
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(StoreError::TooOld { path: path.to_owned(), found, known }),
        std::cmp::Ordering::Greater => Err(StoreError::TooNew { path: path.to_owned(), found, known }),
    }
}

/// Writes a complete copy beside the database. An interrupted earlier attempt is replaced.
fn snapshot(connection: &Connection, path: &Path, version: i64) -> Result<PathBuf, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-{}", version + 1));
    let copy = PathBuf::from(name);
    match std::fs::remove_file(&copy) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::Io { path: copy, source });
        }
        _ => {}
    }
    connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    tracing::info!(copy = %copy.display(), "snapshot taken before the migration");
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("x.db")).unwrap();
        connection.execute("INSERT INTO schema_migrations VALUES (9999)", []).unwrap();
        let error = migrate(&mut connection, Path::new("x.db")).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 9999, .. }), "{error}");
    }

    #[test]
    fn a_snapshot_is_a_whole_database() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &path).unwrap();
        connection.execute("INSERT INTO meta VALUES ('server_name', 'a.example')", []).unwrap();
        let copy = Connection::open(snapshot(&connection, &path, 1).unwrap()).unwrap();
        let name: String =
            copy.query_row("SELECT value FROM meta WHERE name = 'server_name'", [], |r| r.get(0)).unwrap();
        assert_eq!(name, "a.example");
    }
}
