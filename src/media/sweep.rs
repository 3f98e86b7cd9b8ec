//! Copies of other servers' files that nobody reads go; they can be fetched again.

use std::{sync::Arc, time::Duration};

use super::Media;
use crate::store::{StoreError, media};

/// A copy that was not read for so long goes.
const COPY_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Time between two sweeps.
const PERIOD: Duration = Duration::from_secs(3_600);

/// Rows deleted in one transaction at most.
const CHUNK: i64 = 100;

/// Sweeps now and then until dropped.
pub async fn run_sweeper(media: Arc<Media>) {
    loop {
        if let Err(error) = media.sweep().await {
            tracing::warn!(%error, "old copies of media were not removed; it is tried again later");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

impl Media {
    /// Removes copies that nobody has read for a month, and ids that were never used.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed before stays removed.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        loop {
            let gone =
                self.store.write::<_, StoreError, _>(move |tx| media::sweep(tx, now - COPY_MS, now, CHUNK)).await?;
            let last = gone.len() < CHUNK as usize;
            for hash in gone {
                let named = self.store.read::<_, StoreError, _>(move |read| media::is_named(read, &hash)).await?;
                if !named && let Err(error) = self.files.remove(&hash).await {
                    tracing::warn!(%error, "a file that nothing names any more could not be removed");
                }
            }
            if last {
                return Ok(());
            }
        }
    }
}
