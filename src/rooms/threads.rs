//! The threads of a room, those with the newest events first.
//!
//! Source: Client-Server API, "Querying threads in a room": `GET /rooms/{roomId}/threads`.

use std::collections::HashSet;

use super::access::OpenRoom;
use crate::store::{
    StoreError, event_pages,
    ids::{EventNid, UserNid},
    relations,
};

/// Rows of threads' events read at once, and for one page.
const ROWS: usize = 256;
const MAX_ROWS: usize = 4096;

/// A page of roots: (JSON array, position before which the next page begins).
///
/// A root stands where its thread's newest event does, by order of arrival. `before` is what the page before this one
/// answered: threads with a newer event have been shown there.
///
/// # Errors
/// [`StoreError`].
pub fn page(
    open: &mut OpenRoom<'_>,
    participated: bool,
    before: Option<i64>,
    limit: usize,
) -> Result<(String, Option<i64>), StoreError> {
    let up_to = open.up_to();
    let begin = before.unwrap_or_else(|| up_to.saturating_add(1)).min(up_to.saturating_add(1));
    let mut next = begin;
    let mut done: HashSet<EventNid> = HashSet::new();
    let (mut out, mut count, mut seen) = (String::from("["), 0, 0);
    loop {
        let rows = relations::thread_events(open.read, open.room.nid, next, ROWS)?;
        seen += rows.len();
        for (position, root) in &rows {
            if done.contains(root) {
                next = *position;
                continue;
            }
            if count == limit {
                return Ok((out + "]", Some(next)));
            }
            next = *position;
            done.insert(*root);
            if relations::thread_has(open.read, *root, begin, up_to)? {
                continue;
            }
            if show(open, *root, participated, up_to, count > 0, &mut out)? {
                count += 1;
            }
        }
        if rows.len() < ROWS {
            return Ok((out + "]", None));
        }
        if seen >= MAX_ROWS {
            return Ok((out + "]", Some(next)));
        }
    }
}

/// Appends a root, if the viewer is to see it.
fn show(
    open: &mut OpenRoom<'_>,
    root: EventNid,
    participated: bool,
    up_to: i64,
    comma: bool,
    out: &mut String,
) -> Result<bool, StoreError> {
    let root = event_pages::by_nid(open.read, root)?;
    if !open.renderer.allows(&root.row)? {
        return Ok(false);
    }
    let senders = relations::thread_senders(open.read, &root.row, up_to)?;
    let viewer = open.renderer.viewer.user;
    let took_part = |senders: &[(UserNid, i64)]| senders.iter().any(|(sender, _)| *sender == viewer);
    if participated && root.row.sender != viewer && !took_part(&senders) {
        return Ok(false);
    }
    let ignored = open.renderer.ignored()?;
    if senders.iter().all(|(sender, _)| ignored.contains(sender)) {
        return Ok(false);
    }
    if comma {
        out.push(',');
    }
    if ignored.contains(&root.row.sender) {
        open.renderer.redacted(&root, out)?;
    } else {
        open.renderer.event(&root, out)?;
    }
    Ok(true)
}
