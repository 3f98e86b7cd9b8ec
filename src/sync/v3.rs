//! GET /sync.
//!
//! Each look reads everything from one snapshot, whose position becomes `next_batch`; so the next answer begins exactly where
//! this one ends, whoever writes meanwhile, whichever device asks, and as often as a token is repeated. A long poll
//! registers first and looks second, so nothing falls between the look and the wait.
//!
//! Source: Client-Server API, "Syncing".

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::{
    account_data::{self, AccountData},
    body::{Object, push_string},
    device_lists::DeviceListChanges,
    filter::Filter,
    notifier::{Notifier, Woken},
    presence::PresenceChanges,
    rooms,
    to_device::ToDevice,
    token::{Since, SyncToken, place},
    view::View,
};
use crate::{
    accounts::{Acknowledged, Session},
    clock::Clock,
    crypto::{Counts, KeyCounts},
    presence::{Presence, State},
    rooms::{client_event::Viewer, page_token::BadToken, typing::Typing},
    store::{
        Read, Snapshot, Store, StoreError, filters,
        ids::{DeviceNid, UserNid},
        to_device,
    },
};

/// Longest wait for something new. Clients ask for 30 seconds; a proxy in between seldom allows more than a few minutes.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// A client that is at most this many positions behind gets a short answer.
const CLOSE_BEHIND: i64 = 200;

/// Stored filters kept parsed; a few hundred bytes each.
const CACHED_FILTERS: u64 = 10_000;

/// Devices that are remembered to have messages that they may have; 50 bytes each.
const DELIVERED: u64 = 50_000;

/// Longest inline filter, in bytes.
const MAX_FILTER: usize = 64 * 1024;

/// What a client asks.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// `filter`: the number of a stored filter, or a filter's JSON.
    pub filter: Option<String>,
    /// `since`: a token that an earlier answer gave.
    pub since: Option<String>,
    /// `full_state`: the whole state of all rooms, at once.
    pub full_state: bool,
    /// `timeout`: how long to wait for something new; [`MAX_TIMEOUT`] at most.
    pub timeout: Duration,
    /// The name under which the state at the end of the timeline is wanted in place of `state` (`state_after`, or its name
    /// before it was in the spec, MSC4222).
    pub state_after: Option<&'static str>,
    /// `set_presence`: what the client's user is while it asks.
    pub set_presence: Option<State>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// `since` is no token of ours.
    #[error("since is not a token of this server")]
    BadToken,
    /// `filter` is no filter.
    #[error("filter is not a filter: {0}")]
    BadFilter(String),
    /// The user has no filter of this number.
    #[error("there is no such filter")]
    UnknownFilter,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BadToken> for SyncError {
    fn from(_: BadToken) -> Self {
        Self::BadToken
    }
}

/// Answers /sync.
pub struct V3 {
    store: Store,
    notifier: Arc<Notifier>,
    typing: Arc<Typing>,
    /// None where it is switched off.
    presence: Option<Arc<Presence>>,
    key_counts: Arc<KeyCounts>,
    clock: Arc<dyn Clock>,
    /// A filter never changes under its number.
    filters: Cache<(UserNid, i64), Arc<Filter>>,
    /// Devices that were given messages to them, which their next token acknowledges.
    delivered: Cache<DeviceNid, ()>,
    /// How far devices have received, which their tokens say.
    acknowledged: Arc<Acknowledged>,
    started_at: i64,
}

/// One look.
struct Look {
    body: Object,
    next: SyncToken,
    /// Whether there is something for the client.
    news: bool,
    /// Whether there are messages to the device.
    messages: bool,
    /// The device has the messages to it up to here, which are still stored.
    acknowledged: Option<i64>,
}

/// What stays the same from look to look.
#[derive(Clone)]
struct Asked {
    viewer: Viewer,
    device: DeviceNid,
    filter: Arc<Filter>,
    since: Since,
    full_state: bool,
    state_after: Option<&'static str>,
}

impl V3 {
    /// To be made before anything is appended: it notes the position at which this start began.
    pub fn new(
        store: Store,
        notifier: Arc<Notifier>,
        typing: Arc<Typing>,
        key_counts: Arc<KeyCounts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let started_at = store.position();
        let (filters, delivered) = (Cache::new(CACHED_FILTERS), Cache::new(DELIVERED));
        let acknowledged = Arc::default();
        Self {
            store,
            notifier,
            typing,
            presence: None,
            key_counts,
            clock,
            filters,
            delivered,
            acknowledged,
            started_at,
        }
    }

    /// Also shows who is online, if that is kept, and has those who sync online.
    #[must_use]
    pub fn showing(mut self, presence: Arc<Presence>) -> Self {
        self.presence = Some(presence).filter(|presence| presence.is_enabled());
        self
    }

    /// Notes in `acknowledged` how far devices have received.
    #[must_use]
    pub fn noting(self, acknowledged: Arc<Acknowledged>) -> Self {
        Self { acknowledged, ..self }
    }

    /// The store's position when this start began.
    pub fn started_at(&self) -> i64 {
        self.started_at
    }

    /// The body of the answer. Returns at once if there is something for the client or it has nothing yet; else when there is
    /// something, when the time is over, or when the server stops, then with what there is.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn sync(&self, session: &Session, request: SyncRequest) -> Result<String, SyncError> {
        let token = request.since.as_deref().map(str::parse::<SyncToken>).transpose()?;
        let filter = self.filter(session.user, request.filter).await?;
        let since = token.map_or(Since::Nothing, |token| self.place(token));
        if let Since::Place { position, .. } = since {
            self.acknowledged.note(session.user, session.device, position);
        }
        // Until the answer.
        let _syncing = self.presence.as_ref().and_then(|presence| presence.syncing(session, request.set_presence));
        let asked = Asked {
            viewer: self.viewer(session),
            device: session.device,
            filter,
            since,
            full_state: request.full_state,
            state_after: request.state_after,
        };
        match (token, since) {
            (Some(token), Since::Place { position, .. }) if !request.full_state => {
                self.poll(asked, (token, position), request.timeout.min(MAX_TIMEOUT)).await
            }
            _ => {
                let device = asked.device;
                let look = self.look(asked).await?;
                self.finish(device, look.body, &look.next).await
            }
        }
    }

    /// Whose keys changed between two tokens, and perhaps after the second (`GET /keys/changes`).
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn key_changes(&self, session: &Session, from: &str, to: &str) -> Result<DeviceListChanges, SyncError> {
        let (since, _) = (self.place(from.parse()?), to.parse::<SyncToken>()?);
        let (viewer, notifier, typing) = (self.viewer(session), self.notifier.clone(), self.typing.clone());
        self.store
            .read(move |read| {
                let filter = Filter::default();
                let mut view = View::new(read, &viewer, &filter, &typing);
                let Since::Place { position, .. } = since else {
                    return Ok(DeviceListChanges::everybody(read, viewer.user)?);
                };
                view.since = Some(position);
                view.typing_since = typing.serial();
                let rooms = rooms::candidates(&view, &notifier, &AccountData::default())?;
                Ok(DeviceListChanges::read(read, viewer.user, position, &rooms)?)
            })
            .await
    }

    fn place(&self, token: SyncToken) -> Since {
        let now = (self.store.position(), self.store.incarnation());
        place(token, now, self.started_at, self.store.restores())
    }

    fn viewer(&self, session: &Session) -> Viewer {
        Viewer {
            user: session.user,
            user_id: session.user_id.clone(),
            device: Some(session.device),
            now_ms: self.clock.now_ms(),
        }
    }

    async fn poll(
        &self,
        mut asked: Asked,
        (token, since): (SyncToken, i64),
        timeout: Duration,
    ) -> Result<String, SyncError> {
        let over = tokio::time::sleep(timeout);
        tokio::pin!(over);
        let mut waiter = self.notifier.register(asked.viewer.user);
        // Most polls begin right behind the answer before them. A token of another start says nothing about typing here. What
        // the token acknowledges must be deleted: only a look finds it.
        let typing_unchanged = token.typing == self.typing.serial();
        if token.incarnation == self.store.incarnation()
            && token.to_device.is_none()
            && !self.delivered.contains_key(&asked.device)
            && self.notifier.is_quiet(asked.viewer.user, since, typing_unchanged)
            && self.presence.as_ref().is_none_or(|presence| presence.is_quiet(asked.viewer.user, token.presence))
        {
            let empty = || self.finish(asked.device, Object::default(), &token);
            if timeout.is_zero() {
                return empty().await;
            }
            let woken = tokio::select! {
                woken = waiter.changed() => woken,
                () = &mut over => return empty().await,
            };
            if woken == Woken::Stopping {
                return empty().await;
            }
            asked.viewer.now_ms = self.clock.now_ms();
        }
        loop {
            let look = self.look(asked.clone()).await?;
            if !look.news && !timeout.is_zero() {
                let woken = tokio::select! {
                    woken = waiter.changed() => woken,
                    () = &mut over => Woken::Stopping,
                };
                if woken == Woken::Changed {
                    asked.viewer.now_ms = self.clock.now_ms();
                    continue;
                }
            }
            return self.finish(asked.device, look.body, &look.next).await;
        }
    }

    async fn look(&self, asked: Asked) -> Result<Look, StoreError> {
        let (notifier, typing, presence) = (self.notifier.clone(), self.typing.clone(), self.presence.clone());
        let incarnation = self.store.incarnation();
        let behind = match asked.since {
            Since::Place { position, .. } if !asked.full_state => self.store.position() - position,
            _ => i64::MAX,
        };
        let device = asked.device;
        let look =
            move |read: &Snapshot<'_>| look(read, &asked, (&notifier, &typing, presence.as_deref()), incarnation);
        let look = match behind <= CLOSE_BEHIND {
            true => self.store.read_short(look).await?,
            false => self.store.read(look).await?,
        };
        if look.messages {
            self.delivered.insert(device, ());
        } else {
            self.delivered.invalidate(&device);
        }
        if let Some(position) = look.acknowledged {
            let deleted =
                self.store.write::<_, StoreError, _>(move |tx| to_device::acknowledge(tx, device, position)).await;
            if let Err(error) = deleted {
                // Reading goes on while the disk is full; the next look finds them again.
                tracing::debug!(%error, "messages that a device has are not deleted yet");
            }
        }
        Ok(look)
    }

    /// Adds what every answer has.
    async fn finish(&self, device: DeviceNid, mut body: Object, next: &SyncToken) -> Result<String, SyncError> {
        let counts: Arc<Counts> = self.key_counts.get(&self.store, device).await?;
        push_string(body.member("next_batch"), &next.to_string());
        body.put("device_one_time_keys_count", &counts.one_time);
        body.put("device_unused_fallback_key_types", &counts.fallback);
        Ok(body.finish())
    }

    async fn filter(&self, user: UserNid, asked: Option<String>) -> Result<Arc<Filter>, SyncError> {
        let bad = |error: serde_json::Error| SyncError::BadFilter(error.to_string());
        let Some(asked) = asked else { return Ok(Arc::default()) };
        if asked.starts_with('{') {
            if asked.len() > MAX_FILTER {
                return Err(SyncError::BadFilter(format!("it is longer than {MAX_FILTER} bytes")));
            }
            return Filter::parse(&asked).map(Arc::new).map_err(bad);
        }
        let nid: i64 = asked.parse().map_err(|_| SyncError::UnknownFilter)?;
        if let Some(known) = self.filters.get(&(user, nid)) {
            return Ok(known);
        }
        let json = self.store.read::<_, StoreError, _>(move |read| filters::get(read, user, nid)).await?;
        let filter = Arc::new(Filter::parse(&json.ok_or(SyncError::UnknownFilter)?).map_err(bad)?);
        self.filters.insert((user, nid), filter.clone());
        Ok(filter)
    }
}

/// Everything of one answer, from one snapshot.
fn look(
    read: &dyn Read,
    asked: &Asked,
    (notifier, typing, presence): (&Notifier, &Typing, Option<&Presence>),
    incarnation: i64,
) -> Result<Look, StoreError> {
    let mut view = View::new(read, &asked.viewer, &asked.filter, typing);
    view.full_state = asked.full_state;
    view.state_after = asked.state_after;
    view.lost = asked.since == Since::Lost;
    let (mut messages_since, mut presence_since) = (None, None);
    if let Since::Place { position, typing, presence, to_device } = asked.since {
        view.since = Some(position);
        view.typing_since = typing;
        messages_since = Some(to_device);
        presence_since = Some(presence);
    }
    notifier.seen(read.position());
    let messages = ToDevice::read(read, asked.device, messages_since)?;
    // Read before the rooms' typing is: what changes in between is told twice, not never.
    let mut next = SyncToken {
        position: read.position(),
        incarnation,
        typing: typing.serial(),
        presence: 0,
        to_device: messages.more_after,
    };

    let data = AccountData::read(&view)?;
    let global = account_data::events(&view, &view.filter.account_data, &data.global)?;
    let members = rooms::candidates(&view, notifier, &data)?;
    let rooms = rooms::rooms(&view, &members, &data)?;
    let device_lists = match view.since {
        Some(since) => DeviceListChanges::read(read, asked.viewer.user, since, &members)?,
        None if view.lost => DeviceListChanges::everybody(read, asked.viewer.user)?,
        None => DeviceListChanges::default(),
    };
    let mut news = !global.is_empty() || !rooms.is_empty() || !messages.events.is_empty() || !device_lists.is_empty();

    let mut body = Object::default();
    body.put_some_events("account_data", &global);
    body.put_some_events("to_device", &messages.events);
    body.put_object("device_lists", device_lists.object());
    body.put_object("rooms", rooms);
    if let Some(presence) = presence {
        let changes = PresenceChanges::read(&view, presence, presence_since, &members)?;
        next.presence = changes.up_to;
        news |= changes.news;
        body.put_some_events("presence", &changes.events);
    }
    Ok(Look { body, next, news, messages: !messages.events.is_empty(), acknowledged: messages.acknowledged })
}
