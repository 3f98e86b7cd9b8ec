//! A consistent copy of the database while a server writes to it, and what a copy needs before a server may run on it again.

use std::{fs::File, path::Path};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension,
    backup::{Backup, StepResult},
    config::DbConfig,
};

use super::{StoreError, migrate, sqlite};

/// Pages copied in one step: 1 MB.
const STEP_PAGES: i32 = 256;

/// Steps between two flushes of the copy. A server's commits wait for the disk behind what is dirty in memory, so it is not
/// left to grow.
const FLUSH_STEPS: u32 = 32;

/// How much every counter is raised by a restore: more than a server gives out between two backups. Where that is wrong,
/// incarnations still tell sync tokens apart, and times of creation tell access tokens apart.
const GAP: i64 = 1_000_000;

/// What names the row of `meta` that a restore leaves: the incarnation that the restored database got follows; the value is
/// the position up to which its history is that of the backup.
const RESTORED: &str = "restored.";

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is.
    pub server_name: String,
    /// Version of its schema.
    pub schema: i64,
    /// The newest place in its server-wide order.
    pub position: i64,
    /// How often a server started on it.
    pub incarnation: i64,
}

/// Counters of a database of which no value may be given out a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    position: i64,
    backfill: i64,
    incarnation: i64,
    device: i64,
    token: i64,
    filter: i64,
}

/// A place at which a history was left for another: all that earlier incarnations gave out beyond it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The incarnation that the restore set; the starts after it have greater ones, those of the lost history do not.
    pub incarnation: i64,
    /// The newest position of the backup.
    pub position: i64,
}

/// The newest schema that this binary knows.
pub fn known_schema() -> i64 {
    migrate::known()
}

/// Copies the database at `path`, whoever else has it open, into the empty file `to`: one snapshot of it, checked, flushed to
/// the disk, as one plain file without a log. Answers what the copy says of itself.
///
/// # Errors
/// `WrongServerName`, `TooNew`, `Damaged` if the copy is no sound database, `Io`, and what the engine says.
pub fn copy(path: &Path, server_name: &str, to: &Path) -> Result<Facts, StoreError> {
    let io = |path: &Path, source| StoreError::Io { path: path.to_owned(), source };
    std::fs::metadata(path).map_err(|source| io(path, source))?;
    let flush = File::options().write(true).open(to).map_err(|source| io(to, source))?;
    let source = sqlite::open(path, sqlite::Role::Reader)?;
    // One snapshot for all steps: without it a commit between two steps would make the copy begin anew, and under load it
    // would never end. In WAL mode it holds up no writer.
    source.execute_batch("BEGIN")?;
    let facts = facts_of(&source)?;
    super::check_name(&source, path, server_name)?;
    check_schema(path, facts.schema)?;
    let mut target = open_plain(to)?;
    target.pragma_update(None, "journal_mode", "OFF")?;
    target.pragma_update(None, "synchronous", "OFF")?;
    {
        let backup = Backup::new(&source, &mut target)?;
        let mut steps = 0u32;
        loop {
            match backup.step(STEP_PAGES)? {
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else has the copy, and a reader of the source waits for nobody: only a recovery can be in the way.
                _ => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
            steps += 1;
            if steps.is_multiple_of(FLUSH_STEPS) {
                flush.sync_data().map_err(|source| io(to, source))?;
            }
        }
    }
    close(target)?;
    close(source)?;
    seal(to)?;
    flush.sync_all().map_err(|source| io(to, source))?;
    Ok(facts)
}

/// What the database at `path` says of itself. It may be opened by nobody else, and is not changed.
///
/// # Errors
/// What the engine says; a file that is no database is `Engine`.
pub fn facts(path: &Path) -> Result<Facts, StoreError> {
    facts_of(&open_plain(path)?)
}

/// The counters of the database at `path`, which nobody else has open. If they can be read its log is folded into it; if it
/// is damaged nothing of it changes.
///
/// # Errors
/// What the engine says.
pub fn counters(path: &Path) -> Result<Counters, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let counters = counters_of(&connection)?;
    close(connection)?;
    let connection = open_plain(path)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    close(connection)?;
    Ok(counters)
}

/// Makes a database that was copied back fit to be served: no number that the lost history may have given out is given out
/// again, and what clients have of that history is known for lost. `replaced` are the counters of the database that it
/// replaces, as far as they are known; `now_s` is the time in seconds.
///
/// One-time keys count as handed out, because any of them may have been: devices upload new ones. Of other servers' device lists
/// updates may have been lost: they are fetched again.
///
/// # Errors
/// What the engine says; nothing is changed then.
pub fn make_safe(path: &Path, replaced: Counters, now_s: i64) -> Result<Restored, StoreError> {
    let mut connection = open_plain(path)?;
    let transaction = connection.transaction()?;
    let kept = counters_of(&transaction)?;
    // The time makes it differ from that of an earlier restore of the same backup, whose history is lost, too.
    let incarnation = (kept.incarnation + GAP).max(replaced.incarnation + GAP).max(now_s);
    transaction.execute(
        "UPDATE head SET position = ?1, backfill = ?2, incarnation = ?3",
        [kept.position.max(replaced.position) + GAP, kept.backfill.min(replaced.backfill) - GAP, incarnation],
    )?;
    raise_sequence(&transaction, "devices", kept.device.max(replaced.device) + GAP)?;
    raise_sequence(&transaction, "tokens", kept.token.max(replaced.token) + GAP)?;
    transaction.execute("UPDATE one_time_keys SET claimed = 1", [])?;
    transaction.execute("UPDATE remote_device_lists SET stale = 1", [])?;
    // A filter of no user keeps the numbers below it from being given out.
    transaction.execute(
        "INSERT OR REPLACE INTO filters (nid, user, hash, json) VALUES (?1, 0, zeroblob(0), '{}')",
        [kept.filter.max(replaced.filter) + GAP],
    )?;
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)",
        rusqlite::params![format!("{RESTORED}{incarnation}"), kept.position],
    )?;
    transaction.commit()?;
    close(connection)?;
    Ok(Restored { incarnation, position: kept.position })
}

/// The restores that this database went through, one row each in `meta`.
pub(super) fn restores(connection: &Connection) -> Result<Vec<Restored>, StoreError> {
    let mut statement = connection.prepare("SELECT name, value FROM meta WHERE name LIKE 'restored.%'")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    rows.map(|row| {
        let (name, position) = row?;
        let incarnation = name.strip_prefix(RESTORED).and_then(|number| number.parse().ok());
        let incarnation = incarnation.ok_or_else(|| StoreError::Damaged(format!("meta {name}")))?;
        Ok(Restored { incarnation, position })
    })
    .collect()
}

/// Refuses a schema that is newer than this binary.
fn check_schema(path: &Path, found: i64) -> Result<(), StoreError> {
    let known = known_schema();
    if found > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Opens a database without a word on how it keeps its journal.
fn open_plain(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

fn close(connection: Connection) -> Result<(), StoreError> {
    connection.close().map_err(|(_, error)| error.into())
}

/// Makes the copy readable without a log beside it, and holds it to SQLite's own check: a backup that is found damaged when
/// it is needed is none.
fn seal(path: &Path) -> Result<(), StoreError> {
    let connection = open_plain(path)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if answer != "ok" {
        return Err(StoreError::Damaged(answer));
    }
    close(connection)
}

fn facts_of(connection: &Connection) -> Result<Facts, StoreError> {
    let (position, incarnation) =
        connection.query_row("SELECT position, incarnation FROM head WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(Facts {
        server_name: connection.query_row("SELECT value FROM meta WHERE name = 'server_name'", [], |row| row.get(0))?,
        schema: connection
            .query_row("SELECT COALESCE(MAX(version), 0) FROM schema_migrations", [], |row| row.get(0))?,
        position,
        incarnation,
    })
}

fn counters_of(connection: &Connection) -> Result<Counters, StoreError> {
    let sequence = |table: &str| -> Result<i64, StoreError> {
        let found = connection
            .query_row("SELECT MAX(seq) FROM sqlite_sequence WHERE name = ?1", [table], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .optional()?;
        Ok(found.flatten().unwrap_or(0))
    };
    let (position, backfill, incarnation) =
        connection.query_row("SELECT position, backfill, incarnation FROM head WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(Counters {
        position,
        backfill,
        incarnation,
        device: sequence("devices")?,
        token: sequence("tokens")?,
        filter: connection.query_row("SELECT COALESCE(MAX(nid), 0) FROM filters", [], |row| row.get(0))?,
    })
}

/// The next number that an AUTOINCREMENT table gives out is above `to`.
fn raise_sequence(connection: &Connection, table: &str, to: i64) -> Result<(), StoreError> {
    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", rusqlite::params![table, to])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    struct Fixture {
        folder: tempfile::TempDir,
        path: std::path::PathBuf,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linkim.db");
        Fixture { folder, path }
    }

    impl Fixture {
        fn empty(&self, name: &str) -> std::path::PathBuf {
            let path = self.folder.path().join(name);
            File::create_new(&path).unwrap();
            path
        }
    }

    async fn add(store: &Store, name: String) {
        store
            .write::<_, StoreError, _>(move |tx| {
                tx.next_position();
                tx.execute("INSERT INTO servers (name) VALUES (?1)", crate::params![&name])?;
                Ok(())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_copy_is_one_snapshot_in_one_plain_file() {
        let f = fixture();
        let store = Store::open(&f.path, "a.example").unwrap();
        for n in 0..200 {
            add(&store, format!("{n}.example")).await;
        }
        let to = f.empty("copy");
        let facts = copy(&f.path, "a.example", &to).unwrap();
        assert_eq!((facts.position, facts.incarnation), (store.position(), store.incarnation()));
        add(&store, "later.example".into()).await;
        let header = std::fs::read(&to).unwrap();
        // Bytes 18 and 19 of the file format: 1 is a rollback journal, 2 is WAL.
        assert_eq!(&header[18..20], [1, 1]);
        assert!(!f.folder.path().join("copy-wal").exists());
        let copied = Connection::open(&to).unwrap();
        let count: i64 = copied.query_row("SELECT COUNT(*) FROM servers", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 200);
        assert!(matches!(copy(&f.path, "b.example", &f.empty("c")), Err(StoreError::WrongServerName { .. })));
    }

    #[tokio::test]
    async fn a_copy_ends_and_is_of_one_moment_while_commits_go_on() {
        let f = fixture();
        let store = Store::open(&f.path, "a.example").unwrap();
        // Larger than one step, so that commits fall between steps.
        store
            .write::<_, StoreError, _>(|tx| {
                for n in 0..64 {
                    let value = vec![7u8; 100_000];
                    tx.execute("INSERT INTO meta VALUES (?1, ?2)", crate::params![&format!("x{n}"), value.as_slice()])?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writing = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                let mut n = 0;
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    add(&store, format!("{n}.example")).await;
                    n += 1;
                }
                n
            }
        });
        add(&store, "first.example".into()).await;
        let (path, to) = (f.path.clone(), f.empty("copy"));
        let facts = {
            let to = to.clone();
            tokio::task::spawn_blocking(move || copy(&path, "a.example", &to)).await.unwrap().unwrap()
        };
        stop.store(true, std::sync::atomic::Ordering::Release);
        writing.await.unwrap();
        let copied = Connection::open(&to).unwrap();
        let count: i64 = copied.query_row("SELECT COUNT(*) FROM servers", [], |row| row.get(0)).unwrap();
        // Each commit gives out one position and adds one row.
        assert_eq!(count, facts.position);
        let position: i64 = copied.query_row("SELECT position FROM head", [], |row| row.get(0)).unwrap();
        assert_eq!(position, facts.position);
    }

    #[test]
    fn after_a_restore_no_number_is_given_out_again() {
        let f = fixture();
        Store::open(&f.path, "a.example").unwrap().close();
        let connection = open_plain(&f.path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO devices (nid, user, device_id, created_ts, last_seen_ts) VALUES (5, 1, 'A', 0, 0);
                 INSERT INTO one_time_keys (device, algorithm, key_id, key) VALUES (5, 'a', 'k', '{}');
                 INSERT INTO remote_device_lists VALUES (3, 1, 0, 60);
                 UPDATE head SET position = 70, backfill = -3;",
            )
            .unwrap();
        close(connection).unwrap();
        let replaced = Counters { position: 90, device: 8, token: 9, incarnation: 4, ..Counters::default() };
        let restored = make_safe(&f.path, replaced, 2_000_000_000).unwrap();
        assert_eq!(restored, Restored { incarnation: 2_000_000_000, position: 70 });
        let raised = counters(&f.path).unwrap();
        assert_eq!((raised.position, raised.backfill), (1_000_090, -1_000_003));
        assert_eq!((raised.device, raised.token, raised.filter), (1_000_008, 1_000_009, 1_000_000));
        let connection = open_plain(&f.path).unwrap();
        connection
            .execute("INSERT INTO devices (user, device_id, created_ts, last_seen_ts) VALUES (1, 'B', 0, 0)", [])
            .unwrap();
        assert_eq!(connection.last_insert_rowid(), 1_000_009);
        let left = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(left("SELECT COUNT(*) FROM one_time_keys WHERE claimed = 0"), 0);
        assert_eq!(left("SELECT COUNT(*) FROM remote_device_lists WHERE stale = 0"), 0);
        assert_eq!(restores(&connection).unwrap(), [restored]);
        close(connection).unwrap();
        // The same backup restored once more, by a clock that was set back: a third history.
        let again = make_safe(&f.path, Counters::default(), 1).unwrap();
        assert!(again.incarnation > restored.incarnation);
    }
}
