//! Making a room: which events, in which order. All of it is one transaction.
//!
//! Source: Client-Server API, `POST /createRoom`, whose numbered steps [`RoomCreation::plan`] follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use linkim_federation::{RoomVersionRules, STABLE_VERSIONS, rules};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId,
    RoomVersionId, UserId,
};

use super::{
    append::{Along, AppendError, Appenders, LocalEvent, NewRoom},
    checks::{self, ContentError},
    content::{object, string, topic},
    invite_permission,
    presets::{Preset, Visibility, power_levels},
    profile::MemberProfile,
    stripped::{KINDS, StrippedState},
};
use crate::{
    clock::Clock,
    store::{Store, StoreError, aliases, ids, rooms, stripped_state},
};

/// Users invited by one request at most: what one batch of events can carry without holding up the writer.
pub const MAX_INVITES: usize = 1000;

/// State events in one request at most.
pub const MAX_INITIAL_STATE: usize = 1000;

/// A state event of `initial_state`.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// Its type.
    pub kind: String,
    /// Its state key.
    pub state_key: String,
    /// Its content.
    pub content: CanonicalJsonObject,
}

/// What a client wants of a new room; the fields are those of the request.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the spec describes each under the same name")]
pub struct CreateRequest {
    pub visibility: Visibility,
    pub room_alias_name: Option<String>,
    pub name: Option<String>,
    pub topic: Option<String>,
    pub invite: Vec<OwnedUserId>,
    pub room_version: Option<String>,
    pub creation_content: CanonicalJsonObject,
    pub initial_state: Vec<InitialState>,
    pub preset: Option<Preset>,
    pub is_direct: bool,
    pub power_level_content_override: CanonicalJsonObject,
}

/// Why a room was not made. Nothing of it is there then.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No such room version here.
    #[error("this server does not support room version {0:?}")]
    UnsupportedVersion(String),
    /// A field has a value that it may not have.
    #[error("{0}")]
    Invalid(String),
    /// The alias is taken.
    #[error("the alias {0} is taken")]
    AliasInUse(OwnedRoomAliasId),
    /// The content of a state event is refused.
    #[error(transparent)]
    Content(ContentError),
    /// The authorisation rules refuse an event that the request implies.
    #[error("the initial state is invalid: {0}")]
    InvalidState(String),
    /// Somebody of another server is invited.
    #[error("{0} is on another server, which cannot be reached")]
    RemoteUser(OwnedUserId),
    /// Somebody is invited who has all invitations rejected.
    #[error("{0} accepts no invitations")]
    InviteBlocked(OwnedUserId),
    /// The events could not be appended.
    #[error(transparent)]
    Append(AppendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for CreateError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::InvalidState(reason),
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

impl From<ContentError> for CreateError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Store(error) => Self::Store(error),
            other => Self::Content(other),
        }
    }
}

/// Makes rooms.
pub struct RoomCreation {
    store: Store,
    appenders: Arc<Appenders>,
    server_name: OwnedServerName,
    default_version: RoomVersionId,
    clock: Arc<dyn Clock>,
}

/// What the database says that the events depend on.
struct Known {
    creator: MemberProfile,
    invited: Vec<MemberProfile>,
}

/// A room that is ready to be made.
struct Plan {
    new: NewRoom,
    events: Vec<LocalEvent>,
    alias: Option<OwnedRoomAliasId>,
    listed: bool,
    predecessor: Option<String>,
    /// What each invited user is told.
    stripped: Vec<(OwnedUserId, String)>,
}

impl RoomCreation {
    /// `default_version` is the version of rooms whose creator names none.
    pub fn new(
        store: Store,
        appenders: Arc<Appenders>,
        server_name: OwnedServerName,
        default_version: RoomVersionId,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, appenders, server_name, default_version, clock }
    }

    /// Makes a room; answers its id once it is durable.
    ///
    /// # Errors
    /// [`CreateError`]; nothing was written then.
    pub async fn create(&self, creator: &UserId, mut request: CreateRequest) -> Result<OwnedRoomId, CreateError> {
        let (version, rules) = self.version(request.room_version.as_deref())?;
        if request.initial_state.len() > MAX_INITIAL_STATE {
            return Err(CreateError::Invalid(format!("more than {MAX_INITIAL_STATE} initial state events")));
        }
        if request.invite.len() > MAX_INVITES {
            return Err(CreateError::Invalid(format!("more than {MAX_INVITES} users to invite")));
        }
        let mut seen = BTreeSet::new();
        request.invite.retain(|user| seen.insert(user.clone()));
        if let Some(user) = request.invite.iter().find(|user| user.server_name() != self.server_name) {
            return Err(CreateError::RemoteUser(user.clone()));
        }
        let alias = request.room_alias_name.as_deref().map(|name| self.alias(name)).transpose()?;
        let known = self.read(creator, &request.invite, alias.clone()).await?;
        let plan = plan(creator, request, version, rules, alias, &known)?;
        self.append(plan).await
    }

    fn version(&self, wanted: Option<&str>) -> Result<(RoomVersionId, &'static RoomVersionRules), CreateError> {
        let unsupported = || CreateError::UnsupportedVersion(wanted.unwrap_or_default().to_owned());
        let version = match wanted {
            None => self.default_version.clone(),
            Some(wanted) => RoomVersionId::try_from(wanted).map_err(|_| unsupported())?,
        };
        let rules = rules(&version).ok_or_else(unsupported)?;
        Ok((version, rules))
    }

    fn alias(&self, name: &str) -> Result<OwnedRoomAliasId, CreateError> {
        let invalid = |why: &str| CreateError::Invalid(format!("room_alias_name {why}"));
        if name.is_empty() || name.contains(':') {
            return Err(invalid("is empty or has a colon"));
        }
        RoomAliasId::parse(format!("#{name}:{}", self.server_name)).map_err(|_| invalid("makes no alias"))
    }

    async fn read(
        &self,
        creator: &UserId,
        invite: &[OwnedUserId],
        alias: Option<OwnedRoomAliasId>,
    ) -> Result<Known, CreateError> {
        let creator = creator.to_owned();
        let invite = invite.to_vec();
        self.store
            .read(move |read| {
                if let Some(alias) = alias
                    && aliases::get(read, &alias)?.is_some()
                {
                    return Err(CreateError::AliasInUse(alias));
                }
                for user in &invite {
                    if invite_permission::is_blocked(read, user)? {
                        return Err(CreateError::InviteBlocked(user.clone()));
                    }
                }
                let invited = invite.iter().map(|user| MemberProfile::of(read, user)).collect::<Result<_, _>>()?;
                Ok(Known { creator: MemberProfile::of(read, &creator)?, invited })
            })
            .await
    }

    async fn append(&self, plan: Plan) -> Result<OwnedRoomId, CreateError> {
        let Plan { new, events, alias, listed, predecessor, stripped } = plan;
        let now_ms = self.clock.now_ms();
        let taken = Arc::new(AtomicBool::new(false));
        let was_taken = taken.clone();
        let (creator, wanted) = (new.creator.clone(), alias.clone());
        let along: Along = Box::new(move |tx, room, _| {
            if let Some(alias) = &wanted {
                let creator = ids::intern_user(tx, &creator)?;
                if !aliases::insert(tx, alias, room, creator, now_ms)? {
                    // Somebody took it since we looked. The error undoes the room.
                    taken.store(true, Ordering::Release);
                    return Err(StoreError::Engine(format!("the alias {alias} is taken")));
                }
            }
            if listed {
                rooms::set_listed(tx, room, true)?;
            }
            if let Some(predecessor) = &predecessor {
                rooms::set_predecessor(tx, room, predecessor)?;
            }
            for (user, state) in &stripped {
                let user = ids::intern_user(tx, user)?;
                stripped_state::put(tx, user, room, state)?;
            }
            Ok(())
        });
        match (self.appenders.create(new, events, Some(along)).await, alias) {
            (Ok((room, _)), _) => Ok(room.room_id.clone()),
            (Err(_), Some(alias)) if was_taken.load(Ordering::Acquire) => Err(CreateError::AliasInUse(alias)),
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// The events of the request, in the order of the spec.
fn plan(
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
    // 5.
    let given = |kind: &str| request.initial_state.iter().any(|e| e.kind == kind && e.state_key.is_empty());
    for (kind, content) in preset.state() {
        if !given(kind) {
            push(kind, "", content);
        }
    }
    // 6.
    for event in &request.initial_state {
        let overwritten = match event.kind.as_str() {
            "m.room.name" => request.name.is_some(),
            "m.room.topic" => request.topic.is_some(),
            _ => false,
        };
        if overwritten && event.state_key.is_empty() {
            continue;
        }
        check_initial(event, rules, alias.as_deref())?;
        push(&event.kind, &event.state_key, event.content.clone());
    }
    // 7.
    if let Some(name) = request.name {
        push("m.room.name", "", object([("name", name.into())]));
    }
    if let Some(text) = request.topic {
        push("m.room.topic", "", topic(text));
    }
    // 8.
    for (user, profile) in request.invite.iter().zip(&known.invited) {
        let mut content = object([("membership", "invite".into())]);
        if request.is_direct {
            content.insert("is_direct".into(), true.into());
        }
        profile.fill(&mut content);
        push("m.room.member", user.as_str(), content);
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

/// Room versions that rooms can be made in, for `/capabilities`.
pub fn available_versions() -> &'static [&'static str] {
    &STABLE_VERSIONS
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
