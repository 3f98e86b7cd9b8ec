//! `user.UserService/GetUserInfos`.

use axum::{
    extract::{Request, State},
    response::Response,
};
use tonic::Status;
use tower::service_fn;

use super::{
    GrpcState, MAX_NAMES,
    messages::{GetUserInfosRequest, GetUserInfosResponse, UserInfo},
    unary,
};
use crate::{
    rooms::shown_profile::shown_profile,
    store::{StoreError, accounts, ids},
};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("more than {MAX_NAMES} users are asked for")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::TooMany => Self::invalid_argument(error.to_string()),
            Error::Store(error) => super::failed(error),
        }
    }
}

/// Names and avatars of users. Numbers of nobody are left out.
pub(super) async fn get_user_infos(State(state): State<GrpcState>, request: Request) -> Response {
    let service = service_fn(move |request: tonic::Request<GetUserInfosRequest>| {
        let state = state.clone();
        async move { Ok(tonic::Response::new(infos(&state, request.into_inner().user_ids).await?)) }
    });
    unary(service, request).await
}

async fn infos(state: &GrpcState, wanted: Vec<i64>) -> Result<GetUserInfosResponse, Error> {
    if wanted.len() > MAX_NAMES {
        return Err(Error::TooMany);
    }
    let own = state.numbers.server_name().clone();
    let read = state.store.read(move |read| {
        let mut users = Vec::with_capacity(wanted.len());
        for number in wanted {
            let Some((nid, user_id)) = ids::known_user(read, number)? else { continue };
            let local = user_id.server_name() == own;
            if local && !accounts::exists(read, nid)? {
                continue;
            }
            let shown = shown_profile(read, nid, local)?;
            users.push(UserInfo {
                user_id: number,
                nickname: shown.displayname.unwrap_or_default(),
                avatar: shown.avatar_url.unwrap_or_default(),
            });
        }
        Ok::<_, Error>(GetUserInfosResponse { users })
    });
    read.await
}
