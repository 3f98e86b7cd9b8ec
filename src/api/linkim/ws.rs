//! `GET /ws`: what happens, pushed to LinkIM's apps over a WebSocket (RFC 6455).

mod connection;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::connection::{Connection, PATIENCE};
use super::{
    errcode,
    extract::{Caller, QueryInput},
    refusal::{Failure, Refusal},
    state::LinkImState,
};
use crate::sync::ws::{Position, Push, TooMany};

/// Bytes of a client's frame at most.
const MAX_FRAME: usize = 64 * 1024;

/// Bytes that are read at once; allocated as long as the connection lasts.
const READ_BUFFER: usize = 512;

/// Bytes of frames that wait to be written at most, beyond the one that is being written.
const WRITE_BUFFER: usize = 4 * 1024;
const MAX_WRITE_BUFFER: usize = 1024 * 1024;

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("since is not a position of this server")]
    BadPosition,
    #[error("not a WebSocket handshake: {0}")]
    Handshake(#[from] WebSocketUpgradeRejection),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::TooMany(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, errcode::TOO_MANY_CONNECTIONS, text),
            Error::BadPosition => Self::argument(text),
            Error::Handshake(_) => Self::new(StatusCode::UPGRADE_REQUIRED, errcode::ARGUMENT, text),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(ws))
}

/// Where to begin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// The `position` of the last frame that the client has; without it, what happens from now on is told.
    #[param(pattern = r"^(0|[1-9][0-9]{0,17})_(0|[1-9][0-9]{0,17})$")]
    since: Option<String>,
}

/// A frame that the server sends, as text.
#[derive(Serialize, ToSchema)]
struct Frame {
    /// `hello`, `message`, `edit`, `withdraw`, `restore`, `reaction`, `call`, `read`, `delivered`, `friend`, `group`, `announcement`,
    /// `conversation`, `typing`, `presence`, `resync`, `kicked`, `pong` or `error`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    /// Up to where the client has everything with this frame; give it as `since` to go on from here. Left out with what is
    /// told of the moment alone.
    position: Option<String>,
    /// What happened.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// Opens a WebSocket on which the server tells, as text frames, what happens. The token is in `Authorization`, or in the query
/// as `access_token`. The client may send `{"type": "ack", "position": …}`, which says that it has everything up to there, and
/// `{"type": "ping"}`, which is answered by `pong`.
///
/// | type | tells | `data` |
/// | --- | --- | --- |
/// | `hello` | the connection is open | `user_id` |
/// | `message` | a new message | the conversation, `message_id`, `event_id`, who, `created_ts`, `body` (`kind`, `content`, `event_type`, `event_content`) |
/// | `edit`, `restore` | what a message says now | as `message`, with the number of the message that is changed |
/// | `withdraw` | a message is gone | as `message`, without `body` |
/// | `reaction` | one was given, or taken back (`removed`) | the message, who, `reaction_id`, `key` unless it was taken back |
/// | `call` | an `m.call.…` event | the conversation, who, `event_type`, `event_content` |
/// | `read` | how far somebody has read; of the user's own reading on other devices, too | the conversation, who, the message, `private` |
/// | `delivered` | how far somebody has received what the user sent | as `read`; without a position |
/// | `friend` | requests, answers, and changes of friends, labels, remarks and the blacklist | an event of a conversation of two people, or `account_data` |
/// | `group` | members, roles, mutes, name and all else that is a group's state | the conversation, who, `event_type`, `state_key`, `event_content` |
/// | `announcement` | one was made, edited or taken down (`org.linkim.group.notice`), or confirmed (`org.linkim.group.confirm`) | as `group` |
/// | `conversation` | a setting of the user's own changed: pin, draft, mark, hidden, cleared, receive nothing; without a conversation, `m.push_rules`, which say what is muted | `account_data`: a list of `event_type` and `event_content` |
/// | `typing`, `presence` | of the moment; presence of those who share a conversation of up to 100 with the user | who; without a position |
/// | `resync` | the client's position can't be gone on from: load the lists anew and go on from this one | `reason` |
/// | `kicked` | the session ended | `reason`, `text`; without a position |
///
/// The conversation is `thread_id`, `room_id`, `thread_type` and, of groups, `group_id`; who is `user_id` and `matrix_id`.
/// Connections are closed with 1001 (the server stops), 4001 (the session ended), 4002 (nothing came from the client for 75
/// seconds; any frame will do, also the pong that WebSockets send by themselves) or 4008 (the client takes frames too slowly).
#[utoipa::path(get, path = "/ws", tag = "message", params(Request), security(("token" = [])),
    responses((status = 101, body = Frame, description = "Frames follow."), (status = "4XX", body = Failure)))]
async fn ws(
    Caller(session): Caller,
    State(push): State<Arc<Push>>,
    QueryInput(request): QueryInput<Request>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let since = request.since.map(|since| since.parse::<Position>()).transpose().map_err(|_| Error::BadPosition)?;
    let upgrade = upgrade.map_err(Error::from)?;
    let feed = push.open(session, since).map_err(Error::from)?;
    let upgrade = upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    Ok(upgrade.on_upgrade(move |socket: WebSocket| Connection::new(socket, feed, PATIENCE).run()))
}
