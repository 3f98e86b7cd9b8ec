//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// How long any condition may take to become true.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Repeats `probe` until it gives a value; panics with `what` after [`PATIENCE`].
///
/// For conditions that nothing announces (a process that ends, a line in a log); a client's news come by
/// [`Client::wait_until_sync`](crate::Client::wait_until_sync).
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
