//! What the handlers of the server-server API call.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::{
    config::Config,
    media::Media,
    peers::{
        budgets::Budgets,
        client::PeerClient,
        events::EventChecker,
        heard_from::HeardFrom,
        keys::{Notary, OwnKeys, RemoteKeys},
    },
    random::Random,
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
    /// Told of every server whose request was authentic.
    pub heard_from: Arc<dyn HeardFrom>,
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
    peers: PeerClient,
    own_keys: OwnKeys,
    keys: RemoteKeys,
    notary: Notary,
    events: EventChecker,
    budgets: Budgets,
);
