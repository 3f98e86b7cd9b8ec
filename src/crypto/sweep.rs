//! Brings what is kept for encryption to its bounds.

use crate::store::{Store, StoreError, WriteTx, device_lists, to_device};

/// How long a request is remembered that sent messages: a client that retries for longer has long shown its user a failure.
const TRANSACTION_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// How long a message of another server is remembered: it may retry for as long as this server is away.
const RECEIVED_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Rows deleted in one transaction at most, so that no send waits long for a sweep.
const CHUNK: i64 = 1_000;

/// Deletes what is older than its time, and the lists of users that we share no room with any more.
///
/// # Errors
/// [`StoreError`]; what was swept before stays swept.
pub async fn sweep(store: &Store, now_ms: i64) -> Result<(), StoreError> {
    in_chunks(store, move |tx| to_device::sweep_transactions(tx, now_ms - TRANSACTION_MS, CHUNK)).await?;
    in_chunks(store, move |tx| to_device::sweep_received(tx, now_ms - RECEIVED_MS, CHUNK)).await?;
    in_chunks(store, |tx| device_lists::sweep_remote_lists(tx, CHUNK)).await
}

async fn in_chunks<F>(store: &Store, sweep: F) -> Result<(), StoreError>
where
    F: Fn(&WriteTx<'_>) -> Result<usize, StoreError> + Clone + Send + 'static,
{
    loop {
        let chunk = sweep.clone();
        if store.write::<_, StoreError, _>(move |tx| chunk(tx)).await? < CHUNK as usize {
            return Ok(());
        }
    }
}
