//! Wires what LinkIM's API needs beyond the client-server API.

use std::sync::Arc;

use axum::{Router, extract::FromRef};

use super::Base;
use crate::{
    api::{
        client::state::ClientState,
        grpc::{self, GrpcState},
        linkim,
        linkim::state::{LinkImServices, LinkImState},
    },
    config::Secret,
    contacts::{Collaborators, Contacts, Policy},
    groups::{Groups, ServiceUser},
    numbers::{GroupIdKey, Numbers},
    store,
    store::StoreError,
};

/// Makes the services.
pub(super) async fn linkim(base: &Base, client: &ClientState) -> Result<LinkImState, StoreError> {
    let seed = base.random.bytes32();
    let key = base.store.write::<_, StoreError, _>(move |tx| store::secret(tx, "group_id_key", seed)).await?;
    let numbers = Numbers::new(base.store.clone(), base.config.server_name.clone(), GroupIdKey::new(key));
    let contacts = Collaborators {
        store: base.store.clone(),
        appenders: base.appenders.clone(),
        creation: client.room_creation.clone(),
        membership: client.membership.clone(),
        joining: client.joining.clone(),
        leaving: client.leaving.clone(),
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
    Ok(LinkImState::new(LinkImServices {
        contacts: Arc::new(Contacts::new(contacts, Policy::from(&base.config.linkim))),
        client: client.clone(),
        groups: Arc::new(groups),
        store: base.store.clone(),
        numbers: Arc::new(numbers),
    }))
}

/// The routes with their services, and the pages that describe them.
pub(super) fn routes(state: &LinkImState) -> Router {
    let (routes, paths) = linkim::routes().split_for_parts();
    routes.with_state(state.clone()).merge(linkim::docs::routes(&linkim::docs::document(paths)))
}

/// The gRPC services.
pub(super) fn grpc(state: &LinkImState, token: Secret) -> Router {
    grpc::routes(GrpcState { store: FromRef::from_ref(state), numbers: FromRef::from_ref(state) }, token)
}
