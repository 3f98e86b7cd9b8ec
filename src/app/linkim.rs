//! Wires what LinkIM's API needs beyond the client-server API.

use std::sync::Arc;

use axum::Router;

use super::Base;
use crate::{
    api::{
        client::state::ClientState,
        linkim,
        linkim::state::{LinkImServices, LinkImState},
    },
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
        client: client.clone(),
        groups: Arc::new(groups),
        store: base.store.clone(),
        numbers: Arc::new(numbers),
    }))
}

/// The routes with their services.
pub(super) fn routes(state: &LinkImState) -> Router {
    let (routes, _) = linkim::routes().split_for_parts();
    routes.with_state(state.clone())
}
