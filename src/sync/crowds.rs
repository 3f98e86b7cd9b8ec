//! Wakes crowds: the members of a large room, on a thread of its own.
//!
//! Wake-ups are told on the writer thread. To wake 10,000 there takes 7 ms, during which nobody's commit goes on, and the
//! sender's answer stands behind all of them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use crate::store::ids::UserNid;

/// Users that are woken at once; a crowd is more.
pub(super) const CROWD: usize = 256;

/// Crowds that wait at most, 8 bytes a member each.
const QUEUE: usize = 32;

struct Crowd {
    users: Vec<UserNid>,
    position: i64,
}

/// The thread, and what waits for it. The thread ends with this.
pub(super) struct Crowds {
    queue: mpsc::SyncSender<Crowd>,
    /// Crowds that are not all woken.
    unwoken: Arc<AtomicUsize>,
}

impl Crowds {
    /// `wake` is called with [`CROWD`] users at most, and the position of their news.
    pub(super) fn start(wake: impl Fn(&[UserNid], i64) + Send + 'static) -> Self {
        let (queue, crowds) = mpsc::sync_channel::<Crowd>(QUEUE);
        let unwoken = Arc::<AtomicUsize>::default();
        let left = unwoken.clone();
        let run = move || {
            while let Ok(crowd) = crowds.recv() {
                for some in crowd.users.chunks(CROWD) {
                    wake(some, crowd.position);
                    // Whoever waits for the lock that `wake` takes comes in between.
                    std::thread::yield_now();
                }
                left.fetch_sub(1, Ordering::Release);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("crowds".into()).spawn(run) {
            tracing::warn!(%error, "no thread to wake large rooms: the writer does it");
        }
        Self { queue, unwoken }
    }

    /// Has these users woken soon; false if that can't be: there is no thread, or too much waits for it.
    pub(super) fn wake(&self, users: Vec<UserNid>, position: i64) -> bool {
        self.unwoken.fetch_add(1, Ordering::AcqRel);
        let taken = self.queue.try_send(Crowd { users, position }).is_ok();
        if !taken {
            self.unwoken.fetch_sub(1, Ordering::Release);
        }
        taken
    }

    /// Whether everybody was woken of whom this was told.
    pub(super) fn all_woken(&self) -> bool {
        self.unwoken.load(Ordering::Acquire) == 0
    }
}
