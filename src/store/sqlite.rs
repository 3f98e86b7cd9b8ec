//! SQLite behind the seam: how a connection is opened, and how a statement runs on it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig, types::ToSqlOutput};

use super::{Param, Row, StoreError};

/// Pages an engine cache keeps, in KiB. 2 to 4 MB beat 64 MB in spec/decisions/0002-sqlite-settings.md.
const CACHE_KIB: i64 = 2048;

/// How a connection will be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one writer.
    Writer,
    /// A reader of the pool; refuses writes.
    Reader,
    /// Copies the log into the database file.
    Checkpointer,
}

/// Opens `path` for `role`, creating it for the writer.
pub(super) fn open(path: &Path, role: Role) -> Result<Connection, StoreError> {
    let flags = match role {
        Role::Writer => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Role::Reader | Role::Checkpointer => OpenFlags::SQLITE_OPEN_READ_WRITE,
    } | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    if role == Role::Writer {
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    // FULL: the commit returns after the log is on the disk. Checkpoints are ours (checkpoint.rs), never inside a commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Without it the planner looks at bound values where a partial index might fit, and prepares the statement anew whenever
    // one changes: 23 % of the CPU of delivering a message.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if role == Role::Reader {
        connection.pragma_update(None, "query_only", true)?;
    }
    connection.set_prepared_statement_cache_capacity(512);
    Ok(connection)
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::{Value, ValueRef};
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Self::Blob(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
        })
    }
}

/// Runs a look-up.
pub(super) fn each(
    connection: &Connection,
    sql: &'static str,
    params: &[Param<'_>],
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        each(&Row { inner: row })?;
    }
    Ok(())
}

/// Runs a change; answers how many rows it touched.
pub(super) fn execute(connection: &Connection, sql: &'static str, params: &[Param<'_>]) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(params))?)
}
