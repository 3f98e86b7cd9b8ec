//! Who is still to be told: users here, whose long polls wake, and other servers.
//!
//! Both are coalesced. Somebody of whom ten changes wait is woken once; a server gets what its people are when it is told, not
//! what they were. What a round cannot carry waits for the next: where 10,000 wait for a room in which 2,000 come online, each
//! of them looks every ten seconds, not 2,000 times.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::WakeWatchers;
use crate::store::ids::{RoomNid, UserNid};

/// Long polls woken in a round at most.
const WAKES: usize = 1_000;

/// Servers told in a round at most.
pub(super) const SERVERS: usize = 500;

/// People that servers are still to be told of at most, summed over the servers; 40 bytes each. Beyond, the servers learn it by
/// the next repetition.
const MAX_OWED: usize = 200_000;

/// Servers that came into rooms since the last round at most; 16 bytes each. Beyond, they learn who is there by the next
/// repetition.
const MAX_ARRIVALS: usize = 10_000;

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Users here. Bound: our accounts; 40 bytes each.
    watchers: VecDeque<UserNid>,
    known: HashSet<UserNid>,
    servers: BTreeMap<i64, BTreeSet<UserNid>>,
    owed: usize,
    arrivals: Vec<(RoomNid, i64)>,
    /// The server that was told last: the next round goes on behind it.
    last: i64,
}

impl Telling {
    /// These users have something to see.
    pub(super) fn watchers(&mut self, users: impl IntoIterator<Item = UserNid>) {
        for user in users {
            if self.known.insert(user) {
                self.watchers.push_back(user);
            }
        }
    }

    /// A server is to hear of these users.
    pub(super) fn server(&mut self, server: i64, users: &[UserNid]) {
        for user in users {
            if self.owed >= MAX_OWED {
                metrics::counter!("linkim_presence_dropped_total").increment(1);
                return;
            }
            self.owed += usize::from(self.servers.entry(server).or_default().insert(*user));
        }
    }

    /// A server came into a room.
    pub(super) fn arrived(&mut self, room: RoomNid, server: i64) {
        if self.arrivals.len() < MAX_ARRIVALS {
            self.arrivals.push((room, server));
        }
    }

    /// Those that came, by room.
    pub(super) fn take_arrivals(&mut self) -> BTreeMap<RoomNid, Vec<i64>> {
        let mut rooms: BTreeMap<RoomNid, Vec<i64>> = BTreeMap::new();
        for (room, server) in std::mem::take(&mut self.arrivals) {
            rooms.entry(room).or_default().push(server);
        }
        rooms
    }

    /// Wakes as many as a round may.
    pub(super) fn wake(&mut self, wake: &dyn WakeWatchers) {
        let (watchers, known) = (&mut self.watchers, &mut self.known);
        let mut next = std::iter::from_fn(|| {
            let user = watchers.pop_front()?;
            known.remove(&user);
            Some(user)
        });
        wake.wake_waiting(&mut next, WAKES);
    }

    /// The servers of a round, each with its people.
    pub(super) fn take_servers(&mut self) -> Vec<(i64, BTreeSet<UserNid>)> {
        let behind = self.servers.range(self.last.saturating_add(1)..).chain(self.servers.range(..=self.last));
        let round: Vec<i64> = behind.map(|(server, _)| *server).take(SERVERS).collect();
        self.last = round.last().copied().unwrap_or_default();
        let taken: Vec<_> =
            round.into_iter().filter_map(|server| Some((server, self.servers.remove(&server)?))).collect();
        self.owed -= taken.iter().map(|(_, users)| users.len()).sum::<usize>();
        taken
    }

    /// Whether another round is needed.
    pub(super) fn is_empty(&self) -> bool {
        self.watchers.is_empty() && self.servers.is_empty() && self.arrivals.is_empty()
    }

    /// Users to wake, and people that servers are to be told of: for metrics.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.watchers.len(), self.owed)
    }
}
