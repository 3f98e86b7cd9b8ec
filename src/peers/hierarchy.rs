//! Rooms that we are not in, as servers that are in them tell of them: for trees of spaces and for summaries.
//!
//! Source: Server-Server API, "Spaces", `GET /hierarchy/{roomId}`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{OwnedRoomId, OwnedServerName, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    client::{Call, PeerClient, PeerError},
    published,
};
use crate::{
    accounts::Session,
    rooms::{
        hierarchy::{
            ChildState, Hierarchy, HierarchyError, HierarchyPage, HierarchyQuery, Outside, OutsideRoom, Unknown,
        },
        summary::Summary,
    },
};

/// How long one server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client waits for all of them.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 1024 * 1024;

/// Servers asked for one room at most.
const MAX_VIA: usize = 3;

/// Rooms asked for at a time, and for one page, at most.
const AT_ONCE: usize = 8;
const MAX_ASKED: usize = 60;

/// Children of a space that are taken at most.
const MAX_CHILDREN: usize = 500;

/// Bytes of answers that are remembered, and for how long.
const REMEMBERED_BYTES: u64 = 8 * 1024 * 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(300);

/// What a server told of a room.
struct Told {
    room: OutsideRoom,
    children: Vec<Summary>,
    inaccessible: Vec<OwnedRoomId>,
}

/// Asks other servers for rooms that we are not in, and remembers what they tell for five minutes. Bound: 8 MiB.
pub struct RemoteRooms {
    peers: Arc<PeerClient>,
    told: Cache<OwnedRoomId, Arc<Told>>,
}

#[derive(Deserialize)]
struct Answer {
    room: Box<RawValue>,
    #[serde(default)]
    children: Vec<Box<RawValue>>,
    #[serde(default)]
    inaccessible_children: Vec<String>,
}

#[derive(Deserialize)]
struct Children {
    #[serde(default)]
    children_state: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Child {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: String,
    origin_server_ts: u64,
    content: Box<RawValue>,
}

impl RemoteRooms {
    /// Asks through this client.
    pub fn new(peers: Arc<PeerClient>) -> Self {
        let weigh = |_: &OwnedRoomId, told: &Arc<Told>| {
            let summaries = told.children.iter().chain([&told.room.summary]).map(published::size).sum::<usize>();
            let children = told.room.children.iter().map(ChildState::size).sum::<usize>();
            u32::try_from(summaries + children + told.inaccessible.len() * 64).unwrap_or(u32::MAX)
        };
        let told = Cache::builder().max_capacity(REMEMBERED_BYTES).weigher(weigh).time_to_live(REMEMBERED_FOR).build();
        Self { peers, told }
    }

    /// A page of the tree below a room; rooms that we are not in are asked for, as far as time allows.
    ///
    /// # Errors
    /// [`HierarchyError`]
    pub async fn page(
        &self,
        hierarchy: &Hierarchy,
        by: &Session,
        root: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, HierarchyError> {
        let until = Instant::now() + PATIENCE;
        let mut outside = Outside::new();
        let mut asked = 0;
        loop {
            let walked = hierarchy.walk(by, root, query.clone(), Arc::new(outside.clone())).await?;
            let unknown: Vec<Unknown> = walked.unknown.into_iter().take(AT_ONCE).collect();
            if unknown.is_empty() || asked >= MAX_ASKED {
                return walked.page.ok_or(HierarchyError::Forbidden);
            }
            asked += unknown.len();
            let answers = join_all(unknown.iter().map(|room| self.ask(&room.room_id, &room.via)));
            let Ok(answers) = tokio::time::timeout_at(until, answers).await else {
                return walked.page.ok_or(HierarchyError::Forbidden);
            };
            for (room, told) in unknown.into_iter().zip(answers) {
                take(&mut outside, room.room_id, told.as_deref());
            }
        }
    }

    /// The summary of a room that we are not in; None if none of the servers tells.
    pub async fn summary(&self, room: &RoomId, via: &[OwnedServerName]) -> Option<Summary> {
        Some(self.ask(room, via).await?.room.summary.clone())
    }

    async fn ask(&self, room: &RoomId, via: &[OwnedServerName]) -> Option<Arc<Told>> {
        if let Some(told) = self.told.get(room) {
            return Some(told);
        }
        let id = utf8_percent_encode(room.as_str(), NON_ALPHANUMERIC);
        let mut tried = HashSet::new();
        for server in via.iter().filter(|server| tried.insert(*server)).take(MAX_VIA) {
            // Not only suggested children: one answer serves both questions.
            let call = Call::get(format!("/_matrix/federation/v1/hierarchy/{id}?suggested_only=false"));
            let answer = self.peers.json::<Answer>(server, call.timeout(TIMEOUT).limit(MAX_ANSWER)).await;
            match answer.and_then(|answer| understood(server, room, answer)) {
                Ok(told) => {
                    let told = Arc::new(told);
                    self.told.insert(room.to_owned(), told.clone());
                    return Some(told);
                }
                Err(error) => tracing::debug!(%error, %room, "a server does not tell of a room"),
            }
        }
        None
    }
}

/// Checks an answer; what is wrong inside it is left out.
fn understood(server: &OwnedServerName, room: &RoomId, answer: Answer) -> Result<Told, PeerError> {
    let malformed = |what: &str| PeerError::Malformed(server.clone(), what.to_owned());
    let summary = published::summary(&answer.room).ok_or_else(|| malformed("no room summary"))?;
    if summary.published.room_id != room {
        return Err(malformed("another room than asked for"));
    }
    let state: Children =
        serde_json::from_str(answer.room.get()).map_err(|error| malformed(&format!("children_state: {error}")))?;
    let children = state.children_state.iter().filter_map(|child| {
        let child: Child = serde_json::from_str(child.get()).ok()?;
        if child.kind != "m.space.child" || child.sender.len() > 255 {
            return None;
        }
        ChildState::new(&child.state_key, child.sender, child.origin_server_ts, &child.content)
    });
    Ok(Told {
        children: answer.children.iter().filter_map(|room| published::summary(room)).take(MAX_CHILDREN).collect(),
        inaccessible: answer
            .inaccessible_children
            .iter()
            .filter_map(|id| RoomId::parse(id).ok())
            .take(MAX_CHILDREN)
            .collect(),
        room: OutsideRoom { children: children.take(MAX_CHILDREN).collect(), summary },
    })
}

/// Adds what was told of a room to what is known; also of its children: a space's own children are not among it.
fn take(outside: &mut Outside, room: OwnedRoomId, told: Option<&Told>) {
    let Some(told) = told else {
        outside.insert(room, None);
        return;
    };
    outside.insert(room, Some(told.room.clone()));
    for child in &told.children {
        if child.published.room_type.as_deref() != Some("m.space") {
            let child_room = OutsideRoom { summary: child.clone(), children: Vec::new() };
            outside.entry(child.published.room_id.clone()).or_insert(Some(child_room));
        }
    }
    for room in &told.inaccessible {
        outside.entry(room.clone()).or_insert(None);
    }
}
