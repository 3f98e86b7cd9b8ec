//! Wakes crowds: the members of a large room, on a thread of its own.
//!
//! Wake-ups are told on the writer thread. To wake 10,000 there takes 7 ms, during which nobody's commit goes on, and the
//! sender's answer stands behind all of them.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    mpsc,
};

use super::news::News;
use crate::store::ids::UserNid;

/// Users that are woken at once; a crowd is more.
pub(super) const CROWD: usize = 256;

/// Crowds that wait at most, 8 bytes a member each.
const QUEUE: usize = 32;

struct Crowd {
    users: Vec<UserNid>,
    news: News,
    number: u64,
}

/// The thread, and what waits for it. The thread ends with this.
pub(super) struct Crowds {
    /// Crowds are numbered in the order of the queue.
    queue: Mutex<mpsc::SyncSender<Crowd>>,
    /// Crowds that are not all woken.
    unwoken: Arc<AtomicUsize>,
    /// The number of the newest one.
    newest: AtomicU64,
}

impl Crowds {
    /// `wake` is called with [`CROWD`] users at most, their news, and the crowd's number.
    pub(super) fn start(wake: impl Fn(&[UserNid], News, u64) + Send + 'static) -> Self {
        let (queue, crowds) = mpsc::sync_channel::<Crowd>(QUEUE);
        let unwoken = Arc::<AtomicUsize>::default();
        let left = unwoken.clone();
        let run = move || {
            while let Ok(crowd) = crowds.recv() {
                for some in crowd.users.chunks(CROWD) {
                    wake(some, crowd.news, crowd.number);
                    // Whoever waits for the lock that `wake` takes comes in between.
                    std::thread::yield_now();
                }
                left.fetch_sub(1, Ordering::Release);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("crowds".into()).spawn(run) {
            tracing::warn!(%error, "no thread to wake large rooms: the writer does it");
        }
        Self { queue: Mutex::new(queue), unwoken, newest: AtomicU64::new(0) }
    }

    /// Has these users woken soon; false if that can't be: there is no thread, or too much waits for it.
    pub(super) fn wake(&self, users: Vec<UserNid>, news: News) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.unwoken.fetch_add(1, Ordering::AcqRel);
        let number = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
        let taken = queue.try_send(Crowd { users, news, number }).is_ok();
        if !taken {
            self.unwoken.fetch_sub(1, Ordering::Release);
        }
        taken
    }

    /// Whether everybody was woken of whom this was told.
    pub(super) fn all_woken(&self) -> bool {
        self.unwoken.load(Ordering::Acquire) == 0
    }

    /// The number of the newest crowd: who was woken with it was woken with all before it.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }
}
