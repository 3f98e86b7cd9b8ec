//! What the database file holds, table by table and index by index.

use std::{collections::BTreeMap, path::Path};

/// Rows and bytes of one table or index.
#[derive(Clone, Copy, Default)]
struct Tree {
    rows: i64,
    bytes: i64,
}

/// Rows and bytes of every table and index, and of the log.
pub(crate) struct Storage {
    trees: BTreeMap<String, Tree>,
    log: u64,
}

impl Storage {
    /// Reads them, from the newest commit.
    pub(crate) fn of(path: &Path) -> Self {
        let log = std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |file| file.len());
        let connection = rusqlite::Connection::open(path).unwrap();
        // The inner pages of a table that has a rowid hold no rows. Payload and the cell's own few bytes; not what a page
        // has free.
        let mut statement = connection
            .prepare(
                "SELECT d.name, SUM(CASE WHEN d.pagetype = 'leaf' OR s.type = 'index' OR s.sql LIKE '%WITHOUT ROWID%' \
                 THEN d.ncell ELSE 0 END), SUM(d.pgsize - d.unused) \
                 FROM dbstat d LEFT JOIN sqlite_schema s ON s.name = d.name GROUP BY d.name",
            )
            .unwrap();
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, Tree { rows: row.get(1)?, bytes: row.get(2)? }))).unwrap();
        Self { trees: rows.map(Result::unwrap).collect(), log }
    }

    /// What each of `times` added since `before`.
    pub(crate) fn print_growth(&self, what: &str, before: &Self, times: usize) {
        let times = times.max(1) as f64;
        let (mut rows, mut bytes) = (0.0, 0.0);
        let mut parts = Vec::new();
        for (name, tree) in &self.trees {
            let old = before.trees.get(name).copied().unwrap_or_default();
            let own = ((tree.rows - old.rows) as f64 / times, (tree.bytes - old.bytes) as f64 / times);
            if own.0.abs() < 0.005 && own.1.abs() < 0.5 {
                continue;
            }
            rows += own.0;
            bytes += own.1;
            parts.push(format!("{name} {:.2} of {:.0} B", own.0, own.1));
        }
        let log = self.log.saturating_sub(before.log) as f64 / times;
        println!("  {what} adds {rows:.2} rows and index entries, {bytes:.0} B (log {log:.0} B): {}", parts.join(", "));
    }
}
