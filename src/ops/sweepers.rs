//! Keeps the tables that would grow for ever at their bounds.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    crypto, params,
    store::{Store, StoreError, WriteTx, inbox, invitation_codes, server_keys, tokens, verification},
};

/// How long a transaction id is remembered: a client that retries for longer has long shown its user a failure.
const TRANSACTION_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// How long another server's transaction is remembered: it repeats one until it is answered, for as long as we are down, but
/// what it repeats after a day was then never answered.
const INBOX_TRANSACTION_MS: i64 = 24 * 3_600 * 1_000;

/// How long verification codes are remembered, in milliseconds: as long as their number in a day is limited.
const CODE_MS: i64 = 24 * 3_600 * 1_000;

/// How long it is remembered why a session ended, and that an invitation code was used up, in milliseconds; and how many
/// sessions.
const ENDED_MS: i64 = 30 * 24 * 3_600 * 1_000;
const ENDED: i64 = 100_000;

/// Time between two sweeps.
const PERIOD: Duration = Duration::from_secs(3_600);

/// Rows deleted in one transaction at most, so that no send waits long for a sweep.
const CHUNK: i64 = 1_000;

/// Sweeps now and then until dropped.
pub async fn run(store: Store, clock: Arc<dyn Clock>) {
    loop {
        if let Err(error) = sweep(&store, clock.now_ms()).await {
            tracing::warn!(%error, "a sweep failed; it is tried again later");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Servers whose keys are remembered although none of their users is in a room with ours.
const STRANGERS: i64 = 2_000;

/// Brings every swept table to its bound.
///
/// # Errors
/// [`StoreError`]; what was swept before stays swept.
pub async fn sweep(store: &Store, now_ms: i64) -> Result<(), StoreError> {
    crypto::sweep(store, now_ms).await?;
    let before = now_ms - TRANSACTION_MS;
    in_chunks(store, move |tx| {
        tx.execute(
            "DELETE FROM transactions WHERE (device, key) IN \
             (SELECT device, key FROM transactions WHERE created_ts < ?1 LIMIT ?2)",
            params![before, CHUNK],
        )
    })
    .await?;
    let before = now_ms - INBOX_TRANSACTION_MS;
    in_chunks(store, move |tx| inbox::sweep_answers(tx, before, CHUNK)).await?;
    in_chunks(store, move |tx| verification::sweep(tx, now_ms - CODE_MS, CHUNK)).await?;
    in_chunks(store, move |tx| tokens::sweep_ended(tx, now_ms - ENDED_MS, ENDED, CHUNK)).await?;
    in_chunks(store, move |tx| invitation_codes::sweep(tx, now_ms - ENDED_MS, CHUNK)).await?;
    in_chunks(store, |tx| server_keys::forget_strangers(tx, STRANGERS, CHUNK)).await
}

/// Repeats a deletion of [`CHUNK`] rows at most until it finds fewer.
async fn in_chunks(
    store: &Store,
    delete: impl Fn(&WriteTx<'_>) -> Result<usize, StoreError> + Copy + Send + 'static,
) -> Result<(), StoreError> {
    while store.write::<_, StoreError, _>(delete).await? >= CHUNK as usize {}
    Ok(())
}
