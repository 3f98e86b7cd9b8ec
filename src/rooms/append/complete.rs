//! Fills in the members that the answer to our join left out.
//!
//! The state before the join becomes whole where it stands, and everything that came since is judged again from there, in order,
//! each as if the members had been there when it came: so in the end the room is what it would be had the answer left out
//! nothing. All in one transaction, whose length grows with the members and with the events since. What clients
//! did not hear of yet is repeated at one new position.
//!
//! Source: Server-Server API, "Joining Rooms", `members_omitted`; MSC3706, MSC3902.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use linkim_federation::{RoomVersionRules, check_against_state};
use ruma::OwnedEventId;

use super::{
    AppendError, Incoming, LocalMembers, PduCache,
    actor::Appender,
    again::{Again, forget_verdicts, gather},
    commit::{Site, announce, set_current},
    effects::{Concerned, Place, state_changed},
    forks::NotJudged,
    resolution::Resolver,
    told, whereabouts,
};
use crate::{
    rooms::state::load_pdu,
    store::{
        Read, StoreError, WriteTx, events,
        events::{EventRow, StateRef, flag},
        ids::{self, EventNid, RoomKey},
        partial_joins, rooms,
        rooms::RoomHeadRow,
        state,
    },
};

impl Appender {
    /// Fills in what the answer to our join left out.
    pub(super) async fn complete(&mut self, state: Vec<OwnedEventId>) -> Result<bool, AppendError> {
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
            }),
            room,
            rules,
            members,
            state,
            now_ms: self.shared.clock.now_ms(),
        };
        // Whatever happens now, what is in memory is older than the room.
        let old = self.head.take();
        self.resolver = Resolver::default();
        let done = self.shared.store.write::<_, AppendError, _>(move |tx| completion.run(tx)).await?;
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

/// What is to be written in one transaction.
struct Completion {
    announcing: Arc<Site>,
    judging: Arc<Site>,
    room: Arc<RoomKey>,
    rules: &'static RoomVersionRules,
    members: LocalMembers,
    state: Vec<OwnedEventId>,
    now_ms: i64,
}

/// A state: which event each key has.
pub(super) type Entries = BTreeMap<i64, EventNid>;

impl Completion {
    /// Runs in the writer's transaction.
    fn run(self, tx: &WriteTx<'_>) -> Result<bool, AppendError> {
        let room = self.room.nid;
        let Some(partial) = partial_joins::of(tx, room)? else { return Ok(false) };
        let join = events::by_nid(tx, partial.join)?;
        let (Some(before), Some(position)) = (join.before, join.position) else {
            return Err(StoreError::Damaged(format!("join event {} has no place", join.nid.0)).into());
        };
        let full = self.whole(tx, &join)?;
        let later = gather(tx, room, position)?;
        let was: Entries = state::current(tx, room)?.into_iter().collect();
        let mut row = rooms::head(tx, room)?;
        let mut concerned = Concerned::default();
        // From here on nothing is as it is in memory, and nobody else's memory counts.
        self.begin_again(tx, &join, (before, position), &full, &mut row)?;
        forget_verdicts(tx, &later)?;
        let mut again = Again {
            site: self.judging.clone(),
            room: self.room.clone(),
            rules: self.rules,
            members: self.members.clone(),
            now_ms: self.now_ms,
            resolver: Resolver::default(),
            running: join.running,
        };
        for event in later {
            again.event(tx, event, &mut row, &mut concerned)?;
        }
        self.tell(tx, &was, &mut row, &mut concerned)?;
        whereabouts::correct(tx, &self.room, before.epoch)?;
        partial_joins::end(tx, room)?;
        rooms::put_head(tx, room, &row)?;
        announce(tx, &self.announcing, room, &row, Some(&self.members), concerned);
        Ok(true)
    }

    /// The state before the join, if it can be that.
    fn whole(&self, tx: &WriteTx<'_>, join: &EventRow) -> Result<Entries, AppendError> {
        let malformed = |what: &str| AppendError::Malformed(what.to_owned());
        let (keys, missing) = told::keys(tx, self.room.nid, &self.state).map_err(|reason| match reason {
            NotJudged::Store(error) => AppendError::Store(error),
            other => AppendError::Malformed(format!("{other:?}")),
        })?;
        if let Some(id) = missing.first() {
            return Err(AppendError::Malformed(format!("{id} of the state before the join is not here")));
        }
        let create = rooms::create_event(tx, self.room.nid)?;
        if !keys.values().any(|event| create == Some(EventNid(*event))) {
            return Err(malformed("the state before the join is not one of this room"));
        }
        if keys.values().any(|event| *event == join.nid.0) {
            return Err(malformed("the state before the join has the join"));
        }
        let full: Entries = keys.into_iter().map(|(key, event)| (key, EventNid(event))).collect();
        let mut failed = None;
        let looked = std::cell::RefCell::new(&mut failed);
        let at = |kind: &str, key: &str| -> Result<Option<Arc<linkim_federation::Pdu>>, StoreError> {
            match ids::state_key_nid(tx, kind, key)?.and_then(|key| full.get(&key)) {
                Some(event) => load_pdu(tx, *event).map(Some),
                None => Ok(None),
            }
        };
        let allowed = check_against_state(self.rules, &*load_pdu(tx, join.nid)?, |kind, key| {
            at(&kind.to_string(), key).unwrap_or_else(|error| {
                looked.borrow_mut().get_or_insert(error);
                None
            })
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        allowed.map_err(|denied| AppendError::Denied(denied.reason().to_owned()))?;
        Ok(full)
    }

    /// Makes the room what it was when the join had come, with the whole state before it.
    fn begin_again(
        &self,
        tx: &WriteTx<'_>,
        join: &EventRow,
        (before, position): (StateRef, i64),
        full: &Entries,
        row: &mut RoomHeadRow,
    ) -> Result<(), StoreError> {
        let (room, main) = (self.room.nid, self.room.main_line);
        state::cut(tx, room, main, before.epoch)?;
        let earlier: Entries = state::full(tx, StateRef { line: main, epoch: before.epoch - 1 })?.into_iter().collect();
        for key in keys(&earlier, full) {
            if earlier.get(&key) != full.get(&key) {
                state::put(tx, before, key, full.get(&key).copied())?;
            }
        }
        state::replace_current(tx, room, full.iter().map(|(key, event)| (*key, *event)))?;
        let hash = &self.judging.hash_key;
        row.state_hash = full.iter().fold(0, |sum: u128, (key, event)| sum.wrapping_add(hash.entry(*key, *event)));
        row.state_position = before.epoch;
        row.last_position = position;
        let key = join.state_key.ok_or_else(|| StoreError::Damaged("the join is no state event".into()))?;
        set_current(tx, hash, room, StateRef { line: main, epoch: position }, key, Some(join.nid), row)?;
        events::set_flags(tx, join.nid, join.flags & !flag::PARTIAL_STATE)?;
        for tip in rooms::extremities(tx, room)? {
            rooms::remove_extremity(tx, room, tip)?;
        }
        rooms::add_extremity(tx, room, join.nid)
    }

    /// Repeats at one new position what the current state has otherwise than it had, with the memberships that follow.
    fn tell(
        &self,
        tx: &WriteTx<'_>,
        was: &Entries,
        row: &mut RoomHeadRow,
        concerned: &mut Concerned,
    ) -> Result<(), StoreError> {
        let room = self.room.nid;
        let now: Entries = state::current(tx, room)?.into_iter().collect();
        let position = tx.next_position();
        let at = StateRef { line: self.room.main_line, epoch: position };
        let place = Place { room, server_name: &self.judging.server_name, position };
        for key in keys(was, &now) {
            let event = now.get(&key).copied();
            if was.get(&key).copied() == event {
                continue;
            }
            state::put(tx, at, key, event)?;
            row.state_position = position;
            let pair = ids::state_key(tx, key)?;
            let load = || event.map(|event| Ok((load_pdu(tx, event)?, event))).transpose();
            state_changed(tx, &place, (&pair.0, &pair.1), load, row, concerned)?;
        }
        Ok(())
    }
}

/// The keys of two states.
fn keys(a: &Entries, b: &Entries) -> BTreeSet<i64> {
    a.keys().chain(b.keys()).copied().collect()
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
