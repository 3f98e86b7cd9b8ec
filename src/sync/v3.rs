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
    filter::Filter,
    notifier::{Notifier, Woken},
    rooms,
    token::{Since, SyncToken, place},
    view::View,
};
use crate::{
    accounts::Session,
    clock::Clock,
    rooms::{client_event::Viewer, page_token::BadToken, typing::Typing},
    store::{Read, Snapshot, Store, StoreError, filters, ids::UserNid},
};

/// Longest wait for something new. Clients ask for 30 seconds; a proxy in between seldom allows more than a few minutes.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// A client that is at most this many positions behind gets a short answer.
const CLOSE_BEHIND: i64 = 200;

/// Stored filters kept parsed; a few hundred bytes each.
const CACHED_FILTERS: u64 = 10_000;

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
    clock: Arc<dyn Clock>,
    /// A filter never changes under its number.
    filters: Cache<(UserNid, i64), Arc<Filter>>,
    started_at: i64,
}

/// One look.
struct Look {
    body: String,
    /// Whether there is something for the client.
    news: bool,
}

/// What stays the same from look to look.
#[derive(Clone)]
struct Asked {
    viewer: Viewer,
    filter: Arc<Filter>,
    since: Since,
    full_state: bool,
    state_after: Option<&'static str>,
}

impl V3 {
    /// To be made before anything is appended: it notes the position at which this start began.
    pub fn new(store: Store, notifier: Arc<Notifier>, typing: Arc<Typing>, clock: Arc<dyn Clock>) -> Self {
        let started_at = store.position();
        Self { store, notifier, typing, clock, filters: Cache::new(CACHED_FILTERS), started_at }
    }

    /// The body of the answer. Returns at once if there is something for the client or it has nothing yet; else when there is
    /// something, when the time is over, or when the server stops, then with what there is.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn sync(&self, session: &Session, request: SyncRequest) -> Result<String, SyncError> {
        let token = request.since.as_deref().map(str::parse::<SyncToken>).transpose()?;
        let filter = self.filter(session.user, request.filter).await?;
        let since = match token {
            None => Since::Nothing,
            Some(token) => {
                let now = (self.store.position(), self.store.incarnation());
                place(token, now, self.started_at, self.store.restores())
            }
        };
        let asked = Asked {
            viewer: Viewer {
                user: session.user,
                user_id: session.user_id.clone(),
                device: Some(session.device),
                now_ms: self.clock.now_ms(),
            },
            filter,
            since,
            full_state: request.full_state,
            state_after: request.state_after,
        };
        match (token, since) {
            (Some(token), Since::Place { position, .. }) if !request.full_state => {
                self.poll(asked, (token, position), request.timeout.min(MAX_TIMEOUT)).await
            }
            _ => Ok(self.look(asked).await?.body),
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
        // Most polls begin right behind the answer before them. A token of another start says nothing about typing here.
        let typing_unchanged = token.typing == self.typing.serial();
        if token.incarnation == self.store.incarnation()
            && self.notifier.is_quiet(asked.viewer.user, since, typing_unchanged)
        {
            if timeout.is_zero() {
                return Ok(empty(&token));
            }
            let woken = tokio::select! {
                woken = waiter.changed() => woken,
                () = &mut over => return Ok(empty(&token)),
            };
            if woken == Woken::Stopping {
                return Ok(empty(&token));
            }
            asked.viewer.now_ms = self.clock.now_ms();
        }
        loop {
            let look = self.look(asked.clone()).await?;
            if look.news || timeout.is_zero() {
                return Ok(look.body);
            }
            let woken = tokio::select! {
                woken = waiter.changed() => woken,
                () = &mut over => return Ok(look.body),
            };
            if woken == Woken::Stopping {
                return Ok(look.body);
            }
            asked.viewer.now_ms = self.clock.now_ms();
        }
    }

    async fn look(&self, asked: Asked) -> Result<Look, StoreError> {
        let (notifier, typing) = (self.notifier.clone(), self.typing.clone());
        let incarnation = self.store.incarnation();
        let behind = match asked.since {
            Since::Place { position, .. } if !asked.full_state => self.store.position() - position,
            _ => i64::MAX,
        };
        let look = move |read: &Snapshot<'_>| look(read, &asked, &notifier, &typing, incarnation);
        if behind <= CLOSE_BEHIND { self.store.read_short(look).await } else { self.store.read(look).await }
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
    notifier: &Notifier,
    typing: &Typing,
    incarnation: i64,
) -> Result<Look, StoreError> {
    let mut view = View::new(read, &asked.viewer, &asked.filter, typing);
    view.full_state = asked.full_state;
    view.state_after = asked.state_after;
    view.lost = asked.since == Since::Lost;
    if let Since::Place { position, typing } = asked.since {
        view.since = Some(position);
        view.typing_since = typing;
    }
    notifier.seen(read.position());
    // Read before the rooms' typing is: what changes in between is told twice, not never.
    let next = SyncToken { position: read.position(), incarnation, typing: typing.serial(), presence: 0 };

    let data = AccountData::read(&view)?;
    let global = account_data::events(&view, &view.filter.account_data, &data.global)?;
    let rooms = rooms::rooms(&view, notifier, &data)?;
    let news = !global.is_empty() || !rooms.is_empty();

    let mut body = Object::default();
    body.put_some_events("account_data", &global);
    body.put_object("rooms", rooms);
    Ok(Look { body: finish(body, &next), news })
}

/// The answer that nothing is new.
fn empty(next: &SyncToken) -> String {
    finish(Object::default(), next)
}

/// Adds what every answer has.
fn finish(mut body: Object, next: &SyncToken) -> String {
    push_string(body.member("next_batch"), &next.to_string());
    // No keys are kept here yet: none is left of any algorithm.
    body.put("device_one_time_keys_count", "{}");
    body.put("device_unused_fallback_key_types", "[]");
    body.finish()
}
