//! Fills in the members that the answer to our join left out.
//!
//! The state before the join becomes whole where it stands, and everything that came since is judged again from there, in order,
//! each as if the members had been there when it came: so in the end the room is what it would be had the answer left out
//! nothing. All in one transaction, whose length grows with the members and with the events since. What clients
//! did not hear of yet is repeated at one new position.
//!
//! Source: Server-Server API, "Joining Rooms", `members_omitted`; MSC3706, MSC3902.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use linkim_federation::{Pdu, RoomVersionRules, check_against_state};
use ruma::{EventId, OwnedEventId, ServerName};
use tokio::time::Instant;

use super::{
    AppendError, Incoming, LocalMembers, PduCache,
    actor::Appender,
    again::{Again, forget_verdicts, gather},
    commit::{News, Site, announce, set_current},
    effects::{Concerned, Place, membership, state_changed},
    forks::NotJudged,
    resolution::Resolver,
    told, whereabouts,
};
use crate::{
    rooms::state::load_pdu,
    store::{
        Read, StoreError, WriteTx, device_lists, events,
        events::{EventRow, StateRef, flag},
        ids::{self, EventNid, RoomKey, RoomNid, UserNid},
        members::Membership,
        partial_joins,
        partial_joins::PartialRoom,
        rooms,
        rooms::RoomHeadRow,
        state,
    },
};

impl Appender {
    /// Fills in what the answer to our join left out.
    pub(super) async fn complete(&mut self, join: OwnedEventId, state: Vec<OwnedEventId>) -> Result<bool, AppendError> {
        let head = self.load().await?;
        let (room, rules, members) = (head.room.clone(), head.rules, head.members.clone());
        let site = &self.shared.site;
        let completion = Completion {
            announcing: site.clone(),
            // Verdicts change, and those that others keep in memory are older.
            judging: Arc::new(Site {
                server_name: site.server_name.clone(),
                hash_key: site.hash_key.clone(),
                wake: site.wake.clone(),
                pdus: PduCache::new(0),
                calls: site.calls.clone(),
                watcher: site.watcher.clone(),
            }),
            room,
            rules,
            members,
            now_ms: self.shared.clock.now_ms(),
        };
        // What is read here only this appender changes; the writer is not to wait for it.
        let (nid, rules) = (completion.room.nid, completion.rules);
        let found =
            self.shared.store.read::<_, AppendError, _>(move |read| Filling::read(read, nid, rules, &join, &state));
        let Some(filling) = found.await? else { return Ok(false) };
        // Whatever happens now, what is in memory is older than the room.
        let old = self.head.take();
        self.resolver = Resolver::default();
        let done = self.shared.store.write::<_, AppendError, _>(move |tx| completion.run(tx, filling)).await?;
        if let Some(head) = old {
            self.head = Some(self.shared.store.read::<_, StoreError, _>(move |read| head.reload(read)).await?);
        }
        Ok(done)
    }

    /// Gives up filling in, where nobody of ours is in the room any more.
    pub(super) async fn give_up(&mut self) -> Result<(), StoreError> {
        let room = self.room;
        let head = self.load().await?;
        if !head.partial || head.row.local_joined > 0 {
            return Ok(());
        }
        self.head = None;
        let given_up = self.shared.store.write::<_, StoreError, _>(move |tx| partial_joins::give_up(tx, room));
        given_up.await.map(|_| ())
    }
}

/// A state: which event each key has.
pub(super) type Entries = BTreeMap<i64, EventNid>;

/// What is to be filled in.
struct Filling {
    join: EventRow,
    /// The state before the join, and the join's own place.
    before: StateRef,
    position: i64,
    /// The whole state before the join, and what was known of it.
    full: Entries,
    known: Entries,
}

impl Filling {
    /// Reads and judges what is to be filled in of this join; none if nothing is.
    fn read(
        read: &dyn Read,
        room: RoomNid,
        rules: &RoomVersionRules,
        join: &EventId,
        state: &[OwnedEventId],
    ) -> Result<Option<Self>, AppendError> {
        let Some(partial) = partial_joins::of(read, room)? else { return Ok(None) };
        let row = events::by_nid(read, partial.join)?;
        if row.event_id != join {
            return Ok(None);
        }
        let (Some(before), Some(position)) = (row.before, row.position) else {
            return Err(StoreError::Damaged(format!("join event {} has no place", row.nid.0)).into());
        };
        let full = whole(read, room, state)?;
        let pdu = load_pdu(read, row.nid)?;
        check_whole(read, rules, &pdu, &full, &partial)?;
        if full.values().any(|event| *event == row.nid) {
            return Err(malformed("the state before the join has the join"));
        }
        let known = state::full(read, before)?.into_iter().collect();
        Ok(Some(Self { join: row, before, position, full, known }))
    }
}

fn malformed(what: impl Into<String>) -> AppendError {
    AppendError::Malformed(what.into())
}

/// The state of these events, all of which must be here.
fn whole(read: &dyn Read, room: RoomNid, state: &[OwnedEventId]) -> Result<Entries, AppendError> {
    let (keys, missing) = told::keys(read, room, state).map_err(|reason| match reason {
        NotJudged::Store(error) => AppendError::Store(error),
        other => malformed(format!("{other:?}")),
    })?;
    if let Some(id) = missing.first() {
        return Err(malformed(format!("{id} of the state before the join is not here")));
    }
    Ok(keys.into_iter().map(|(key, event)| (key, EventNid(event))).collect())
}

/// Whether this can be the whole state before the join: it is of this room, has all keys that authorise the join, as a key that
/// is set stays set, has a member of the server through which we joined, and allows the join.
fn check_whole(
    read: &dyn Read,
    rules: &RoomVersionRules,
    join: &Pdu,
    full: &Entries,
    partial: &PartialRoom,
) -> Result<(), AppendError> {
    let room = events::by_nid(read, partial.join)?.room;
    let create = rooms::create_event(read, room)?;
    if !full.values().any(|event| create == Some(*event)) {
        return Err(malformed("the state before the join is not one of this room"));
    }
    for id in join.auth_events() {
        let key = events::standing(read, id)?.and_then(|known| known.state_key);
        if key.is_some_and(|key| !full.contains_key(&key)) {
            return Err(malformed(format!("the state before the join has nothing in the place of {id}")));
        }
    }
    if !has_member_of(read, full, &partial.via)? {
        return Err(malformed(format!("the state before the join has no member of {}", partial.via)));
    }
    let at = |kind: &str, key: &str| -> Result<Option<Arc<Pdu>>, StoreError> {
        match ids::state_key_nid(read, kind, key)?.and_then(|key| full.get(&key)) {
            Some(event) => load_pdu(read, *event).map(Some),
            None => Ok(None),
        }
    };
    let failed = RefCell::new(None);
    let allowed = check_against_state(rules, join, |kind, key| {
        at(&kind.to_string(), key).unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            None
        })
    });
    if let Some(error) = failed.into_inner() {
        return Err(error.into());
    }
    allowed.map_err(|denied| AppendError::Denied(denied.reason().to_owned()))
}

/// Whether a user of a server is joined.
fn has_member_of(read: &dyn Read, state: &Entries, server: &ServerName) -> Result<bool, StoreError> {
    let server = ids::server_nid(read, server)?;
    for (key, event) in state.range(..0) {
        if Some(ids::server_of(read, UserNid(-key))?) == server
            && membership(&*load_pdu(read, *event)?) == Membership::Join
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is written in one transaction.
struct Completion {
    announcing: Arc<Site>,
    judging: Arc<Site>,
    room: Arc<RoomKey>,
    rules: &'static RoomVersionRules,
    members: LocalMembers,
    now_ms: i64,
}

impl Completion {
    /// Runs in the writer's transaction.
    fn run(self, tx: &WriteTx<'_>, filling: Filling) -> Result<bool, AppendError> {
        let began = Instant::now();
        let room = self.room.nid;
        let (before, running) = (filling.before, filling.join.running);
        let later = gather(tx, room, filling.position)?;
        let was: Entries = state::current(tx, room)?.into_iter().collect();
        let mut row = rooms::head(tx, room)?;
        let mut concerned = Concerned::default();
        // From here on nothing is as it is in memory, and nobody else's memory counts.
        self.begin_again(tx, filling, &was, &mut row)?;
        forget_verdicts(tx, &later)?;
        let mut again = Again {
            site: self.judging.clone(),
            room: self.room.clone(),
            rules: self.rules,
            members: self.members.clone(),
            now_ms: self.now_ms,
            resolver: Resolver::default(),
            running,
        };
        for event in later {
            again.event(tx, event, &mut row, &mut concerned)?;
        }
        let filled = self.tell(tx, &was, &mut row, &mut concerned)?;
        whereabouts::correct(tx, &self.room, before.epoch)?;
        partial_joins::filled(tx, room, filled)?;
        rooms::put_head(tx, room, &row)?;
        announce(tx, &self.announcing, room, &row, (Some(&self.members), News::Everywhere), concerned);
        // So long the writer was held.
        metrics::histogram!("linkim_fill_in_seconds").record(began.elapsed().as_secs_f64());
        tracing::debug!(room = %self.room.room_id, held = ?began.elapsed(), "members filled in");
        Ok(true)
    }

    /// Makes the room what it was when the join had come, with the whole state before it. `was`: the current state.
    fn begin_again(
        &self,
        tx: &WriteTx<'_>,
        filling: Filling,
        was: &Entries,
        row: &mut RoomHeadRow,
    ) -> Result<(), StoreError> {
        let (room, main) = (self.room.nid, self.room.main_line);
        let Filling { join, before, position, full, known } = filling;
        state::cut(tx, room, main, before.epoch + 1)?;
        for (key, event) in differences(&known, &full) {
            state::put(tx, before, key, event)?;
        }
        for (key, event) in differences(was, &full) {
            state::put_current(tx, room, key, event)?;
        }
        let hash = &self.judging.hash_key;
        row.state_hash = full.iter().fold(0, |sum: u128, (key, event)| sum.wrapping_add(hash.entry(*key, *event)));
        row.state_position = before.epoch;
        row.last_position = position;
        row.message_position = rooms::newest_countable(tx, room, position)?;
        let key = join.state_key.ok_or_else(|| StoreError::Damaged("the join is no state event".into()))?;
        set_current(tx, hash, room, StateRef { line: main, epoch: position }, key, Some(join.nid), row)?;
        events::set_flags(tx, join.nid, join.flags & !flag::PARTIAL_STATE)?;
        for tip in rooms::extremities(tx, room)? {
            rooms::remove_extremity(tx, room, tip)?;
        }
        rooms::add_extremity(tx, room, join.nid)
    }

    /// Repeats what the current state has otherwise than it had, with the memberships that follow: what it had nothing of at one
    /// new position, which is answered, what it had otherwise at another.
    fn tell(
        &self,
        tx: &WriteTx<'_>,
        was: &Entries,
        row: &mut RoomHeadRow,
        concerned: &mut Concerned,
    ) -> Result<i64, StoreError> {
        let room = self.room.nid;
        let now: Entries = state::current(tx, room)?.into_iter().collect();
        let filled = tx.next_position();
        if let Some(create) = rooms::create_event(tx, room)? {
            // Also where nothing differs is there something to be told: that nothing is left out any more.
            let key = ids::intern_state_key(tx, "m.room.create", "")?;
            state::put(tx, StateRef { line: self.room.main_line, epoch: filled }, key, Some(create))?;
        }
        row.state_position = filled;
        let corrected = tx.next_position();
        for (key, event) in differences(was, &now) {
            let position = if was.contains_key(&key) { corrected } else { filled };
            let place = Place { room, site: &self.announcing, position };
            state::put(tx, StateRef { line: self.room.main_line, epoch: position }, key, event)?;
            row.state_position = row.state_position.max(position);
            let pair = ids::state_key(tx, key)?;
            let load = || event.map(|event| Ok((load_pdu(tx, event)?, event))).transpose();
            if key < 0 && position == filled {
                // Their server told us of their keys, and we did not know that it was for us.
                device_lists::doubt_remote_list(tx, UserNid(-key))?;
            }
            state_changed(tx, &place, (&pair.0, &pair.1), load, row, concerned)?;
        }
        Ok(filled)
    }
}

/// What `new` has otherwise than `old`.
fn differences<'a>(old: &'a Entries, new: &'a Entries) -> impl Iterator<Item = (i64, Option<EventNid>)> + 'a {
    let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (*key, None));
    let set = new.iter().filter(|(key, event)| old.get(key) != Some(event)).map(|(key, event)| (*key, Some(*event)));
    gone.chain(set)
}

/// Of an event that is judged again, all that came with it.
pub(super) fn incoming(
    read: &dyn Read,
    row: &EventRow,
    told: Option<Vec<OwnedEventId>>,
) -> Result<Incoming, StoreError> {
    let by_policy = row.is(flag::POLICY_CHECKED) && row.is(flag::SOFT_FAILED);
    let soft_fail = match by_policy {
        true => Some(events::reason(read, row.nid)?.unwrap_or_default()),
        false => None,
    };
    Ok(Incoming { pdu: load_pdu(read, row.nid)?, relay: row.is(flag::RELAY), soft_fail, state_before: told })
}
