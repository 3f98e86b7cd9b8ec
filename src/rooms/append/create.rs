//! Makes a room: its create event and all that follows, in one transaction.

use std::sync::Arc;

use linkim_federation::{EventTemplate, Pdu, RoomVersionRules, build_event, check_against_state, rules};
use ruma::{OwnedRoomId, RoomId};

use super::{
    Along, AppendError, Appended, LocalEvent, NewRoom, Shared,
    actor::answers,
    commit::{MainCommit, Target},
    head::{Head, names_hashes},
    plan::{Batch, Outcome, Repeats, build_error},
};
use crate::store::{
    StoreError,
    ids::{RoomKey, RoomNid},
};

/// See [`super::Appenders::create`].
pub(super) async fn create(
    shared: &Arc<Shared>,
    new: NewRoom,
    events: Vec<LocalEvent>,
    along: Option<Along>,
) -> Result<(Arc<RoomKey>, Vec<Appended>), AppendError> {
    let rules = rules(&new.version)
        .ok_or_else(|| AppendError::Malformed(format!("room version {} is not known", new.version)))?;
    let now_ms = shared.create_time_ms();
    let version = new.version.clone();
    let create = create_event(shared, new, rules, now_ms)?;
    let room_id = create.room_id().to_owned();
    let unborn =
        RoomKey { nid: RoomNid(0), room_id: room_id.clone(), version: version.clone(), main_line: 0, service: None };
    let head = Head::unborn(Arc::new(unborn), rules);
    let mut batch = Batch::default();
    batch.push_create(Arc::new(create));
    let mut outcomes = vec![Outcome::New(0)];
    for event in events {
        outcomes.push(batch.plan(&head, event, &Repeats::new(), &shared.signer, now_ms)?);
    }
    let commit = MainCommit {
        site: shared.site.clone(),
        room: Target::New { room_id, version },
        rules,
        row: head.row,
        running: head.running,
        old_tips: Vec::new(),
        planned: Arc::new(batch.planned),
        members: head.members,
        now_ms,
        partial: false,
    };
    let committed = shared
        .store
        .write::<_, StoreError, _>(move |tx| {
            let committed = commit.run(tx)?;
            if let Some(along) = along {
                along(tx, committed.room.nid, &committed.appended)?;
            }
            Ok(committed)
        })
        .await?;
    Ok((committed.room, answers(outcomes, &committed.appended)))
}

fn create_event(shared: &Shared, new: NewRoom, rules: &RoomVersionRules, now_ms: i64) -> Result<Pdu, AppendError> {
    let room_id = match rules.event_format.require_room_create_room_id {
        true => Some(new_room_id(shared)?),
        false => None,
    };
    let event_id_v1 = names_hashes(rules).then(|| shared.signer.event_id_v1()).transpose()?;
    let pdu = build_event(
        EventTemplate {
            room_id: room_id.as_deref(),
            sender: &new.creator,
            event_type: "m.room.create",
            state_key: Some(""),
            content: new.create_content,
            prev_events: &[],
            auth_events: &[],
            depth: 1,
            origin_server_ts: u64::try_from(now_ms).unwrap_or(0),
            redacts: None,
            event_id_v1: event_id_v1.as_deref(),
        },
        rules,
        &shared.signer.server_name,
        &shared.signer.key,
    )
    .map_err(build_error)?;
    linkim_federation::check_auth_events(rules, &pdu, |_| None)
        .and_then(|()| check_against_state(rules, &pdu, |_, _| None))
        .map_err(|denied| AppendError::Denied(denied.reason().to_owned()))?;
    Ok(pdu)
}

/// A new id for a room of version 1 to 11; later rooms are named by their create event.
fn new_room_id(shared: &Shared) -> Result<OwnedRoomId, AppendError> {
    let id = format!("!{}:{}", shared.signer.random.letters(18), shared.signer.server_name);
    RoomId::parse(&id).map_err(|error| AppendError::Malformed(error.to_string()))
}
