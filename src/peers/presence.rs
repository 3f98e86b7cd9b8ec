//! `m.presence`: what we tell other servers of our users, and what they tell of theirs.
//!
//! Source: Server-Server API, "Presence".

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use ruma::{OwnedServerName, OwnedUserId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    inbox::edus::{EduError, EduHandler},
    sender::{Edu, HearsArrivals, Sender},
};
use crate::{
    presence::{Heard, MAX_STATUS, Presence, Shown, State, TellsServers},
    store::{
        Store, StoreError, ids,
        ids::{RoomNid, UserNid},
        presence,
    },
};

/// Users of which a transaction can speak at most; the others are passed over. Each costs a look at their memberships.
const MAX_UPDATES: usize = 1_000;

/// The longest time ago that is believed.
const MAX_AGO_MS: i64 = 366 * 24 * 3_600_000;

/// Tells other servers by the sender.
pub struct PresenceToServers {
    sender: Arc<Sender>,
    /// Keys of EDUs with several users: none replaces another, for they speak of different ones.
    serial: AtomicU64,
}

impl PresenceToServers {
    /// Tells by `sender`.
    pub fn new(sender: Arc<Sender>) -> Self {
        Self { sender, serial: AtomicU64::new(0) }
    }
}

#[derive(Serialize)]
struct Update<'a> {
    user_id: &'a OwnedUserId,
    presence: State,
    /// The spec demands one. Of those whose activity is not known, offline ones that is, it is 0, as other servers send it.
    last_active_ago: i64,
    currently_active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<&'a str>,
}

impl TellsServers for PresenceToServers {
    fn tell(&self, server: OwnedServerName, users: &[(UserNid, OwnedUserId, Shown)], now_ms: i64) {
        let push: Vec<Update<'_>> = users
            .iter()
            .map(|(_, user_id, shown)| Update {
                user_id,
                presence: shown.state,
                last_active_ago: shown.last_active_ago(now_ms).unwrap_or(0),
                currently_active: shown.currently_active,
                status_msg: shown.status.as_deref(),
            })
            .collect();
        let key = match users {
            [] => return,
            [(user, ..)] => format!("presence of {}", user.0),
            _ => format!("presence {}", self.serial.fetch_add(1, Ordering::Relaxed)),
        };
        match Edu::new("m.presence", &HashMap::from([("push", push)])) {
            Ok(edu) => self.sender.edu(server, key, edu),
            Err(error) => tracing::error!(%error, "presence is no JSON"),
        }
    }
}

/// Tells servers that come into rooms who of ours is there.
pub struct PresenceOnArrival(pub Arc<Presence>);

impl HearsArrivals for PresenceOnArrival {
    fn server_arrived(&self, room: RoomNid, server: i64) {
        self.0.server_arrived(room, server);
    }
}

/// Hands `m.presence` of other servers to [`Presence`].
pub struct PresenceEdus {
    store: Store,
    presence: Arc<Presence>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    push: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Said {
    user_id: OwnedUserId,
    presence: String,
    last_active_ago: Option<i64>,
    #[serde(default)]
    currently_active: Option<bool>,
    #[serde(default)]
    status_msg: Option<String>,
}

impl Said {
    /// What it means; None if it means nothing that we know.
    fn shown(self, now_ms: i64) -> Option<(OwnedUserId, Shown)> {
        let state = match self.presence.as_str() {
            "online" => State::Online,
            // Clients know the spec's three; who is busy does not want to be disturbed (MSC3026).
            "unavailable" | "busy" | "org.matrix.msc3026.busy" => State::Unavailable,
            "offline" => State::Offline,
            _ => return None,
        };
        let ago = self.last_active_ago.filter(|ago| (0..=MAX_AGO_MS).contains(ago));
        let status = self.status_msg.filter(|status| !status.is_empty());
        let status = status.map(|status| status.chars().take(MAX_STATUS).collect::<String>().into());
        let currently_active = state == State::Online && self.currently_active.unwrap_or(false);
        Some((self.user_id, Shown { state, last_active_ms: ago.map(|ago| now_ms - ago), currently_active, status }))
    }
}

/// The updates of a transaction, the newest of each user.
fn updates(origin: &ServerName, contents: &[&RawValue], now_ms: i64) -> HashMap<OwnedUserId, Shown> {
    let mut found = HashMap::new();
    for content in contents {
        let Ok(content) = serde_json::from_str::<Content<'_>>(content.get()) else {
            tracing::debug!(%origin, "an m.presence without push is passed over");
            continue;
        };
        for said in content.push {
            let Ok(said) = serde_json::from_str::<Said>(said.get()) else { continue };
            if said.user_id.server_name() != origin {
                tracing::debug!(%origin, user = %said.user_id, "presence of a user of another server is passed over");
                continue;
            }
            let Some((user_id, shown)) = said.shown(now_ms) else { continue };
            if found.len() < MAX_UPDATES || found.contains_key(&user_id) {
                found.insert(user_id, shown);
            }
        }
    }
    found
}

impl PresenceEdus {
    /// For `presence`; `store` knows who shares rooms with ours.
    pub fn new(store: Store, presence: Arc<Presence>) -> Self {
        Self { store, presence }
    }

    async fn take(&self, origin: &ServerName, contents: &[&RawValue]) -> Result<(), StoreError> {
        if !self.presence.is_enabled() {
            return Ok(());
        }
        let updates = updates(origin, contents, self.presence.now_ms());
        if updates.is_empty() {
            return Ok(());
        }
        let few = updates.len() <= 10;
        let look = move |read: &crate::store::Snapshot<'_>| {
            let mut heard = Vec::with_capacity(updates.len());
            for (user_id, shown) in updates {
                let Some(user) = ids::user_nid(read, &user_id)? else { continue };
                if !presence::rooms(read, user)?.is_empty() {
                    heard.push(Heard { user, user_id, shown });
                }
            }
            Ok::<_, StoreError>(heard)
        };
        let heard = if few { self.store.read_short(look).await? } else { self.store.read(look).await? };
        self.presence.hear(heard);
        Ok(())
    }
}

impl EduHandler for PresenceEdus {
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
        Box::pin(async move { Ok(self.take(origin, &[content]).await?) })
    }

    fn handle_all<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [&'a RawValue],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.take(origin, contents))
    }

    fn durable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use serde_json::{json, value::to_raw_value};

    use super::*;

    const NOW: i64 = 1_000_000_000_000;

    fn read(push: serde_json::Value) -> HashMap<OwnedUserId, Shown> {
        let content = to_raw_value(&json!({ "push": push })).unwrap();
        updates(server_name!("b.example"), &[&content], NOW)
    }

    #[test]
    fn only_the_origins_own_users_count_and_the_newest_of_each() {
        let found = read(json!([
            { "user_id": "@bob:b.example", "presence": "online", "last_active_ago": 5000, "currently_active": true },
            { "user_id": "@eve:c.example", "presence": "online", "last_active_ago": 0 },
            { "user_id": "nobody", "presence": "online", "last_active_ago": 0 },
            "no object",
            { "user_id": "@bob:b.example", "presence": "unavailable", "last_active_ago": 6000, "status_msg": "Tea" },
            { "user_id": "@ann:b.example", "presence": "hungry", "last_active_ago": 0 },
        ]));
        let bob = Shown {
            state: State::Unavailable,
            last_active_ms: Some(NOW - 6000),
            currently_active: false,
            status: Some("Tea".into()),
        };
        assert_eq!(found, HashMap::from([("@bob:b.example".try_into().unwrap(), bob)]));
    }

    #[test]
    fn what_is_absurd_is_bounded() {
        let found = read(json!([{
            "user_id": "@bob:b.example", "presence": "org.matrix.msc3026.busy", "last_active_ago": i64::MAX,
            "status_msg": "ä".repeat(100_000), "currently_active": true,
        }]));
        let bob = &found[<&ruma::UserId>::try_from("@bob:b.example").unwrap()];
        assert_eq!((bob.state, bob.last_active_ms, bob.currently_active), (State::Unavailable, None, false));
        assert_eq!(bob.status.as_deref().map(|status| status.chars().count()), Some(MAX_STATUS));
        let many: Vec<_> = (0..5000)
            .map(|n| json!({ "user_id": format!("@u{n}:b.example"), "presence": "online", "last_active_ago": 1 }))
            .collect();
        assert_eq!(read(json!(many)).len(), MAX_UPDATES);
    }
}
