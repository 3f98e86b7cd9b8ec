//! A space's tree, page by page.
//!
//! Nothing is kept between pages: a token says how many rooms were shown, and the walk is made again. Rooms that we do not
//! have are left out.
//!
//! Source: Client-Server API, "Discovering rooms within spaces"; order of children: "Ordering of children within a space".

use std::{collections::HashSet, sync::Arc};

use ruma::{OwnedRoomId, RoomId};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    state,
    summary::{Summaries, Summary, is_open_to},
};
use crate::{
    accounts::Session,
    store::{Read, Store, StoreError, ids, ids::RoomKey, state as stored_state},
};

/// Rooms in a page at most, also where the client names no number.
const MAX_PAGE: usize = 50;

/// Levels below the root at most, also where the client names no number.
const MAX_DEPTH: u32 = 20;

/// Rooms of a whole tree at most; further ones are left out.
const MAX_ROOMS: usize = 2000;

/// Why a tree is not shown.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// There is no such room, or the user may not know of it.
    #[error("you may not view this room")]
    Forbidden,
    /// The token is not one of ours, or of another request.
    #[error("{0}")]
    BadToken(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct HierarchyQuery {
    /// Only children that their space suggests.
    pub suggested_only: bool,
    /// Rooms in the page.
    pub limit: Option<usize>,
    /// Levels below the root.
    pub max_depth: Option<u32>,
    /// Where to go on.
    pub from: Option<String>,
}

/// A child as its space names it.
#[derive(Clone, Debug, Serialize)]
struct ChildState {
    #[serde(rename = "type")]
    kind: &'static str,
    state_key: String,
    sender: String,
    origin_server_ts: u64,
    content: Box<RawValue>,
    #[serde(skip)]
    order: Option<String>,
}

/// A room of the tree.
#[derive(Clone, Debug, Serialize)]
pub struct HierarchyRoom {
    #[serde(flatten)]
    summary: Summary,
    children_state: Vec<ChildState>,
}

impl HierarchyRoom {
    /// The room.
    pub fn room_id(&self) -> &RoomId {
        &self.summary.published.room_id
    }
}

/// A page of the tree.
#[derive(Clone, Debug, Serialize)]
pub struct HierarchyPage {
    /// The rooms, depth first.
    pub rooms: Vec<HierarchyRoom>,
    /// Where it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// Walks spaces.
pub struct Hierarchy {
    store: Store,
    summaries: Arc<Summaries>,
}

impl Hierarchy {
    /// With where summaries come from.
    pub fn new(store: Store, summaries: Arc<Summaries>) -> Self {
        Self { store, summaries }
    }

    /// A page of the tree below a room.
    ///
    /// # Errors
    /// [`HierarchyError`]
    pub async fn page(
        &self,
        by: &Session,
        root: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, HierarchyError> {
        let depth = query.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let skip = match &query.from {
            None => 0,
            Some(from) => skipped(from, query.suggested_only, depth)?,
        };
        let limit = query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let (by, root, summaries) = (by.clone(), root.to_owned(), self.summaries.clone());
        self.store
            .read(move |read| {
                let mut walk = Walk {
                    read,
                    summaries: &summaries,
                    by: &by,
                    suggested_only: query.suggested_only,
                    depth,
                    seen: HashSet::new(),
                };
                // One more than the page tells whether there is a next one.
                let mut rooms = walk.rooms(root, skip + limit + 1)?;
                if rooms.is_empty() {
                    return Err(HierarchyError::Forbidden);
                }
                let more = rooms.len() > skip + limit;
                rooms.truncate(skip + limit);
                let rooms = rooms.split_off(skip.min(rooms.len()));
                let next_batch = more.then(|| token(query.suggested_only, depth, skip + limit));
                Ok(HierarchyPage { rooms, next_batch })
            })
            .await
    }
}

fn token(suggested_only: bool, depth: u32, shown: usize) -> String {
    format!("{}.{depth}.{shown}", u8::from(suggested_only))
}

/// How many rooms were shown before a token.
fn skipped(token: &str, suggested_only: bool, depth: u32) -> Result<usize, HierarchyError> {
    let unknown = || HierarchyError::BadToken("from is not a token of this server");
    let parts: Vec<&str> = token.split('.').collect();
    let [suggested, of_depth, shown] = parts[..] else { return Err(unknown()) };
    let shown: usize = shown.parse().map_err(|_| unknown())?;
    let of_depth: u32 = of_depth.parse().map_err(|_| unknown())?;
    if !matches!(suggested, "0" | "1") || shown > MAX_ROOMS {
        return Err(unknown());
    }
    if (suggested == "1") != suggested_only || of_depth != depth {
        return Err(HierarchyError::BadToken("suggested_only and max_depth cannot change between pages"));
    }
    Ok(shown)
}

struct Walk<'w> {
    read: &'w dyn Read,
    summaries: &'w Summaries,
    by: &'w Session,
    suggested_only: bool,
    depth: u32,
    seen: HashSet<OwnedRoomId>,
}

impl Walk<'_> {
    /// The first `count` rooms of the tree that the user may know of, depth first; none if the root is not one.
    fn rooms(&mut self, root: OwnedRoomId, count: usize) -> Result<Vec<HierarchyRoom>, StoreError> {
        let mut rooms = Vec::new();
        let mut waiting = vec![(root, 0)];
        while let Some((room, level)) = waiting.pop() {
            if rooms.len() == count || self.seen.len() == MAX_ROOMS {
                break;
            }
            if !self.seen.insert(room.clone()) {
                continue;
            }
            let Some(room) = self.room(&room)? else { continue };
            if level < self.depth {
                let children = room.children_state.iter().rev();
                let ids = children.filter_map(|child| OwnedRoomId::try_from(child.state_key.as_str()).ok());
                waiting.extend(ids.map(|id| (id, level + 1)));
            }
            rooms.push(room);
        }
        Ok(rooms)
    }

    fn room(&self, room: &RoomId) -> Result<Option<HierarchyRoom>, StoreError> {
        let Some(room) = ids::room(self.read, room)? else { return Ok(None) };
        let summary = self.summaries.of(self.read, &room)?;
        if !is_open_to(self.read, self.by, &room, &summary)? {
            return Ok(None);
        }
        let is_space = summary.published.room_type.as_deref() == Some("m.space");
        let children_state = if is_space { self.children(&room)? } else { Vec::new() };
        Ok(Some(HierarchyRoom { summary: Summary::clone(&summary), children_state }))
    }

    /// The valid children of a space, in their order.
    fn children(&self, room: &RoomKey) -> Result<Vec<ChildState>, StoreError> {
        let Some(kind) = ids::type_nid(self.read, "m.space.child")? else { return Ok(Vec::new()) };
        let mut children = Vec::new();
        for (state_key, nid) in stored_state::current_of_type(self.read, room.nid, kind)? {
            let pdu = state::load_pdu(self.read, nid)?;
            let content: Value = serde_json::from_str(pdu.content().get()).unwrap_or_default();
            let valid = <&RoomId>::try_from(state_key.as_str()).is_ok()
                && content["via"].as_array().is_some_and(|via| via.iter().any(Value::is_string));
            if !valid || (self.suggested_only && content["suggested"] != true) {
                continue;
            }
            children.push(ChildState {
                kind: "m.space.child",
                state_key,
                sender: pdu.sender().to_string(),
                origin_server_ts: pdu.origin_server_ts(),
                content: pdu.content().to_owned(),
                order: content["order"].as_str().filter(|order| is_order(order)).map(str::to_owned),
            });
        }
        children.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(children)
    }
}

/// Whether a text may order children: at most 50 characters from space to tilde.
fn is_order(text: &str) -> bool {
    text.len() <= 50 && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// Children with an order come first, by it; then by age; then by room id.
fn order(child: &ChildState) -> (bool, Option<&str>, u64, &str) {
    (child.order.is_none(), child.order.as_deref(), child.origin_server_ts, &child.state_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_request() {
        let token = token(true, 3, 50);
        assert_eq!(skipped(&token, true, 3).unwrap(), 50);
        assert!(skipped(&token, false, 3).is_err());
        assert!(skipped(&token, true, 4).is_err());
        for text in ["", "1.3", "1.3.x", "2.3.5", "1.3.5.7", "1.3.-1", "1.3.2001"] {
            assert!(skipped(text, true, 3).is_err(), "{text}");
        }
    }

    #[test]
    fn children_come_in_the_order_of_the_specs_example() {
        let child = |key: &str, order: Option<&str>, age: u64| ChildState {
            kind: "m.space.child",
            state_key: key.into(),
            sender: String::new(),
            origin_server_ts: age,
            content: RawValue::from_string("{}".into()).unwrap(),
            order: order.filter(|order| is_order(order)).map(str::to_owned),
        };
        let mut children = [
            child("!a:example.org", Some("aaaa"), 1_640_141_000),
            child("!b:example.org", Some(" "), 1_640_341_000),
            child("!c:example.org", Some("first"), 1_640_841_000),
            child("!d:example.org", None, 1_640_741_000),
            child("!e:example.org", None, 1_640_641_000),
        ];
        children.sort_by(|a, b| order(a).cmp(&order(b)));
        let ids: Vec<&str> = children.iter().map(|child| child.state_key.as_str()).collect();
        assert_eq!(ids, ["!b:example.org", "!a:example.org", "!c:example.org", "!e:example.org", "!d:example.org"]);
        assert!(!is_order("ä") && !is_order(&"x".repeat(51)) && is_order(""));
    }
}
