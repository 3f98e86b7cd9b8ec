//! What of groups is derived from events: which rooms are groups, and what waits to be done in them.

use std::collections::HashSet;

use super::{Kind, Report, Site, room::Room};
use crate::{
    params,
    rooms::{
        append::group_service,
        content::string,
        group_calls::{REQUEST, RESULT},
        state,
    },
    store::{
        StoreError,
        events::flag,
        ids::{self, EventNid, UserNid},
        members::Membership,
    },
};

/// Type of the state event that says that a group was dissolved.
const STATUS: &str = "org.linkim.group.status";

/// Checks whose group a room is, and in groups of this server what waits.
pub(super) fn check(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    let stored = room.key.service;
    let wanted = service(site, room)?;
    if stored != wanted {
        let shown =
            |user: Option<UserNid>| user.map_or("no group".to_owned(), |user| format!("a group of user {}", user.0));
        let what = format!("is stored as {}, should be {}", shown(stored), shown(wanted));
        report.add(Kind::Group, &room.key.room_id, what);
    }
    let own = match wanted {
        Some(user) => ids::user_id(site.read, user)?.server_name() == site.server_name,
        None => false,
    };
    dissolution(site, room, wanted.filter(|_| own), report)?;
    calls(site, room, wanted.filter(|_| own), report)
}

/// The service user whom the create event names. What it cannot say, since it is damaged, is reported elsewhere.
fn service(site: &Site<'_>, room: &Room) -> Result<Option<UserNid>, StoreError> {
    let Some(create) = room.create_event else { return Ok(None) };
    if room.by_nid(create).is_none_or(|at| room.events[at].body.is_none()) {
        return Ok(room.key.service);
    }
    let create = state::load_pdu(site.read, EventNid(create))?;
    match group_service(site.read, site.server_name, &create)? {
        Some(user) => ids::user_nid(site.read, user),
        None => Ok(None),
    }
}

/// A dissolution goes on as long as somebody is left, and no longer than the group is dissolved.
fn dissolution(site: &Site<'_>, room: &Room, own: Option<UserNid>, report: &mut Report) -> Result<(), StoreError> {
    let nid = room.key.nid;
    let goes_on =
        site.read.one("SELECT 1 FROM group_dissolutions WHERE room = ?1", params![nid], |_| Ok(()))?.is_some();
    let status: Option<ruma::CanonicalJsonObject> = state::current_content(site.read, nid, STATUS, "")?;
    let dissolved = status.is_some_and(|status| string(&status, "status") == Some("dissolved"));
    if goes_on && !(own.is_some() && dissolved) {
        report.add(Kind::Group, &room.key.room_id, "is being dissolved, and its state does not say so");
    }
    let Some(service) = own.filter(|_| dissolved && !goes_on) else { return Ok(()) };
    let left = site.read.one(
        "SELECT user FROM memberships WHERE room = ?1 AND membership = ?2 AND user <> ?3 LIMIT 1",
        params![nid, Membership::Join as i64, service],
        |row| row.get::<i64>(0),
    )?;
    if let Some(user) = left {
        let what = format!("was dissolved, and nobody removes those who are left, such as user {user}");
        report.add(Kind::Group, &room.key.room_id, what);
    }
    Ok(())
}

/// What admins on other servers asked waits until it is answered.
fn calls(site: &Site<'_>, room: &Room, own: Option<UserNid>, report: &mut Report) -> Result<(), StoreError> {
    let waiting: HashSet<i64> = site
        .read
        .all("SELECT event FROM group_calls WHERE room = ?1", params![room.key.nid], |row| row.get(0))?
        .into_iter()
        .collect();
    let is = |kind: &str, body: &super::room::Body| body.kind == kind && body.state_key.is_none();
    let mut answered = HashSet::new();
    for event in room.events.iter().filter(|event| Some(UserNid(event.sender)) == own && event.live().is_some()) {
        let result = event.body.as_ref().filter(|body| is(RESULT, body));
        if let Some((_, request)) = result.and_then(|body| body.relation.as_ref()) {
            answered.insert(request.clone());
        }
    }
    for event in &room.events {
        let Some(body) = &event.body else { continue };
        let asks = own.is_some()
            && is(REQUEST, body)
            && event.live().is_some()
            && !event.is(flag::HIDDEN | flag::BACKFILLED | flag::ANEW)
            && !answered.contains(&event.event_id);
        match (asks, waiting.contains(&event.nid)) {
            (true, false) => report.add(Kind::Group, &event.event_id, "asks for something, and waits for no answer"),
            (false, true) => report.add(Kind::Group, &event.event_id, "waits for an answer that it does not need"),
            _ => {}
        }
    }
    Ok(())
}
