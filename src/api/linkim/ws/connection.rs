//! One connection of `/ws`: what goes out when, what the client may say, and why it ends.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::super::errcode;
use crate::{
    accounts::{AuthenticateError, EndReason},
    rooms::page_token::BadToken,
    sync::ws::{Batch, Feed, FeedError, Position, Wakening},
};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How often an idle connection is asked whether it is alive.
    pub(super) ping_every: Duration,
    /// A connection from which nothing comes for so long is dead.
    pub(super) idle: Duration,
    /// A client that takes no frame for so long is cut.
    pub(super) stall: Duration,
    /// A client gets so long to hear why it is cut.
    pub(super) last_words: Duration,
}

/// With every client; tests have less.
pub(super) const PATIENCE: &Patience = &Patience {
    ping_every: Duration::from_secs(30),
    idle: Duration::from_secs(75),
    stall: Duration::from_secs(10),
    last_words: Duration::from_secs(20),
};

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

/// What frames go out on: a WebSocket, or a test's.
pub(super) trait Socket: Send {
    /// Sends a frame; returns once it is on its way.
    fn send(&mut self, message: Message) -> impl Future<Output = Result<(), axum::Error>> + Send;

    /// The next frame of the client; none: it has gone. Safe to cancel.
    fn recv(&mut self) -> impl Future<Output = Option<Result<Message, axum::Error>>> + Send;
}

impl Socket for WebSocket {
    async fn send(&mut self, message: Message) -> Result<(), axum::Error> {
        Self::send(self, message).await
    }

    async fn recv(&mut self) -> Option<Result<Message, axum::Error>> {
        Self::recv(self).await
    }
}

/// What frames come from: a [`Feed`], or a test's.
pub(super) trait Frames: Send {
    /// As [`Feed::next`].
    fn next(&mut self) -> impl Future<Output = Result<Batch, FeedError>> + Send;

    /// As [`Feed::wait`].
    fn wait(&mut self) -> impl Future<Output = Wakening> + Send;

    /// As [`Feed::position`].
    fn position(&self) -> Position;

    /// As [`Feed::acknowledge`].
    fn acknowledge(&self, position: Position) -> Result<(), BadToken>;
}

impl Frames for Feed {
    async fn next(&mut self) -> Result<Batch, FeedError> {
        Self::next(self).await
    }

    async fn wait(&mut self) -> Wakening {
        Self::wait(self).await
    }

    fn position(&self) -> Position {
        Self::position(self)
    }

    fn acknowledge(&self, position: Position) -> Result<(), BadToken> {
        Self::acknowledge(self, position)
    }
}

/// An open connection.
pub(super) struct Connection<S, F> {
    socket: S,
    feed: F,
    patience: &'static Patience,
    /// When something last came from the client.
    heard: Instant,
}

impl<S: Socket, F: Frames> Connection<S, F> {
    /// Nothing is sent before [`Self::run`].
    pub(super) fn new(socket: S, feed: F, patience: &'static Patience) -> Self {
        Self { socket, feed, patience, heard: Instant::now() }
    }

    /// Serves it to its end, which the client is told.
    pub(super) async fn run(mut self) {
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
        let _ = timeout(self.patience.last_words, last_words).await;
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let every = self.patience.ping_every;
        let mut pings = interval_at(Instant::now() + every, every);
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
                    if self.heard.elapsed() > self.patience.idle {
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
        match timeout(self.patience.stall, self.socket.send(message)).await {
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
