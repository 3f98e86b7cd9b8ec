//! The gRPC services of the old LinkIM, by which an organisation's own back ends read users and groups.
//!
//! `spec/grpc/` has the messages. Every call carries `authorization: Bearer <linkim.grpc_token>`. Plain HTTP/2: the listener is
//! for a private network.

mod groups;
mod messages;
mod user_infos;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use subtle::ConstantTimeEq;
use tonic::{
    Status,
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstCodec;

use crate::{config::Secret, groups::Groups, numbers::Numbers, store::Store};

/// Bytes of a request at most: a thousand numbers or group ids fit.
const MAX_REQUEST: usize = 256 * 1024;

/// Names in one request at most.
const MAX_NAMES: usize = 1000;

/// What the services read.
#[derive(Clone)]
pub struct GrpcState {
    /// The database.
    pub store: Store,
    /// What users and groups are called.
    pub numbers: Arc<Numbers>,
    /// Groups.
    pub groups: Arc<Groups>,
}

/// The services, for who knows the token.
pub fn routes(state: GrpcState, token: Secret) -> Router {
    Router::new()
        .route("/user.UserService/GetUserInfos", post(user_infos::get_user_infos))
        .route("/group.GroupService/ListGroupMembers", post(groups::list_group_members))
        .route("/group.GroupService/ListGroupInfos", post(groups::list_group_infos))
        .fallback(|| async { refused(Status::unimplemented("no such service or method")) })
        .layer(middleware::from_fn_with_state(Arc::new(token), authenticate))
        .with_state(state)
}

/// INTERNAL; the reason goes to the log, not to the client.
fn failed(reason: impl std::fmt::Display) -> Status {
    tracing::error!(%reason, "a gRPC call failed");
    Status::internal("internal server error")
}

fn refused(status: Status) -> Response {
    status.into_http::<Body>().into_response()
}

async fn authenticate(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    let said = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let said = said.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // Takes the same time for each wrong token of equal length.
    if said.as_bytes().ct_eq(token.expose().as_bytes()).into() {
        return next.run(request).await;
    }
    refused(Status::unauthenticated("the service token is missing or wrong"))
}

/// Answers one call.
async fn unary<S, Q, A>(service: S, request: Request) -> Response
where
    S: UnaryService<Q, Response = A>,
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Send + 'static,
{
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default()).max_decoding_message_size(MAX_REQUEST);
    grpc.unary(service, request).await.map(Body::new)
}
