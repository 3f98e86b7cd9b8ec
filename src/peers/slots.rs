//! How much may be under way at once, of each server and altogether, so that one slow server holds up nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use ruma::{OwnedServerName, ServerName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Entries above which those of servers with nothing under way are dropped.
const PRUNE_ABOVE: usize = 256;

/// A place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _of_server: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    _server: Arc<Semaphore>,
}

/// Places. Bound: an entry for each server with something under way, and [`PRUNE_ABOVE`].
#[derive(Debug)]
pub(crate) struct Slots {
    each: usize,
    all: Arc<Semaphore>,
    servers: Mutex<HashMap<OwnedServerName, Weak<Semaphore>>>,
}

impl Slots {
    /// `each` places for one server, `all` together.
    pub(crate) fn new(each: usize, all: usize) -> Self {
        Self { each, all: Arc::new(Semaphore::new(all)), servers: Mutex::default() }
    }

    fn of(&self, server: &ServerName) -> Arc<Semaphore> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = servers.get(server).and_then(Weak::upgrade) {
            return semaphore;
        }
        if servers.len() >= PRUNE_ABOVE {
            servers.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let semaphore = Arc::new(Semaphore::new(self.each));
        servers.insert(server.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }

    /// A place for this server, if one is free now.
    pub(crate) fn try_take(&self, server: &ServerName) -> Option<Slot> {
        let of = self.of(server);
        let of_server = of.clone().try_acquire_owned().ok()?;
        let of_all = self.all.clone().try_acquire_owned().ok()?;
        Some(Slot { _of_server: of_server, _of_all: of_all, _server: of })
    }

    /// A place for this server, once one is free; those who wait get theirs in turn. None never happens, since no semaphore
    /// is ever closed.
    pub(crate) async fn take(&self, server: &ServerName) -> Option<Slot> {
        let of = self.of(server);
        let of_server = of.clone().acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Slot { _of_server: of_server, _of_all: of_all, _server: of })
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[tokio::test]
    async fn one_server_leaves_room_for_others() {
        let slots = Slots::new(2, 3);
        let (a, b) = (server_name!("a.example"), server_name!("b.example"));
        let first = slots.try_take(a).unwrap();
        let _second = slots.try_take(a).unwrap();
        assert!(slots.try_take(a).is_none());
        let _third = slots.take(b).await.unwrap();
        assert!(slots.try_take(b).is_none(), "all are taken");
        drop(first);
        let _fourth = slots.take(a).await.unwrap();
        assert!(slots.try_take(b).is_none());
    }
}
