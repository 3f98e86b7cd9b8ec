//! Statements on signing keys: those that this server ever had, and those known of other servers.
//!
//! Keys are the 32 bytes of an ed25519 public key, times are milliseconds of the Unix epoch.

use super::{Read, StoreError, WriteTx};
use crate::params;

/// A key of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    /// Its identifier.
    pub key_id: String,
    /// Its public half.
    pub public_key: Vec<u8>,
    /// When this server stopped to sign with it; `None` while it does.
    pub expired_ts: Option<i64>,
}

/// Every key that this server ever signed with, those in use first, then those that were used the least long ago.
pub fn own_keys(read: &dyn Read) -> Result<Vec<OwnKey>, StoreError> {
    read.all(
        "SELECT key_id, public_key, expired_ts FROM own_keys ORDER BY expired_ts IS NOT NULL, expired_ts DESC, key_id",
        params![],
        |row| Ok(OwnKey { key_id: row.get(0)?, public_key: row.get(1)?, expired_ts: row.get(2)? }),
    )
}

/// Writes a key of this server, in the place of what was under its identifier.
pub fn put_own_key(tx: &WriteTx<'_>, key: &OwnKey) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO own_keys (key_id, public_key, expired_ts) VALUES (?1, ?2, ?3) \
         ON CONFLICT (key_id) DO UPDATE SET public_key = excluded.public_key, expired_ts = excluded.expired_ts",
        params![&key.key_id, &key.public_key, key.expired_ts],
    )?;
    Ok(())
}

/// A key of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Its identifier.
    pub key_id: String,
    /// The key.
    pub key: Vec<u8>,
    /// Until when it is valid.
    pub end_ts: i64,
    /// Whether its server no longer signs with it.
    pub expired: bool,
}

/// A key document as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its text.
    pub json: String,
    /// Until when it is valid, as it says itself.
    pub valid_until_ts: i64,
    /// When it came.
    pub received_ts: i64,
}

/// What is known of a server's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredServer {
    /// The newest document.
    pub document: StoredDocument,
    /// All keys.
    pub keys: Vec<StoredKey>,
    /// When one of them was last asked for.
    pub used_ts: i64,
}

/// What is known of a server's keys, if anything is.
pub fn server(read: &dyn Read, name: &str) -> Result<Option<StoredServer>, StoreError> {
    let found = read.one(
        "SELECT nid, document, valid_until_ts, received_ts, used_ts FROM key_servers WHERE name = ?1",
        params![name],
        |row| {
            let document = StoredDocument { json: row.get(1)?, valid_until_ts: row.get(2)?, received_ts: row.get(3)? };
            Ok((row.get::<i64>(0)?, document, row.get(4)?))
        },
    )?;
    let Some((nid, document, used_ts)) = found else { return Ok(None) };
    let keys =
        read.all("SELECT key_id, key, end_ts, expired FROM known_keys WHERE server = ?1", params![nid], |row| {
            Ok(StoredKey { key_id: row.get(0)?, key: row.get(1)?, end_ts: row.get(2)?, expired: row.get(3)? })
        })?;
    Ok(Some(StoredServer { document, keys, used_ts }))
}

/// Writes all that is known of a server's keys, in the place of what was.
pub fn put_server(tx: &WriteTx<'_>, name: &str, known: &StoredServer) -> Result<(), StoreError> {
    let document = &known.document;
    let nid = tx.insert(
        "INSERT INTO key_servers (name, document, valid_until_ts, received_ts, used_ts) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (name) DO UPDATE SET document = excluded.document, valid_until_ts = excluded.valid_until_ts, \
         received_ts = excluded.received_ts, used_ts = excluded.used_ts RETURNING nid",
        params![name, &document.json, document.valid_until_ts, document.received_ts, known.used_ts],
    )?;
    tx.execute("DELETE FROM known_keys WHERE server = ?1", params![nid])?;
    for key in &known.keys {
        tx.execute(
            "INSERT INTO known_keys (server, key_id, key, end_ts, expired) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![nid, &key.key_id, &key.key, key.end_ts, key.expired],
        )?;
    }
    Ok(())
}

/// Notes that a server's keys were asked for.
pub fn touch_server(tx: &WriteTx<'_>, name: &str, used_ts: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE key_servers SET used_ts = ?2 WHERE name = ?1 AND used_ts < ?2", params![name, used_ts])?;
    Ok(())
}

/// Forgets the keys of servers that are not in `servers`, but for the `keep` that were used last; `chunk` servers at most.
/// Answers how many it forgot.
pub fn forget_strangers(tx: &WriteTx<'_>, keep: i64, chunk: i64) -> Result<usize, StoreError> {
    let read: &dyn Read = tx;
    let gone = read.all(
        "SELECT nid FROM key_servers WHERE name NOT IN (SELECT name FROM servers) \
         ORDER BY used_ts DESC, nid DESC LIMIT ?2 OFFSET ?1",
        params![keep, chunk],
        |row| row.get::<i64>(0),
    )?;
    for nid in &gone {
        tx.execute("DELETE FROM known_keys WHERE server = ?1", params![*nid])?;
        tx.execute("DELETE FROM key_servers WHERE nid = ?1", params![*nid])?;
    }
    Ok(gone.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, ids};

    #[tokio::test]
    async fn strangers_are_forgotten_and_the_servers_of_members_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let known = |until: i64, used_ts: i64| StoredServer {
            used_ts,
            document: StoredDocument { json: "{}".into(), valid_until_ts: until, received_ts: 1 },
            keys: vec![StoredKey { key_id: "ed25519:1".into(), key: vec![7; 32], end_ts: until, expired: false }],
        };
        let left = store
            .write::<_, StoreError, _>(move |tx| {
                ids::intern_server(tx, "member.example")?;
                put_server(tx, "member.example", &known(1, 0))?;
                for at in 0..5 {
                    put_server(tx, &format!("s{at}.example"), &known(at, at))?;
                }
                touch_server(tx, "s0.example", 9)?;
                assert_eq!(forget_strangers(tx, 2, 100)?, 3);
                assert_eq!(forget_strangers(tx, 2, 100)?, 0);
                let read: &dyn Read = tx;
                assert_eq!(server(read, "s4.example")?, Some(known(4, 4)));
                assert_eq!(server(read, "s3.example")?, None);
                let keys = read.all("SELECT server FROM known_keys", params![], |row| row.get::<i64>(0))?;
                assert_eq!(keys.len(), 3, "keys go with their server");
                read.all("SELECT name FROM key_servers ORDER BY name", params![], |row| row.get::<String>(0))
            })
            .await
            .unwrap();
        assert_eq!(left, ["member.example", "s0.example", "s4.example"]);
    }
}
