//! What the programs that measure share: reading a process, reporting figures.

mod process;
mod profile;
mod report;

use tokio::task::JoinSet;

pub use process::{cpu_seconds, load_average, memory, peak_memory};
pub use profile::Profile;
pub use report::{Report, Tally, median, quantile};

/// Does something for each number below `count`, so many at once.
///
/// # Panics
/// If one does.
pub async fn side_by_side<F>(count: usize, at_once: usize, work: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut next = 0;
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_once && next < count {
            running.spawn(work(next));
            next += 1;
        }
        match running.join_next().await {
            Some(done) => done.expect("each succeeds"),
            None => return,
        }
    }
}
