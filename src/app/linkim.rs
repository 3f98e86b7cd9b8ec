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
    numbers::{GroupIdKey, Numbers},
    store,
    store::StoreError,
};

/// Makes the services.
pub(super) async fn linkim(base: &Base, client: &ClientState) -> Result<LinkImState, StoreError> {
    let seed = base.random.bytes32();
    let key = base.store.write::<_, StoreError, _>(move |tx| store::secret(tx, "group_id_key", seed)).await?;
    let numbers = Numbers::new(base.store.clone(), base.config.server_name.clone(), GroupIdKey::new(key));
    Ok(LinkImState::new(LinkImServices {
        client: client.clone(),
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
