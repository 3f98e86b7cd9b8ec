//! In which order events are handed to a room: each after those it names.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use linkim_federation::Pdu;
use ruma::OwnedEventId;

/// Puts events into an order in which each comes after its previous events and its auth events, as far as they are among
/// them; where that leaves a choice, the one with the lower depth, then the one that came first here, goes first. Events that
/// name each other in a circle (possible in room versions 1 and 2, where ids are the sender's choice) come last, as they
/// came.
pub(super) fn in_order(events: Vec<Arc<Pdu>>) -> Vec<Arc<Pdu>> {
    sorted(events, |pdu| pdu.prev_events().iter().chain(pdu.auth_events()).collect())
}

/// As [`in_order`], by auth events alone: outliers stand in no other order.
pub(crate) fn in_auth_order(events: Vec<Arc<Pdu>>) -> Vec<Arc<Pdu>> {
    sorted(events, |pdu| pdu.auth_events().iter().collect())
}

fn sorted(events: Vec<Arc<Pdu>>, names: impl Fn(&Pdu) -> Vec<&OwnedEventId>) -> Vec<Arc<Pdu>> {
    if events.len() < 2 {
        return events;
    }
    let index: HashMap<OwnedEventId, usize> =
        events.iter().enumerate().map(|(at, pdu)| (pdu.owned_event_id().clone(), at)).collect();
    let mut waits_for = vec![0usize; events.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); events.len()];
    for (at, pdu) in events.iter().enumerate() {
        for id in names(pdu) {
            if let Some(before) = index.get(id) {
                followers[*before].push(at);
                waits_for[at] += 1;
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    for (at, pdu) in events.iter().enumerate().filter(|(at, _)| waits_for[*at] == 0) {
        ready.push(Reverse((pdu.depth(), at)));
    }
    let mut order = Vec::with_capacity(events.len());
    let mut taken = vec![false; events.len()];
    while let Some(Reverse((_, at))) = ready.pop() {
        order.push(at);
        taken[at] = true;
        for next in &followers[at] {
            waits_for[*next] -= 1;
            if waits_for[*next] == 0 {
                ready.push(Reverse((events[*next].depth(), *next)));
            }
        }
    }
    order.extend((0..events.len()).filter(|at| !taken[*at]));
    order.into_iter().map(|at| events[at].clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, depth: u64, prev: &[&str], auth: &[&str]) -> Arc<Pdu> {
        let pairs = |ids: &[&str]| ids.iter().map(|id| json!([format!("${id}:a.example"), {}])).collect::<Vec<_>>();
        let json = json!({
            "type": "m.room.message", "sender": "@a:a.example", "room_id": "!r:a.example", "content": {},
            "depth": depth, "origin_server_ts": 1, "prev_events": pairs(prev), "auth_events": pairs(auth),
        });
        let id = OwnedEventId::try_from(format!("${id}:a.example")).unwrap();
        Arc::new(Pdu::from_trusted(id, json.to_string(), false).unwrap())
    }

    fn names(events: &[Arc<Pdu>]) -> Vec<String> {
        events.iter().map(|pdu| pdu.event_id().localpart().to_owned()).collect()
    }

    #[test]
    fn ancestors_come_first_whatever_the_depths_say() {
        let events = vec![
            event("d", 1, &["c", "b"], &[]),
            event("c", 9, &["a"], &["b"]),
            event("b", 5, &["a"], &[]),
            event("a", 7, &["elsewhere"], &[]),
        ];
        assert_eq!(names(&in_order(events)), ["a", "b", "c", "d"]);
    }

    #[test]
    fn circles_end_and_come_last() {
        let events = vec![event("a", 1, &["b"], &[]), event("b", 1, &["a"], &[]), event("c", 3, &[], &[])];
        assert_eq!(names(&in_order(events)), ["c", "a", "b"]);
        assert_eq!(names(&in_order(vec![event("x", 1, &["x"], &[]), event("y", 1, &[], &[])])), ["y", "x"]);
    }

    #[test]
    fn outliers_follow_their_auth_events_alone() {
        let events = vec![event("c", 3, &[], &["b"]), event("b", 2, &["c"], &["a"]), event("a", 9, &[], &[])];
        assert_eq!(names(&in_auth_order(events)), ["a", "b", "c"]);
    }
}
