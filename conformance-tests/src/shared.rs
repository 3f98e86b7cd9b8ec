//! One server for all tests of a file that do not disturb each other.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::{Options, Server};

/// A server started by the first test that asks and used by the whole file:
/// `static SERVER: Shared = Shared::new(Options::default);`
///
/// Statics are never dropped; the server's watchdog ends it with the test process.
pub struct Shared {
    options: fn() -> Options,
    server: OnceLock<Arc<Server>>,
}

impl Shared {
    /// Starts nothing yet.
    pub const fn new(options: fn() -> Options) -> Self {
        Self { options, server: OnceLock::new() }
    }

    /// The server. The handle shows what the server logged since, if the test fails.
    pub fn get(&self) -> SharedServer {
        let server = Arc::clone(self.server.get_or_init(|| Arc::new(Server::start((self.options)()))));
        let log_start = server.log_length();
        SharedServer { server, log_start }
    }
}

/// One test's handle of a [`Shared`] server.
pub struct SharedServer {
    server: Arc<Server>,
    log_start: u64,
}

impl Deref for SharedServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for SharedServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.server.show_log(self.log_start);
        }
    }
}

/// A name that nothing else in this test process has: `alice` becomes `alice-7`.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
