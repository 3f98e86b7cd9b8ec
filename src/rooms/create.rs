//! Making a room: which events, in which order. All of it is one transaction.
//!
//! Source: Client-Server API, `POST /createRoom`. The events themselves are in `create_plan`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use linkim_federation::{RoomVersionRules, rules};
use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomVersionId,
    UserId,
};

use super::{
    append::{Along, AppendError, Appenders},
    checks::ContentError,
    create_plan::{Known, Plan, plan},
    invite_permission,
    presets::{Preset, Visibility},
    profile::MemberProfile,
    send_rules::{InviteRule, Refused},
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
    /// Not in the spec's request: what the invitations say beside their membership.
    pub invite_content: CanonicalJsonObject,
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
    /// Somebody of another server is invited, and this one talks to none.
    #[error("{0} is on another server, and this one talks to none")]
    RemoteUser(OwnedUserId),
    /// Somebody is invited who has all invitations rejected.
    #[error("{0} accepts no invitations")]
    InviteBlocked(OwnedUserId),
    /// A rule of the product refuses an invitation.
    #[error(transparent)]
    Refused(#[from] Refused),
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
    talks_to_others: bool,
    invite_rule: Option<Arc<dyn InviteRule>>,
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
        Self { store, appenders, server_name, default_version, clock, talks_to_others: false, invite_rule: None }
    }

    /// Refuses invitations of this server's users by this rule.
    #[must_use]
    pub fn inviting_by(mut self, rule: Arc<dyn InviteRule>) -> Self {
        self.invite_rule = Some(rule);
        self
    }

    /// Whether users of other servers can be invited, once the room is made.
    #[must_use]
    pub fn talking_to_others(mut self, talks: bool) -> Self {
        self.talks_to_others = talks;
        self
    }

    /// Makes a room; answers once it is durable. Users of other servers are not invited yet: their servers must sign that,
    /// and first there must be a room.
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
        if !self.talks_to_others
            && let Some(user) = request.invite.iter().find(|user| user.server_name() != self.server_name)
        {
            return Err(CreateError::RemoteUser(user.clone()));
        }
        let alias = request.room_alias_name.as_deref().map(|name| self.alias(name)).transpose()?;
        let known = self.read(creator, &request.invite, request.is_direct, alias.clone()).await?;
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
        is_direct: bool,
        alias: Option<OwnedRoomAliasId>,
    ) -> Result<Known, CreateError> {
        let (creator, own) = (creator.to_owned(), self.server_name.clone());
        let (invite, rule) = (invite.to_vec(), self.invite_rule.clone());
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
                    if let Some(rule) = rule.as_ref().filter(|_| user.server_name() == own)
                        && let Some(refused) = rule.check(read, &creator, user, is_direct)?
                    {
                        return Err(refused.into());
                    }
                }
                let profile = |user: &OwnedUserId| {
                    let local = user.server_name() == own;
                    local.then(|| MemberProfile::of(read, user)).transpose()
                };
                let invited = invite.iter().map(profile).collect::<Result<_, _>>()?;
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
