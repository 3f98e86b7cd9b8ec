//! User-interactive authentication: which stages a request must pass, and how far its client has come.
//!
//! Source: Client-Server API, "User-Interactive Authentication API".

use std::sync::{Arc, Mutex, PoisonError};

use moka::{policy::EvictionPolicy, sync::Cache};
use ruma::OwnedUserId;
use serde::Deserialize;

use super::{
    login::{Login, LoginError},
    rate_limits::Limited,
    registration::Registration,
    session::Session,
    user_names::UserNames,
};
use crate::{
    clock::Clock,
    random::Random,
    store::{StoreError, ids::UserNid},
};

/// How long a client may take, in milliseconds.
const SESSION_MS: i64 = 15 * 60 * 1000;

/// Sessions at once at most; the least recently used goes. About 300 bytes each.
const MAX_SESSIONS: u64 = 10_000;

/// An authentication type that this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `m.login.password`
    Password,
    /// `m.login.dummy`
    Dummy,
    /// `m.login.registration_token`
    RegistrationToken,
}

impl Stage {
    /// Its name in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
        }
    }
}

/// Flows, each a list of stages in order.
pub type Flows = &'static [&'static [Stage]];

/// What a logged-in user does to prove who they are.
pub const PASSWORD_FLOWS: Flows = &[&[Stage::Password]];

/// What is being authorised. A session is good for one operation of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `POST /register`
    Register,
    /// `DELETE /devices/{deviceId}` and `POST /delete_devices`
    DeleteDevices,
    /// `POST /account/password`
    ChangePassword,
    /// `POST /account/deactivate`
    Deactivate,
    /// `POST /login/get_token`
    LoginToken,
    /// `POST /keys/device_signing/upload`
    CrossSigning,
}

/// A user identifier object (Client-Server API, "Identifier types").
#[derive(Clone, Debug, Deserialize)]
pub struct UserIdentifier {
    /// `m.id.user`, or a type that this server cannot resolve.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// For `m.id.user`: a localpart or a user id.
    pub user: Option<String>,
}

/// The `auth` object of a request.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthData {
    #[serde(rename = "type")]
    kind: Option<String>,
    session: Option<String>,
    identifier: Option<UserIdentifier>,
    /// Deprecated in favour of `identifier`.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// The body of a 401 answer that asks for authentication.
#[derive(Debug)]
pub struct Challenge {
    /// The flows to choose from.
    pub flows: Flows,
    /// What the client has passed.
    pub completed: Vec<Stage>,
    /// The session to name in the next attempt.
    pub session: String,
    /// The `errcode` and `error` of an attempt that failed.
    pub error: Option<(&'static str, String)>,
}

/// Why a request is not authorised.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// Authentication is asked for.
    #[error("Authentication is required")]
    Challenge(Challenge),
    /// The `auth` object lacks a field of its type (400 `M_MISSING_PARAM`).
    #[error("The auth object has no {0}")]
    Missing(&'static str),
    /// Too many wrong passwords.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a client has come.
#[derive(Clone, Debug)]
struct Progress {
    operation: Operation,
    user: Option<UserNid>,
    started_ts: i64,
    completed: Vec<Stage>,
}

/// The sessions in progress, in memory: a restart asks clients to begin anew.
pub struct Uia {
    login: Arc<Login>,
    registration: Arc<Registration>,
    names: Arc<UserNames>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    sessions: Cache<String, Arc<Mutex<Progress>>>,
}

impl Uia {
    /// Passwords are checked by `login`, registration tokens by `registration`.
    pub fn new(
        login: Arc<Login>,
        registration: Arc<Registration>,
        names: Arc<UserNames>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            login,
            registration,
            names,
            clock,
            random,
            sessions: Cache::builder().max_capacity(MAX_SESSIONS).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// Answers `Ok` once a flow is complete. A flow of one stage may be passed in one request without a session.
    pub async fn authorise(
        &self,
        operation: Operation,
        who: Option<&Session>,
        flows: Flows,
        auth: Option<AuthData>,
    ) -> Result<(), UiaError> {
        let user = who.map(|session| session.user);
        let fresh = || Progress { operation, user, started_ts: self.clock.now_ms(), completed: Vec::new() };
        let Some(auth) = auth else { return Err(self.begin(flows, fresh(), None)) };
        let known = match &auth.session {
            None => None,
            Some(id) => match self.find(id, operation, user) {
                Some(progress) => Some((id.clone(), progress)),
                None => {
                    let error = ("M_UNKNOWN", "Unknown authentication session".to_owned());
                    return Err(self.begin(flows, fresh(), Some(error)));
                }
            },
        };
        let progress = known.as_ref().map_or_else(fresh, |(_, progress)| copy(progress));
        let passed = self.attempt(&auth, flows, &progress.completed, who).await?;
        let mut completed = progress.completed.clone();
        let error = match passed {
            Attempt::Passed(stage) => {
                completed.push(stage);
                None
            }
            Attempt::Nothing => None,
            Attempt::Failed(errcode, error) => Some((errcode, error)),
        };
        if error.is_none() && flows.contains(&completed.as_slice()) {
            if let Some((id, _)) = known {
                self.sessions.invalidate(&id);
            }
            return Ok(());
        }
        let progress = Progress { completed, ..progress };
        Err(match known {
            Some((session, stored)) => {
                let completed = progress.completed.clone();
                *stored.lock().unwrap_or_else(PoisonError::into_inner) = progress;
                UiaError::Challenge(Challenge { flows, completed, session, error })
            }
            None => self.begin(flows, progress, error),
        })
    }

    fn begin(&self, flows: Flows, progress: Progress, error: Option<(&'static str, String)>) -> UiaError {
        let session = self.random.letters(24);
        let completed = progress.completed.clone();
        self.sessions.insert(session.clone(), Arc::new(Mutex::new(progress)));
        UiaError::Challenge(Challenge { flows, completed, session, error })
    }

    fn find(&self, id: &str, operation: Operation, user: Option<UserNid>) -> Option<Arc<Mutex<Progress>>> {
        let found = self.sessions.get(id)?;
        let progress = copy(&found);
        let alive = progress.started_ts + SESSION_MS > self.clock.now_ms();
        (alive && progress.operation == operation && progress.user == user).then_some(found)
    }

    async fn attempt(
        &self,
        auth: &AuthData,
        flows: Flows,
        completed: &[Stage],
        who: Option<&Session>,
    ) -> Result<Attempt, UiaError> {
        let Some(kind) = auth.kind.as_deref() else { return Ok(Attempt::Nothing) };
        if completed.iter().any(|stage| stage.name() == kind) {
            return Ok(Attempt::Nothing);
        }
        let next = flows.iter().filter(|flow| flow.starts_with(completed));
        let stage = next.filter_map(|flow| flow.get(completed.len())).find(|stage| stage.name() == kind);
        match stage {
            Some(Stage::Dummy) => Ok(Attempt::Passed(Stage::Dummy)),
            Some(Stage::RegistrationToken) => {
                let token = auth.token.as_deref().ok_or(UiaError::Missing("token"))?;
                if self.registration.token_is_valid(token) {
                    return Ok(Attempt::Passed(Stage::RegistrationToken));
                }
                Ok(Attempt::failed("Invalid registration token"))
            }
            Some(Stage::Password) => self.password(auth, who).await,
            None => Ok(Attempt::failed("This stage does not come next in any of the flows")),
        }
    }

    async fn password(&self, auth: &AuthData, who: Option<&Session>) -> Result<Attempt, UiaError> {
        let password = auth.password.clone().ok_or(UiaError::Missing("password"))?;
        let named = self.named(auth)?;
        let wrong = Attempt::failed("Invalid username or password");
        let Some(session) = who else { return Ok(wrong) };
        if named.as_ref() != Some(&session.user_id) {
            return Ok(wrong);
        }
        match self.login.verify(named.as_deref(), password).await {
            Ok(_) => Ok(Attempt::Passed(Stage::Password)),
            Err(LoginError::Limited(limited)) => Err(limited.into()),
            Err(LoginError::Store(error)) => Err(error.into()),
            Err(_) => Ok(wrong),
        }
    }

    /// The user of this server that the `auth` object names.
    fn named(&self, auth: &AuthData) -> Result<Option<OwnedUserId>, UiaError> {
        let user = match &auth.identifier {
            Some(identifier) => {
                if identifier.kind.as_deref() != Some("m.id.user") {
                    return Ok(None);
                }
                identifier.user.as_deref().ok_or(UiaError::Missing("identifier.user"))?
            }
            None => auth.user.as_deref().ok_or(UiaError::Missing("identifier"))?,
        };
        Ok(self.names.named(user))
    }
}

/// What became of one attempt.
enum Attempt {
    Passed(Stage),
    Nothing,
    Failed(&'static str, String),
}

impl Attempt {
    fn failed(error: &str) -> Self {
        Self::Failed("M_FORBIDDEN", error.to_owned())
    }
}

fn copy(progress: &Mutex<Progress>) -> Progress {
    progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
