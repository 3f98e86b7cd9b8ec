//! Servers that a room's worker waits for: they could not be reached when something was needed of them.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use ruma::{OwnedServerName, ServerName};
use tokio::time::Instant;

use crate::{clock::Clock, peers::reachability::Reachability};

/// Servers that one room waits for at most; beyond, the one that waited longest is tried again at once.
const MAX_PAUSES: usize = 32;

/// The longest time for which a server is left alone although it shows that it is up: it may take what we send and give
/// nothing back.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Pause {
    attempts: u32,
    /// Not before.
    until: Instant,
    /// Whether it may be tried again.
    over: bool,
}

/// The pauses of a room. A pause is over when the server may be tried again as [`Reachability`] says, which it may as soon as
/// it is heard from, but not before a time that doubles with each failure up to [`LONGEST`].
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<OwnedServerName, Pause>);

impl Pauses {
    /// A server could not be reached.
    pub(super) fn failed(&mut self, server: &ServerName) {
        if !self.0.contains_key(server) && self.0.len() >= MAX_PAUSES {
            let first = self.0.iter().min_by_key(|(_, pause)| pause.until).map(|(server, _)| server.clone());
            if let Some(first) = first {
                self.0.remove(&first);
            }
        }
        let now = Instant::now();
        let pause = self.0.entry(server.to_owned()).or_insert(Pause { attempts: 0, until: now, over: true });
        if pause.over {
            let wait = Duration::from_secs(1 << pause.attempts.min(16)).min(LONGEST);
            *pause = Pause { attempts: pause.attempts.saturating_add(1), until: now + wait, over: false };
        }
    }

    /// A server answered.
    pub(super) fn worked(&mut self, server: &ServerName) {
        self.0.remove(server);
    }

    /// Whether a server is not to be asked now.
    pub(super) fn holds(&self, server: &ServerName) -> bool {
        self.0.get(server).is_some_and(|pause| !pause.over)
    }

    /// Whether some server is not to be asked now.
    pub(super) fn any(&self) -> bool {
        self.0.values().any(|pause| !pause.over)
    }

    /// Waits until a server may be asked again.
    pub(super) async fn over(&mut self, reachability: &Reachability, clock: &dyn Clock) {
        let server = {
            let mut waits: FuturesUnordered<_> = self
                .0
                .iter()
                .filter(|(_, pause)| !pause.over)
                .map(|(server, pause)| async move {
                    tokio::time::sleep_until(pause.until).await;
                    reachability.until_may_try(server, clock.now_ms()).await;
                    server.clone()
                })
                .collect();
            match waits.next().await {
                Some(server) => server,
                None => std::future::pending().await,
            }
        };
        if let Some(pause) = self.0.get_mut(&server) {
            pause.over = true;
        }
    }
}
