//! A space's tree, page by page.
//!
//! Nothing is kept between pages: a token says how many rooms were shown, and the walk is made again. What other servers tell
//! of rooms that we are not in is handed in ([`Outside`]); a walk says which rooms it would have wanted to know of.
//!
//! Source: Client-Server API, "Discovering rooms within spaces"; order of children: "Ordering of children within a space";
//! Server-Server API, "Spaces".

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    state,
    summary::{Summaries, Summary, is_open_to, is_open_to_server, is_outside_open_to, is_resident},
};
use crate::{
    accounts::Session,
    store::{Read, Store, StoreError, events, ids, ids::RoomKey, members, server_standing, state as stored_state},
};

/// Rooms in a page at most, also where the client names no number.
const MAX_PAGE: usize = 50;

/// Levels below the root at most, also where the client names no number.
const MAX_DEPTH: u32 = 20;

/// Rooms of a whole tree at most; further ones are left out.
const MAX_ROOMS: usize = 2000;

/// Children of a space that another server is told of at most.
const MAX_CHILDREN: usize = 200;

/// Servers that a child is known through at most.
const MAX_VIA: usize = 10;

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
pub struct ChildState {
    #[serde(rename = "type")]
    kind: &'static str,
    state_key: OwnedRoomId,
    sender: String,
    origin_server_ts: u64,
    content: Box<RawValue>,
    #[serde(skip)]
    order: Option<String>,
    #[serde(skip)]
    suggested: bool,
    #[serde(skip)]
    via: Vec<OwnedServerName>,
}

impl ChildState {
    /// A child; None if the event names none: its key is no room id, or it has no `via`.
    pub fn new(state_key: &str, sender: String, origin_server_ts: u64, content: &RawValue) -> Option<Self> {
        let fields: Value = serde_json::from_str(content.get()).ok()?;
        let via = fields["via"].as_array()?.iter().filter_map(Value::as_str);
        via.clone().next()?;
        Some(Self {
            kind: "m.space.child",
            state_key: RoomId::parse(state_key).ok()?,
            sender,
            origin_server_ts,
            order: fields["order"].as_str().filter(|order| is_order(order)).map(str::to_owned),
            suggested: fields["suggested"] == true,
            via: via.filter_map(|name| ServerName::parse(name).ok()).take(MAX_VIA).collect(),
            content: content.to_owned(),
        })
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        256 + self.content.get().len()
    }
}

/// What another server told of a room that we are not in.
#[derive(Clone, Debug)]
pub struct OutsideRoom {
    /// The room.
    pub summary: Summary,
    /// Its children, if it is a space.
    pub children: Vec<ChildState>,
}

/// Rooms that we are not in, as far as other servers were asked; None: nobody tells of it.
pub type Outside = HashMap<OwnedRoomId, Option<OutsideRoom>>;

/// A room that other servers should be asked of.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that should be in it.
    pub via: Vec<OwnedServerName>,
}

/// A walk.
#[derive(Clone, Debug)]
pub struct Walked {
    /// The page; None if the user may not know of the root.
    pub page: Option<HierarchyPage>,
    /// Rooms met that [`Outside`] says nothing of.
    pub unknown: Vec<Unknown>,
}

/// A space as another server is told of it.
#[derive(Debug, Serialize)]
pub struct ServerHierarchy {
    room: HierarchyRoom,
    children: Vec<Summary>,
    inaccessible_children: Vec<OwnedRoomId>,
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

    /// A page of the tree below a room, as far as it is known here.
    ///
    /// # Errors
    /// [`HierarchyError`]
    pub async fn page(
        &self,
        by: &Session,
        root: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, HierarchyError> {
        self.walk(by, root, query, Arc::default()).await?.page.ok_or(HierarchyError::Forbidden)
    }

    /// A page of the tree below a room, with what other servers told.
    ///
    /// # Errors
    /// `BadToken`, or the store's.
    pub async fn walk(
        &self,
        by: &Session,
        root: &RoomId,
        query: HierarchyQuery,
        outside: Arc<Outside>,
    ) -> Result<Walked, HierarchyError> {
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
                    outside: &outside,
                    by: &by,
                    suggested_only: query.suggested_only,
                    depth,
                    seen: HashSet::new(),
                    unknown: Vec::new(),
                };
                // One more than the page tells whether there is a next one.
                let mut rooms = walk.rooms(root, skip + limit + 1)?;
                let unknown = walk.unknown;
                if rooms.is_empty() {
                    return Ok(Walked { page: None, unknown });
                }
                let more = rooms.len() > skip + limit;
                rooms.truncate(skip + limit);
                let rooms = rooms.split_off(skip.min(rooms.len()));
                let next_batch = more.then(|| token(query.suggested_only, depth, skip + limit));
                Ok(Walked { page: Some(HierarchyPage { rooms, next_batch }), unknown })
            })
            .await
    }

    /// A room and its children as another server may know of them; None for a room that we are not in, or that is none of
    /// its business. Children that we do not have are left out.
    ///
    /// # Errors
    /// The store's.
    pub async fn for_server(
        &self,
        server: &ServerName,
        room: &RoomId,
        suggested_only: bool,
    ) -> Result<Option<ServerHierarchy>, StoreError> {
        let (server, room, summaries) = (server.to_owned(), room.to_owned(), self.summaries.clone());
        self.store
            .read(move |read| {
                let Some((summary, key)) = open_to_server(read, &summaries, &server, &room)?.flatten() else {
                    return Ok(None);
                };
                let children = children_of(read, &key, &summary, suggested_only)?;
                let mut told = ServerHierarchy {
                    room: HierarchyRoom { summary, children_state: children },
                    children: Vec::new(),
                    inaccessible_children: Vec::new(),
                };
                for child in told.room.children_state.iter().take(MAX_CHILDREN) {
                    match open_to_server(read, &summaries, &server, &child.state_key)? {
                        Some(Some((summary, _))) => told.children.push(summary),
                        Some(None) => told.inaccessible_children.push(child.state_key.clone()),
                        None => {}
                    }
                }
                Ok(Some(told))
            })
            .await
    }
}

/// A room's summary as a server may know of it; the inner None if it may not, the outer one if we are not in the room.
#[expect(clippy::type_complexity, reason = "two questions, one answer each")]
fn open_to_server(
    read: &dyn Read,
    summaries: &Summaries,
    server: &ServerName,
    room: &RoomId,
) -> Result<Option<Option<(Summary, Arc<RoomKey>)>>, StoreError> {
    let Some(room) = ids::room(read, room)? else { return Ok(None) };
    if !is_resident(read, room.nid)? {
        return Ok(None);
    }
    let summary = summaries.of(read, &room)?;
    if !is_open_to_server(read, server, &room, &summary)? {
        return Ok(Some(None));
    }
    Ok(Some(Some((Summary::clone(&summary), room))))
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
    outside: &'w Outside,
    by: &'w Session,
    suggested_only: bool,
    depth: u32,
    seen: HashSet<OwnedRoomId>,
    unknown: Vec<Unknown>,
}

impl Walk<'_> {
    /// The first `count` rooms of the tree that the user may know of, depth first; none if the root is not one.
    fn rooms(&mut self, root: OwnedRoomId, count: usize) -> Result<Vec<HierarchyRoom>, StoreError> {
        let mut rooms = Vec::new();
        let via = self.who_knows(&root)?;
        let mut waiting = vec![(root, 0, via)];
        while let Some((room, level, via)) = waiting.pop() {
            if rooms.len() == count || self.seen.len() == MAX_ROOMS {
                break;
            }
            if !self.seen.insert(room.clone()) {
                continue;
            }
            let Some(room) = self.room(room, via)? else { continue };
            if level < self.depth {
                let children = room.children_state.iter().rev();
                waiting.extend(children.map(|child| (child.state_key.clone(), level + 1, child.via.clone())));
            }
            rooms.push(room);
        }
        Ok(rooms)
    }

    /// The server of whoever gave the user their membership of a room that we are not in.
    fn who_knows(&self, room: &RoomId) -> Result<Vec<OwnedServerName>, StoreError> {
        let Some(room) = ids::room(self.read, room)? else { return Ok(Vec::new()) };
        let Some(member) = members::of(self.read, self.by.user, room.nid)? else { return Ok(Vec::new()) };
        let sender = ids::user_id(self.read, events::by_nid(self.read, member.event)?.sender)?;
        let mut via = server_standing::by_members(self.read, room.nid, MAX_VIA as i64)?;
        via.push(sender.server_name().to_owned());
        Ok(via)
    }

    fn room(&mut self, room_id: OwnedRoomId, via: Vec<OwnedServerName>) -> Result<Option<HierarchyRoom>, StoreError> {
        let here = ids::room(self.read, &room_id)?;
        let resident = match &here {
            Some(room) => is_resident(self.read, room.nid)?,
            None => false,
        };
        if !resident {
            match self.outside.get(&room_id) {
                Some(Some(told)) => return self.outside_room(told),
                Some(None) => {}
                None => self.unknown.push(Unknown { room_id, via }),
            }
        }
        // What we knew when we left is better than nothing.
        let Some(room) = here else { return Ok(None) };
        if state::current_nid(self.read, room.nid, "m.room.create", "")?.is_none() {
            return Ok(None);
        }
        let summary = self.summaries.of(self.read, &room)?;
        if !is_open_to(self.read, self.by, &room, &summary)? {
            return Ok(None);
        }
        let children_state = children_of(self.read, &room, &summary, self.suggested_only)?;
        Ok(Some(HierarchyRoom { summary: Summary::clone(&summary), children_state }))
    }

    fn outside_room(&self, told: &OutsideRoom) -> Result<Option<HierarchyRoom>, StoreError> {
        if !is_outside_open_to(self.read, self.by, &told.summary)? {
            return Ok(None);
        }
        let children = told.children.iter().filter(|child| child.suggested || !self.suggested_only);
        let mut children_state: Vec<ChildState> = children.cloned().collect();
        children_state.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(Some(HierarchyRoom { summary: told.summary.clone(), children_state }))
    }
}

/// The valid children of a space, in their order; of a room that is none, none.
fn children_of(
    read: &dyn Read,
    room: &RoomKey,
    summary: &Summary,
    suggested_only: bool,
) -> Result<Vec<ChildState>, StoreError> {
    if summary.published.room_type.as_deref() != Some("m.space") {
        return Ok(Vec::new());
    }
    let Some(kind) = ids::type_nid(read, "m.space.child")? else { return Ok(Vec::new()) };
    let mut children = Vec::new();
    for (state_key, nid) in stored_state::current_of_type(read, room.nid, kind)? {
        let pdu = state::load_pdu(read, nid)?;
        let child = ChildState::new(&state_key, pdu.sender().to_string(), pdu.origin_server_ts(), pdu.content());
        children.extend(child.filter(|child| child.suggested || !suggested_only));
    }
    children.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(children)
}

/// Whether a text may order children: at most 50 characters from space to tilde.
fn is_order(text: &str) -> bool {
    text.len() <= 50 && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// Children with an order come first, by it; then by age; then by room id.
fn order(child: &ChildState) -> (bool, Option<&str>, u64, &str) {
    (child.order.is_none(), child.order.as_deref(), child.origin_server_ts, child.state_key.as_str())
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
        let child = |key: &str, order: Option<&str>, age: u64| {
            let content = serde_json::json!({ "via": ["example.org"], "order": order });
            let content = serde_json::value::to_raw_value(&content).unwrap();
            ChildState::new(key, String::new(), age, &content).unwrap()
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
