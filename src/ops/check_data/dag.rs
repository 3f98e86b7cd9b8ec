//! The DAG: edges, extremities, edges of the auth DAG.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    Kind, Report, Site,
    room::{Event, Room},
};
use crate::{
    params,
    store::{StoreError, events::flag, rooms},
};

/// Checks a room's edges.
pub(super) fn check(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    edges(site, room, report)?;
    forward_extremities(site, room, report)?;
    backward_extremities(site, room, report)?;
    auth_edges(site, room, report)
}

/// prev_events: by the flag LINEAR, or as rows.
fn edges(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    let mut stored: HashMap<i64, BTreeSet<Vec<u8>>> = HashMap::new();
    site.read.each("SELECT event, prev FROM event_edges WHERE room = ?1", params![room.key.nid], &mut |row| {
        stored.entry(row.get(0)?).or_default().insert(row.get(1)?);
        Ok(())
    })?;
    let live = room.live();
    let before: HashMap<i64, &Event> = live.windows(2).map(|pair| (pair[1].nid, pair[0])).collect();
    for event in &room.events {
        let edges = stored.remove(&event.nid).unwrap_or_default();
        let Some(body) = &event.body else { continue };
        let wanted: BTreeSet<Vec<u8>> = body.prev.iter().cloned().collect();
        if event.is(flag::LINEAR) {
            let before = before.get(&event.nid).map(|before| &before.id);
            if wanted.len() != 1 || wanted.first() != before {
                report.add(Kind::Edge, &event.event_id, "marked as following the room's preceding event, and does not");
            }
            if !edges.is_empty() {
                report.add(Kind::Edge, &event.event_id, "has both the mark of a linear event and edges");
            }
        } else if event.in_dag() && edges != wanted {
            let what = format!("{} edges are stored, the body names {} previous events", edges.len(), wanted.len());
            report.add(Kind::Edge, &event.event_id, what);
        }
    }
    for event in stored.keys() {
        report.add(Kind::Edge, &room.key.room_id, format_args!("edges of event {event}, which is not in the room"));
    }
    Ok(())
}

fn forward_extremities(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    let accepted = |event: &&Event| event.in_dag() && !event.is(flag::HIDDEN);
    let hidden: HashMap<&Vec<u8>, &Event> = room
        .events
        .iter()
        .filter(|event| event.in_dag() && event.is(flag::SOFT_FAILED | flag::REJECTED))
        .map(|event| (&event.id, event))
        .collect();
    // What an accepted event has behind it, through soft-failed and rejected ones too: those take no extremity's place.
    let mut referred: HashSet<&Vec<u8>> = HashSet::new();
    let mut todo: Vec<&Event> = room.events.iter().filter(accepted).collect();
    while let Some(event) = todo.pop() {
        for prev in event.body.iter().flat_map(|body| &body.prev) {
            if referred.insert(prev) {
                todo.extend(hidden.get(prev));
            }
        }
    }
    // With the newest one by which this server came into the room, those before it ceased to be extremities.
    let came = room.events.iter().filter(|event| event.is(flag::ANEW)).filter_map(|event| event.live()).max();
    let wanted: BTreeSet<i64> = room
        .events
        .iter()
        .filter(accepted)
        .filter(|event| event.live().is_some() && event.live() >= came && !referred.contains(&event.id))
        .map(|event| event.nid)
        .collect();
    let stored: BTreeSet<i64> = rooms::extremities(site.read, room.key.nid)?.into_iter().map(|nid| nid.0).collect();
    for nid in wanted.difference(&stored) {
        let name = name(room, *nid);
        report.add(Kind::Extremity, name, "nothing accepted refers to it, and it is no forward extremity");
    }
    for nid in stored.difference(&wanted) {
        report.add(Kind::Extremity, name(room, *nid), "is a forward extremity and should not be");
    }
    Ok(())
}

/// What events of the DAG refer to and is not here.
fn backward_extremities(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    let mut stored: BTreeSet<(Vec<u8>, i64)> = BTreeSet::new();
    site.read.each(
        "SELECT missing, event FROM backward_extremities WHERE room = ?1",
        params![room.key.nid],
        &mut |row| {
            stored.insert((row.get(0)?, row.get(1)?));
            Ok(())
        },
    )?;
    let missing = |id: &Vec<u8>| room.by_id(id).is_none_or(|at| !room.events[at].in_dag());
    let wanted: BTreeSet<(Vec<u8>, i64)> = room
        .events
        .iter()
        .filter(|event| event.in_dag())
        .filter_map(|event| Some((event.nid, event.body.as_ref()?)))
        .flat_map(|(nid, body)| body.prev.iter().filter(|id| missing(id)).map(move |id| (id.clone(), nid)))
        .collect();
    for (_, event) in wanted.difference(&stored) {
        report.add(Kind::Extremity, name(room, *event), "refers to an event that is not here, and no row says so");
    }
    for (_, event) in stored.difference(&wanted) {
        report.add(Kind::Extremity, name(room, *event), "is said to miss a previous event and does not");
    }
    Ok(())
}

fn auth_edges(site: &Site<'_>, room: &Room, report: &mut Report) -> Result<(), StoreError> {
    let mut stored: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for (event, auth) in rooms::auth_edges(site.read, room.key.nid)? {
        stored.insert(event.0, auth.into_iter().map(|nid| nid.0).collect());
    }
    for event in &room.events {
        let edges = stored.remove(&event.nid);
        let Some(body) = event.body.as_ref().filter(|_| !event.loose) else { continue };
        let wanted: Option<BTreeSet<i64>> =
            body.auth.iter().map(|id| room.by_id(id).map(|at| room.events[at].nid)).collect();
        match (body.state_key.is_some(), edges, wanted) {
            (_, _, None) => report.add(Kind::AuthEdge, &event.event_id, "names an auth event that is not here"),
            (true, None, _) => report.add(Kind::AuthEdge, &event.event_id, "a state event without auth edges"),
            (true, Some(edges), Some(wanted)) if edges != wanted => {
                report.add(Kind::AuthEdge, &event.event_id, format_args!("{edges:?} are stored, {wanted:?} are named"));
            }
            (false, Some(_), _) => {
                report.add(Kind::AuthEdge, &event.event_id, "auth edges of an event that is no state")
            }
            _ => {}
        }
    }
    for event in stored.keys() {
        report.add(Kind::AuthEdge, &room.key.room_id, format_args!("of event {event}, which is not in the room"));
    }
    Ok(())
}

/// How an event is called in a difference.
pub(super) fn name(room: &Room, nid: i64) -> String {
    match room.by_nid(nid) {
        Some(at) => room.events[at].event_id.to_string(),
        None => format!("{} event {nid}", room.key.room_id),
    }
}
