//! User-interactive authentication: which stages a request must pass, and how far its client has come.
//!
//! Source: Client-Server API, "User-Interactive Authentication API".

use std::sync::{Arc, Mutex, PoisonError};

use moka::{policy::EvictionPolicy, sync::Cache};
use ruma::OwnedUserId;
use serde::Deserialize;

use super::{
    codes::Purpose,
    login::{Login, LoginError},
    rate_limits::Limited,
    registration::Registration,
    session::Session,
    third_party_ids::{Medium, ThirdPartyId, ThirdPartyIds},
    token_requests::{Proved, ThreepidCreds, TokenRequestError, TokenRequests},
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
    /// `m.login.email.identity`
    EmailIdentity,
    /// `m.login.msisdn`
    Msisdn,
}

impl Stage {
    /// Its name in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::EmailIdentity => "m.login.email.identity",
            Self::Msisdn => "m.login.msisdn",
        }
    }
}

/// Flows, each a list of stages in order.
pub type Flows = &'static [&'static [Stage]];

/// What a logged-in user does to prove who they are.
pub const PASSWORD_FLOWS: Flows = &[&[Stage::Password]];

/// What somebody does to set a new password: by the old one, or by proof of an address where tokens can be sent to such.
const NEW_PASSWORD: [Flows; 4] = [
    &[&[Stage::Password]],
    &[&[Stage::Password], &[Stage::EmailIdentity]],
    &[&[Stage::Password], &[Stage::Msisdn]],
    &[&[Stage::Password], &[Stage::EmailIdentity], &[Stage::Msisdn]],
];

/// What somebody without a session does to set a new password.
const FORGOTTEN_PASSWORD: [Flows; 4] =
    [&[], &[&[Stage::EmailIdentity]], &[&[Stage::Msisdn]], &[&[Stage::EmailIdentity], &[Stage::Msisdn]]];

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
    /// `POST /account/3pid/add`
    AddThirdPartyId,
}

/// A user identifier object (Client-Server API, "Identifier types").
#[derive(Clone, Debug, Deserialize)]
pub struct UserIdentifier {
    /// `m.id.user`, or a type that this server cannot resolve.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// For `m.id.user`: a localpart or a user id.
    pub user: Option<String>,
    /// For `m.id.thirdparty`: `email` or `msisdn`.
    pub medium: Option<String>,
    /// For `m.id.thirdparty`: the address.
    pub address: Option<String>,
    /// For `m.id.phone`: a country's two letters.
    pub country: Option<String>,
    /// For `m.id.phone`: the number as dialled there.
    pub phone: Option<String>,
}

impl UserIdentifier {
    /// The address of an `m.id.thirdparty` or `m.id.phone`; none if it can be none.
    ///
    /// # Errors
    /// The field that is missing.
    pub fn third_party_id(&self) -> Result<Option<ThirdPartyId>, &'static str> {
        match self.kind.as_deref() {
            Some("m.id.thirdparty") => {
                let medium = self.medium.as_deref().ok_or("identifier.medium")?;
                let address = self.address.as_deref().ok_or("identifier.address")?;
                Ok(Medium::parse(medium).and_then(|medium| ThirdPartyId::parse(medium, address)))
            }
            Some("m.id.phone") => {
                let country = self.country.as_deref().ok_or("identifier.country")?;
                let phone = self.phone.as_deref().ok_or("identifier.phone")?;
                Ok(ThirdPartyId::phone_in(country, phone))
            }
            _ => Ok(None),
        }
    }
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
    #[serde(alias = "threepidCreds")]
    threepid_creds: Option<ThreepidCreds>,
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
    proved: Option<Proved>,
}

/// The sessions in progress, in memory: a restart asks clients to begin anew.
pub struct Uia {
    login: Arc<Login>,
    registration: Arc<Registration>,
    names: Arc<UserNames>,
    addresses: Arc<ThirdPartyIds>,
    token_requests: Arc<TokenRequests>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    sessions: Cache<String, Arc<Mutex<Progress>>>,
}

impl Uia {
    /// Passwords are checked by `login`, registration tokens by `registration`, proofs of an address by `token_requests`.
    pub fn new(
        login: Arc<Login>,
        registration: Arc<Registration>,
        names: Arc<UserNames>,
        addresses: Arc<ThirdPartyIds>,
        token_requests: Arc<TokenRequests>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            login,
            registration,
            names,
            addresses,
            token_requests,
            clock,
            random,
            sessions: Cache::builder().max_capacity(MAX_SESSIONS).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// What somebody does to set a new password, with a session or without; empty: it takes a session.
    pub fn password_flows(&self, with_session: bool) -> Flows {
        let reaches = |medium| usize::from(self.token_requests.reaches(medium));
        let flows = if with_session { NEW_PASSWORD } else { FORGOTTEN_PASSWORD };
        flows[reaches(Medium::Email) + 2 * reaches(Medium::Msisdn)]
    }

    /// Answers `Ok` once a flow is complete, with the address that was proved, if one was; whoever acts on it forgets its session
    /// ([`TokenRequests::forget`]). A flow of one stage may be passed in one request without a session.
    pub async fn authorise(
        &self,
        operation: Operation,
        who: Option<&Session>,
        flows: Flows,
        auth: Option<AuthData>,
    ) -> Result<Option<Proved>, UiaError> {
        let user = who.map(|session| session.user);
        let started_ts = self.clock.now_ms();
        let fresh = || Progress { operation, user, started_ts, completed: Vec::new(), proved: None };
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
        let passed = self.attempt(&auth, flows, &progress, who).await?;
        let (mut completed, mut proved) = (progress.completed.clone(), progress.proved.clone());
        let error = match passed {
            Attempt::Passed(stage) => {
                completed.push(stage);
                None
            }
            Attempt::Proved(stage, address) => {
                completed.push(stage);
                proved = Some(address);
                None
            }
            Attempt::Nothing => None,
            Attempt::Failed(errcode, error) => Some((errcode, error)),
        };
        if error.is_none() && flows.contains(&completed.as_slice()) {
            if let Some((id, _)) = known {
                self.sessions.invalidate(&id);
            }
            return Ok(proved);
        }
        let progress = Progress { completed, proved, ..progress };
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
        progress: &Progress,
        who: Option<&Session>,
    ) -> Result<Attempt, UiaError> {
        let completed = progress.completed.as_slice();
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
                if self.registration.spend_token(token).await? {
                    return Ok(Attempt::Passed(Stage::RegistrationToken));
                }
                Ok(Attempt::failed("Invalid registration token"))
            }
            Some(Stage::Password) => self.password(auth, who).await,
            Some(Stage::EmailIdentity) => self.address(auth, Stage::EmailIdentity, progress.operation, who).await,
            Some(Stage::Msisdn) => self.address(auth, Stage::Msisdn, progress.operation, who).await,
            None => Ok(Attempt::failed("This stage does not come next in any of the flows")),
        }
    }

    async fn password(&self, auth: &AuthData, who: Option<&Session>) -> Result<Attempt, UiaError> {
        let password = auth.password.clone().ok_or(UiaError::Missing("password"))?;
        let named = self.named(auth).await?;
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

    /// Whether an address was proved, for this operation; and, where somebody is logged in, whether it is theirs.
    async fn address(
        &self,
        auth: &AuthData,
        stage: Stage,
        operation: Operation,
        who: Option<&Session>,
    ) -> Result<Attempt, UiaError> {
        let creds = auth.threepid_creds.clone().ok_or(UiaError::Missing("threepid_creds"))?;
        let purpose = if operation == Operation::Register { Purpose::Register } else { Purpose::ResetPassword };
        let medium = if stage == Stage::Msisdn { Medium::Msisdn } else { Medium::Email };
        let failed = || Attempt::Failed("M_THREEPID_AUTH_FAILED", "The address was not proved".to_owned());
        let proved = match self.token_requests.proved(creds, purpose).await {
            Ok(proved) if proved.address.medium() == medium => proved,
            Err(TokenRequestError::Store(error)) => return Err(error.into()),
            _ => return Ok(failed()),
        };
        if let Some(session) = who
            && self.token_requests.owner(&proved).await? != Some(session.user)
        {
            return Ok(failed());
        }
        Ok(Attempt::Proved(stage, proved))
    }

    /// The user of this server that the `auth` object names.
    async fn named(&self, auth: &AuthData) -> Result<Option<OwnedUserId>, UiaError> {
        let user = match &auth.identifier {
            Some(identifier) => {
                if identifier.kind.as_deref() != Some("m.id.user") {
                    return match identifier.third_party_id().map_err(UiaError::Missing)? {
                        Some(address) => Ok(self.addresses.user_id(&address).await?),
                        None => Ok(None),
                    };
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
    Proved(Stage, Proved),
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
