//! `/sync` as a client uses it.

use std::time::Instant;

use serde_json::Value;

use crate::client::query;
use crate::{Client, PATIENCE, Reply, v3};

/// The parameters of one `/sync`.
#[derive(Clone, Debug, Default)]
pub struct Sync {
    since: Option<String>,
    timeout_ms: u64,
    filter: Option<String>,
    extra: Vec<(String, String)>,
}

impl Sync {
    /// Without `since`; returns at once.
    pub fn initial() -> Self {
        Self::default()
    }

    /// From a `next_batch`; returns at once unless [`timeout`](Self::timeout) says otherwise.
    pub fn since(token: &str) -> Self {
        Self { since: Some(token.to_owned()), ..Self::default() }
    }

    /// How long the server may wait for news, in milliseconds.
    pub fn timeout(mut self, milliseconds: u64) -> Self {
        self.timeout_ms = milliseconds;
        self
    }

    /// An inline filter.
    pub fn filter(mut self, filter: Value) -> Self {
        self.filter = Some(filter.to_string());
        self
    }

    /// The id of a stored filter.
    pub fn filter_id(mut self, id: &str) -> Self {
        self.filter = Some(id.to_owned());
        self
    }

    /// Any other query parameter.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.extra.push((key.to_owned(), value.to_owned()));
        self
    }

    fn path(&self) -> String {
        let timeout = self.timeout_ms.to_string();
        let mut pairs = vec![("timeout", timeout.as_str())];
        pairs.extend(self.since.as_deref().map(|since| ("since", since)));
        pairs.extend(self.filter.as_deref().map(|filter| ("filter", filter)));
        pairs.extend(self.extra.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        v3!("/sync") + &query(&pairs)
    }
}

impl Client {
    /// One `/sync` that must succeed.
    pub async fn sync(&self, sync: Sync) -> Value {
        let answer = self.try_sync(sync).await.ok();
        assert!(answer["next_batch"].is_string(), "next_batch is required: {answer}");
        answer
    }

    /// One `/sync`.
    pub async fn try_sync(&self, sync: Sync) -> Reply {
        self.get(&sync.path()).await
    }

    /// The `next_batch` of now: what happens later is news to it.
    pub async fn now(&self) -> String {
        next_batch(&self.sync(Sync::initial()).await)
    }

    /// Follows long polls from `since` until a response fulfils the condition; gives that response.
    /// Panics with all responses seen after [`PATIENCE`].
    pub async fn wait_until_sync(&self, since: &str, condition: impl FnMut(&Value) -> bool) -> Value {
        self.wait_until_sync_with(Sync::since(since), condition).await
    }

    /// As [`wait_until_sync`](Self::wait_until_sync), with a filter or other parameters.
    pub async fn wait_until_sync_with(&self, mut sync: Sync, mut condition: impl FnMut(&Value) -> bool) -> Value {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "{} saw no such response within {PATIENCE:?}: {seen:#?}", self.user_id);
            sync.timeout_ms = left.as_millis().try_into().unwrap_or(u64::MAX);
            let answer = self.sync(sync.clone()).await;
            if condition(&answer) {
                return answer;
            }
            sync.since = Some(next_batch(&answer));
            seen.push(answer);
        }
    }

    /// Waits until an event with this id is in the room's timeline; gives the response.
    pub async fn wait_for_event(&self, since: &str, room: &str, event_id: &str) -> Value {
        self.wait_until_sync(since, |answer| {
            crate::timeline(answer, room).iter().any(|event| event["event_id"] == event_id)
        })
        .await
    }
}

/// The token of the next `/sync`.
pub(crate) fn next_batch(answer: &Value) -> String {
    answer["next_batch"].as_str().unwrap_or_else(|| panic!("no next_batch in {answer}")).to_owned()
}
