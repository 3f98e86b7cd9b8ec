//! Who is being asked for keys now, and who was asked lately: one request at a time for each server, and after a failure none
//! for a while, so that a liar can't make us ask without end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use ruma::{OwnedServerName, ServerName};
use tokio::sync::watch;

/// Servers that may be asked at once; of more nobody learns keys until some have answered.
const MAX_UNDER_WAY: usize = 512;

/// Servers of which it is remembered that they were asked. About 100 bytes each.
const MAX_REMEMBERED: u64 = 20_000;

/// A server that answered is not asked again for this long: what it lacked then it still lacks.
const AFTER_SUCCESS_MS: i64 = 60_000;

/// The first pause after a failure; it doubles.
const AFTER_FAILURE_MS: i64 = 1_000;

/// The longest pause after failures.
const MAX_PAUSE_MS: i64 = 600_000;

/// When a server was asked last, and how often in a row it had not answered.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    at_ms: i64,
    failures: u32,
}

impl Attempt {
    fn pause_ms(self) -> i64 {
        match self.failures {
            0 => AFTER_SUCCESS_MS,
            failures => (AFTER_FAILURE_MS << (failures - 1).min(20)).min(MAX_PAUSE_MS),
        }
    }

    /// Whether another may follow. A clock that was set back does not lock the server out.
    fn is_over(self, now_ms: i64) -> bool {
        now_ms >= self.at_ms.saturating_add(self.pause_ms()) || now_ms < self.at_ms
    }
}

/// The requests under way and those that were.
pub(super) struct Flights {
    under_way: Mutex<HashMap<OwnedServerName, watch::Receiver<()>>>,
    attempts: Cache<OwnedServerName, Attempt>,
}

/// The answer of [`Flights::claim`].
pub(super) enum Claim {
    /// The caller is to ask.
    Ask(Flight),
    /// Somebody else asks: [`ended`] waits for them.
    Wait(watch::Receiver<()>),
    /// Too early.
    No,
}

/// Waits until a request of somebody else has ended, however it did.
pub(super) async fn ended(mut other: watch::Receiver<()>) {
    // Nothing is ever sent: the end is that the sender is dropped.
    while other.changed().await.is_ok() {}
}

impl Flights {
    pub(super) fn new() -> Arc<Self> {
        let attempts = Cache::builder().max_capacity(MAX_REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Arc::new(Self { under_way: Mutex::default(), attempts })
    }

    /// Whether a server answered when it was last asked.
    pub(super) fn answered_last(&self, server: &ServerName) -> bool {
        self.attempts.get(server).is_some_and(|attempt| attempt.failures == 0)
    }

    /// Who asks this server.
    pub(super) fn claim(self: &Arc<Self>, server: &ServerName, now_ms: i64) -> Claim {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = under_way.get(server) {
            return Claim::Wait(other.clone());
        }
        // Under the lock: a flight notes its attempt before it leaves the table.
        let too_early = self.attempts.get(server).is_some_and(|attempt| !attempt.is_over(now_ms));
        if too_early || under_way.len() >= MAX_UNDER_WAY {
            return Claim::No;
        }
        let (alive, others) = watch::channel(());
        under_way.insert(server.to_owned(), others);
        Claim::Ask(Flight { server: server.to_owned(), flights: self.clone(), _alive: alive })
    }
}

/// The right to ask a server. Dropped, others may.
pub(super) struct Flight {
    server: OwnedServerName,
    flights: Arc<Flights>,
    _alive: watch::Sender<()>,
}

impl Flight {
    /// Who is asked.
    pub(super) fn server(&self) -> &ServerName {
        &self.server
    }

    /// Notes how it went.
    pub(super) fn end(self, answered: bool, now_ms: i64) {
        let attempts = &self.flights.attempts;
        let before = attempts.get(&self.server).map_or(0, |attempt| attempt.failures);
        let failures = if answered { 0 } else { before.saturating_add(1) };
        attempts.insert(self.server.clone(), Attempt { at_ms: now_ms, failures });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.server);
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    fn ask(flights: &Arc<Flights>, now_ms: i64) -> Option<Flight> {
        match flights.claim(server_name!("b.example"), now_ms) {
            Claim::Ask(flight) => Some(flight),
            Claim::Wait(_) | Claim::No => None,
        }
    }

    #[test]
    fn pauses_grow_with_failures_and_a_success_ends_them() {
        let flights = Flights::new();
        let mut now = 1_000_000;
        for pause in [1_000, 2_000, 4_000, 8_000] {
            ask(&flights, now).unwrap().end(false, now);
            assert!(ask(&flights, now + pause - 1).is_none(), "after {pause}");
            now += pause;
        }
        for _ in 0..40 {
            ask(&flights, now).unwrap().end(false, now);
            now += MAX_PAUSE_MS;
        }
        ask(&flights, now).unwrap().end(true, now);
        assert!(ask(&flights, now + 59_999).is_none());
        ask(&flights, now + 60_000).unwrap().end(false, now + 60_000);
        assert!(ask(&flights, now + 61_000).is_some());
    }

    #[tokio::test]
    async fn one_asks_and_the_others_wait() {
        let flights = Flights::new();
        let flight = ask(&flights, 0).unwrap();
        let Claim::Wait(other) = flights.claim(server_name!("b.example"), 0) else { panic!("two ask") };
        let waiting = tokio::spawn(ended(other));
        flight.end(true, 0);
        waiting.await.unwrap();
        assert!(matches!(flights.claim(server_name!("b.example"), 1), Claim::No));
    }

    #[test]
    fn the_requests_under_way_are_bounded() {
        let flights = Flights::new();
        let claim = |at: usize| flights.claim(&OwnedServerName::try_from(format!("s{at}.example")).unwrap(), 0);
        let held: Vec<Claim> = (0..MAX_UNDER_WAY).map(claim).collect();
        assert!(held.iter().all(|claim| matches!(claim, Claim::Ask(_))));
        assert!(matches!(claim(MAX_UNDER_WAY), Claim::No));
        drop(held);
        assert!(matches!(claim(MAX_UNDER_WAY), Claim::Ask(_)));
    }
}
