//! A room's state, as a viewer is shown it.
//!
//! Source: Client-Server API, `GET /rooms/{roomId}/state`, `/state/{eventType}/{stateKey}`, `/members`, `/joined_members`. Of a
//! room that the viewer left it is the state at their leaving.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    access::{OpenRoom, ReadError, Standing},
    page_token::PageToken,
    visibility::membership_of,
};
use crate::store::{
    StoreError, event_pages,
    event_pages::EventPage,
    events,
    events::{StateRef, Topological},
    ids,
    members::Membership,
    state::{self, Part},
};

/// The events of a part of a state.
pub(super) fn events(open: &OpenRoom<'_>, at: StateRef, part: Part) -> Result<Vec<EventPage>, StoreError> {
    match open.is_current(at)? {
        true => event_pages::current_state(open.read, open.room.nid, part),
        false => event_pages::state_at(open.read, at, part),
    }
}

/// The whole state, as a JSON array.
///
/// # Errors
/// [`StoreError`].
pub fn all(open: &mut OpenRoom<'_>) -> Result<String, StoreError> {
    let mut all = events(open, open.state(), Part::Others)?;
    all.extend(events(open, open.state(), Part::Members)?);
    list(open, &all)
}

/// The event of (type, state key).
///
/// # Errors
/// `NotFound`, or [`StoreError`].
pub fn one(open: &mut OpenRoom<'_>, kind: &str, key: &str) -> Result<EventPage, ReadError> {
    let at = open.state();
    let key = ids::state_key_nid(open.read, kind, key)?.ok_or(ReadError::NotFound("State"))?;
    let event = match at.epoch {
        i64::MAX => state::current_value(open.read, open.room.nid, key)?,
        _ => state::value(open.read, at, key)?,
    };
    let event = event.ok_or(ReadError::NotFound("State"))?;
    Ok(event_pages::by_nid(open.read, event)?)
}

/// Which members are asked for: those with the one membership, or without the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Members {
    /// `membership`.
    pub membership: Option<Membership>,
    /// `not_membership`.
    pub not_membership: Option<Membership>,
}

impl Members {
    fn wants(self, membership: Membership) -> bool {
        match (self.membership, self.not_membership) {
            (None, None) => true,
            (wanted, unwanted) => wanted == Some(membership) || unwanted.is_some_and(|unwanted| unwanted != membership),
        }
    }
}

/// The member events, as a JSON array: now, or at a token.
///
/// # Errors
/// [`StoreError`].
pub fn members(open: &mut OpenRoom<'_>, asked: Members, at: Option<PageToken>) -> Result<String, StoreError> {
    use Membership::{Ban, Invite, Join, Knock, Leave};
    let at = state_at(open, at)?;
    let mut events = Vec::new();
    if open.is_current(at)? {
        for membership in [Join, Invite, Knock, Leave, Ban].into_iter().filter(|m| asked.wants(*m)) {
            events.extend(event_pages::current_members(open.read, open.room.nid, membership)?);
        }
    } else {
        events = event_pages::state_at(open.read, at, Part::Members)?;
        events.retain(|event| asked.wants(membership_of(&event.json)));
    }
    list(open, &events)
}

/// The room's state at a token, not later than what the viewer is shown.
fn state_at(open: &OpenRoom<'_>, at: Option<PageToken>) -> Result<StateRef, StoreError> {
    let newest = open.state();
    let at = match at {
        None => return Ok(newest),
        Some(PageToken::Sync(position)) => StateRef { line: newest.line, epoch: position },
        Some(PageToken::Topological { depth, position }) => {
            let place = Topological { depth, position };
            let before = events::backwards(open.read, open.room.nid, place, open.up_to(), 1)?;
            match before.first().and_then(|event| event.after) {
                Some(after) => after,
                None => StateRef { line: newest.line, epoch: i64::MIN },
            }
        }
    };
    Ok(if at.line == newest.line && at.epoch > newest.epoch { newest } else { at })
}

/// `joined` of `/joined_members`, as a JSON object: only for those who are in the room.
///
/// # Errors
/// `NoPart`, or [`StoreError`].
pub fn joined_members(open: &OpenRoom<'_>) -> Result<String, ReadError> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        state_key: &'a RawValue,
        #[serde(borrow)]
        content: Content<'a>,
    }
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow, default)]
        displayname: Option<&'a RawValue>,
        #[serde(borrow, default)]
        avatar_url: Option<&'a RawValue>,
    }
    if open.standing != Standing::Joined {
        return Err(ReadError::NoPart);
    }
    let mut out = String::from("{");
    event_pages::each_current_member(open.read, open.room.nid, Membership::Join, |json| {
        let event: Event<'_> =
            serde_json::from_str(json).map_err(|error| StoreError::Damaged(format!("a member event: {error}")))?;
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(event.state_key.get());
        out.push_str(":{");
        let fields = [("\"avatar_url\":", event.content.avatar_url), ("\"display_name\":", event.content.displayname)];
        let mut any = false;
        for (name, value) in fields {
            // Whatever else than a text the member's client put there is no name and no address.
            if let Some(value) = value.map(RawValue::get).filter(|value| value.starts_with('"')) {
                if any {
                    out.push(',');
                }
                any = true;
                out.push_str(name);
                out.push_str(value);
            }
        }
        out.push('}');
        Ok(())
    })?;
    out.push('}');
    Ok(out)
}

fn list(open: &mut OpenRoom<'_>, events: &[EventPage]) -> Result<String, StoreError> {
    let bytes: usize = events.iter().map(|event| event.json.len()).sum();
    let mut out = String::with_capacity(bytes + 2);
    out.push('[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        open.renderer.state_event(event, &mut out)?;
    }
    out.push(']');
    Ok(out)
}

#[cfg(test)]
#[path = "state_view_tests.rs"]
mod tests;
