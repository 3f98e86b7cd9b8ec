//! `GET /account/getinfo`.

use std::{collections::HashMap, sync::Arc};

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{Caller, Input},
    profile::{AVATAR_URL, SIGNATURE},
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    contacts::Addresses,
    numbers::{Numbers, UserRef},
    peers::profiles::RemoteProfiles,
    store::{Read, Store, StoreError, ids::UserNid, profiles},
};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no such user")]
    NoUser,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoUser => Self::new(StatusCode::NOT_FOUND, errcode::USER_NOT_FOUND, text),
            Error::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(getinfo))
}

/// Whose profile is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// The user.
    #[serde(rename = "userID")]
    user_id: UserRef,
}

/// A profile.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = UserProfile)]
struct Info {
    /// The user's number.
    #[serde(rename = "userID")]
    user_id: i64,
    /// The same as a string.
    #[serde(rename = "userID_str")]
    user_id_str: String,
    /// The user's id.
    matrix_id: String,
    /// The name shown; empty if there is none.
    nickname: String,
    /// Where the avatar is: `mxc://` or, set by LinkIM clients, any address; empty if there is none.
    avatar_url: String,
    /// The signature; empty if there is none.
    signature: String,
    /// The country code of the phone number, with its plus; empty if there is none, or the asker may not know it.
    area: String,
    /// The phone number inside the country; empty if there is none, or the asker may not know it.
    phone: String,
    /// The e-mail address; empty if there is none, or the asker may not know it.
    email: String,
}

/// What a user shows of themselves. Phone number and e-mail address are shown to the user, and to friends where the
/// user lets them.
#[utoipa::path(get, path = "/account/getinfo", tag = "account", params(Request), security(("token" = [])),
    responses((status = 200, body = Reply<Info>), (status = "4XX", body = Failure)))]
async fn getinfo(
    Caller(session): Caller,
    State(numbers): State<Arc<Numbers>>,
    State(store): State<Store>,
    State(remote): State<Arc<RemoteProfiles>>,
    Input(request): Input<Request>,
) -> Result<Reply<Info>, Refusal> {
    let user = numbers.user(&request.user_id).await?.ok_or(Error::NoUser)?;
    let mut info = if user.user_id.server_name() == numbers.server_name() {
        let (viewer, owner) = (session.user, user.nid);
        store.read::<_, StoreError, _>(move |read| local(read, viewer, owner)).await?
    } else {
        // A server that is away has no names for us now: the user is shown without.
        let profile = remote.all(&user.user_id).await.ok().flatten();
        let text = |name: &str| profile.as_ref().and_then(|of| of.get(name)).and_then(Value::as_str).map(str::to_owned);
        of_profile(text)
    };
    info.user_id = user.nid.0;
    info.user_id_str = user.nid.0.to_string();
    info.matrix_id = user.user_id.to_string();
    Ok(Reply::new("load ok", info))
}

/// The part of it that is the profile.
fn of_profile(text: impl Fn(&str) -> Option<String>) -> Info {
    Info {
        nickname: text("displayname").unwrap_or_default(),
        avatar_url: text(AVATAR_URL).or_else(|| text("avatar_url")).unwrap_or_default(),
        signature: text(SIGNATURE).unwrap_or_default(),
        ..Info::default()
    }
}

/// What a user of this server shows to another.
fn local(read: &dyn Read, viewer: UserNid, owner: UserNid) -> Result<Info, StoreError> {
    let fields: HashMap<String, String> = profiles::all(read, owner)?.into_iter().collect();
    let mut info = of_profile(|name| fields.get(name).and_then(|json| serde_json::from_str(json).ok()));
    let Addresses { email, area, phone } = Addresses::seen_by(read, viewer, owner)?;
    (info.email, info.area, info.phone) = (email, area, phone);
    Ok(info)
}
