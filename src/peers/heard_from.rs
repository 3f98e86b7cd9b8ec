//! Who wants to know that another server lives.

use ruma::ServerName;

use super::reachability::Reachability;

/// Told of every request of another server whose signature holds.
pub trait HeardFrom: Send + Sync + 'static {
    /// This server has just shown that it is up. To be quick: the request waits for it.
    fn heard_from(&self, server: &ServerName);
}

/// Nobody wants to know.
impl HeardFrom for () {
    fn heard_from(&self, _: &ServerName) {}
}

/// A server that speaks is tried again at once.
impl HeardFrom for Reachability {
    fn heard_from(&self, server: &ServerName) {
        Self::heard_from(self, server);
    }
}
