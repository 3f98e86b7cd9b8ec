//! The events of a new room, in their order.
//!
//! Source: Client-Server API, `POST /createRoom`, whose numbered steps [`plan`] follows.

use std::collections::{BTreeMap, BTreeSet};

use linkim_federation::RoomVersionRules;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedUserId, RoomAliasId, RoomVersionId, UserId,
};

use super::{
    append::{AppendError, LocalEvent, NewRoom},
    checks::{self, ContentError},
    content::{object, string, topic},
    create::{CreateError, CreateRequest, InitialState},
    presets::{Preset, Visibility, power_levels},
    profile::MemberProfile,
    stripped::{KINDS, StrippedState},
};
use crate::store::StoreError;

/// What the database says that the events depend on.
pub(super) struct Known {
    pub(super) creator: MemberProfile,
    /// One for each invited user; none for those of other servers, who are invited later.
    pub(super) invited: Vec<Option<MemberProfile>>,
}

/// A room that is ready to be made.
pub(super) struct Plan {
    pub(super) new: NewRoom,
    pub(super) events: Vec<LocalEvent>,
    pub(super) alias: Option<OwnedRoomAliasId>,
    pub(super) listed: bool,
    pub(super) predecessor: Option<String>,
    /// What each invited user is told.
    pub(super) stripped: Vec<(OwnedUserId, String)>,
}

/// The events of the request, in the order of the spec.
pub(super) fn plan(
    creator: &UserId,
    request: CreateRequest,
    version: RoomVersionId,
    rules: &RoomVersionRules,
    alias: Option<OwnedRoomAliasId>,
    known: &Known,
) -> Result<Plan, CreateError> {
    let preset = request.preset.unwrap_or_else(|| Preset::of_visibility(request.visibility));
    checks::power_levels(&request.power_level_content_override, rules)?;
    let raised: &[OwnedUserId] = if preset == Preset::TrustedPrivateChat { &request.invite } else { &[] };
    // 1.
    let create_content = create_content(creator, &request.creation_content, raised, &version, rules)?;
    let mut events: Vec<LocalEvent> = Vec::new();
    let mut push = |kind: &str, key: &str, content| {
        events.push(LocalEvent::state(creator.to_owned(), kind, key, content));
    };
    // 2.
    let mut join = object([("membership", "join".into())]);
    known.creator.fill(&mut join);
    push("m.room.member", creator.as_str(), join);
    // 3.
    let levels = power_levels(rules, creator, raised, &request.power_level_content_override);
    push("m.room.power_levels", "", levels);
    // 4.
    if let Some(alias) = &alias {
        push("m.room.canonical_alias", "", object([("alias", alias.as_str().into())]));
    }
    // 5. and 6.
    for (kind, key, content) in given_state(&request, preset, rules, alias.as_deref())? {
        push(kind, key, content);
    }
    // 7.
    if let Some(name) = &request.name {
        push("m.room.name", "", object([("name", name.as_str().into())]));
    }
    if let Some(text) = &request.topic {
        push("m.room.topic", "", topic(text.clone()));
    }
    // 8.
    for (user, profile) in request.invite.iter().zip(&known.invited) {
        if let Some(profile) = profile {
            push("m.room.member", user.as_str(), invitation(profile, &request));
        }
    }
    let stripped = stripped(creator, &create_content, &events)?;
    let predecessor = match create_content.get("predecessor") {
        Some(CanonicalJsonValue::Object(predecessor)) => string(predecessor, "room_id").map(str::to_owned),
        _ => None,
    };
    Ok(Plan {
        new: NewRoom { version, creator: creator.to_owned(), create_content },
        events,
        alias,
        listed: request.visibility == Visibility::Public,
        predecessor,
        stripped,
    })
}

/// The state of the preset and of `initial_state`, which comes before the preset's and behind `name` and `topic`.
fn given_state<'r>(
    request: &'r CreateRequest,
    preset: Preset,
    rules: &RoomVersionRules,
    alias: Option<&RoomAliasId>,
) -> Result<Vec<(&'r str, &'r str, CanonicalJsonObject)>, CreateError> {
    let given = |kind: &str| request.initial_state.iter().any(|e| e.kind == kind && e.state_key.is_empty());
    let preset = preset.state().into_iter().filter(|(kind, _)| !given(kind));
    let mut state: Vec<_> = preset.map(|(kind, content)| (kind, "", content)).collect();
    for event in &request.initial_state {
        let overwritten = match event.kind.as_str() {
            "m.room.name" => request.name.is_some(),
            "m.room.topic" => request.topic.is_some(),
            _ => false,
        };
        if overwritten && event.state_key.is_empty() {
            continue;
        }
        check_initial(event, rules, alias)?;
        state.push((&event.kind, &event.state_key, event.content.clone()));
    }
    Ok(state)
}

fn invitation(profile: &MemberProfile, request: &CreateRequest) -> CanonicalJsonObject {
    let mut content = request.invite_content.clone();
    content.insert("membership".into(), "invite".into());
    if request.is_direct {
        content.insert("is_direct".into(), true.into());
    }
    profile.fill(&mut content);
    content
}

/// The content of the create event: what the client adds, and what only the server may say.
fn create_content(
    creator: &UserId,
    extra: &CanonicalJsonObject,
    raised: &[OwnedUserId],
    version: &RoomVersionId,
    rules: &RoomVersionRules,
) -> Result<CanonicalJsonObject, CreateError> {
    let invalid = |name: &str, what: &str| CreateError::Invalid(format!("creation_content.{name} is not {what}"));
    let mut content = extra.clone();
    content.remove("creator");
    content.insert("room_version".into(), version.as_str().into());
    if !rules.authorization.use_room_create_sender {
        content.insert("creator".into(), creator.as_str().into());
    }
    if content.get("m.federate").is_some_and(|value| !matches!(value, CanonicalJsonValue::Bool(_))) {
        return Err(invalid("m.federate", "a boolean"));
    }
    if content.get("type").is_some_and(|value| !matches!(value, CanonicalJsonValue::String(_))) {
        return Err(invalid("type", "a string"));
    }
    if rules.authorization.additional_room_creators {
        let mut creators: Vec<OwnedUserId> = match content.remove("additional_creators") {
            None => Vec::new(),
            Some(CanonicalJsonValue::Array(list)) => list
                .iter()
                .map(|value| match value {
                    CanonicalJsonValue::String(user) => UserId::parse(user.as_str()).ok(),
                    _ => None,
                })
                .collect::<Option<_>>()
                .ok_or_else(|| invalid("additional_creators", "a list of user ids"))?,
            Some(_) => return Err(invalid("additional_creators", "a list of user ids")),
        };
        creators.extend(raised.iter().cloned());
        let mut seen = BTreeSet::from([creator.to_owned()]);
        creators.retain(|user| seen.insert(user.clone()));
        if !creators.is_empty() {
            let list: Vec<CanonicalJsonValue> = creators.iter().map(|user| user.as_str().into()).collect();
            content.insert("additional_creators".into(), list.into());
        }
    }
    Ok(content)
}

/// Whether a client may give this state event. What the authorisation rules refuse is refused by them.
fn check_initial(
    event: &InitialState,
    rules: &RoomVersionRules,
    alias: Option<&RoomAliasId>,
) -> Result<(), CreateError> {
    if event.kind.len() > 255 || event.state_key.len() > 255 {
        return Err(CreateError::Append(AppendError::TooLarge));
    }
    match (event.kind.as_str(), event.state_key.as_str()) {
        ("m.room.create", _) => Err(CreateError::InvalidState("m.room.create is the server's".into())),
        ("m.room.power_levels", "") => Ok(checks::power_levels(&event.content, rules)?),
        ("m.room.canonical_alias", "") => {
            let listed = checks::listed_aliases(&event.content)?;
            match listed.into_iter().find(|listed| Some(&**listed) != alias) {
                Some(elsewhere) => Err(ContentError::BadAlias(elsewhere).into()),
                None => Ok(()),
            }
        }
        // An invitation across servers is not a state event alone; `invite` does it.
        ("m.room.member", _) if string(&event.content, "membership") == Some("invite") => {
            Err(CreateError::Invalid("initial_state invites somebody: use invite".into()))
        }
        _ => Ok(()),
    }
}

/// What each invited user is told: the state that the events make.
fn stripped(
    creator: &UserId,
    create_content: &CanonicalJsonObject,
    events: &[LocalEvent],
) -> Result<Vec<(OwnedUserId, String)>, StoreError> {
    let is_invite =
        |event: &&LocalEvent| event.kind == "m.room.member" && string(&event.content, "membership") == Some("invite");
    let invites: Vec<&LocalEvent> = events.iter().filter(is_invite).collect();
    if invites.is_empty() {
        return Ok(Vec::new());
    }
    let mut newest: BTreeMap<(&str, &str), &LocalEvent> = BTreeMap::new();
    for event in events {
        newest.insert((&event.kind, event.state_key.as_deref().unwrap_or_default()), event);
    }
    let mut told = StrippedState::default();
    told.push_create(creator, create_content)?;
    for key in KINDS.into_iter().map(|kind| (kind, "")).chain([("m.room.member", creator.as_str())]) {
        if let Some(event) = newest.get(&key) {
            told.push_local(event)?;
        }
    }
    invites
        .into_iter()
        .filter_map(|invite| Some((invite, OwnedUserId::try_from(invite.state_key.as_deref()?).ok()?)))
        .map(|(invite, user)| {
            let mut told = told.clone();
            told.push_local(invite)?;
            Ok((user, told.json()))
        })
        .collect()
}

#[cfg(test)]
#[path = "create_plan_tests.rs"]
mod tests;
