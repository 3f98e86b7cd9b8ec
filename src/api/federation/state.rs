//! What the handlers of the server-server API call.

use std::sync::Arc;

use axum::extract::FromRef;

use super::authentication::Authenticator;
use crate::{
    accounts::{Profiles, Sessions},
    config::Config,
    crypto::{KeyClaims, KeyQueries},
    media::Media,
    peers::{
        budgets::Budgets,
        client::PeerClient,
        events::EventChecker,
        hosting::Hosting,
        inbox::Inbox,
        keys::{Notary, OwnKeys, RemoteKeys},
        missing::Missing,
        serving::Serving,
    },
    random::Random,
    rooms::{aliases::Aliases, directory::Directory, hierarchy::Hierarchy, server_acl::ServerAcls},
};

/// The services. Every request takes a clone, so it is one reference.
#[derive(Clone)]
pub struct FederationState(Arc<FederationServices>);

impl std::ops::Deref for FederationState {
    type Target = FederationServices;

    fn deref(&self) -> &FederationServices {
        &self.0
    }
}

/// The services, one field each.
pub struct FederationServices {
    /// The configuration.
    pub config: Arc<Config>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Files.
    pub media: Arc<Media>,
    /// Sessions and tokens.
    pub sessions: Arc<Sessions>,
    /// Profiles of our users.
    pub profiles: Arc<Profiles>,
    /// Our room aliases.
    pub aliases: Arc<Aliases>,
    /// The rooms that we publish.
    pub directory: Arc<Directory>,
    /// Trees of spaces.
    pub hierarchy: Arc<Hierarchy>,
    /// Rooms as other servers may read them.
    pub serving: Arc<Serving>,
    /// Our users' keys.
    pub key_queries: Arc<KeyQueries>,
    /// Their one-time keys.
    pub key_claims: Arc<KeyClaims>,
    /// Requests to other servers.
    pub peers: Arc<PeerClient>,
    /// This server's keys.
    pub own_keys: Arc<OwnKeys>,
    /// Those of others.
    pub keys: Arc<RemoteKeys>,
    /// Those of others, for others.
    pub notary: Arc<Notary>,
    /// The first checks on events.
    pub events: Arc<EventChecker>,
    /// How much work another server may make.
    pub budgets: Arc<Budgets>,
    /// Memberships of other servers' users in rooms of ours, and of ours in rooms of theirs.
    pub hosting: Arc<Hosting>,
    /// Whose a request is.
    pub authenticator: Arc<Authenticator>,
    /// What other servers send.
    pub inbox: Arc<Inbox>,
    /// Fetches what others have and we lack.
    pub missing: Arc<Missing>,
    /// Which servers may take part in a room.
    pub acls: Arc<ServerAcls>,
}

impl FederationState {
    /// These services.
    pub fn new(services: FederationServices) -> Self {
        Self(Arc::new(services))
    }
}

macro_rules! from_federation_state {
    ($($field:ident: $service:ty),* $(,)?) => {$(
        impl FromRef<FederationState> for Arc<$service> {
            fn from_ref(state: &FederationState) -> Self { state.$field.clone() }
        }
    )*};
}
from_federation_state!(
    config: Config,
    media: Media,
    sessions: Sessions,
    profiles: Profiles,
    aliases: Aliases,
    directory: Directory,
    hierarchy: Hierarchy,
    serving: Serving,
    peers: PeerClient,
    own_keys: OwnKeys,
    keys: RemoteKeys,
    notary: Notary,
    events: EventChecker,
    budgets: Budgets,
    hosting: Hosting,
    authenticator: Authenticator,
    key_queries: KeyQueries,
    key_claims: KeyClaims,
    inbox: Inbox,
    missing: Missing,
    acls: ServerAcls,
);
