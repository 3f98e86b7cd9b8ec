//! Joining rooms, also those that this server is not in.
//!
//! Source: Client-Server API, `POST /join/{roomIdOrAlias}`; Server-Server API, "Joining Rooms", "Restricted rooms".

mod filling;
mod received;
mod response;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use axum::body::Body;
use linkim_federation::{Pdu, RoomVersionRules};
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::filling::{Filling, Parts as FillingParts};
use self::received::Judged;
use super::{
    client::Call,
    events::EventChecker,
    handshake::{Handshake, HandshakeError, Kind, Template, lacks_endpoint, segment, send_uri},
    inbox::Inbox,
    whereabouts::{ChangeError, Here, Whereabouts},
};
use crate::{
    accounts::Session,
    json::First,
    rooms::{
        append::{AppendError, Appenders, PartialJoin, RemoteJoin},
        membership::{Membership, MembershipError},
    },
};

/// Auth events that an answer leaves out and that are asked for one by one, at most.
const MAX_MISSING: usize = 100;

/// How long a server may take until its answer to `send_join` begins: it may have to resolve and to read a large room.
const SEND_JOIN_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a join waits for the members that an answer left out: of a small room they come at once, and nobody sees it without.
const AT_ONCE: Duration = Duration::from_millis(500);

/// How long who joins a room of which others of ours are in it waits for its members, before other servers are asked, which
/// then send all of them once more.
const FOR_OTHERS: Duration = Duration::from_secs(10);

/// Joins rooms.
pub struct Joining {
    membership: Arc<Membership>,
    appenders: Arc<Appenders>,
    handshake: Arc<Handshake>,
    whereabouts: Arc<Whereabouts>,
    checker: Arc<EventChecker>,
    filling: Arc<Filling>,
    /// Keeps what is sent into a room while it is being joined.
    inbox: OnceLock<Arc<Inbox>>,
    /// One gate for each room that is being joined. Bound: the requests under way.
    gates: Mutex<HashMap<OwnedRoomId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Joining {
    /// With these.
    pub fn new(
        membership: Arc<Membership>,
        appenders: Arc<Appenders>,
        handshake: Arc<Handshake>,
        whereabouts: Arc<Whereabouts>,
        checker: Arc<EventChecker>,
        filling: Arc<Filling>,
    ) -> Self {
        let (inbox, gates) = (OnceLock::new(), Mutex::default());
        Self { membership, appenders, handshake, whereabouts, checker, filling, inbox, gates }
    }

    /// From now on `inbox` keeps what others send into a room that is being joined. Called once.
    pub fn keeping_in(&self, inbox: Arc<Inbox>) {
        // A second call would change nothing.
        let _ = self.inbox.set(inbox);
    }

    /// Joins a room, through other servers if need be: `via` first, then those that invited, that the alias names, that
    /// are known to be in the room, and that of the room's id. Who is in it already is so still.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn join(
        self: &Arc<Self>,
        by: &Session,
        target: &RoomOrAliasId,
        via: Vec<OwnedServerName>,
        reason: Option<String>,
    ) -> Result<OwnedRoomId, ChangeError> {
        let (room_id, of_alias) = self.whereabouts.resolve(target).await?;
        let here = self.whereabouts.of(&room_id, by.user).await?;
        if here.joins_here() {
            match self.membership.join(by, &room_id, reason.clone()).await {
                Err(MembershipError::NobodyVouches) => {}
                other => return Ok(other.map(|()| room_id)?),
            }
        } else if by.guest && !here.in_room {
            return Err(MembershipError::NoGuests.into());
        }
        let (this, by) = (self.clone(), by.clone());
        // The client may go away, but what was begun with other servers must be ended.
        let joining = tokio::spawn(async move {
            this.one_at_a_time(&by, &room_id, via, of_alias, reason).await?;
            Ok(room_id)
        });
        joining.await.unwrap_or_else(|error| Err(ChangeError::Task(error.to_string())))
    }

    /// Joins when nobody else of ours is joining the room: who comes second finds it here.
    async fn one_at_a_time(
        &self,
        by: &Session,
        room_id: &RoomId,
        via: Vec<OwnedServerName>,
        of_alias: Vec<OwnedServerName>,
        reason: Option<String>,
    ) -> Result<(), ChangeError> {
        let gate = self.gate(room_id);
        let mut held = gate.lock().await;
        let mut here = self.whereabouts.of(room_id, by.user).await?;
        if here.in_room && !here.joins_here() {
            drop(held);
            self.filling.whole(room_id, FOR_OTHERS).await?;
            held = gate.lock().await;
            here = self.whereabouts.of(room_id, by.user).await?;
        }
        if here.joins_here() {
            match self.membership.join(by, room_id, reason.clone()).await {
                // Somebody of another server may be able to.
                Err(MembershipError::NobodyVouches) => here.servers = self.whereabouts.servers(room_id).await?,
                other => return Ok(other?),
            }
            if here.servers.is_empty() {
                return Err(MembershipError::NobodyVouches.into());
            }
        } else if by.guest {
            return Err(MembershipError::NoGuests.into());
        } else if here.in_room {
            here.servers = self.whereabouts.servers(room_id).await?;
        }
        let named = via.into_iter().chain(here.inviter.clone()).chain(of_alias).chain(here.servers.clone());
        let servers = self.handshake.candidates(room_id, named);
        let outcome = self.through_one_of(by, room_id, servers, &here, reason).await;
        drop(held);
        outcome
    }

    async fn through_one_of(
        &self,
        by: &Session,
        room_id: &RoomId,
        servers: Vec<OwnedServerName>,
        here: &Here,
        reason: Option<String>,
    ) -> Result<(), ChangeError> {
        if servers.is_empty() {
            return Err(MembershipError::UnknownRoom.into());
        }
        let content = self.membership.own_content(&by.user_id, reason).await?;
        let mut failure = HandshakeError::NoServers;
        for via in servers {
            match self.through(&via, by, room_id, here, content.clone()).await {
                Ok(()) => {
                    self.membership.joined_elsewhere(by, room_id).await?;
                    self.filling.whole(room_id, AT_ONCE).await?;
                    return Ok(());
                }
                Err(ChangeError::Handshake(error)) => {
                    tracing::info!(%room_id, %via, %error, "a room could not be joined through a server");
                    let last = error.is_final();
                    failure = failure.or(error);
                    if last {
                        break;
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(failure.into())
    }

    /// Joins through one server.
    async fn through(
        &self,
        via: &ServerName,
        by: &Session,
        room_id: &RoomId,
        here: &Here,
        content: CanonicalJsonObject,
    ) -> Result<(), ChangeError> {
        let lied = |what: String| HandshakeError::Lied(via.to_owned(), what);
        let template = self.handshake.make(via, Kind::Join, room_id, &by.user_id).await?;
        if here.version.as_ref().is_some_and(|known| *known != template.version) {
            return Err(lied("the room has another version".into()).into());
        }
        let join = self.handshake.complete(&template, Kind::Join, room_id, &by.user_id, content)?;
        // From the moment that the other server has the join, events come that no server sends twice.
        let _expecting = self.inbox.get().map(|inbox| inbox.expect(room_id.to_owned(), template.version.clone()));
        // A state without its members is of no use where others of ours are in the room.
        let body = self.send_join(via, &join, !here.in_room).await?;
        let rules = template.rules;
        let mut answer = received::collect(body, rules, &self.checker).await.map_err(lied)?;
        let join = match (&template.authorised_via, answer.rest.event.take()) {
            (None, _) => Arc::new(join),
            (Some(_), Some(signed)) => {
                received::countersigned(signed, rules, &self.checker, &join).await.map_err(lied)?
            }
            (Some(_), None) => return Err(lied("it gives no signed join".into()).into()),
        };
        let servers_in_room = std::mem::take(&mut answer.rest.servers_in_room);
        let partial = match (answer.rest.members_omitted, here.in_room) {
            (false, _) => None,
            (true, true) => return Err(lied("it leaves out members, which was not asked for".into()).into()),
            (true, false) if servers_in_room.is_empty() => {
                return Err(lied("it leaves out members, and says of no server that it is in the room".into()).into());
            }
            (true, false) => Some(PartialJoin { servers_in_room, via: via.to_owned() }),
        };
        let judged = self.judge(via, room_id, &template, &join, (answer, partial.is_some())).await?;
        self.import(
            RemoteJoin {
                room_id: room_id.to_owned(),
                version: template.version,
                join,
                state: judged.state,
                auth_chain: judged.auth_chain,
                partial,
            },
            via,
        )
        .await
    }

    /// Sends the join; answers the unread body, in which members may be left out if `omit_members` says so.
    async fn send_join(&self, via: &ServerName, join: &Pdu, omit_members: bool) -> Result<Body, HandshakeError> {
        let call = |version: &str, query: &str| {
            Call::put(send_uri(version, Kind::Join, join) + query, join.json().to_owned()).timeout(SEND_JOIN_TIMEOUT)
        };
        let peers = self.handshake.peers();
        match peers.stream(via, call("v2", &format!("?omit_members={omit_members}"))).await {
            Err(error) if lacks_endpoint(&error) => Ok(peers.stream(via, call("v1", "")).await?.body),
            other => Ok(other?.body),
        }
    }

    /// Judges an answer, which may be `partial`, and asks for what else it leaves out.
    async fn judge(
        &self,
        via: &ServerName,
        room_id: &RoomId,
        template: &Template,
        join: &Arc<Pdu>,
        (answer, partial): (received::Collected, bool),
    ) -> Result<Judged, ChangeError> {
        let lied = |what: String| HandshakeError::Lied(via.to_owned(), what);
        let received::Collected { mut state, mut auth_chain, unverified, .. } = answer;
        let mut asked = 0;
        loop {
            let (room_id, version, join) = (room_id.to_owned(), template.version.clone(), join.clone());
            let (rules, seen) = (template.rules, unverified.clone());
            // Half a million events take their time.
            let judging = tokio::task::spawn_blocking(move || {
                let judged = received::judge(state, auth_chain, &seen, &room_id, &version, &join)?;
                if judged.missing.is_empty() {
                    received::allows(&judged, rules, &join, partial)?;
                }
                Ok(judged)
            });
            let judged = judging.await.map_err(|error| ChangeError::Task(error.to_string()))?.map_err(lied)?;
            if judged.missing.is_empty() {
                return Ok(judged);
            }
            asked += judged.missing.len();
            if asked > MAX_MISSING {
                return Err(lied(format!("it leaves out {} auth events", judged.missing.len())).into());
            }
            (state, auth_chain) = (judged.state, judged.auth_chain);
            for id in judged.missing {
                let event = self.event(via, &id, template.rules).await;
                auth_chain.push(event.map_err(|error| lied(format!("it leaves out {id}: {error}")))?);
            }
        }
    }

    /// Asks for one event.
    async fn event(
        &self,
        via: &ServerName,
        id: &OwnedEventId,
        rules: &'static RoomVersionRules,
    ) -> Result<Arc<Pdu>, String> {
        #[derive(Deserialize)]
        struct Transaction {
            pdus: First<Box<RawValue>, 1>,
        }
        let call = Call::get(format!("/_matrix/federation/v1/event/{}", segment(id.as_str())));
        let answer: Transaction = self.handshake.peers().json(via, call).await.map_err(|error| error.to_string())?;
        let pdu = answer.pdus.items.into_iter().next().ok_or("no event")?;
        match self.checker.check(rules, vec![pdu]).await.pop() {
            Some(Ok(pdu)) if pdu.event_id() == *id => Ok(pdu),
            Some(Err(problem)) => Err(problem.to_string()),
            _ => Err("another event".into()),
        }
    }

    /// Makes the room, takes it up again, or adds the join to it where another of ours is in it already.
    async fn import(&self, join: RemoteJoin, via: &ServerName) -> Result<(), ChangeError> {
        let partial = join.partial.is_some();
        match self.appenders.import(join).await {
            Ok((room, _)) => {
                if partial {
                    self.filling.begin(room.nid);
                }
                Ok(())
            }
            Err(AppendError::Denied(reason) | AppendError::Malformed(reason)) => {
                Err(HandshakeError::Lied(via.to_owned(), reason).into())
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The gate of a room.
    fn gate(&self, room_id: &RoomId) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = gates.get(room_id).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        gates.insert(room_id.to_owned(), Arc::downgrade(&gate));
        gate
    }
}
