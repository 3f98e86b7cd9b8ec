//! The answer to `send_join`: state, auth chain and the join, written out in pieces as the other server takes them, so that
//! a room of any size costs us its numbers alone.
//!
//! Source: Server-Server API, `PUT /_matrix/federation/v2/send_join`.

use std::collections::{BTreeSet, HashSet};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use ruma::OwnedServerName;

use super::{Accepted, Hosting};
use crate::store::{
    Read, Store, StoreError, auth_chains, events, ids,
    ids::{EventNid, UserNid},
    room_servers, state,
};

/// Events of one piece.
const PIECE: usize = 200;

/// Members who stand for a room without a name (Client-Server API, `m.heroes`).
const HEROES: usize = 5;

/// What the answer will have.
#[derive(Debug)]
pub struct JoinAnswer {
    state: Vec<EventNid>,
    auth_chain: Vec<EventNid>,
    /// What comes behind the two lists: the rest of the object.
    tail: String,
}

impl Hosting {
    /// Gathers what the server of a new member must know of the room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn join_answer(&self, join: &Accepted, omit_members: bool) -> Result<JoinAnswer, StoreError> {
        let (join, own) = (join.clone(), self.own().clone());
        self.store.read(move |read| gather(read, &join, own, omit_members)).await
    }

    /// The answer as a body: of version 1 a list of 200 and the object.
    pub fn join_body(&self, answer: JoinAnswer, v1: bool) -> Body {
        Body::from_stream(pieces(self.store.clone(), answer, v1))
    }
}

fn gather(
    read: &dyn Read,
    join: &Accepted,
    own: OwnedServerName,
    omit_members: bool,
) -> Result<JoinAnswer, StoreError> {
    let mut entries = state::full(read, join.before)?;
    let origin = join.pdu.sender().server_name();
    if omit_members {
        let heroes = heroes(read, &entries)?;
        entries.retain(|(key, _)| *key >= 0 || heroes.contains(key));
    }
    let state: Vec<EventNid> = entries.into_iter().map(|(_, nid)| nid).collect();
    let roots: BTreeSet<EventNid> = state.iter().copied().chain([join.nid]).collect();
    let roots: Vec<EventNid> = roots.into_iter().collect();
    let mut auth_chain = auth_chains::of(read, join.room.nid, &roots)?;
    if omit_members {
        let told: HashSet<EventNid> = state.iter().copied().collect();
        auth_chain.retain(|nid| !told.contains(nid));
    }
    let mut tail = format!(r#","event":{}"#, join.pdu.json());
    if omit_members {
        let mut servers = room_servers::servers(read, join.room.nid)?;
        // It came by this join.
        servers.retain(|server| server != origin);
        servers.push(own);
        let servers = serde_json::to_string(&servers).map_err(|error| StoreError::Damaged(error.to_string()))?;
        tail.push_str(&format!(r#","members_omitted":true,"servers_in_room":{servers}"#));
    }
    Ok(JoinAnswer { state, auth_chain, tail })
}

/// Keys of the members who are told where the room has neither name nor alias.
fn heroes(read: &dyn Read, entries: &[(i64, EventNid)]) -> Result<HashSet<i64>, StoreError> {
    for kind in ["m.room.name", "m.room.canonical_alias"] {
        let key = ids::state_key_nid(read, kind, "")?;
        if entries.iter().any(|(entry, _)| Some(*entry) == key) {
            return Ok(HashSet::new());
        }
    }
    let mut heroes = HashSet::new();
    for (key, nid) in entries.iter().filter(|(key, _)| *key < 0) {
        if heroes.len() >= HEROES {
            break;
        }
        let content = events::json(read, *nid)?;
        let member = crate::rooms::visibility::membership_of(&content);
        if matches!(member, crate::store::members::Membership::Join | crate::store::members::Membership::Invite) {
            heroes.insert(*key);
        }
    }
    // The keys are those of users.
    debug_assert!(heroes.iter().all(|key| ids::member_key(UserNid(-key)) == *key));
    Ok(heroes)
}

/// Where the writing has come to.
enum At {
    State(usize),
    AuthChain(usize),
    End,
}

fn pieces(store: Store, answer: JoinAnswer, v1: bool) -> impl stream::Stream<Item = Result<Bytes, StoreError>> + Send {
    stream::try_unfold((store, answer, At::State(0)), move |(store, answer, at)| async move {
        let start = if v1 { r#"[200,{"state":["# } else { r#"{"state":["# };
        let (list, from, is_state) = match at {
            At::State(from) => (&answer.state, from, true),
            At::AuthChain(from) => (&answer.auth_chain, from, false),
            At::End => return Ok(None),
        };
        let to = list.len().min(from + PIECE);
        let nids: Vec<EventNid> = list[from..to].to_vec();
        let mut text = String::new();
        match (from, is_state) {
            (0, true) => text.push_str(start),
            (0, false) => text.push_str(r#"],"auth_chain":["#),
            _ => {}
        }
        text = store.read(move |read| append(read, text, &nids, from > 0)).await?;
        let next = match (to == list.len(), is_state) {
            (false, true) => At::State(to),
            (false, false) => At::AuthChain(to),
            (true, true) => At::AuthChain(0),
            (true, false) => {
                text.push(']');
                text.push_str(&answer.tail);
                text.push_str(if v1 { "}]" } else { "}" });
                At::End
            }
        };
        Ok(Some((Bytes::from(text), (store, answer, next))))
    })
}

/// Writes some events of a list.
fn append(read: &dyn Read, mut text: String, nids: &[EventNid], mut follows: bool) -> Result<String, StoreError> {
    for nid in nids {
        if std::mem::replace(&mut follows, true) {
            text.push(',');
        }
        text.push_str(&events::json(read, *nid)?);
    }
    Ok(text)
}
