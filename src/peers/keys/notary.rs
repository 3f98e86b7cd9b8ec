//! What we answer as a notary: the documents that we have of other servers, signed by us too.
//!
//! Source: Server-Server API, "Querying keys through another server".

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use linkim_federation::server_keys::{KeyDocument, KeyQuery, is_key_id, notary_response};
use ruma::{OwnedServerName, ServerName};

use super::RemoteKeys;
use crate::store::StoreError;

/// How long we ask other servers before we answer with what we have.
const WAIT: Duration = Duration::from_secs(15);

/// Servers asked at once for one query.
const AT_ONCE: usize = 8;

/// Answers for the keys of others.
pub struct Notary {
    keys: Arc<RemoteKeys>,
}

impl Notary {
    /// Answers from these keys.
    pub fn new(keys: Arc<RemoteKeys>) -> Self {
        Self { keys }
    }

    /// The body of the answer. `may_ask` is asked before each request to another server; where it says no, and where the
    /// server does not answer, the document that we have is the answer, and none if we have none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn answer(&self, query: &KeyQuery, may_ask: impl Fn() -> bool) -> Result<String, StoreError> {
        let inner = &self.keys.inner;
        let own = &inner.own;
        let others: Vec<_> = query.server_keys.keys().filter(|server| *server != own.server_name()).cloned().collect();
        let mut found = inner.memory.documents(others.clone()).await?;
        let now = inner.now();
        let stale =
            |server: &&OwnedServerName| inner.permits(server) && !suffices(query, server, found.get(*server), now);
        let ask: Vec<_> = others.iter().filter(stale).filter(|_| may_ask()).cloned().collect();
        if !ask.is_empty() {
            let asking = stream::iter(&ask).for_each_concurrent(AT_ONCE, |server| inner.ask_server(server));
            if tokio::time::timeout(WAIT, asking).await.is_err() {
                tracing::debug!("not all servers gave their keys to the notary in time");
            }
            let asked: HashMap<_, _> = inner.memory.documents(ask).await?;
            found.extend(asked);
        }
        let ours = query.server_keys.contains_key(own.server_name()).then(|| own.document());
        let documents = ours.as_deref().into_iter().chain(found.values());
        Ok(notary_response(documents, own.server_name(), own.signing_key()))
    }
}

/// Whether a document is the answer without asking for another: it is valid for as long as is asked for, and has the keys.
fn suffices(query: &KeyQuery, server: &ServerName, document: Option<&KeyDocument>, now: u64) -> bool {
    let Some(document) = document else { return false };
    let has = |key_id: &String| {
        document.verify_keys().contains_key(key_id) || document.old_verify_keys().contains_key(key_id)
    };
    document.valid_until_ts() >= query.minimum_valid_until_ts(server, now)
        && query.server_keys.get(server).is_none_or(|keys| keys.keys().filter(|key_id| is_key_id(key_id)).all(has))
}
