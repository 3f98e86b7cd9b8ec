//! What the handlers of LinkIM's API call.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::{
    accounts::{
        AccountData, AddressLogin, Codes, Devices, Login, Profiles, RateLimits, Registration, Sessions, SignUp,
        ThirdPartyIds, UserNames,
    },
    api::client::state::ClientState,
    config::Config,
    contacts::Contacts,
    conversations::{Conversations, HistoryReader, MarkRead, MessageSearch, MessageStatus, Messages, Settings},
    groups::Groups,
    media::Media,
    numbers::Numbers,
    peers::{backfill::Backfill, joining::Joining, knocking::Knocking, profiles::RemoteProfiles},
    rooms::{membership::Membership, receipts::Receipts, send::Sending},
    store::Store,
    sync::ws::Push,
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
    /// Sends, edits, withdraws and restores messages.
    pub messages: Arc<Messages>,
    /// Pages of messages.
    pub history: Arc<HistoryReader>,
    /// Lists of conversations.
    pub conversations: Arc<Conversations>,
    /// What users decide about their conversations.
    pub conversation_settings: Arc<Settings>,
    /// Marks conversations as read.
    pub mark_read: Arc<MarkRead>,
    /// Searches in messages.
    pub message_search: Arc<MessageSearch>,
    /// How far messages have come.
    pub message_status: Arc<MessageStatus>,
    /// Groups.
    pub groups: Arc<Groups>,
    /// What apps are told over /ws.
    pub push: Arc<Push>,
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

    /// What apps are told over /ws.
    pub fn push(&self) -> &Arc<Push> {
        &self.0.push
    }

    /// Whom users know.
    pub fn contacts(&self) -> &Arc<Contacts> {
        &self.0.contacts
    }
}

macro_rules! of_linkim {
    ($($field:ident: $service:ty),* $(,)?) => {$(
        impl FromRef<LinkImState> for $service {
            fn from_ref(state: &LinkImState) -> Self { state.0.$field.clone() }
        }
    )*};
}
of_linkim!(
    contacts: Arc<Contacts>,
    groups: Arc<Groups>,
    numbers: Arc<Numbers>,
    push: Arc<Push>,
    store: Store,
    messages: Arc<Messages>,
    history: Arc<HistoryReader>,
    conversations: Arc<Conversations>,
    conversation_settings: Arc<Settings>,
    mark_read: Arc<MarkRead>,
    message_search: Arc<MessageSearch>,
    message_status: Arc<MessageStatus>,
);

macro_rules! of_client {
    ($($service:ty),* $(,)?) => {$(
        impl FromRef<LinkImState> for Arc<$service> {
            fn from_ref(state: &LinkImState) -> Self { FromRef::from_ref(&state.0.client) }
        }
    )*};
}
of_client!(
    AccountData,
    AddressLogin,
    Backfill,
    Codes,
    Config,
    Devices,
    Joining,
    Knocking,
    Login,
    Media,
    Membership,
    Profiles,
    RateLimits,
    Receipts,
    Registration,
    RemoteProfiles,
    Sending,
    Sessions,
    SignUp,
    ThirdPartyIds,
    UserNames,
);
