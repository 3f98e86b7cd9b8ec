//! Histories of rooms at random: who does what after which events.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::room::{Room, Sent, State, USERS};

/// One step of a room's history: who does what after which events.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    after: prop::sample::Index,
    and_after: Option<prop::sample::Index>,
    sender: usize,
    target: usize,
    action: usize,
    value: i64,
    ts: u64,
}

pub(crate) fn any_steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (
        any::<prop::sample::Index>(),
        proptest::option::weighted(0.25, any::<prop::sample::Index>()),
        (0..USERS.len(), 0..USERS.len()),
        0..ACTIONS,
        prop::sample::select(vec![0, 25, 50, 75, 100]),
        // Few values, so that times are often equal and often run against the order of the events.
        1..8_u64,
    );
    let step = step.prop_map(|(after, and_after, (sender, target), action, value, ts)| Step {
        after,
        and_after,
        sender,
        target,
        action,
        value,
        ts,
    });
    proptest::collection::vec(step, 1..most)
}

const ACTIONS: usize = 12;

impl Step {
    fn sent(&self, room: &Room, before: &State) -> Sent {
        let (sender, target) = (USERS[self.sender], USERS[self.target]);
        let member = |state_key: &str, membership: &str| {
            ("m.room.member", state_key.to_owned(), json!({"membership": membership}))
        };
        let (event_type, state_key, content) = match self.action {
            0..=2 => member(sender, "join"),
            3 => member(sender, "leave"),
            4 => member(target, "leave"),
            5 => member(target, "ban"),
            6 => member(target, "invite"),
            7 => ("m.room.topic", String::new(), json!({"topic": self.value})),
            8 => ("m.room.name", String::new(), json!({"name": self.value})),
            9 => ("org.example.any", target.trim_start_matches('@').to_owned(), json!({})),
            10 => {
                let rules = ["public", "invite", if room.number > 6 { "knock" } else { "invite" }];
                ("m.room.join_rules", String::new(), json!({"join_rule": rules[self.value as usize % 3]}))
            }
            _ => {
                // Resolution may leave a room without power levels: where all of those in conflict are denied.
                let id = before.get(&("m.room.power_levels".to_owned(), String::new()));
                let levels = id.and_then(|id| room.event(id));
                let levels = levels.map(|event| serde_json::from_str(event.content().get()).unwrap());
                let mut levels: Value = levels.unwrap_or_else(|| json!({"users": {}}));
                if room.number < 12 || self.target != 0 {
                    levels["users"][target] = json!(self.value);
                }
                if self.ts.is_multiple_of(3) {
                    levels["state_default"] = json!(self.value);
                }
                ("m.room.power_levels", String::new(), levels)
            }
        };
        Sent { sender, event_type, state_key, content, ts: self.ts }
    }
}

/// The room that steps make; those that are not allowed where they are tried make nothing.
pub(crate) fn room_of(number: usize, join_rule: &str, steps: &[Step]) -> Room {
    let mut room = Room::new(number, join_rule);
    for step in steps {
        // Near the end, or all branches would start at the beginning.
        let recent = room.events.len().saturating_sub(6).max(3);
        let pick = |index: &prop::sample::Index| {
            room.events[recent + index.index(room.events.len() - recent)].event_id().to_owned()
        };
        let mut parents = vec![pick(&step.after)];
        parents.extend(step.and_after.as_ref().map(pick).filter(|other| *other != parents[0]));
        let before = room.state_before(&parents);
        let sent = step.sent(&room, &before);
        room.send(&parents, &sent);
    }
    room
}
