//! What events count as, and the running numbers that unread counts are differences of.

use super::{Kind, Report, replay::Replayed, room::Room};
use crate::store::events::{Running, flag};

/// Bits that `classify` gives.
const CLASS: i64 = flag::COUNTABLE | flag::NOTIFY | flag::HIGHLIGHT;

/// Checks a room's flags and running numbers.
pub(super) fn check(room: &Room, replayed: &Replayed, report: &mut Report) {
    for (at, event) in room.events.iter().enumerate() {
        let Some(body) = &event.body else { continue };
        // A redacted event keeps what it was counted as, and its body no longer tells.
        if event.redacted_by.is_some() || body.redacted && !body.hash_holds {
            continue;
        }
        let class = if replayed.may_notify.contains(&at) { body.class.1 } else { body.class.0 };
        let create = body.kind == "m.room.create";
        let wanted = if event.is(flag::HIDDEN) || create { 0 } else { class };
        if event.flags & CLASS != wanted {
            let what = format!("is stored as {}, should be {}", named(event.flags), named(wanted));
            report.add(Kind::Class, &event.event_id, what);
        }
    }
    let mut running = Running::default();
    for event in room.live() {
        running = running.plus(event.flags);
        if event.running != running {
            let what = format!("{:?} are stored, should be {running:?}", event.running);
            report.add(Kind::Running, &event.event_id, what);
            // Go on from what is stored, so that one wrong row is one difference.
            running = event.running;
        }
    }
}

fn named(flags: i64) -> String {
    let names: Vec<&str> =
        [(flag::COUNTABLE, "countable"), (flag::NOTIFY, "notifying"), (flag::HIGHLIGHT, "highlighting")]
            .into_iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, name)| name)
            .collect();
    if names.is_empty() { "silent".into() } else { names.join(", ") }
}
