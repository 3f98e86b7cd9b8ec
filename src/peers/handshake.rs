//! The handshakes by which a server that is not in a room has one that is take its user's join, leave or knock.
//!
//! Source: Server-Server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms (Rejecting Invites)".

use std::sync::Arc;

use base64::Engine as _;
use linkim_federation::{BuildError, Pdu, RoomVersionRules, STABLE_VERSIONS, rules};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedServerName, OwnedUserId, RoomId, RoomVersionId, ServerName, UserId,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    client::{Call, PeerClient, PeerError},
    drafts::{Draft, Reference, Signatory, Standing, names_hashes},
};

/// Bytes of a template at most: an event of 64 KiB, and what stands around it.
const MAX_TEMPLATE: usize = 256 * 1024;

/// prev_events of a template at most (room version specifications, "Event format").
const MAX_PREV_EVENTS: usize = 20;

/// auth_events of a template at most.
const MAX_AUTH_EVENTS: usize = 10;

/// Servers that are asked one after the other at most.
pub const MAX_CANDIDATES: usize = 20;

/// Which handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `make_join`, `send_join`
    Join,
    /// `make_leave`, `send_leave`
    Leave,
    /// `make_knock`, `send_knock`
    Knock,
}

impl Kind {
    /// The membership that it makes.
    pub fn membership(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Knock => "knock",
        }
    }
}

/// Why a server did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It was not reached, or refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It answered something else than was asked for.
    #[error("{0} can't be believed: {1}")]
    Lied(OwnedServerName, String),
    /// The room has a version that this server does not know.
    #[error("the room has version {0:?}, which this server does not know")]
    Version(String),
    /// The event can't be made, because of what the user wants in it.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Nobody is known who could be asked.
    #[error("no server is known that is in the room")]
    NoServers,
}

impl HandshakeError {
    /// Whether another server will say the same.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Peer(error) => matches!(error.errcode(), Some("M_FORBIDDEN" | "M_INCOMPATIBLE_ROOM_VERSION")),
            Self::Version(_) | Self::Build(_) => true,
            Self::Lied(..) | Self::NoServers => false,
        }
    }

    /// How much it tells of why the user can't: of several failures, the greatest is answered.
    fn tells(&self) -> u8 {
        match self {
            Self::Version(_) | Self::Build(_) => 5,
            Self::Peer(PeerError::Status { status, .. }) => match status.as_u16() {
                400 | 403 => 5,
                404 => 3,
                _ => 2,
            },
            Self::Lied(..) => 4,
            Self::Peer(_) => 1,
            Self::NoServers => 0,
        }
    }

    /// The one of two failures that tells more; of equals the first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other.tells() > self.tells() { other } else { self }
    }
}

/// What a resident server gives to complete, checked.
#[derive(Clone, Debug)]
pub struct Template {
    /// The room's version.
    pub version: RoomVersionId,
    /// Its rules.
    pub rules: &'static RoomVersionRules,
    /// Where the event will stand.
    pub standing: Standing,
    /// Who vouches for a join of a restricted room.
    pub authorised_via: Option<OwnedUserId>,
}

#[derive(Deserialize)]
struct Made {
    room_version: Option<String>,
    event: MadeEvent,
}

#[derive(Deserialize)]
struct MadeEvent {
    #[serde(rename = "type")]
    kind: String,
    room_id: String,
    sender: String,
    state_key: String,
    content: MadeContent,
    prev_events: Vec<Value>,
    auth_events: Vec<Value>,
    depth: u64,
}

#[derive(Deserialize)]
struct MadeContent {
    membership: String,
    join_authorised_via_users_server: Option<String>,
}

/// Asks for templates and completes them.
pub struct Handshake {
    peers: Arc<PeerClient>,
    signatory: Signatory,
}

impl Handshake {
    /// With these.
    pub fn new(peers: Arc<PeerClient>, signatory: Signatory) -> Self {
        Self { peers, signatory }
    }

    /// What signs.
    pub fn signatory(&self) -> &Signatory {
        &self.signatory
    }

    /// Requests to other servers.
    pub fn peers(&self) -> &PeerClient {
        &self.peers
    }

    /// The servers to ask about a room, in this order, each once, that of the room's id last; none that we don't talk to.
    pub fn candidates(
        &self,
        room_id: &RoomId,
        named: impl IntoIterator<Item = OwnedServerName>,
    ) -> Vec<OwnedServerName> {
        candidates(|server| self.peers.permits(server), room_id, named)
    }

    /// Asks a server for a template of the user's event, and checks that it is what was asked for.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn make(
        &self,
        via: &ServerName,
        kind: Kind,
        room_id: &RoomId,
        user: &UserId,
    ) -> Result<Template, HandshakeError> {
        let mut uri = format!(
            "/_matrix/federation/v1/make_{}/{}/{}",
            kind.membership(),
            segment(room_id.as_str()),
            segment(user.as_str())
        );
        if kind != Kind::Leave {
            for (at, version) in STABLE_VERSIONS.iter().enumerate() {
                uri.push_str(if at == 0 { "?ver=" } else { "&ver=" });
                uri.push_str(version);
            }
        }
        let made: Made = self.peers.json(via, Call::get(uri).limit(MAX_TEMPLATE)).await?;
        check(made, kind, room_id, user).map_err(|problem| match problem {
            Problem::Lie(what) => HandshakeError::Lied(via.to_owned(), what),
            Problem::Version(version) => HandshakeError::Version(version),
        })
    }

    /// Makes the user's event of a template. Of the template's content only who vouches for it is taken.
    ///
    /// # Errors
    /// `Build`.
    pub fn complete(
        &self,
        template: &Template,
        kind: Kind,
        room_id: &RoomId,
        user: &UserId,
        mut content: CanonicalJsonObject,
    ) -> Result<Pdu, HandshakeError> {
        content.insert("membership".into(), kind.membership().into());
        content.remove("join_authorised_via_users_server");
        if let Some(via) = &template.authorised_via {
            content.insert("join_authorised_via_users_server".into(), via.as_str().into());
        }
        let draft = Draft { sender: user, target: user, content };
        Ok(self.signatory.build(room_id, template.rules, draft, &template.standing)?)
    }

    /// Sends the completed leave or knock; answers the body. Version 2 first where there is one.
    ///
    /// # Errors
    /// `Peer`.
    pub async fn send(&self, via: &ServerName, kind: Kind, pdu: &Pdu) -> Result<Box<RawValue>, HandshakeError> {
        let call = |version: &str| Call::put(send_uri(version, kind, pdu), pdu.json().to_owned());
        match kind {
            Kind::Knock => Ok(self.peers.json(via, call("v1")).await?),
            Kind::Join | Kind::Leave => match self.peers.json(via, call("v2")).await {
                Err(error) if lacks_endpoint(&error) => Ok(self.peers.json(via, call("v1")).await?),
                other => Ok(other?),
            },
        }
    }
}

/// The path under which a completed event is sent.
pub(super) fn send_uri(version: &str, kind: Kind, pdu: &Pdu) -> String {
    format!(
        "/_matrix/federation/{version}/send_{}/{}/{}",
        kind.membership(),
        segment(pdu.room_id().as_str()),
        segment(pdu.event_id().as_str())
    )
}

/// Whether a server answered that it has not this endpoint, rather than not this room.
pub(super) fn lacks_endpoint(error: &PeerError) -> bool {
    match error.status().map(|status| status.as_u16()) {
        Some(405) => true,
        // Old servers answer an unknown path with a page that is no standard error.
        Some(404) => matches!(error.errcode(), Some("M_UNRECOGNIZED" | "")),
        Some(_) => error.errcode() == Some("M_UNRECOGNIZED"),
        None => false,
    }
}

/// What is left as it is in a segment of a path (RFC 3986, "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a segment of a path, or as a value of a query.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

enum Problem {
    Lie(String),
    Version(String),
}

/// Server-Server API, `GET make_join`: what must be verified before the template is signed.
fn check(made: Made, kind: Kind, room_id: &RoomId, user: &UserId) -> Result<Template, Problem> {
    let lie = |what: &str| Problem::Lie(format!("its template has {what}"));
    // "If not provided, the room version is assumed to be either "1" or "2"."
    let version = made.room_version.unwrap_or_else(|| "1".to_owned());
    let Ok(version) = RoomVersionId::try_from(version.as_str()) else { return Err(Problem::Version(version)) };
    let Some(rules) = rules(&version) else { return Err(Problem::Version(version.to_string())) };
    let event = made.event;
    if event.kind != "m.room.member" {
        return Err(lie("another type"));
    }
    if event.room_id != room_id.as_str() {
        return Err(lie("another room"));
    }
    if event.sender != user.as_str() || event.state_key != user.as_str() {
        return Err(lie("another user"));
    }
    if event.content.membership != kind.membership() {
        return Err(lie("another membership"));
    }
    let authorised_via = match event.content.join_authorised_via_users_server {
        Some(via) if kind == Kind::Join && rules.authorization.restricted_join_rule => {
            Some(OwnedUserId::try_from(via).map_err(|_| lie("no user who vouches"))?)
        }
        _ => None,
    };
    let references = |list: &[Value], most: usize| {
        if list.is_empty() || list.len() > most {
            return None;
        }
        list.iter().map(|value| reference(value, rules)).collect::<Option<Vec<Reference>>>()
    };
    Ok(Template {
        standing: Standing {
            prev_events: references(&event.prev_events, MAX_PREV_EVENTS).ok_or_else(|| lie("wrong prev_events"))?,
            auth_events: references(&event.auth_events, MAX_AUTH_EVENTS).ok_or_else(|| lie("wrong auth_events"))?,
            depth: event.depth,
        },
        version,
        rules,
        authorised_via,
    })
}

/// A reference in the version's form: an id, or in versions 1 and 2 a pair of id and hashes.
fn reference(value: &Value, rules: &RoomVersionRules) -> Option<Reference> {
    let id = |value: &Value| -> Option<OwnedEventId> {
        let text = value.as_str().filter(|text| text.len() <= 255)?;
        EventId::parse(text).ok()
    };
    if !names_hashes(rules) {
        return Some((id(value)?, None));
    }
    let hash = value.get(1)?.get("sha256")?.as_str()?;
    let hash = base64::engine::general_purpose::STANDARD_NO_PAD.decode(hash.trim_end_matches('=')).ok()?;
    Some((id(value.get(0)?)?, Some(hash.try_into().ok()?)))
}

/// Servers in this order, each once; those alone that `permits` lets pass, and not more than [`MAX_CANDIDATES`].
fn candidates(
    permits: impl Fn(&ServerName) -> bool,
    room_id: &RoomId,
    named: impl IntoIterator<Item = OwnedServerName>,
) -> Vec<OwnedServerName> {
    let mut servers: Vec<OwnedServerName> = Vec::new();
    // From version 12 on a room's id names no server.
    let of_room = room_id.server_name().map(ToOwned::to_owned);
    for server in named.into_iter().chain(of_room) {
        if permits(&server) && !servers.contains(&server) && servers.len() < MAX_CANDIDATES {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};
    use serde_json::json;

    use super::*;

    fn made(change: impl FnOnce(&mut Value)) -> Result<Template, String> {
        let mut value = json!({
            "room_version": "10",
            "event": {
                "type": "m.room.member", "room_id": "!r:b.example", "sender": "@alice:a.example",
                "state_key": "@alice:a.example", "content": { "membership": "join" },
                "prev_events": ["$a:b"], "auth_events": ["$b:b", "$c:b"], "depth": 7,
            },
        });
        change(&mut value);
        let made = serde_json::from_value(value).map_err(|error| error.to_string())?;
        check(made, Kind::Join, room_id!("!r:b.example"), user_id!("@alice:a.example")).map_err(|problem| match problem
        {
            Problem::Lie(what) => what,
            Problem::Version(version) => format!("version {version}"),
        })
    }

    /// Server-Server API, `GET make_join`: "the joining server MUST verify that...".
    #[test]
    fn a_template_for_anything_else_is_not_signed() {
        assert_eq!(made(|_| {}).unwrap().standing.depth, 7);
        for (field, value, problem) in [
            ("/event/type", json!("m.room.power_levels"), "another type"),
            ("/event/room_id", json!("!other:b.example"), "another room"),
            ("/event/sender", json!("@bob:a.example"), "another user"),
            ("/event/state_key", json!("@bob:a.example"), "another user"),
            ("/event/content/membership", json!("leave"), "another membership"),
            ("/event/prev_events", json!([]), "wrong prev_events"),
            ("/event/prev_events", json!(vec!["$a:b"; 21]), "wrong prev_events"),
            ("/event/auth_events", json!(vec!["$a:b"; 11]), "wrong auth_events"),
            ("/event/auth_events", json!(["a"]), "wrong auth_events"),
            ("/room_version", json!("99"), "version 99"),
        ] {
            let error = made(|made| *made.pointer_mut(field).unwrap() = value).unwrap_err();
            assert!(error.contains(problem), "{field}: {error}");
        }
    }

    /// Room version 1, "Event format".
    #[test]
    fn old_versions_name_events_with_their_hashes() {
        let hash = base64::engine::general_purpose::STANDARD_NO_PAD.encode([7; 32]);
        let old = |made: &mut Value| {
            made.as_object_mut().unwrap().remove("room_version");
            made["event"]["prev_events"] = json!([["$a:b", { "sha256": hash }]]);
            made["event"]["auth_events"] = json!([["$b:b", { "sha256": hash }]]);
        };
        let template = made(old).unwrap();
        assert_eq!(template.version, RoomVersionId::V1);
        assert!(template.standing.prev_events[0].1.is_some());
        assert!(made(|made| made["room_version"] = "2".into()).unwrap_err().contains("prev_events"));
    }

    #[test]
    fn candidates_are_asked_once_and_never_ourselves() {
        let name = |name: &str| OwnedServerName::try_from(name).unwrap();
        let servers = candidates(
            |server| *server != name("a.example"),
            room_id!("!r:c.example"),
            [name("b.example"), name("a.example"), name("b.example")],
        );
        assert_eq!(servers, [name("b.example"), name("c.example")]);
        let many = (0..50).map(|n| name(&format!("s{n}.example")));
        assert_eq!(candidates(|_| true, room_id!("!r:c.example"), many).len(), MAX_CANDIDATES);
    }
}
