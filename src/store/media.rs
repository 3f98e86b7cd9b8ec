//! Statements on files and their names.

use super::{
    Read, Row, StoreError, WriteTx,
    ids::{self, UserNid},
};
use crate::params;

/// A file under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRow {
    /// Who uploaded it here; None for a copy of another server's file.
    pub uploader: Option<UserNid>,
    /// SHA-256 of the content; None while it is not uploaded.
    pub hash: Option<[u8; 32]>,
    /// Its length in bytes.
    pub size: i64,
    /// What the uploader says that it is.
    pub content_type: Option<String>,
    /// Its name, as the uploader says.
    pub filename: Option<String>,
    /// When an id without content expires.
    pub expires_ts: Option<i64>,
    /// When it was last read, exact to a day.
    pub last_access_ts: i64,
    /// Whether it is kept from everybody.
    pub quarantined: bool,
}

fn row(row: &Row<'_>) -> Result<MediaRow, StoreError> {
    let hash: Option<Vec<u8>> = row.get(1)?;
    let hash =
        hash.map(|hash| hash.try_into().map_err(|_| StoreError::Damaged("a file's hash has not 32 bytes".into())));
    Ok(MediaRow {
        uploader: row.get(0)?,
        hash: hash.transpose()?,
        size: row.get(2)?,
        content_type: row.get(3)?,
        filename: row.get(4)?,
        expires_ts: row.get(5)?,
        last_access_ts: row.get(6)?,
        quarantined: row.get(7)?,
    })
}

/// The file `mxc://{origin}/{media_id}`.
pub fn get(read: &dyn Read, origin: &str, media_id: &str) -> Result<Option<MediaRow>, StoreError> {
    read.one(
        "SELECT uploader, hash, size, content_type, filename, expires_ts, last_access_ts, quarantined FROM media \
         WHERE origin = (SELECT nid FROM servers WHERE name = ?1) AND media_id = ?2",
        params![origin, media_id],
        row,
    )
}

/// Writes a file's row, in place of what was there.
pub fn put(tx: &WriteTx<'_>, origin: &str, media_id: &str, media: &MediaRow, now_ms: i64) -> Result<(), StoreError> {
    let origin = ids::intern_server(tx, origin)?;
    tx.execute(
        "INSERT INTO media (origin, media_id, uploader, hash, size, content_type, filename, created_ts, expires_ts, \
         last_access_ts, quarantined) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (origin, media_id) DO UPDATE SET uploader = excluded.uploader, hash = excluded.hash, \
         size = excluded.size, content_type = excluded.content_type, filename = excluded.filename, \
         expires_ts = excluded.expires_ts, last_access_ts = excluded.last_access_ts",
        params![
            origin,
            media_id,
            media.uploader,
            media.hash.as_ref().map(<[u8; 32]>::as_slice),
            media.size,
            media.content_type.as_deref(),
            media.filename.as_deref(),
            now_ms,
            media.expires_ts,
            media.last_access_ts,
            media.quarantined
        ],
    )?;
    Ok(())
}

/// Notes when a file was last read.
pub fn touch(tx: &WriteTx<'_>, origin: &str, media_id: &str, now_ms: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE media SET last_access_ts = ?3 WHERE origin = (SELECT nid FROM servers WHERE name = ?1) AND media_id = ?2",
        params![origin, media_id, now_ms],
    )?;
    Ok(())
}

/// How many ids a user holds that have no content yet and are not expired.
pub fn unused_ids(read: &dyn Read, uploader: UserNid, now_ms: i64) -> Result<i64, StoreError> {
    let found = read.one(
        "SELECT COUNT(*) FROM media WHERE uploader = ?1 AND uploader IS NOT NULL AND hash IS NULL AND expires_ts > ?2",
        params![uploader, now_ms],
        |row| row.get(0),
    )?;
    Ok(found.unwrap_or(0))
}

/// Bytes that a user has uploaded since a time.
pub fn uploaded_since(read: &dyn Read, uploader: UserNid, since_ms: i64) -> Result<i64, StoreError> {
    let found = read.one(
        "SELECT COALESCE(SUM(size), 0) FROM media WHERE uploader = ?1 AND uploader IS NOT NULL AND created_ts >= ?2",
        params![uploader, since_ms],
        |row| row.get(0),
    )?;
    Ok(found.unwrap_or(0))
}

/// Whether any name leads to this content.
pub fn is_named(read: &dyn Read, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let found =
        read.one("SELECT 1 FROM media WHERE hash = ?1 AND hash IS NOT NULL LIMIT 1", params![hash.as_slice()], |_| {
            Ok(())
        })?;
    Ok(found.is_some())
}

/// Deletes copies not read since `before_ms` and expired ids, at most `limit` of each; answers the hashes of the copies.
pub fn sweep(tx: &WriteTx<'_>, before_ms: i64, now_ms: i64, limit: i64) -> Result<Vec<[u8; 32]>, StoreError> {
    let read: &dyn Read = tx;
    let old = read.all(
        "SELECT origin, media_id, hash FROM media WHERE uploader IS NULL AND last_access_ts < ?1 LIMIT ?2",
        params![before_ms, limit],
        |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<Option<Vec<u8>>>(2)?)),
    )?;
    let mut hashes = Vec::new();
    for (origin, media_id, hash) in old {
        tx.execute("DELETE FROM media WHERE origin = ?1 AND media_id = ?2", params![origin, &media_id])?;
        hashes.extend(hash.and_then(|hash| <[u8; 32]>::try_from(hash).ok()));
    }
    tx.execute(
        "DELETE FROM media WHERE (origin, media_id) IN \
         (SELECT origin, media_id FROM media WHERE hash IS NULL AND expires_ts < ?1 LIMIT ?2)",
        params![now_ms, limit],
    )?;
    Ok(hashes)
}
