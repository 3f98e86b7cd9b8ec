//! `GET /sessions`, `DELETE /sessions/{id}`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{Caller, Input, PathInput, page_size},
    refusal::{Failure, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{
    accounts::{Devices, Limited, Rate, RateLimits, Seen, Session},
    store::{StoreError, ids::DeviceNid},
};

/// The ways in which a request about sessions fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("you have no such session")]
    NoSession,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoSession => Self::not_found(errcode::NOT_FOUND, text),
            Error::Limited(limited) => limited.into(),
            Error::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
}

/// Which page is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// Entries of the page: 20 if left out, 200 at most.
    #[param(minimum = 1)]
    page_size: Option<i64>,
    /// The number of the last session of the page before; none: the first page.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// A session.
#[derive(Serialize, ToSchema)]
struct Entry {
    /// Its number, by which it is ended.
    session_id: i64,
    /// The same as a string.
    session_id_str: String,
    /// The device's id in Matrix's API.
    device_id: String,
    /// The device's name; empty if it has none.
    name: String,
    /// The platform number; 0 for a Matrix client.
    #[serde(rename = "platformID")]
    platform_id: i64,
    /// The platform's name.
    platform: &'static str,
    /// From where it was last used; empty if that is not known.
    ip: String,
    /// With what it was last used; empty if that is not known.
    user_agent: String,
    /// When it was last used, in milliseconds since 1970.
    last_seen_ts: i64,
    /// Whether it is the session of this request.
    current: bool,
}

impl Entry {
    fn new(seen: Seen, caller: &Session) -> Self {
        Self {
            session_id: seen.nid.0,
            session_id_str: seen.nid.0.to_string(),
            device_id: seen.device_id,
            name: seen.display_name.unwrap_or_default(),
            platform_id: seen.platform.number(),
            platform: seen.platform.name(),
            ip: seen.last_seen_ip.unwrap_or_default(),
            user_agent: seen.user_agent.unwrap_or_default(),
            last_seen_ts: seen.last_seen_ts,
            current: seen.nid == caller.device,
        }
    }
}

/// Sessions, oldest first.
#[derive(Serialize, ToSchema)]
struct Page {
    /// The sessions.
    detail: Vec<Entry>,
    /// Whether there are more.
    has_more: bool,
}

/// The user's sessions: those of LinkIM's clients and of Matrix clients.
#[utoipa::path(get, path = "/sessions", tag = "account", params(Request), security(("token" = [])),
    responses((status = 200, body = Reply<Page>), (status = "4XX", body = Failure)))]
async fn list(
    Caller(session): Caller,
    State(devices): State<Arc<Devices>>,
    Input(request): Input<Request>,
) -> Result<Reply<Page>, Refusal> {
    let size = page_size(request.page_size)?;
    let all = devices.list(session.user).await?;
    let start = match request.after {
        None => 0,
        Some(after) => {
            let last = all.iter().position(|seen| seen.nid.0 == after);
            last.ok_or_else(Refusal::no_cursor)? + 1
        }
    };
    let has_more = all.len() > start + size;
    let detail = all.into_iter().skip(start).take(size).map(|seen| Entry::new(seen, &session)).collect();
    Ok(Reply::new("load ok", Page { detail, has_more }))
}

/// Ends a session: its token is dead at once, and the device hears that it was logged out from another one.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "account", security(("token" = [])),
    params(("id" = i64, Path, description = "The session's number")),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn end(
    Caller(session): Caller,
    State(devices): State<Arc<Devices>>,
    State(limits): State<Arc<RateLimits>>,
    PathInput(id): PathInput<i64>,
) -> Result<Done, Refusal> {
    limits.check(Rate::Settings, session.user)?;
    let device = DeviceNid(id);
    if !devices.end(session.user, device, device == session.device).await.map_err(Error::from)? {
        return Err(Error::NoSession.into());
    }
    Ok(Done::new("session ended"))
}
