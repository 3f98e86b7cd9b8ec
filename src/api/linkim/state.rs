//! What the handlers of LinkIM's API call.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::{
    accounts::{Login, Profiles, RateLimits, Registration, Sessions},
    api::client::state::ClientState,
    config::Config,
    contacts::Contacts,
    groups::Groups,
    media::Media,
    numbers::Numbers,
    peers::knocking::Knocking,
    rooms::{membership::Membership, receipts::Receipts, send::Sending},
    store::Store,
};

/// The services. Every request takes a clone, so it is one reference.
#[derive(Clone)]
pub struct LinkImState(Arc<LinkImServices>);

/// The services, one field each.
pub struct LinkImServices {
    /// Those of the client-server API: both act on the same accounts and rooms.
    pub client: ClientState,
    /// The database, for look-ups that no service is needed for.
    pub store: Store,
    /// Whom users know.
    pub contacts: Arc<Contacts>,
    /// What users, conversations, groups and messages are called.
    pub numbers: Arc<Numbers>,
    /// Groups.
    pub groups: Arc<Groups>,
}

impl LinkImState {
    /// These services.
    pub fn new(services: LinkImServices) -> Self {
        Self(Arc::new(services))
    }

    /// Groups.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.0.groups
    }
}

macro_rules! of_linkim {
    ($($field:ident: $service:ty),* $(,)?) => {$(
        impl FromRef<LinkImState> for $service {
            fn from_ref(state: &LinkImState) -> Self { state.0.$field.clone() }
        }
    )*};
}
of_linkim!(contacts: Arc<Contacts>, groups: Arc<Groups>, numbers: Arc<Numbers>, store: Store);

macro_rules! of_client {
    ($($service:ty),* $(,)?) => {$(
        impl FromRef<LinkImState> for Arc<$service> {
            fn from_ref(state: &LinkImState) -> Self { FromRef::from_ref(&state.0.client) }
        }
    )*};
}
of_client!(Config, Knocking, Login, Media, Membership, Profiles, RateLimits, Receipts, Registration, Sending, Sessions);
