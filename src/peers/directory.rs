//! The directories of other servers: their aliases, and the rooms that they publish.
//!
//! Source: Server-Server API, `GET /query/directory`, `/publicRooms`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, ServerName};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::Semaphore;

use super::{
    client::{Call, PeerClient, PeerError},
    published,
};
use crate::{
    json::First,
    rooms::directory::{DirectoryPage, DirectoryQuery},
};

/// How long a server may take, as a client waits.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Servers that are taken of those named with an alias.
const MAX_SERVERS: usize = 100;

/// Bytes of an answer about an alias at most.
const MAX_ALIAS: usize = 64 * 1024;

/// Aliases that are remembered, and for how long.
const REMEMBERED: u64 = 1_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Rooms of a page at most: what a server of ours gives.
const MAX_PAGE: usize = 500;

/// Characters of a token at most; a longer one ends the list.
const MAX_TOKEN: usize = 1_024;

/// What an alias of another server points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAlias {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that are said to be in it; the alias's own is the last, if it did not name itself.
    pub servers: Vec<OwnedServerName>,
}

/// Questions under way at most: everybody may ask, with no token.
const AT_ONCE: usize = 32;

/// Asks the directories of other servers. Remembers aliases for a minute. Bound: 1,000 aliases.
pub struct RemoteDirectory {
    peers: Arc<PeerClient>,
    asking: Semaphore,
    aliases: Cache<OwnedRoomAliasId, Arc<RemoteAlias>>,
}

#[derive(Deserialize)]
struct AliasAnswer {
    room_id: OwnedRoomId,
    #[serde(default)]
    servers: Vec<String>,
}

#[derive(Deserialize)]
struct PageAnswer {
    #[serde(default)]
    chunk: First<Box<RawValue>, { 10 * MAX_PAGE }>,
    next_batch: Option<String>,
    prev_batch: Option<String>,
    total_room_count_estimate: Option<i64>,
}

impl RemoteDirectory {
    /// Asks through this client.
    pub fn new(peers: Arc<PeerClient>) -> Self {
        let aliases = Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Self { peers, asking: Semaphore::new(AT_ONCE), aliases }
    }

    /// What an alias of another server points to; None if that server has no such alias.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn resolve(&self, alias: &RoomAliasId) -> Result<Option<Arc<RemoteAlias>>, PeerError> {
        if let Some(known) = self.aliases.get(alias) {
            return Ok(Some(known));
        }
        // Never closed.
        let _permit = self.asking.acquire().await;
        let server = alias.server_name();
        let query = utf8_percent_encode(alias.as_str(), NON_ALPHANUMERIC);
        let call = Call::get(format!("/_matrix/federation/v1/query/directory?room_alias={query}"));
        let answer: AliasAnswer = match self.peers.json(server, call.timeout(TIMEOUT).limit(MAX_ALIAS)).await {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut seen = HashSet::new();
        let named = answer.servers.iter().filter_map(|name| ServerName::parse(name).ok());
        let mut servers: Vec<OwnedServerName> =
            named.filter(|name| seen.insert(name.clone())).take(MAX_SERVERS).collect();
        if !servers.iter().any(|name| name == server) {
            servers.push(server.to_owned());
        }
        let found = Arc::new(RemoteAlias { room_id: answer.room_id, servers });
        self.aliases.insert(alias.to_owned(), found.clone());
        Ok(Some(found))
    }

    /// A page of the rooms that another server publishes. Tokens are that server's.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn page(&self, server: &ServerName, query: &DirectoryQuery) -> Result<DirectoryPage, PeerError> {
        let _permit = self.asking.acquire().await;
        let path = "/_matrix/federation/v1/publicRooms";
        let call = match query.search_term.is_some() || query.room_types.is_some() {
            true => Call::post(path, search_body(query).to_string()),
            false => Call::get(format!("{path}{}", page_query(query))),
        };
        let answer: PageAnswer = self.peers.json(server, call.timeout(TIMEOUT)).await?;
        let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let token = |token: Option<String>| token.filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN);
        let rooms = answer.chunk.items.iter().filter_map(|room| published::summary(room));
        let chunk: Vec<_> = rooms.take(limit).map(|summary| summary.published).collect();
        let total = answer.total_room_count_estimate.and_then(|total| usize::try_from(total).ok());
        Ok(DirectoryPage {
            total: total.unwrap_or(chunk.len()),
            chunk,
            next_batch: token(answer.next_batch),
            prev_batch: token(answer.prev_batch),
        })
    }
}

fn page_query(query: &DirectoryQuery) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    if let Some(limit) = query.limit {
        pairs.append_pair("limit", &limit.to_string());
    }
    if let Some(since) = &query.since {
        pairs.append_pair("since", since);
    }
    match pairs.finish() {
        pairs if pairs.is_empty() => pairs,
        pairs => format!("?{pairs}"),
    }
}

fn search_body(query: &DirectoryQuery) -> Value {
    let mut filter = json!({});
    if let Some(term) = &query.search_term {
        filter["generic_search_term"] = json!(term);
    }
    if let Some(types) = &query.room_types {
        filter["room_types"] = json!(types);
    }
    let mut body = json!({ "filter": filter });
    if let Some(limit) = query.limit {
        body["limit"] = json!(limit);
    }
    if let Some(since) = &query.since {
        body["since"] = json!(since);
    }
    body
}
