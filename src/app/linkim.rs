//! Wires what LinkIM's API needs beyond the client-server API.

use std::sync::Arc;

use axum::{Router, extract::FromRef};

use super::Base;
use crate::{
    accounts::AccountData,
    api::{
        client::state::ClientState,
        grpc::{self, GrpcState},
        linkim,
        linkim::state::{LinkImServices, LinkImState},
    },
    config::Secret,
    contacts::{Collaborators, ContactRules, Contacts, Crossings, Following, Policy},
    conversations::{
        Conversations, DirectRooms, HistoryReader, MarkRead, MessageSearch, MessageStatus, Messages, Settings,
    },
    groups::{Groups, ServiceUser},
    numbers::{GroupIdKey, Numbers},
    rooms::append::Appenders,
    store,
    store::{Store, StoreError},
    sync::{
        notifier::Notifier,
        ws::{Collaborators as PushCollaborators, Push},
    },
};

/// Has friendships follow what happens in direct rooms; before anything does.
pub(super) fn follow_contacts(
    appenders: &Appenders,
    store: &Store,
    notifier: &Arc<Notifier>,
    rules: &Arc<ContactRules>,
) -> Arc<Crossings> {
    let crossings = Arc::<Crossings>::default();
    let data = Arc::new(AccountData::new(store.clone(), notifier.clone()));
    appenders.watch_members(Arc::new(Following::new(data, rules.clone(), crossings.clone())));
    crossings
}

/// Makes the services.
pub(super) async fn linkim(base: &Base, client: &ClientState) -> Result<LinkImState, StoreError> {
    let seed = base.random.bytes32();
    let key = base.store.write::<_, StoreError, _>(move |tx| store::secret(tx, "group_id_key", seed)).await?;
    let numbers = Numbers::new(base.store.clone(), base.config.server_name.clone(), GroupIdKey::new(key));
    let numbers = Arc::new(numbers);
    let push = Push::new(
        PushCollaborators {
            store: base.store.clone(),
            notifier: base.notifier.clone(),
            typing: client.typing.clone(),
            presence: base.presence.clone(),
            sessions: client.sessions.clone(),
            acknowledged: base.acknowledged.clone(),
            numbers: numbers.clone(),
            unheard: base.receive_nothing.clone(),
            clock: base.clock.clone(),
        },
        client.sync.started_at(),
    );
    let contacts = Collaborators {
        store: base.store.clone(),
        appenders: base.appenders.clone(),
        creation: client.room_creation.clone(),
        membership: client.membership.clone(),
        joining: client.joining.clone(),
        leaving: client.leaving.clone(),
        data: client.account_data.clone(),
        tags: client.tags.clone(),
        directory: client.user_directory.clone(),
        clock: base.clock.clone(),
    };
    let server_name = &base.config.server_name;
    let service = ServiceUser::ensure(&base.store, server_name, base.clock.now_ms()).await?;
    let groups = Groups::new(
        base.store.clone(),
        base.appenders.clone(),
        client.membership.clone(),
        base.clock.clone(),
        server_name.clone(),
        service,
        base.group_changes.clone(),
    );
    let (store, clock, config) = (&base.store, &base.clock, &base.config.linkim);
    let settings = Arc::new(Settings::new(
        store.clone(),
        clock.clone(),
        client.account_data.clone(),
        client.push_rules.clone(),
        base.receive_nothing.clone(),
        config.text_limit,
    ));
    let contacts = Arc::new(Contacts::new(contacts, Policy::from(config)));
    let direct = DirectRooms::new(contacts.clone(), config.friend_verify);
    Ok(LinkImState::new(LinkImServices {
        contacts,
        client: client.clone(),
        groups: Arc::new(groups),
        store: store.clone(),
        messages: Arc::new(Messages::new(
            store.clone(),
            clock.clone(),
            numbers.clone(),
            client.sending.clone(),
            direct,
            (config.text_limit, config.withdraw),
        )),
        history: Arc::new(HistoryReader::new(store.clone(), clock.clone(), numbers.clone(), base.acknowledged.clone())),
        conversations: Arc::new(Conversations::new(store.clone(), clock.clone(), base.config.server_name.clone())),
        mark_read: Arc::new(MarkRead::new(store.clone(), client.receipts.clone(), settings.clone())),
        conversation_settings: settings,
        message_search: Arc::new(MessageSearch::new(store.clone(), clock.clone(), numbers.clone())),
        numbers,
        push: Arc::new(push),
        message_status: Arc::new(MessageStatus::new(store.clone(), base.acknowledged.clone())),
    }))
}

/// The routes with their services, and the pages that describe them.
pub(super) fn routes(state: &LinkImState) -> Router {
    let (routes, paths) = linkim::routes().split_for_parts();
    routes.with_state(state.clone()).merge(linkim::docs::routes(&linkim::docs::document(paths)))
}

/// The gRPC services.
pub(super) fn grpc(state: &LinkImState, token: Secret) -> Router {
    let (store, numbers) = (FromRef::from_ref(state), FromRef::from_ref(state));
    grpc::routes(GrpcState { store, numbers, groups: state.groups().clone() }, token)
}
