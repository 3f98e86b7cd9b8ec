//! How things stand with each server, for operators and metrics.

use std::{collections::HashMap, sync::PoisonError};

use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};

use super::Sender;
use crate::{
    peers::reachability::Destination,
    store::{Read, StoreError, debts, destinations, outbox},
};

/// Servers in one page.
const PAGE: usize = 200;

/// Events owed that are counted for a server.
const MAX_COUNTED: usize = 10_000;

/// How things stand with a server.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct DestinationLine {
    /// Its name.
    pub server: String,
    /// Events that it is owed, as far as they are counted: up to 10,000.
    pub events: i64,
    /// Positions between its watermark and now; 0 if it is owed nothing.
    pub positions: i64,
    /// To-device messages that it is owed.
    pub to_device: i64,
    /// Attempts in a row that failed.
    pub failures: i64,
    /// Since when, in milliseconds.
    pub failing_since_ms: Option<i64>,
    /// When it last acknowledged something, in milliseconds.
    pub last_success_ms: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it is tried again, in milliseconds; None: nothing holds it back.
    pub next_try_ms: Option<i64>,
    /// PDUs and EDUs that it would not take in any transaction, and never got.
    pub dropped: i64,
}

/// A page of servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// How things stand with each.
    pub lines: Vec<DestinationLine>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// The time now, in milliseconds.
    pub now_ms: i64,
}

impl Sender {
    /// A page of the servers of our rooms, in alphabetical order, after this name.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn overview(&self, after: String) -> Result<Overview, StoreError> {
        let core = self.core.clone();
        let failing: HashMap<OwnedServerName, Destination> =
            core.reachability.snapshot().into_iter().map(|row| (row.server.clone(), row)).collect();
        let (watermarks, noted) = (core.board.watermarks(), core.board.noted());
        let reached = core.reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        core.clone()
            .store
            .read(move |read| {
                let read: &dyn Read = read;
                let rows: HashMap<i64, _> = destinations::all(read)?.into_iter().map(|row| (row.server, row)).collect();
                let known = destinations::known(read, &after, PAGE)?;
                let more = known.len() == PAGE;
                let last = known.last().map(|(_, name)| name.clone());
                let mut lines = Vec::new();
                for (server, name) in known {
                    let Some(permitted) = core.permitted(&name) else { continue };
                    let watermark = watermarks.get(&server).copied().unwrap_or(noted);
                    let (to_device, _) = outbox::counts(read, server)?;
                    let events = owed(read, server, watermark)?;
                    let failing = failing.get(&permitted);
                    lines.push(DestinationLine {
                        server: name,
                        events,
                        positions: if events > 0 { read.position() - watermark } else { 0 },
                        to_device,
                        failures: failing.map_or(0, |row| row.failures.into()),
                        failing_since_ms: failing.map(|row| row.failing_since_ms),
                        last_success_ms: reached.get(&server).map(|reached| reached.now_ms),
                        last_error: failing.map(|row| row.last_error.clone()),
                        next_try_ms: failing.map(|row| row.retry_at_ms),
                        dropped: rows.get(&server).map_or(0, |row| row.dropped),
                    });
                }
                Ok(Overview { lines, next: more.then_some(last).flatten(), now_ms: core.clock.now_ms() })
            })
            .await
    }

    /// Tries a server now, however often it failed. Answers whether it is one that we know.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn retry(&self, server: &ServerName) -> Result<bool, StoreError> {
        let name = server.as_str().to_owned();
        let known = self
            .core
            .store
            .read::<_, StoreError, _>(move |read| Ok(destinations::server_nid(read, &name)?.is_some()))
            .await?;
        self.core.reachability.heard_from(server);
        self.core.flush(false).await?;
        Ok(known)
    }

    /// Brings the gauges up to date.
    pub fn refresh_gauges(&self) {
        let sizes = self.core.board.sizes();
        let lag_ms = sizes.oldest_ms.map_or(0, |oldest| self.core.clock.now_ms() - oldest);
        metrics::gauge!("linkim_federation_destinations_owed").set(sizes.owed as f64);
        metrics::gauge!("linkim_federation_dirty_rooms").set(sizes.dirty_rooms as f64);
        metrics::gauge!("linkim_federation_waiting_edus").set(sizes.droppable as f64);
        metrics::gauge!("linkim_federation_notes").set(self.core.notes.length() as f64);
        metrics::gauge!("linkim_federation_lag_seconds").set(lag_ms.max(0) as f64 / 1000.0);
    }
}

/// Events that a server is owed.
fn owed(read: &dyn Read, server: i64, watermark: i64) -> Result<i64, StoreError> {
    let mut events = outbox::counts(read, server)?.1;
    for stretch in debts::stretches(read, server, watermark)? {
        let left = MAX_COUNTED.saturating_sub(usize::try_from(events).unwrap_or(0));
        if left == 0 {
            break;
        }
        let range = (watermark.max(stretch.from), stretch.to.unwrap_or(i64::MAX));
        events += debts::count(read, stretch.room, range, server, left)? as i64;
    }
    Ok(events)
}
