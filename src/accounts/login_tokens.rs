//! Single-use tokens with which one session lets another device in.
//!
//! Source: Client-Server API, `POST /login/get_token`, "Token-based".

use std::sync::Arc;

use moka::{policy::EvictionPolicy, sync::Cache};
use ruma::OwnedUserId;

use super::session::Session;
use crate::{clock::Clock, random::Random, store::ids::DeviceNid};

/// How long a token is good, in milliseconds: what the spec recommends.
const TOKEN_MS: i64 = 120_000;

/// Tokens at once at most; the oldest go. About 150 bytes each.
const MAX_TOKENS: u64 = 10_000;

/// Who lets somebody in.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) user_id: OwnedUserId,
    /// The session that asked must still be there.
    pub(super) device: DeviceNid,
    expires_ts: i64,
}

/// The tokens, in memory: a restart ends them early.
pub struct LoginTokens {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    tokens: Cache<String, Grant>,
}

impl LoginTokens {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let tokens = Cache::builder().max_capacity(MAX_TOKENS).eviction_policy(EvictionPolicy::lru()).build();
        Self { clock, random, tokens }
    }

    /// A token for a new session of this session's user, and how many milliseconds it is good.
    pub fn issue(&self, session: &Session) -> (String, i64) {
        let token = self.random.letters(43);
        let expires_ts = self.clock.now_ms() + TOKEN_MS;
        let grant = Grant { user_id: session.user_id.clone(), device: session.device, expires_ts };
        self.tokens.insert(token.clone(), grant);
        (token, TOKEN_MS)
    }

    /// Uses a token up.
    pub fn take(&self, token: &str) -> Option<Grant> {
        self.tokens.remove(token).filter(|grant| grant.expires_ts > self.clock.now_ms())
    }
}
