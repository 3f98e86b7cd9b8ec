//! `GET /ws`: what happens, pushed to LinkIM's apps over a WebSocket (RFC 6455).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{Caller, QueryInput},
    refusal::{Failure, Refusal},
    state::LinkImState,
};
use crate::{
    accounts::{AuthenticateError, EndReason},
    sync::ws::{Feed, FeedError, Position, Push, TooMany, Wakening},
};

/// Bytes of a client's frame at most.
const MAX_FRAME: usize = 64 * 1024;

/// Bytes that are read at once; allocated as long as the connection lasts.
const READ_BUFFER: usize = 2 * 1024;

/// Bytes of frames that wait to be written at most, beyond the one that is being written.
const WRITE_BUFFER: usize = 4 * 1024;
const MAX_WRITE_BUFFER: usize = 1024 * 1024;

/// How often an idle connection is asked whether it is alive.
const PING_EVERY: Duration = Duration::from_secs(30);

/// A connection from which nothing comes for so long is dead.
const IDLE: Duration = Duration::from_secs(75);

/// A client that takes no frame for so long is cut.
const STALL: Duration = Duration::from_secs(10);

/// A client gets so long to hear why it is cut.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Close codes: RFC 6455's, and 4xxx for what it has none for.
mod close {
    /// The server stops.
    pub(super) const STOPPING: u16 = 1001;
    /// A frame is not text.
    pub(super) const NOT_TEXT: u16 = 1003;
    /// A frame is too large.
    pub(super) const TOO_LARGE: u16 = 1009;
    /// The server failed.
    pub(super) const FAILED: u16 = 1011;
    /// The session ended; a `kicked` frame said why.
    pub(super) const KICKED: u16 = 4001;
    /// Nothing came from the client.
    pub(super) const IDLE: u16 = 4002;
    /// The client takes frames too slowly.
    pub(super) const SLOW: u16 = 4008;
}

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
    /// `hello`, `message`, `edit`, `withdraw`, `restore`, `read`, `delivered`, `friend`, `group`, `announcement`, `typing`, `presence`,
    /// `resync`, `kicked`, `pong` or `error`.
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
/// as `access_token`. The client may send `{"type": "ack", "position": …}` and `{"type": "ping"}`.
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
    Ok(upgrade.on_upgrade(move |socket| Connection { socket, feed, heard: Instant::now() }.run()))
}

/// Why a connection ends.
enum End {
    /// The client went.
    Gone,
    /// With a close frame.
    Close(u16, &'static str),
    /// With a `kicked` frame before it.
    Kicked(&'static str, String),
}

impl From<FeedError> for End {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Session(AuthenticateError::Ended(reason)) => Self::ended(Some(reason)),
            FeedError::Session(AuthenticateError::Locked) => Self::Kicked("locked", "The account is locked".into()),
            FeedError::Session(AuthenticateError::Store(error)) | FeedError::Store(error) => {
                tracing::warn!(%error, "a connection of a LinkIM client ends");
                Self::Close(close::FAILED, "the server failed")
            }
            FeedError::Session(AuthenticateError::Unknown | AuthenticateError::Expired) => Self::ended(None),
        }
    }
}

impl End {
    fn ended(reason: Option<EndReason>) -> Self {
        match reason {
            Some(reason) => Self::Kicked(reason.name(), reason.to_string()),
            None => Self::Kicked("logged_out", "Logged out".into()),
        }
    }
}

/// What a client sends.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said {
    /// The client has everything up to here.
    Ack { position: String },
    /// Wants a `pong`.
    Ping,
}

struct Connection {
    socket: WebSocket,
    feed: Feed,
    /// When something last came from the client.
    heard: Instant,
}

impl Connection {
    async fn run(mut self) {
        let end = match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let (code, reason) = match end {
            End::Gone => return,
            End::Close(code, reason) => (code, reason.into()),
            End::Kicked(name, text) => {
                let frame = json!({ "type": "kicked", "data": { "reason": name, "text": text } });
                if self.send(Message::text(frame.to_string())).await.is_err() {
                    return;
                }
                (close::KICKED, Utf8Bytes::from(name))
            }
        };
        let close = Message::Close(Some(CloseFrame { code, reason }));
        let last_words = async {
            if self.socket.send(close).await.is_ok() {
                // Until the client has closed, too.
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        // Of a client that hears nothing any more the connection is dropped.
        let _ = timeout(LAST_WORDS, last_words).await;
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // One batch is in memory at most; a slow client has the next one wait.
            loop {
                let batch = self.feed.next().await?;
                for frame in batch.frames {
                    self.frame(frame).await?;
                }
                if !batch.more {
                    break;
                }
            }
            tokio::select! {
                woken = self.feed.wait() => match woken {
                    Wakening::News => {}
                    Wakening::Told(frame) => self.frame(frame).await?,
                    Wakening::Ended(reason) => return Err(End::ended(reason)),
                    Wakening::Stopping => return Err(End::Close(close::STOPPING, "the server stops")),
                },
                said = self.socket.recv() => self.hear(said).await?,
                _ = pings.tick() => {
                    if self.heard.elapsed() > IDLE {
                        return Err(End::Close(close::IDLE, "nothing was heard from the client"));
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    async fn frame(&mut self, text: Bytes) -> Result<(), End> {
        match Utf8Bytes::try_from(text) {
            Ok(text) => self.send(Message::Text(text)).await,
            // Frames are made as Strings.
            Err(_) => Err(End::Close(close::FAILED, "the server failed")),
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(STALL, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                metrics::counter!("linkim_ws_slow_clients_total").increment(1);
                Err(End::Close(close::SLOW, "the client takes frames too slowly"))
            }
        }
    }

    async fn hear(&mut self, said: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.heard = Instant::now();
        match said {
            Some(Ok(Message::Text(text))) => self.answer(&text).await,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Binary(_))) => Err(End::Close(close::NOT_TEXT, "frames are text")),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) if error.to_string().starts_with("Space limit exceeded") => {
                Err(End::Close(close::TOO_LARGE, "the frame is larger than 64 KiB"))
            }
            Some(Err(_)) => Err(End::Gone),
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), End> {
        let refused = match serde_json::from_str::<Said>(text) {
            Ok(Said::Ping) => {
                let pong = json!({ "type": "pong", "position": self.feed.position().to_string(), "data": {} });
                return self.send(Message::text(pong.to_string())).await;
            }
            Ok(Said::Ack { position }) => {
                match position.parse::<Position>().and_then(|position| self.feed.acknowledge(position)) {
                    Ok(()) => return Ok(()),
                    Err(_) => "position is not one of this connection".to_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        let frame = json!({ "type": "error", "data": { "errcode": errcode::ARGUMENT, "error": refused } });
        self.send(Message::text(frame.to_string())).await
    }
}
