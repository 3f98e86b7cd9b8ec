//! A room that we join through another server: its state and auth chain become outliers, the state before the join becomes the
//! room's current state, and the join event its only extremity.
//!
//! Source: Server-Server API, "Joining Rooms".

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use linkim_federation::{Pdu, RoomVersionRules, check_against_state, check_auth_events};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, RoomVersionId, UserId, events::StateEventType};

use super::{
    AppendError, Appended, Incoming, LocalMembers, PartialJoin, Received, RemoteJoin,
    actor::Appender,
    classify::classify,
    commit::{Context, News, Site, Written, announce, write_event},
    effects::{Concerned, Place, adopt_thread, membership, state_changed},
    outliers::Stored,
    plan::Planned,
};
use crate::{
    rooms::state::load_pdu,
    store::{
        StoreError, WriteTx, events,
        events::{Standing, StateRef, flag},
        ids::{self, EventNid, RoomKey},
        members,
        members::{MemberRow, Membership},
        partial_joins, room_servers, rooms,
        rooms::RoomHeadRow,
        state,
    },
};

impl Appender {
    /// Makes the room, or takes it up again.
    pub(super) async fn import(&mut self, join: RemoteJoin) -> Result<(Arc<RoomKey>, Appended), AppendError> {
        check_shape(&join, &self.shared.site.server_name)?;
        self.take_version(&join.version).await?;
        let head = self.load().await?;
        let (room, rules, inside) = (head.room.clone(), head.rules, head.row.local_joined > 0);
        let stored = self.store_outliers(&[join.state.as_slice(), join.auth_chain.as_slice()].concat()).await?;
        let state = valid_state(&join.state, &stored);
        let create = state.get(&("m.room.create".to_owned(), String::new()));
        let create = create.map(|(_, pdu)| pdu.clone()).ok_or_else(|| malformed("the state has no create event"))?;
        check_create(&create, &join.version)?;
        if inside {
            if join.partial.is_some() {
                return Err(malformed("a state without its members is of no use in a room that we are in"));
            }
            return self.join_inside(join, room).await;
        }
        check_join(rules, &join, &state)?;
        let import = Import {
            site: self.shared.site.clone(),
            room: room.clone(),
            rules,
            members: self.load().await?.members.clone(),
            join: join.join,
            state,
            partial: join.partial,
            now_ms: self.shared.clock.now_ms(),
        };
        // Whatever happens now, what is in memory is older than the room.
        let old = self.head.take();
        let appended = self.shared.store.write::<_, AppendError, _>(move |tx| import.run(tx)).await?;
        self.resolver = super::resolution::Resolver::default();
        if let Some(head) = old {
            self.head = Some(self.shared.store.read::<_, StoreError, _>(move |read| head.reload(read)).await?);
        }
        Ok((room, appended))
    }

    /// The room has this version, whatever it was thought to have while nothing but outliers was here.
    pub(super) async fn take_version(&mut self, version: &RoomVersionId) -> Result<(), AppendError> {
        let room = self.load().await?.room.clone();
        if room.version == *version {
            return Ok(());
        }
        let version = version.to_string();
        self.head = None;
        self.resolver = super::resolution::Resolver::default();
        self.shared
            .store
            .write(move |tx| match rooms::create_event(tx, room.nid)? {
                Some(_) => Err(malformed(format!("the room has version {}", room.version))),
                None => Ok(rooms::set_version(tx, &room, &version)?),
            })
            .await
    }

    /// Another of ours is in the room: the join is an event like others, and what its server says of the state before it counts
    /// where its previous events are not here.
    async fn join_inside(
        &mut self,
        join: RemoteJoin,
        room: Arc<RoomKey>,
    ) -> Result<(Arc<RoomKey>, Appended), AppendError> {
        let ids = join.state.iter().map(|pdu| pdu.owned_event_id().clone()).collect();
        let incoming = Incoming { state_before: Some(ids), ..Incoming::new(join.join) };
        match self.receive_one(incoming, None, None).await? {
            Received::Accepted(appended) => Ok((room, appended)),
            Received::Known(nid) => {
                let row =
                    self.shared.store.read_short::<_, StoreError, _>(move |read| events::by_nid(read, nid)).await?;
                let position = row.position.unwrap_or(0);
                Ok((room, Appended { nid, event_id: row.event_id, position, repeated: true }))
            }
            Received::SoftFailed(_, reason) | Received::Rejected(_, reason) => Err(AppendError::Denied(reason)),
            other => Err(malformed(format!("{other:?}"))),
        }
    }
}

fn malformed(reason: impl Into<String>) -> AppendError {
    AppendError::Malformed(reason.into())
}

/// Whether this is a join of a local user in this room.
fn check_shape(join: &RemoteJoin, server_name: &ruma::ServerName) -> Result<(), AppendError> {
    let pdu = &join.join;
    let user = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok());
    let ours = user.is_some_and(|user| user.server_name() == server_name && pdu.sender() == user);
    if !ours || pdu.event_type().to_string() != "m.room.member" || membership(pdu) != Membership::Join {
        return Err(malformed("not a join of a local user"));
    }
    if pdu.room_id() != join.room_id {
        return Err(malformed("the join is of another room"));
    }
    Ok(())
}

/// Whether the create event says that the room has this version.
fn check_create(create: &Pdu, version: &RoomVersionId) -> Result<(), AppendError> {
    let content: CanonicalJsonObject = serde_json::from_str(create.content().get()).unwrap_or_default();
    let says = match content.get("room_version") {
        None => Some("1"),
        Some(CanonicalJsonValue::String(says)) => Some(says.as_str()),
        Some(_) => None,
    };
    match says {
        Some(says) if says == version.as_str() => Ok(()),
        _ => Err(malformed("the create event names another room version")),
    }
}

/// (type, state key): the event, with its number.
type State = HashMap<(String, String), (EventNid, Arc<Pdu>)>;

/// The state, without what was rejected or can't be judged: each is logged, since a resident server should send neither.
fn valid_state(state: &[Arc<Pdu>], stored: &[Stored]) -> State {
    let mut out = State::with_capacity(state.len());
    for (pdu, stored) in state.iter().zip(stored) {
        match (stored, pdu.state_key()) {
            (Stored::Here { nid, rejected: None, .. }, Some(key)) => {
                out.insert((pdu.event_type().to_string(), key.to_owned()), (*nid, pdu.clone()));
            }
            _ => {
                let (room, event) = (pdu.room_id(), pdu.event_id());
                tracing::warn!(%room, %event, ?stored, "left out of the state of a joined room");
            }
        }
    }
    out
}

/// Checks 4 and 5 of the spec's list. The state before the join is the current one.
/// Members whom that leaves out are what the join's auth events say.
fn check_join(rules: &RoomVersionRules, answer: &RemoteJoin, state: &State) -> Result<(), AppendError> {
    let (join, auth_chain, partial) = (&*answer.join, &answer.auth_chain, answer.partial.is_some());
    let known: HashMap<&EventId, &Arc<Pdu>> =
        auth_chain.iter().chain(state.values().map(|(_, pdu)| pdu)).map(|pdu| (pdu.event_id(), pdu)).collect();
    if let Some(id) = join.auth_events().iter().find(|id| !known.contains_key(&***id)) {
        return Err(malformed(format!("the join's auth event {id} is not in the answer")));
    }
    check_auth_events(rules, join, |id| known.get(id).map(|pdu| Arc::clone(pdu)))
        .and_then(|()| {
            check_against_state(rules, join, |kind, key| {
                let found = state.get(&(kind.to_string(), key.to_owned())).map(|(_, pdu)| pdu.clone());
                let lacking = partial && *kind == StateEventType::RoomMember;
                found.or_else(|| if lacking { by_auth(&known, join, key) } else { None })
            })
        })
        .map_err(|denied| AppendError::Denied(denied.reason().to_owned()))
}

/// The member event of a user among a join's auth events.
fn by_auth(known: &HashMap<&EventId, &Arc<Pdu>>, join: &Pdu, user: &str) -> Option<Arc<Pdu>> {
    let mut auth = join.auth_events().iter().filter_map(|id| known.get(&**id));
    let member = |pdu: &Pdu| pdu.event_type().to_string() == "m.room.member" && pdu.state_key() == Some(user);
    auth.find(|pdu| member(pdu)).map(|pdu| Arc::clone(pdu))
}

/// What is to be written in one transaction.
struct Import {
    site: Arc<Site>,
    room: Arc<RoomKey>,
    rules: &'static RoomVersionRules,
    members: LocalMembers,
    join: Arc<Pdu>,
    state: State,
    /// Given if the state lacks members.
    partial: Option<PartialJoin>,
    now_ms: i64,
}

impl Import {
    /// Runs in the writer's transaction.
    fn run(self, tx: &WriteTx<'_>) -> Result<Appended, AppendError> {
        let known = events::standing(tx, self.join.event_id())?;
        if let Some(known) = known.filter(|known| known.flags & flag::OUTLIER == 0) {
            let position = events::by_nid(tx, known.nid)?.position.unwrap_or(0);
            let event_id = self.join.event_id().to_owned();
            return Ok(Appended { nid: known.nid, event_id, position, repeated: true });
        }
        // What was to be fetched since an earlier join is of no interest any more.
        partial_joins::give_up(tx, self.room.nid)?;
        let mut row = rooms::head(tx, self.room.nid)?;
        let mut concerned = Concerned::default();
        let before = self.set_state(tx, &mut row, &mut concerned)?;
        // Before the join, which tells them of the user's devices.
        self.name_servers(tx, before)?;
        let appended = self.append_join(tx, before, known, &mut row, &mut concerned)?;
        rooms::put_head(tx, self.room.nid, &row)?;
        if let Some(partial) = &self.partial {
            partial_joins::begin(tx, self.room.nid, appended.nid, &partial.via)?;
        }
        announce(tx, &self.site, self.room.nid, &row, (Some(&self.members), News::Everywhere), concerned);
        Ok(appended)
    }

    /// Notes which servers are in the room while members are still to be fetched.
    fn name_servers(&self, tx: &WriteTx<'_>, before: StateRef) -> Result<(), StoreError> {
        let Some(partial) = &self.partial else { return Ok(()) };
        let servers = partial.servers_in_room.iter().chain([&partial.via]);
        for server in servers.filter(|server| **server != self.site.server_name) {
            let server = ids::intern_server(tx, server.as_str())?;
            room_servers::named(tx, self.room.nid, server, before.epoch)?;
        }
        Ok(())
    }

    /// Makes the given state the current one; what differs from what was known before is a row of the main line each.
    fn set_state(
        &self,
        tx: &WriteTx<'_>,
        row: &mut RoomHeadRow,
        concerned: &mut Concerned,
    ) -> Result<StateRef, StoreError> {
        let mut new: BTreeMap<i64, (EventNid, &Arc<Pdu>)> = BTreeMap::new();
        for ((kind, key), (nid, pdu)) in &self.state {
            new.insert(ids::intern_state_key(tx, kind, key)?, (*nid, pdu));
        }
        let old: BTreeMap<i64, EventNid> = state::current(tx, self.room.nid)?.into_iter().collect();
        let outside = self.forget_outside(tx, &old)?;
        let epoch = tx.next_position();
        let at = StateRef { line: self.room.main_line, epoch };
        let place = Place { room: self.room.nid, site: &self.site, position: epoch };
        let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (*key, None));
        let set = new.iter().map(|(key, event)| (*key, Some(*event)));
        for (key, event) in gone.chain(set) {
            let (was, is) = (old.get(&key).copied(), event.map(|(nid, _)| nid));
            // Who was told otherwise from outside hears of what is the same, too.
            if was == is && !outside.contains(&key) {
                continue;
            }
            if let Some(was) = was {
                row.state_hash = row.state_hash.wrapping_sub(self.site.hash_key.entry(key, was));
            }
            if let Some(is) = is {
                row.state_hash = row.state_hash.wrapping_add(self.site.hash_key.entry(key, is));
            }
            state::put(tx, at, key, is)?;
            state::put_current(tx, self.room.nid, key, is)?;
            row.state_position = epoch;
            let pair = ids::state_key(tx, key)?;
            let load = || Ok(event.map(|(nid, pdu)| (pdu.clone(), nid)));
            state_changed(tx, &place, (&pair.0, &pair.1), load, row, concerned)?;
        }
        if self.partial.is_some() {
            // What is filled in there is in no state from before.
            row.state_position = epoch;
        }
        Ok(StateRef { line: self.room.main_line, epoch: row.state_position })
    }

    /// Memberships of ours that were told from outside give way to what the state said before: what it says now is no news
    /// otherwise. Answers their keys.
    fn forget_outside(&self, tx: &WriteTx<'_>, old: &BTreeMap<i64, EventNid>) -> Result<BTreeSet<i64>, StoreError> {
        let Some(own) = ids::server_nid(tx, &self.site.server_name)? else { return Ok(BTreeSet::new()) };
        let mut keys = BTreeSet::new();
        for row in members::of_server(tx, self.room.nid, own)? {
            let key = ids::member_key(row.user);
            let Some(event) = old.get(&key).copied() else {
                members::delete(tx, row.user, self.room.nid)?;
                keys.insert(key);
                continue;
            };
            if event == row.event {
                continue;
            }
            keys.insert(key);
            let now = membership(&*load_pdu(tx, event)?);
            let (mut since, mut position) = (row.since, row.position);
            for (epoch, event) in state::history(tx, self.room.main_line, key)?.into_iter().rev() {
                position = position.min(epoch);
                let Some(event) = event else { break };
                if membership(&*load_pdu(tx, event)?) != now {
                    break;
                }
                since = epoch;
            }
            members::put(tx, &MemberRow { membership: now, event, position, since, ..row })?;
        }
        Ok(keys)
    }

    fn append_join(
        &self,
        tx: &WriteTx<'_>,
        before: StateRef,
        known: Option<Standing>,
        row: &mut RoomHeadRow,
        concerned: &mut Concerned,
    ) -> Result<Appended, StoreError> {
        let (room, pdu) = (self.room.nid, &self.join);
        let position = tx.next_position();
        let fresh = EventNid(position);
        let nid = match &known {
            Some(outlier) if outlier.loose => events::replace_loose(tx, outlier, fresh).map(|()| fresh)?,
            Some(outlier) => outlier.nid,
            None => fresh,
        };
        let stored = nid != fresh;
        let key = ids::intern_state_key(tx, "m.room.member", pdu.state_key().unwrap_or_default())?;
        let after = StateRef { line: self.room.main_line, epoch: position };
        super::commit::set_current(tx, &self.site.hash_key, room, after, key, Some(nid), row)?;
        let place = Place { room, site: &self.site, position };
        let load = || Ok(Some((pdu.clone(), nid)));
        let user = pdu.state_key().unwrap_or_default();
        state_changed(tx, &place, ("m.room.member", user), load, row, concerned)?;
        let auth = self.auth(tx)?;
        rooms::put_auth_edges(tx, room, nid, &auth)?;
        let class = classify(pdu, |_| false);
        let partial = if self.partial.is_some() { flag::PARTIAL_STATE } else { 0 };
        let flags = class.flags | flag::TOLD | flag::ANEW | partial;
        let running = rooms::newest_event(tx, room)?.map(|(_, running)| running).unwrap_or_default().plus(flags);
        let planned = Planned {
            pdu: pdu.clone(),
            transaction: None,
            class,
            auth: Vec::new(),
            redacts_others: false,
            linear: false,
            relay: false,
            came: true,
        };
        let context =
            Context { site: &self.site, room, rules: self.rules, members: &self.members, now_ms: self.now_ms };
        let written = Written { nid, position, key: Some(key), before, after, flags, running, stored };
        write_event(tx, &context, &planned, &written, concerned)?;
        row.took(position, flags);
        self.replace_extremities(tx, nid)?;
        Ok(Appended { nid, event_id: pdu.event_id().to_owned(), position, repeated: false })
    }

    /// Numbers of the join's auth events.
    fn auth(&self, tx: &WriteTx<'_>) -> Result<Vec<EventNid>, StoreError> {
        let mut auth = Vec::new();
        for id in self.join.auth_events() {
            let known = events::standing(tx, id)?.filter(|known| !known.loose);
            auth.push(known.ok_or_else(|| StoreError::Engine(format!("auth event {id} was not written")))?.nid);
        }
        Ok(auth)
    }

    /// The join is the only extremity; what it names and is not here is where backfill begins.
    fn replace_extremities(&self, tx: &WriteTx<'_>, nid: EventNid) -> Result<(), StoreError> {
        let room = self.room.nid;
        for tip in rooms::extremities(tx, room)? {
            rooms::remove_extremity(tx, room, tip)?;
        }
        rooms::add_extremity(tx, room, nid)?;
        rooms::remove_backward(tx, room, self.join.event_id())?;
        for id in self.join.prev_events() {
            let here = events::by_id(tx, id)?.is_some_and(|row| row.room == room && row.after.is_some());
            if !here {
                rooms::put_backward(tx, room, id, nid)?;
            }
        }
        adopt_thread(tx, room, nid, self.join.event_id())
    }
}
