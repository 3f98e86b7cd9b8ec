//! What LinkIM's apps are told over /ws: the streams of /sync as frames in the order of places (spec/decisions/0019).
//!
//! A frame with a position is told once, in order: a client that comes back with the position of the last frame that it has
//! gets what is behind it, whatever happened meanwhile. Each place has one frame at most, so none is split. Typing and presence
//! have no place: who comes back is told how it is then.

mod connections;
mod delivered;
mod frames;
mod look;
mod own;
mod position;
mod reactions;
mod ring;

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use moka::sync::Cache;
use serde_json::json;
use tokio::sync::broadcast;

use self::{
    connections::{Connections, Heard, Slot},
    delivered::{Received, frames_of, frames_of_servers},
    look::{Look, Place, Rendered, Sources},
    ring::Ring,
};
pub use self::{
    connections::{MAX_OF_USER, TooMany},
    look::{MAX_BEHIND, RECEIPTS_TOLD, Unheard},
    position::Position,
};
use super::{
    notifier::{Notifier, Waiter, Woken},
    token::{Since, place},
};
use crate::{
    accounts::{Acknowledged, AuthenticateError, EndReason, Ended, Session, Sessions},
    clock::Clock,
    numbers::Numbers,
    presence::{Presence, Syncing},
    rooms::{client_event::Viewer, page_token::BadToken, typing::Typing},
    store::{
        Snapshot, Store, StoreError,
        ids::{RoomNid, UserNid},
    },
};

/// Bytes of events' frames that are kept, for so long; they are what most connections want at the same time.
const RENDERED: u64 = 8 * 1024 * 1024;
const RENDERED_FOR: Duration = Duration::from_secs(10);

/// How often senders are told of what was delivered.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Users of whom it is remembered what was told, and positions that are looked back at for others.
const DELIVERED: u64 = 50_000;
const LOOK_BACK: i64 = 1_000;

/// Users who are looked at in one snapshot.
const TOGETHER: usize = 100;

/// A client that is at most this many positions behind gets a short answer.
const CLOSE_BEHIND: i64 = 200;

/// What the connections are given.
pub struct Collaborators {
    /// The database.
    pub store: Store,
    /// Wakes them.
    pub notifier: Arc<Notifier>,
    /// Who types.
    pub typing: Arc<Typing>,
    /// Who is there.
    pub presence: Arc<Presence>,
    /// Whether sessions stand.
    pub sessions: Arc<Sessions>,
    /// How far devices have received.
    pub acknowledged: Arc<Acknowledged>,
    /// What rooms are called.
    pub numbers: Arc<Numbers>,
    /// Of which conversations a user wants to hear nothing.
    pub unheard: Arc<dyn Unheard>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Serves the connections of LinkIM's apps.
pub struct Push {
    store: Store,
    sessions: Arc<Sessions>,
    acknowledged: Arc<Acknowledged>,
    clock: Arc<dyn Clock>,
    sources: Sources,
    connections: Arc<Connections>,
    /// Up to where it was told that users have received.
    told: Cache<UserNid, i64>,
    started_at: i64,
}

/// Why a connection has no further frames.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The session stands no more.
    #[error(transparent)]
    Session(#[from] AuthenticateError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Push {
    /// `started_at`: the store's position when this start began.
    pub fn new(with: Collaborators, started_at: i64) -> Self {
        let rendered: Rendered = Cache::builder()
            .weigher(|_, frame: &Option<Bytes>| {
                // An entry's own cost, about.
                u32::try_from(frame.as_ref().map_or(0, Bytes::len) + 100).unwrap_or(u32::MAX)
            })
            .max_capacity(RENDERED)
            .time_to_live(RENDERED_FOR)
            .build();
        let sources = Sources {
            notifier: with.notifier,
            typing: with.typing,
            presence: Some(with.presence).filter(|presence| presence.is_enabled()),
            numbers: with.numbers,
            unheard: with.unheard,
            rendered,
            ring: Arc::new(Ring::new(RENDERED, RENDERED_FOR)),
            incarnation: with.store.incarnation(),
        };
        Self {
            store: with.store,
            sessions: with.sessions,
            acknowledged: with.acknowledged,
            clock: with.clock,
            sources,
            connections: Arc::default(),
            told: Cache::new(DELIVERED),
            started_at,
        }
    }

    /// Tells connections of the end of their sessions, for ever.
    pub async fn follow(self: Arc<Self>, mut endings: broadcast::Receiver<Ended>) {
        loop {
            match endings.recv().await {
                Ok(ended) => self.connections.end(&ended),
                // Some are missing: everybody looks whether their session stands.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    for user in self.connections.users() {
                        crate::accounts::Wake::wake_user(&*self.sources.notifier, user);
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Tells senders of what was delivered, for ever.
    pub async fn tell_delivered(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut received = Vec::new();
            for (user, to) in self.acknowledged.moved() {
                let from = self.told.get(&user).unwrap_or(i64::MIN).max(to - LOOK_BACK);
                self.told.insert(user, to);
                received.push(Received { user, from, to });
            }
            let servers = self.acknowledged.servers_moved();
            if self.connections.count() == 0 {
                continue;
            }
            for some in received.chunks(TOGETHER) {
                let (some, sources) = (some.to_vec(), self.sources.clone());
                self.tell(move |read, listening| frames_of(read, &some, listening, &sources)).await;
            }
            if !servers.is_empty() {
                let sources = self.sources.clone();
                self.tell(move |read, listening| frames_of_servers(read, &servers, listening, &sources)).await;
            }
        }
    }

    /// Gives frames of the moment to those of the users with connections whom they are for.
    async fn tell<F>(&self, frames: F)
    where
        F: FnOnce(&Snapshot<'_>, &HashSet<UserNid>) -> Result<Vec<(UserNid, String)>, StoreError> + Send + 'static,
    {
        let listening: HashSet<UserNid> = self.connections.users().into_iter().collect();
        match self.store.read::<_, StoreError, _>(move |read| frames(read, &listening)).await {
            Ok(frames) => {
                for (user, frame) in frames {
                    self.connections.tell(user, &frame.into());
                }
            }
            Err(error) => tracing::debug!(%error, "what was delivered is told on request alone"),
        }
    }

    /// Opens a connection of a session that has everything up to `since`, or from now on.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn open(self: &Arc<Self>, session: Session, since: Option<Position>) -> Result<Feed, TooMany> {
        let slot = self.connections.open(&session)?;
        let waiter = self.sources.notifier.register(session.user);
        let syncing = self.sources.presence.as_ref().and_then(|presence| presence.syncing(&session, None));
        let (mut lost, mut position) = (false, self.store.position());
        if let Some(since) = since {
            match self.place(since) {
                Some(known) => position = known,
                None => lost = true,
            }
        }
        let place = Place { position, typing: 0, presence: None };
        Ok(Feed {
            push: self.clone(),
            session,
            slot,
            waiter,
            place,
            plain: Vec::new(),
            greeted: false,
            lost,
            _syncing: syncing,
        })
    }

    /// The place in the present order that a client means; None: it is not of this database's history.
    fn place(&self, since: Position) -> Option<i64> {
        let now = (self.store.position(), self.store.incarnation());
        match place(since.into(), now, self.started_at, self.store.restores()) {
            Since::Place { position, .. } => Some(position),
            Since::Nothing | Since::Lost => None,
        }
    }

    /// How many connections are open: for metrics.
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Returns once every connection has closed, or after `limit`. They close once the notifier has stopped.
    pub async fn closed(&self, limit: Duration) {
        self.connections.closed(limit).await;
    }
}

/// Some frames.
#[derive(Debug)]
pub struct Batch {
    /// Texts, in order.
    pub frames: Vec<Bytes>,
    /// Whether there are more at once.
    pub more: bool,
}

/// Why waiting for more frames ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wakening {
    /// There may be some.
    News,
    /// A frame of the moment.
    Told(Bytes),
    /// The session ended.
    Ended(Option<EndReason>),
    /// The server stops.
    Stopping,
}

/// What is known without a look.
enum Events {
    /// There is nothing new but, perhaps, presence.
    None,
    /// All that is new, and up to where.
    Here(Vec<Bytes>, i64),
    /// One has to look.
    Look,
}

/// What one connection is told.
pub struct Feed {
    push: Arc<Push>,
    session: Session,
    slot: Slot,
    waiter: Waiter,
    place: Place,
    /// Rooms whose events the user sees as any member does, as the last look found: since then there were only events.
    plain: Vec<RoomNid>,
    greeted: bool,
    lost: bool,
    /// The user is online as long as the connection is.
    _syncing: Option<Syncing>,
}

impl Feed {
    /// The next frames, at once; often none. Call it until there are no more, then [`Self::wait`].
    ///
    /// # Errors
    /// [`FeedError`]; the connection is to be closed then.
    pub async fn next(&mut self) -> Result<Batch, FeedError> {
        self.push.sessions.still_stands(&self.session).await?;
        if !self.greeted {
            self.greeted = true;
            let hello = frames::frame("hello", Some(self.position()), &json!({ "user_id": self.session.user.0 }))?;
            return Ok(Batch { frames: vec![hello.into()], more: true });
        }
        if self.lost {
            self.lost = false;
            let look = look::lost(self.push.store.position(), "unknown_position", &self.push.sources)?;
            self.place = look.place;
            return Ok(Batch { frames: look.frames, more: true });
        }
        match self.events() {
            Events::Here(frames, position) => {
                self.place.position = position;
                return Ok(Batch { frames, more: true });
            }
            Events::None if self.presence_is_quiet() => return Ok(Batch { frames: Vec::new(), more: false }),
            Events::None | Events::Look => {}
        }
        let Look { frames, place, more, plain } = self.look().await?;
        (self.place, self.plain) = (place, plain);
        Ok(Batch { frames, more })
    }

    /// Where the client is once it has the frames given out.
    pub fn position(&self) -> Position {
        Position { position: self.place.position, incarnation: self.push.store.incarnation() }
    }

    /// What there is to see, as far as that is known without a look.
    fn events(&self) -> Events {
        let (sources, user, since) = (&self.push.sources, self.session.user, self.place.position);
        let typing_unchanged = self.place.typing == sources.typing.serial();
        let Some(rooms) = sources.notifier.only_events(user, since, typing_unchanged) else { return Events::Look };
        let Some(up_to) = rooms.iter().map(|(_, newest)| *newest).max() else { return Events::None };
        let mut events = Vec::new();
        for (room, newest) in &rooms {
            let found = self.plain.contains(room).then(|| sources.ring.between(*room, since, *newest)).flatten();
            let Some(found) = found else { return Events::Look };
            events.extend(found);
        }
        events.sort_by_key(|(position, _)| *position);
        Events::Here(events.into_iter().map(|(_, frame)| frame).collect(), up_to)
    }

    fn presence_is_quiet(&self) -> bool {
        match (&self.push.sources.presence, self.place.presence) {
            (Some(presence), Some(serial)) => presence.is_quiet(self.session.user, serial),
            (_, None) => false,
            (None, _) => true,
        }
    }

    async fn look(&self) -> Result<Look, StoreError> {
        let viewer = Viewer {
            user: self.session.user,
            user_id: self.session.user_id.clone(),
            device: Some(self.session.device),
            now_ms: self.push.clock.now_ms(),
        };
        let (place, sources) = (self.place, self.push.sources.clone());
        let look = move |read: &Snapshot<'_>| look::look(read, &viewer, place, &sources);
        match self.push.store.position() - place.position <= CLOSE_BEHIND {
            true => self.push.store.read_short(look).await,
            false => self.push.store.read(look).await,
        }
    }

    /// Returns once there may be something. Safe to cancel.
    pub async fn wait(&mut self) -> Wakening {
        tokio::select! {
            biased;
            heard = self.slot.heard() => match heard {
                Heard::Ended(reason) => Wakening::Ended(reason),
                Heard::Told(frame) => Wakening::Told(frame),
            },
            woken = self.waiter.changed() => match woken {
                Woken::Changed => Wakening::News,
                Woken::Stopping => Wakening::Stopping,
            },
        }
    }

    /// The client says that it has everything up to a place.
    ///
    /// # Errors
    /// [`BadToken`]: it can't have.
    pub fn acknowledge(&self, position: Position) -> Result<(), BadToken> {
        let position = self.push.place(position).filter(|position| *position <= self.place.position).ok_or(BadToken)?;
        self.push.acknowledged.note(self.session.user, self.session.device, position);
        Ok(())
    }
}
