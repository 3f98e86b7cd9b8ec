//! Inviting users of other servers: their server signs the invitation before it becomes part of the room.
//!
//! Source: Server-Server API, "Inviting to a room".

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules, rules, verify_event_signature};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId, RoomVersionId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    client::{Call, PeerClient, PeerError},
    drafts::{Draft, DraftError, Signatory},
    handshake::{HandshakeError, lacks_endpoint, segment},
    keys::{RemoteKeys, Wanted},
    policy::PolicyServers,
    told,
};
use crate::{
    rooms::{
        append::{AppendError, Appended, Appenders, Incoming, LocalEvent, Received},
        elsewhere::{InvitesElsewhere, Inviting as Invitation, Refusal},
        membership::MembershipError,
        policy::{Countersigns as _, PolicyServer},
    },
    store::{Store, StoreError, events, ids::RoomKey},
};

/// Bytes of a signed invitation at most.
const MAX_SIGNED: usize = 256 * 1024;

/// Signatures of the invited user's server that are looked at.
const MAX_SIGNATURES: usize = 16;

/// Invites users of other servers.
pub struct Inviting {
    store: Store,
    appenders: Arc<Appenders>,
    peers: Arc<PeerClient>,
    keys: Arc<RemoteKeys>,
    policy: Arc<PolicyServers>,
    signatory: Signatory,
}

#[derive(Serialize)]
struct RequestV2<'r> {
    room_version: &'r RoomVersionId,
    event: &'r RawValue,
    invite_room_state: &'r [Box<RawValue>],
}

#[derive(Deserialize)]
struct Answer {
    event: SignedEvent,
}

#[derive(Deserialize)]
struct SignedEvent {
    signatures: CanonicalJsonObject,
}

impl InvitesElsewhere for Inviting {
    fn invite(&self, room: Arc<RoomKey>, event: LocalEvent) -> Invitation<'_> {
        Box::pin(self.invite_elsewhere(room, event))
    }
}

impl Inviting {
    /// With these.
    pub fn new(
        store: Store,
        appenders: Arc<Appenders>,
        peers: Arc<PeerClient>,
        keys: Arc<RemoteKeys>,
        policy: Arc<PolicyServers>,
        signatory: Signatory,
    ) -> Self {
        Self { store, appenders, peers, keys, policy, signatory }
    }

    async fn invite_elsewhere(&self, room: Arc<RoomKey>, event: LocalEvent) -> Result<Appended, MembershipError> {
        let rules =
            rules(&room.version).ok_or_else(|| StoreError::Damaged(format!("room version {}", room.version)))?;
        let target: OwnedUserId = event
            .state_key
            .as_deref()
            .and_then(|key| key.try_into().ok())
            .ok_or_else(|| MembershipError::Malformed("not a user id".into()))?;
        let (signatory, of_room, invited) = (self.signatory.clone(), room.clone(), target.clone());
        let (pdu, told, policy) = self
            .store
            .read(move |read| -> Result<_, MembershipError> {
                let draft = Draft { sender: &event.sender, target: &invited, content: event.content };
                let pdu = signatory.draft(read, &of_room, rules, draft).map_err(|error| match error {
                    DraftError::Denied(reason) => MembershipError::Forbidden(reason),
                    DraftError::Build(error) => MembershipError::Malformed(error.to_string()),
                    DraftError::Store(error) => error.into(),
                })?;
                let policy = match PolicyServer::named_in(read, of_room.nid)? {
                    Some(policy) if policy.is_in_use(read, of_room.nid)? => Some(policy),
                    _ => None,
                };
                Ok((pdu, told::of_room(read, of_room.nid, Some(&event.sender))?, policy))
            })
            .await?;
        let mut pdu = Arc::new(pdu);
        if let Some(policy) = policy {
            pdu = self.policy.countersign(&policy, rules, pdu).await.map_err(AppendError::from)?;
        }
        let signed = self
            .signed(target.server_name(), &room.version, rules, &pdu, &told)
            .await
            .map_err(|error| MembershipError::Elsewhere(Refusal::from(&error)))?;
        self.append(&room, signed).await
    }

    /// Has the invitation signed by the invited user's server. Nothing but its signatures is taken of the answer.
    async fn signed(
        &self,
        server: &ServerName,
        version: &RoomVersionId,
        rules: &'static RoomVersionRules,
        pdu: &Pdu,
        told: &[Box<RawValue>],
    ) -> Result<Pdu, HandshakeError> {
        let lied = |what: String| HandshakeError::Lied(server.to_owned(), what);
        let Answer { event: SignedEvent { mut signatures } } = self.ask(server, version, pdu, told).await?;
        let Some(CanonicalJsonValue::Object(theirs)) = signatures.remove(server.as_str()) else {
            return Err(lied("it did not sign the invitation".into()));
        };
        let theirs: CanonicalJsonObject = theirs.into_iter().take(MAX_SIGNATURES).collect();
        let key_ids = theirs.keys().map(ToString::to_string).collect();
        let signed = with_signatures(pdu, server, theirs, rules).ok_or_else(|| lied("its signature is none".into()))?;
        let wanted = Wanted { server: server.to_owned(), key_ids, origin_server_ts: pdu.origin_server_ts() };
        let keys = self.keys.for_events(vec![wanted], rules).await;
        verify_event_signature(&signed, server, &keys, rules).map_err(|error| lied(error.to_string()))?;
        Ok(signed)
    }

    /// `PUT /invite`, version 2, or 1 where a server has no other.
    async fn ask(
        &self,
        server: &ServerName,
        version: &RoomVersionId,
        pdu: &Pdu,
        told: &[Box<RawValue>],
    ) -> Result<Answer, HandshakeError> {
        let unreadable = |error: serde_json::Error| PeerError::Malformed(server.to_owned(), error.to_string());
        let uri = |api: &str| {
            let (room, event) = (segment(pdu.room_id().as_str()), segment(pdu.event_id().as_str()));
            format!("/_matrix/federation/{api}/invite/{room}/{event}")
        };
        let event: Box<RawValue> = RawValue::from_string(pdu.json().to_owned()).map_err(unreadable)?;
        let body = serde_json::to_vec(&RequestV2 { room_version: version, event: &event, invite_room_state: told })
            .map_err(unreadable)?;
        match self.peers.json(server, Call::put(uri("v2"), body).limit(MAX_SIGNED)).await {
            // "Senders which receive a 400 or 404 response to this endpoint should retry using the v1 API … if the room
            // version is "1" or "2"."
            Err(error)
                if matches!(version, RoomVersionId::V1 | RoomVersionId::V2)
                    && (lacks_endpoint(&error)
                        || error.status().is_some_and(|status| matches!(status.as_u16(), 400 | 404))) =>
            {
                let body = with_told(pdu, told).map_err(unreadable)?;
                let (_, answer): (u16, Answer) =
                    self.peers.json(server, Call::put(uri("v1"), body).limit(MAX_SIGNED)).await?;
                Ok(answer)
            }
            other => Ok(other?),
        }
    }

    /// Appends the signed invitation where it stands, even if newer events came since.
    async fn append(&self, room: &RoomKey, signed: Pdu) -> Result<Appended, MembershipError> {
        let incoming = Incoming { pdu: Arc::new(signed), relay: true, soft_fail: None, state_before: None };
        match self.appenders.receive(room.nid, vec![incoming]).await?.pop() {
            Some(Received::Accepted(appended)) => Ok(appended),
            Some(Received::Known(nid)) => {
                let event_id: OwnedEventId =
                    self.store.read::<_, StoreError, _>(move |read| events::id(read, nid)).await?;
                Ok(Appended { nid, event_id, position: 0, repeated: true })
            }
            Some(Received::SoftFailed(_, reason) | Received::Rejected(_, reason)) => {
                Err(MembershipError::Forbidden(reason))
            }
            _ => Err(StoreError::Engine("an invitation can't be placed where it was built".into()).into()),
        }
    }
}

/// Our event with another server's signatures added.
fn with_signatures(
    pdu: &Pdu,
    server: &ServerName,
    theirs: CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Option<Pdu> {
    let mut event: CanonicalJsonObject = serde_json::from_str(pdu.json()).ok()?;
    let Some(CanonicalJsonValue::Object(signatures)) = event.get_mut("signatures") else { return None };
    // The room's policy server may be the same one: its signature stays.
    match signatures.get_mut(server.as_str()) {
        Some(CanonicalJsonValue::Object(before)) => {
            for (key_id, signature) in theirs {
                before.entry(key_id).or_insert(signature);
            }
        }
        _ => drop(signatures.insert(server.as_str().into(), theirs.into())),
    }
    let signed = Pdu::from_peer(CanonicalJsonValue::Object(event).to_string().as_bytes(), rules).ok()?;
    (signed.event_id() == pdu.event_id()).then_some(signed)
}

/// The body of version 1: the event, with what is told of the room in `unsigned`.
fn with_told(pdu: &Pdu, told: &[Box<RawValue>]) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Unsigned<'t> {
        invite_room_state: &'t [Box<RawValue>],
    }
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(pdu.json())?;
    let unsigned = to_raw_value(&Unsigned { invite_room_state: told })?;
    event.insert("unsigned".into(), serde_json::from_str(unsigned.get())?);
    serde_json::to_vec(&event)
}
