//! Profiles of other servers' users.
//!
//! Source: Server-Server API, `GET /query/profile`.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::client::{Call, PeerClient, PeerError};
use crate::accounts::FieldName;

/// How long a server may take, as a client waits.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a profile at most: «smaller than 64 KiB».
const MAX_PROFILE: usize = 64 * 1024;

/// Bytes of profiles that are remembered, and for how long.
const REMEMBERED_BYTES: u64 = 4 * 1024 * 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(300);

/// Questions under way at most: everybody may ask for a profile, with no token.
const AT_ONCE: usize = 32;

/// A profile as its server gave it; None: it has no such user.
pub type RemoteProfile = Option<Arc<Map<String, Value>>>;

/// Asks other servers for profiles, and remembers them for five minutes. Bound: 4 MiB of JSON.
pub struct RemoteProfiles {
    peers: Arc<PeerClient>,
    known: Cache<OwnedUserId, RemoteProfile>,
    asking: Semaphore,
}

impl RemoteProfiles {
    /// Asks through this client.
    pub fn new(peers: Arc<PeerClient>) -> Self {
        let weigh = |_: &OwnedUserId, profile: &RemoteProfile| {
            let size = |(name, value): (&String, &Value)| name.len() + value.to_string().len();
            let fields = profile.iter().flat_map(|profile| profile.iter().map(size)).sum::<usize>();
            u32::try_from(128 + fields).unwrap_or(u32::MAX)
        };
        let known = Cache::builder().max_capacity(REMEMBERED_BYTES).weigher(weigh).time_to_live(REMEMBERED_FOR).build();
        Self { peers, known, asking: Semaphore::new(AT_ONCE) }
    }

    /// A user's whole profile, without what is none of a profile's fields.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn all(&self, user: &UserId) -> Result<RemoteProfile, PeerError> {
        if let Some(known) = self.known.get(user) {
            return Ok(known);
        }
        // Never closed.
        let _permit = self.asking.acquire().await;
        // Whoever waited for a place may find the answer that another one got meanwhile.
        if let Some(known) = self.known.get(user) {
            return Ok(known);
        }
        let query = utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC);
        let call = Call::get(format!("/_matrix/federation/v1/query/profile?user_id={query}"));
        let asked = self.peers.json::<Map<String, Value>>(user.server_name(), call.timeout(TIMEOUT).limit(MAX_PROFILE));
        let profile = match asked.await {
            Ok(fields) => Some(Arc::new(fields.into_iter().filter(is_field).collect())),
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => None,
            // Nothing is known here of users of servers that we don't talk to.
            Err(PeerError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.known.insert(user.to_owned(), profile.clone());
        Ok(profile)
    }
}

/// Whether a field can be shown: clients rely on what the spec says of those that it defines.
fn is_field((name, value): &(String, Value)) -> bool {
    match FieldName::parse(name) {
        Ok(field) => !value.is_null() && matches!(field.accept(value), Ok(Some(_))),
        Err(_) => false,
    }
}
