//! Walks a room's DAG from its beginning, recomputes the state before and after every event, the verdict on it and the current
//! state that it leaves, and compares them with what is stored.
//!
//! A state is held while an event that follows is still to come, so a line of events costs one state in memory and a state
//! change one entry; only forks copy.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use linkim_federation::{Pdu, check_against_state, check_auth_events};
use ruma::EventId;

use super::{
    Kind, Report, Site,
    lines::{Lines, changed},
    resolution::{Resolver, State},
    room::{Event, Room},
};
use crate::{
    params,
    rooms::power::Power,
    store::{
        StoreError, event_id,
        events::{StateRef, flag},
        ids,
    },
};

/// What the walk found out, for those who check what follows from states.
#[derive(Default)]
pub(super) struct Replayed {
    /// The room's current state.
    pub(super) current: State,
    /// Events (by index) whose sender may redact what users of other servers sent.
    pub(super) may_redact: HashSet<usize>,
    /// Events (by index) whose sender may mention the room.
    pub(super) may_notify: HashSet<usize>,
    /// (event by index, number of a user) for those mentioned who were joined before it.
    pub(super) mentioned: HashSet<(usize, i64)>,
}

/// Recomputes a room's states.
pub(super) fn replay(site: &Site<'_>, room: &Room, lines: &Lines, report: &mut Report) -> Result<Replayed, StoreError> {
    let mut walk = Walk {
        site,
        room,
        lines,
        resolver: Resolver::new(site, room, report),
        resolutions: resolutions(site, room, lines, report)?,
        after: HashMap::new(),
        following: HashMap::new(),
        tips: BTreeSet::new(),
        children: HashMap::new(),
        out: Replayed::default(),
    };
    walk.resolver.find_late_rejections();
    walk.outliers(report);
    let order = walk.order(report);
    for at in order {
        walk.event(at, report)?;
        if let Some(failure) = walk.resolver.take_failure() {
            report.add(Kind::Body, &room.events[at].event_id, format_args!("can't be judged: {failure}"));
        }
    }
    walk.out.current = walk.current(report);
    Ok(walk.out)
}

/// Remembered resolutions: inputs, and the hash of the result.
fn resolutions(
    site: &Site<'_>,
    room: &Room,
    lines: &Lines,
    report: &mut Report,
) -> Result<HashMap<Vec<u8>, u128>, StoreError> {
    let mut out = HashMap::new();
    site.read.each(
        "SELECT inputs, line, epoch FROM resolutions WHERE room = ?1",
        params![room.key.nid],
        &mut |row| {
            let at = StateRef { line: row.get(1)?, epoch: row.get(2)? };
            match lines.hash(at) {
                Some(hash) => {
                    out.insert(row.get(0)?, hash);
                }
                None => report.add(
                    Kind::Resolution,
                    &room.key.room_id,
                    format_args!("names line {}, which is not there", at.line),
                ),
            }
            Ok(())
        },
    )?;
    Ok(out)
}

struct Walk<'a> {
    site: &'a Site<'a>,
    room: &'a Room,
    lines: &'a Lines,
    resolver: Resolver<'a>,
    resolutions: HashMap<Vec<u8>, u128>,
    /// States after events that are still followed by others, or extremities.
    after: HashMap<usize, State>,
    /// How many events still to come follow an event.
    following: HashMap<usize, usize>,
    tips: BTreeSet<usize>,
    /// Where events may have come before those that they name: all that name one.
    children: HashMap<usize, Vec<usize>>,
    out: Replayed,
}

impl Walk<'_> {
    /// The verdicts on outliers, by their auth events alone, as those were judged when the outlier came.
    fn outliers(&mut self, report: &mut Report) {
        for event in self.room.events.iter().filter(|event| event.is(flag::OUTLIER) && !event.loose) {
            self.resolver.at(event.nid);
            let Some(allowed) = self.resolver.allowed_by_auth(event.nid) else { continue };
            if allowed == event.is(flag::REJECTED) {
                report.add(Kind::Verdict, &event.event_id, "an outlier is not stored as its auth events say");
            }
        }
    }

    /// Events of the DAG, parents first, those ready in the order of their positions.
    fn order(&mut self, report: &mut Report) -> Vec<usize> {
        let events = &self.room.events;
        let mut missing: HashMap<usize, usize> = HashMap::new();
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut ready = BinaryHeap::new();
        let mut count = 0;
        let with_gaps = events.iter().any(|event| event.is(flag::TOLD));
        for (at, event) in events.iter().enumerate().filter(|(_, event)| event.in_dag()) {
            count += 1;
            let prev = self.room.parents(event);
            missing.insert(at, prev.len());
            if prev.is_empty() {
                ready.push(Reverse((event.position, at)));
            }
            if with_gaps {
                for parent in self.room.named(event) {
                    self.children.entry(parent).or_default().push(at);
                }
            }
            for parent in prev {
                children.entry(parent).or_default().push(at);
            }
        }
        self.following = children.iter().map(|(parent, of)| (*parent, of.len())).collect();
        let mut order = Vec::with_capacity(count);
        let mut newest = i64::MIN;
        while let Some(Reverse((position, at))) = ready.pop() {
            if let Some(position) = position.filter(|position| *position > 0) {
                if position < newest {
                    report.add(Kind::Position, &events[at].event_id, "comes before an event that it follows");
                }
                newest = newest.max(position);
            }
            order.push(at);
            for child in children.remove(&at).unwrap_or_default() {
                let left = missing.entry(child).or_default();
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse((events[child].position, child)));
                }
            }
        }
        if order.len() < count {
            report.add(
                Kind::Edge,
                &self.room.key.room_id,
                format_args!("{} events are in a circle", count - order.len()),
            );
        }
        order
    }

    fn event(&mut self, at: usize, report: &mut Report) -> Result<(), StoreError> {
        let event = &self.room.events[at];
        let (Some(stored_before), Some(stored_after)) = (event.before, event.after) else {
            report.add(Kind::StateBefore, &event.event_id, "no state is stored");
            return Ok(());
        };
        let arrival = event.arrival().unwrap_or(i64::MAX);
        // While it is judged, an outlier is what it was until then.
        self.resolver.at(arrival - 1);
        let prev = self.room.prev(event);
        let before = self.before(event, prev.as_deref(), stored_before, report);
        self.compare(Kind::StateBefore, event, stored_before, &before, report);
        if let Some(pdu) = self.resolver.pdu(event.nid) {
            self.judge(at, &pdu, prev.as_deref(), &before, report)?;
        }
        self.resolver.at(arrival);
        let prev = self.room.parents(event);
        let extremity = event.live().is_some() && !event.is(flag::HIDDEN | flag::BACKFILLED);
        if event.is(flag::ANEW) {
            for tip in std::mem::take(&mut self.tips) {
                self.forget_if_done(tip);
            }
        }
        let fills_gap = self.is_behind(at);
        if extremity || (event.live().is_some() && fills_gap) {
            self.replace_tips(&prev, arrival);
        }
        for parent in &prev {
            if let Some(left) = self.following.get_mut(parent) {
                *left -= 1;
            }
            self.forget_if_done(*parent);
        }
        // From here on `before` is the only holder of the state along a line, so that the change is made in place.
        let after = self.with(before, event);
        self.compare(Kind::StateAfter, event, stored_after, &after, report);
        self.after.insert(at, after);
        if extremity && !fills_gap {
            self.tips.insert(at);
        }
        self.compare_current(event, report);
        self.forget_if_done(at);
        Ok(())
    }

    /// An accepted event takes the place of the extremities that it names, and of those behind soft-failed and rejected ones
    /// that it names: as far as those were in the DAG when it came.
    fn replace_tips(&mut self, prev: &[usize], came: i64) {
        let mut todo = prev.to_vec();
        let mut seen: BTreeSet<usize> = todo.iter().copied().collect();
        while let Some(parent) = todo.pop() {
            if self.tips.remove(&parent) {
                self.forget_if_done(parent);
            }
            let event = &self.room.events[parent];
            if event.is(flag::SOFT_FAILED | flag::REJECTED) {
                let mut behind = self.room.named(event);
                behind.retain(|at| self.room.events[*at].arrival() < Some(came));
                todo.extend(behind.into_iter().filter(|at| seen.insert(*at)));
            }
        }
    }

    /// Whether an accepted event that came before has the event behind it, directly or through soft-failed and rejected ones.
    fn is_behind(&self, at: usize) -> bool {
        let position = self.room.events[at].position;
        let mut todo = vec![at];
        let mut seen = BTreeSet::new();
        while let Some(parent) = todo.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                let event = &self.room.events[*child];
                if event.arrival() > position || !seen.insert(*child) {
                    continue;
                }
                if !event.is(flag::HIDDEN) {
                    return true;
                }
                todo.push(*child);
            }
        }
        false
    }

    /// The state before an event. One that can't be recomputed, because what it follows is not here, is taken as stored.
    fn before(&mut self, event: &Event, prev: Option<&[usize]>, stored: StateRef, report: &mut Report) -> State {
        let states =
            prev.and_then(|prev| prev.iter().map(|at| self.after.get(at).cloned()).collect::<Option<Vec<_>>>());
        let Some(states) = states else { return self.stored(stored) };
        let inputs = prev.and_then(|prev| self.inputs(prev));
        match self.resolver.resolve(states) {
            Ok(state) => {
                // With a late rejection all that is remembered goes: what is there was resolved after the last one.
                if !self.resolver.rejects_more_later()
                    && let Some(remembered) = inputs.and_then(|inputs| self.resolutions.get(&inputs))
                    && *remembered != state.hash
                {
                    report.add(Kind::Resolution, &event.event_id, "the remembered resolution before it is another");
                }
                state
            }
            Err(reason) => {
                report.add(
                    Kind::Resolution,
                    &event.event_id,
                    format_args!("the states before it can't be resolved: {reason}"),
                );
                self.stored(stored)
            }
        }
    }

    /// How a resolution of the states after these events is remembered.
    fn inputs(&self, prev: &[usize]) -> Option<Vec<u8>> {
        let states: Option<BTreeSet<StateRef>> = prev.iter().map(|at| self.room.events[*at].after).collect();
        let mut hasher = blake3::Hasher::new();
        for state in states? {
            hasher.update(&state.line.to_le_bytes());
            hasher.update(&state.epoch.to_le_bytes());
        }
        Some(hasher.finalize().as_bytes().to_vec())
    }

    fn stored(&self, at: StateRef) -> State {
        State { map: Arc::new(self.lines.full(at)), hash: self.lines.hash(at).unwrap_or(0) }
    }

    /// The state with an event in it.
    fn with(&self, mut state: State, event: &Event) -> State {
        if let Some(key) = event.state_key
            && !event.is(flag::REJECTED)
        {
            let old = Arc::make_mut(&mut state.map).insert(key, event.nid);
            state.hash = changed(&self.site.hash_key, state.hash, key, old, Some(event.nid));
        }
        state
    }

    fn forget_if_done(&mut self, at: usize) {
        if !self.tips.contains(&at) && self.following.get(&at).is_none_or(|left| *left == 0) {
            self.after.remove(&at);
        }
    }

    /// The room's current state: what its extremities resolve to.
    fn current(&mut self, report: &mut Report) -> State {
        let states = self.tips.iter().filter_map(|tip| self.after.get(tip).cloned()).collect();
        self.resolver.resolve(states).unwrap_or_else(|reason| {
            report.add(
                Kind::Resolution,
                &self.room.key.room_id,
                format_args!("its extremities can't be resolved: {reason}"),
            );
            State::default()
        })
    }

    fn compare(&self, kind: Kind, event: &Event, stored: StateRef, state: &State, report: &mut Report) {
        match self.lines.hash(stored) {
            Some(hash) if hash == state.hash => {}
            Some(_) => report.add(kind, &event.event_id, first_difference(&self.lines.full(stored), &state.map)),
            None => report.add(kind, &event.event_id, format_args!("line {} is not there", stored.line)),
        }
    }

    fn compare_current(&mut self, event: &Event, report: &mut Report) {
        let Some(position) = event.live().filter(|_| !self.room.partial) else { return };
        let main = StateRef { line: self.room.key.main_line, epoch: position };
        let current = self.current(report);
        match self.lines.hash(main) {
            Some(hash) if hash == current.hash => {}
            _ => {
                let what = first_difference(&self.lines.full(main), &current.map);
                report.add(
                    Kind::CurrentState,
                    format_args!("{} after {}", self.room.key.room_id, event.event_id),
                    what,
                );
            }
        }
    }

    /// The verdict on an event, and what its sender may do.
    fn judge(
        &mut self,
        at: usize,
        pdu: &Pdu,
        prev: Option<&[usize]>,
        before: &State,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let event = &self.room.events[at];
        if !event.is(flag::PARTIAL_STATE) {
            let verdict = self.verdict(event, pdu, prev, before, report);
            let stored = event.flags & (flag::REJECTED | flag::SOFT_FAILED);
            // One that was an accepted outlier keeps its effect on what came before its history. Its number is older than its place.
            let was_outlier =
                event.is(flag::BACKFILLED) || event.position.is_some_and(|position| position != event.nid);
            let kept = was_outlier
                && event.state_key.is_some()
                && verdict == Some(flag::REJECTED)
                && stored == flag::SOFT_FAILED;
            if !kept && verdict.is_some_and(|verdict| verdict != stored) {
                let named = |flags| match flags {
                    0 => "accepted",
                    flag::REJECTED => "rejected",
                    flag::SOFT_FAILED => "soft-failed",
                    _ => "rejected and soft-failed",
                };
                let what = format!("is stored as {}, should be {}", named(stored), named(verdict.unwrap_or(0)));
                report.add(Kind::Verdict, &event.event_id, what);
            }
        }
        let Some(body) = &event.body else { return Ok(()) };
        if body.redacts.is_some() || body.class.0 != body.class.1 {
            let create = self.resolver.event_in(before, "m.room.create", "");
            let levels = self.resolver.event_in(before, "m.room.power_levels", "");
            let power = Power::new(self.room.rules, create.as_deref(), levels.as_deref());
            if power.of(pdu.sender()) >= power.to_redact() {
                self.out.may_redact.insert(at);
            }
            if power.of(pdu.sender()) >= power.to_notify_room() {
                self.out.may_notify.insert(at);
            }
        }
        for user in &body.mentions {
            let member = self.resolver.event_in(before, "m.room.member", user.as_str());
            let joined = member.is_some_and(|member| {
                crate::rooms::append::membership(&member) == crate::store::members::Membership::Join
            });
            if let (true, Some(user)) = (joined, ids::user_nid(self.site.read, user)?) {
                self.out.mentioned.insert((at, user.0));
            }
        }
        Ok(())
    }

    /// REJECTED, SOFT_FAILED or neither; None if that can't be said.
    fn verdict(
        &mut self,
        event: &Event,
        pdu: &Pdu,
        prev: Option<&[usize]>,
        before: &State,
        report: &mut Report,
    ) -> Option<i64> {
        let by_id = |id: &EventId| self.room.by_id(&event_id::encode(id)).map(|at| self.room.events[at].nid);
        let fetch = |id: &EventId| self.resolver.pdu(by_id(id)?);
        let allowed = |state: &State| {
            check_against_state(self.room.rules, pdu, |kind, key| self.resolver.event_in(state, &kind.to_string(), key))
                .is_ok()
        };
        if check_auth_events(self.room.rules, pdu, fetch).is_err() || !allowed(before) {
            return Some(flag::REJECTED);
        }
        if event.live().is_none() || event.is(flag::BACKFILLED | flag::ANEW) {
            return Some(0);
        }
        if event.is(flag::POLICY_CHECKED) && event.is(flag::SOFT_FAILED) {
            return Some(flag::SOFT_FAILED);
        }
        let told = event.is(flag::TOLD);
        let prev: BTreeSet<usize> = if told { BTreeSet::new() } else { prev?.iter().copied().collect() };
        if !told && prev == self.tips {
            return Some(0);
        }
        let states = self.tips.iter().filter_map(|tip| self.after.get(tip).cloned()).collect();
        let current = self.resolver.resolve(states);
        match current {
            Ok(current) => {
                let allowed = check_against_state(self.room.rules, pdu, |kind, key| {
                    self.resolver.event_in(&current, &kind.to_string(), key)
                });
                Some(if allowed.is_ok() { 0 } else { flag::SOFT_FAILED })
            }
            Err(reason) => {
                report.add(Kind::Resolution, &event.event_id, reason);
                None
            }
        }
    }
}

/// In which key two states differ first.
fn first_difference(
    stored: &std::collections::BTreeMap<i64, i64>,
    wanted: &std::collections::BTreeMap<i64, i64>,
) -> String {
    let keys: BTreeSet<&i64> = stored.keys().chain(wanted.keys()).collect();
    let first = keys.into_iter().find(|key| stored.get(key) != wanted.get(key));
    match first {
        Some(key) => {
            format!("key {key} is stored as event {:?}, should be {:?}", stored.get(key), wanted.get(key))
        }
        None => "only the hashes differ".into(),
    }
}
