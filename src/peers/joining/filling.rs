//! Has the members fetched that the answers to our joins left out, one task a room: from the server that answered, else from
//! another one of the room, until they are here or nobody of ours is in the room any more.
//!
//! Source: Server-Server API, "Joining Rooms", `members_omitted`; "Retrieving events", `state_ids`.
//! Spec/decisions/0010-members-that-come-later.md says what the room is meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::select_all;
use ruma::{OwnedEventId, OwnedServerName, RoomId};
use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    clock::Clock,
    peers::{
        missing::{Missing, MissingError},
        reachability::Reachability,
    },
    rooms::append::{AppendError, Appenders},
    store::{
        Read, Store, StoreError, events, ids,
        ids::{RoomKey, RoomNid},
        partial_joins, room_servers, rooms,
    },
};

/// Rooms whose members are fetched and filled in at once; the others wait in turn.
const FILLING: usize = 4;

/// Servers that are asked in one round: the one that answered the join, and others in turn.
const SERVERS: usize = 8;

/// How long it waits after a round in which no server could say. Doubled with each up to an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// How often it looks while it waits whether anybody of ours is still in the room.
const LOOK: Duration = Duration::from_secs(10);

/// The services that [`Filling`] calls.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The write path.
    pub appenders: Arc<Appenders>,
    /// Fetches states.
    pub missing: Arc<Missing>,
    /// Who is not to be asked now.
    pub reachability: Arc<Reachability>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Fills rooms in.
pub struct Filling {
    parts: Parts,
    at_work: Mutex<AtWork>,
    turns: Semaphore,
    /// A room is whole, or given up.
    ended: Notify,
}

/// Rooms with a task. Bound: those whose members are to be fetched.
#[derive(Default)]
struct AtWork {
    rooms: HashMap<RoomNid, Task>,
    stopped: bool,
}

struct Task {
    /// Whether the room was joined anew since the task last looked.
    news: bool,
    wake: Arc<Notify>,
    abort: AbortHandle,
}

/// What is to be fetched, and who may have it.
struct Wanted {
    room: Arc<RoomKey>,
    /// The state before this is wanted.
    join: OwnedEventId,
    /// Whether anybody of ours is in the room.
    inside: bool,
    /// Who answered the join, then the room's other servers.
    servers: Vec<OwnedServerName>,
}

/// What became of a round.
enum Round {
    /// The members are here.
    Filled(Arc<RoomKey>),
    /// Nothing is to be fetched, or for nobody.
    Nothing,
    /// Nobody could say now: why, and who is not to be asked yet.
    Wait { room: Arc<RoomKey>, why: String, resting: Vec<OwnedServerName> },
}

impl Filling {
    /// From these.
    pub fn new(parts: Parts) -> Self {
        Self { parts, at_work: Mutex::default(), turns: Semaphore::new(FILLING), ended: Notify::new() }
    }

    /// Takes up all rooms whose members are still to be fetched.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume(self: &Arc<Self>) -> Result<(), StoreError> {
        let rooms = self.parts.store.read::<_, StoreError, _>(|read| partial_joins::rooms(read)).await?;
        for room in rooms {
            self.begin(room);
        }
        Ok(())
    }

    /// A room was joined without its members.
    pub fn begin(self: &Arc<Self>, room: RoomNid) {
        let mut at_work = self.at_work();
        if at_work.stopped {
            return;
        }
        if let Some(task) = at_work.rooms.get_mut(&room)
            && !task.abort.is_finished()
        {
            task.news = true;
            task.wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        let abort = tokio::spawn(self.clone().run(room, wake.clone())).abort_handle();
        at_work.rooms.insert(room, Task { news: false, wake, abort });
        gauge(&at_work);
    }

    /// Waits until the members of a room are here, if they are not, for so long at most. Answers whether they are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn whole(&self, room_id: &RoomId, patience: Duration) -> Result<bool, StoreError> {
        let until = Instant::now() + patience;
        loop {
            // Listening begins before the look, so that nothing ends unheard.
            let ended = self.ended.notified();
            let id = room_id.to_owned();
            let partial = self.parts.store.read_short::<_, StoreError, _>(move |read| match ids::room(read, &id)? {
                Some(room) => partial_joins::is_partial(read, room.nid),
                None => Ok(false),
            });
            if !partial.await? {
                return Ok(true);
            }
            if tokio::time::timeout_at(until, ended).await.is_err() {
                return Ok(false);
            }
        }
    }

    /// Stops. What is not here yet is fetched after the next start.
    pub fn stop(&self) {
        let mut at_work = self.at_work();
        at_work.stopped = true;
        for (_, task) in at_work.rooms.drain() {
            task.abort.abort();
        }
    }

    fn at_work(&self) -> MutexGuard<'_, AtWork> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task of a room.
    async fn run(self: Arc<Self>, room: RoomNid, wake: Arc<Notify>) {
        let started = Instant::now();
        let (mut pause, mut rounds) = (FIRST_PAUSE, 0);
        loop {
            let resting = match self.round(room, rounds).await {
                Ok(Round::Filled(room)) => {
                    tracing::info!(room = %room.room_id, took = ?started.elapsed(), "a room's members are here");
                    None
                }
                Ok(Round::Nothing) => None,
                Ok(Round::Wait { room, why, resting }) => {
                    tracing::warn!(room = %room.room_id, ?pause, why, "a room's members can't be had yet");
                    Some(resting)
                }
                Err(AppendError::Store(StoreError::Stopping)) => return,
                Err(error) => {
                    tracing::warn!(room = room.0, ?pause, %error, "a room's members can't be filled in yet");
                    Some(Vec::new())
                }
            };
            rounds += 1;
            if let Some(resting) = resting {
                let anew = self.pause(room, pause, resting, &wake).await;
                pause = if anew { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                continue;
            }
            self.ended.notify_waiters();
            if self.may_end(room) {
                return;
            }
            pause = FIRST_PAUSE;
        }
    }

    /// Answers whether a room's task may end. Under the lock under which rooms are begun, so that none is left without one.
    fn may_end(&self, room: RoomNid) -> bool {
        let mut at_work = self.at_work();
        match at_work.rooms.get_mut(&room) {
            Some(task) if task.news => {
                task.news = false;
                false
            }
            _ => {
                at_work.rooms.remove(&room);
                gauge(&at_work);
                true
            }
        }
    }

    /// Waits until a server that rests may be asked, at most for so long; also ends where the room is joined anew, which it
    /// answers, and where all of ours have left it.
    async fn pause(&self, room: RoomNid, pause: Duration, resting: Vec<OwnedServerName>, wake: &Notify) -> bool {
        let now_ms = self.parts.clock.now_ms();
        let rested = async {
            if resting.is_empty() {
                return std::future::pending().await;
            }
            let waits = resting.iter().map(|server| Box::pin(self.parts.reachability.until_may_try(server, now_ms)));
            select_all(waits).await;
        };
        tokio::select! {
            () = wake.notified() => true,
            () = tokio::time::sleep(pause) => false,
            () = rested => false,
            () = self.until_all_left(room) => false,
        }
    }

    async fn until_all_left(&self, room: RoomNid) {
        loop {
            tokio::time::sleep(LOOK).await;
            let found = self.parts.store.read_short::<_, StoreError, _>(move |read| rooms::head(read, room)).await;
            if found.is_ok_and(|head| head.local_joined == 0) {
                return;
            }
        }
    }

    async fn round(&self, room: RoomNid, rounds: usize) -> Result<Round, AppendError> {
        let wanted = self.parts.store.read::<_, StoreError, _>(move |read| look(read, room, rounds)).await?;
        let Some(Wanted { room, join, inside, servers }) = wanted else { return Ok(Round::Nothing) };
        if !inside {
            self.parts.appenders.give_up_partial(room.nid).await?;
            tracing::info!(room = %room.room_id, "the members are not fetched any more: all of ours have left");
            return Ok(Round::Nothing);
        }
        tracing::info!(room = %room.room_id, "fetching the members of a room that was joined without them");
        let (mut resting, mut failures) = (Vec::new(), Vec::new());
        for server in servers {
            if self.parts.reachability.may_try(&server, self.parts.clock.now_ms()).is_err() {
                resting.push(server);
                continue;
            }
            let Ok(_turn) = self.turns.acquire().await else { return Ok(Round::Nothing) };
            match self.through(&room, &join, &server).await? {
                Ok(true) => return Ok(Round::Filled(room)),
                Ok(false) => return Ok(Round::Nothing),
                Err(why) => failures.push(format!("{server}: {why}")),
            }
        }
        let why = match failures.is_empty() {
            true => "no server of the room can be reached".to_owned(),
            false => failures.join("; "),
        };
        Ok(Round::Wait { room, why, resting })
    }

    /// Fills a room in as one server says; whether there was anything to be filled in, or what is wrong with the server.
    async fn through(
        &self,
        room: &RoomKey,
        join: &OwnedEventId,
        server: &OwnedServerName,
    ) -> Result<Result<bool, String>, AppendError> {
        let state = match self.parts.missing.state_before(room, join, server).await {
            Ok(state) => state,
            Err(MissingError::Append(error)) => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        };
        match self.parts.appenders.complete(room.nid, join.clone(), state).await {
            Ok(done) => Ok(Ok(done)),
            Err(AppendError::Denied(reason) | AppendError::Malformed(reason)) => Ok(Err(reason)),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.stop();
    }
}

fn gauge(at_work: &AtWork) {
    metrics::gauge!("linkim_partial_rooms").set(at_work.rooms.len() as f64);
}

/// What is to be fetched of a room, if anything is; after so many rounds other servers' turn has come.
fn look(read: &dyn Read, room: RoomNid, rounds: usize) -> Result<Option<Wanted>, StoreError> {
    let Some(partial) = partial_joins::of(read, room)? else { return Ok(None) };
    let inside = rooms::head(read, room)?.local_joined > 0;
    let mut others = room_servers::servers(read, room)?;
    others.retain(|server| *server != partial.via);
    let few = SERVERS.saturating_sub(1).min(others.len());
    let turn = (rounds * few) % others.len().max(1);
    others.rotate_left(turn);
    others.truncate(few);
    let servers = [partial.via].into_iter().chain(others).collect();
    let room = ids::room_by_nid(read, room)?;
    Ok(Some(Wanted { join: events::id(read, partial.join)?, room, inside, servers }))
}
