//! Which servers have failed of late, and when each is to be tried again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedServerName, ServerName};
use tokio::sync::Notify;

use crate::random::Random;

/// How many failing servers are remembered. Beyond, the one that would be tried next is forgotten, and so tried at once.
pub const MAX_DESTINATIONS: usize = 10_000;

/// The pause after the first failure. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of an error's text that are kept.
const MAX_ERROR: usize = 300;

/// When a server may be tried again, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryAt(pub i64);

/// A server that has failed since it last worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which.
    pub server: OwnedServerName,
    /// How many times in a row. Failures during a pause are of one outage and count once.
    pub failures: u32,
    /// Since when, in milliseconds since the Unix epoch.
    pub failing_since_ms: i64,
    /// When it may be tried again, in milliseconds since the Unix epoch.
    pub retry_at_ms: i64,
    /// What the last failure was.
    pub last_error: String,
}

/// What is known of servers that fail. In memory; [`Self::snapshot`] and [`Self::restore`] are for whoever keeps it.
pub struct Reachability {
    longest: Duration,
    random: Arc<dyn Random>,
    failing: Mutex<HashMap<OwnedServerName, Failing>>,
}

struct Failing {
    failures: u32,
    failing_since_ms: i64,
    retry_at_ms: i64,
    last_error: String,
    /// Woken when the server works again or is forgotten.
    changed: Arc<Notify>,
}

impl Reachability {
    /// Pauses grow up to `longest` (`federation.backoff_max_seconds`).
    pub fn new(longest: Duration, random: Arc<dyn Random>) -> Self {
        Self { longest, random, failing: Mutex::default() }
    }

    /// Whether a server may be tried now. For what is done in the background; somebody who waits for the answer is not
    /// told to come back in an hour, so for them it is tried anyway.
    ///
    /// # Errors
    /// When it may be tried.
    pub fn may_try(&self, server: &ServerName, now_ms: i64) -> Result<(), RetryAt> {
        match self.lock().get(server) {
            Some(failing) if self.rest_ms(failing, now_ms) > 0 => Err(RetryAt(failing.retry_at_ms)),
            _ => Ok(()),
        }
    }

    /// Waits until the pause of a server is over, or until it worked for somebody else or contacted us. `now_ms` is the time
    /// now. Returns at once if it may be tried already. Somebody else may have tried it first: ask [`Self::may_try`] again.
    pub async fn until_may_try(&self, server: &ServerName, now_ms: i64) {
        let (changed, wait_ms) = {
            let failing = self.lock();
            let Some(failing) = failing.get(server) else { return };
            // Made under the lock, under which who wakes takes the entry away first: no wake-up is missed.
            (failing.changed.clone().notified_owned(), self.rest_ms(failing, now_ms))
        };
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default());
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// A server answered.
    pub fn succeeded(&self, server: &ServerName) {
        self.forget(server);
    }

    /// A request of theirs was authenticated: they are up, so we need not wait to answer.
    pub fn heard_from(&self, server: &ServerName) {
        self.forget(server);
    }

    /// A server did not answer.
    pub fn failed(&self, server: &ServerName, error: &str, now_ms: i64) {
        self.failed_for(server, error, now_ms, None);
    }

    /// A server did not answer, or answered that it wants to be left alone for so many milliseconds. It is, for the
    /// longest pause at most.
    pub fn failed_for(&self, server: &ServerName, error: &str, now_ms: i64, retry_after_ms: Option<u64>) {
        let mut failing = self.lock();
        if !failing.contains_key(server) && failing.len() >= MAX_DESTINATIONS {
            give_way(&mut failing);
        }
        let entry = failing.entry(server.to_owned()).or_insert_with(|| Failing {
            failures: 0,
            failing_since_ms: now_ms,
            retry_at_ms: now_ms,
            last_error: String::new(),
            changed: Arc::default(),
        });
        // Requests that were under way together fail together.
        if self.rest_ms(entry, now_ms) == 0 {
            entry.failures = entry.failures.saturating_add(1);
            entry.retry_at_ms = now_ms.saturating_add(self.pause_ms(entry.failures));
        }
        let asked = Duration::from_millis(retry_after_ms.unwrap_or_default()).min(self.longest);
        entry.retry_at_ms = entry.retry_at_ms.max(now_ms.saturating_add(milliseconds(asked)));
        entry.last_error = shortened(error);
    }

    /// All servers that have failed since they last worked, in no order.
    pub fn snapshot(&self) -> Vec<Destination> {
        let failing = self.lock();
        let row = |(server, failing): (&OwnedServerName, &Failing)| Destination {
            server: server.clone(),
            failures: failing.failures,
            failing_since_ms: failing.failing_since_ms,
            retry_at_ms: failing.retry_at_ms,
            last_error: failing.last_error.clone(),
        };
        failing.iter().map(row).collect()
    }

    /// Takes up what a snapshot knew. What is known already is newer and stays.
    pub fn restore(&self, rows: Vec<Destination>) {
        let mut failing = self.lock();
        for row in rows.into_iter().take(MAX_DESTINATIONS) {
            if failing.len() >= MAX_DESTINATIONS {
                break;
            }
            failing.entry(row.server).or_insert_with(|| Failing {
                failures: row.failures,
                failing_since_ms: row.failing_since_ms,
                retry_at_ms: row.retry_at_ms,
                last_error: shortened(&row.last_error),
                changed: Arc::default(),
            });
        }
    }

    /// Whether a server has failed since it last worked.
    pub fn has_failed(&self, server: &ServerName) -> bool {
        self.lock().contains_key(server)
    }

    /// How many servers have failed since they last worked.
    pub fn failing(&self) -> usize {
        self.lock().len()
    }

    /// What is left of a pause. One that would be longer than the longest was measured on a clock that has been set back.
    fn rest_ms(&self, failing: &Failing, now_ms: i64) -> i64 {
        let rest = failing.retry_at_ms.saturating_sub(now_ms);
        if rest > milliseconds(self.longest) { 0 } else { rest.max(0) }
    }

    fn forget(&self, server: &ServerName) {
        let forgotten = self.lock().remove(server);
        if let Some(forgotten) = forgotten {
            forgotten.changed.notify_waiters();
        }
    }

    /// Doubled with each failure, less up to a quarter at random: servers that failed together are not tried together.
    fn pause_ms(&self, failures: u32) -> i64 {
        let doublings = failures.saturating_sub(1).min(31);
        let pause = milliseconds(FIRST_PAUSE.saturating_mul(1_u32 << doublings).min(self.longest));
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        let quarter = pause / 4;
        pause - i64::from(u32::from_le_bytes(bytes)) % (quarter + 1)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedServerName, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn give_way(failing: &mut HashMap<OwnedServerName, Failing>) {
    let next = failing.iter().min_by_key(|(_, failing)| failing.retry_at_ms).map(|(server, _)| server.clone());
    if let Some(forgotten) = next.and_then(|server| failing.remove(&server)) {
        forgotten.changed.notify_waiters();
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn shortened(error: &str) -> String {
    error[..error.floor_char_boundary(MAX_ERROR)].to_owned()
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    /// Draws nothing: pauses are whole.
    struct Zeros;

    impl Random for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    /// Draws the most.
    struct Ones;

    impl Random for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    fn reachability() -> Reachability {
        Reachability::new(Duration::from_secs(60), Arc::new(Zeros))
    }

    /// Fails as soon as may be, so many times; returns the last pause.
    fn fail(reachability: &Reachability, times: u32) -> i64 {
        let server = server_name!("a.example");
        let mut now = 1_000_000;
        let mut pause = 0;
        for _ in 0..times {
            reachability.failed(server, "no", now);
            let RetryAt(at) = reachability.may_try(server, now).unwrap_err();
            pause = at - now;
            now = at;
        }
        pause
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let reachability = reachability();
        assert_eq!(fail(&reachability, 1), 1000);
        reachability.succeeded(server_name!("a.example"));
        assert_eq!(fail(&reachability, 6), 32_000);
        reachability.succeeded(server_name!("a.example"));
        assert_eq!(fail(&reachability, 100), 60_000);
    }

    #[test]
    fn pauses_are_scattered_but_no_longer_than_the_longest() {
        let reachability = Reachability::new(Duration::from_secs(60), Arc::new(Ones));
        let pause = fail(&reachability, 1);
        assert!((750..=1000).contains(&pause), "{pause}");
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let reachability = reachability();
        let server = server_name!("a.example");
        for _ in 0..10 {
            reachability.failed(server, "no", 5000);
        }
        assert_eq!(reachability.may_try(server, 5000), Err(RetryAt(6000)));
        assert_eq!(reachability.snapshot()[0].failures, 1);
    }

    #[test]
    fn a_server_may_ask_for_a_longer_pause_within_bounds() {
        let reachability = reachability();
        let server = server_name!("a.example");
        reachability.failed_for(server, "429", 0, Some(20_000));
        assert_eq!(reachability.may_try(server, 0), Err(RetryAt(20_000)));
        reachability.failed_for(server, "429", 20_000, Some(u64::MAX));
        assert_eq!(reachability.may_try(server, 20_000), Err(RetryAt(80_000)));
    }

    #[test]
    fn to_hear_from_a_server_ends_its_pause() {
        let reachability = reachability();
        fail(&reachability, 6);
        reachability.heard_from(server_name!("a.example"));
        assert_eq!(reachability.may_try(server_name!("a.example"), 0), Ok(()));
        assert_eq!(fail(&reachability, 1), 1000);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let reachability = Arc::new(reachability());
        let server = server_name!("a.example");
        reachability.failed_for(server, "no", 0, Some(60_000));
        let waiting = tokio::spawn({
            let reachability = reachability.clone();
            async move { reachability.until_may_try(server, 0).await }
        });
        // It waits: it holds the entry's notification.
        while Arc::strong_count(&reachability.lock().get(server).unwrap().changed) == 1 {
            tokio::task::yield_now().await;
        }
        reachability.heard_from(server);
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("woken").unwrap();
    }

    #[test]
    fn what_was_known_comes_back() {
        let before = reachability();
        fail(&before, 3);
        let rows = before.snapshot();
        let after = reachability();
        after.restore(rows.clone());
        assert_eq!(after.snapshot(), rows);
    }

    #[test]
    fn a_clock_that_is_set_back_lets_nobody_wait_for_long() {
        let reachability = reachability();
        let server = server_name!("a.example");
        reachability.failed(server, "no", 100_000_000);
        assert_eq!(reachability.may_try(server, 0), Ok(()));
        reachability.failed(server, "no", 0);
        assert_eq!(reachability.may_try(server, 0), Err(RetryAt(2000)));
    }

    #[test]
    fn the_number_of_servers_is_bounded() {
        let reachability = reachability();
        for number in 0..MAX_DESTINATIONS + 5 {
            let server = OwnedServerName::try_from(format!("s{number}.example")).unwrap();
            reachability.failed(&server, "no", i64::try_from(number).unwrap());
        }
        assert_eq!(reachability.failing(), MAX_DESTINATIONS);
        assert_eq!(reachability.may_try(server_name!("s0.example"), 0), Ok(()));
        assert!(reachability.may_try(server_name!("s9999.example"), 9999).is_err());
    }
}
