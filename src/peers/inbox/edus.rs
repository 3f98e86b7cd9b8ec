//! What transactions carry beside events: each type has a handler of the domain that it belongs to.
//!
//! Source: Server-Server API, "EDUs". Handlers run before the transaction is answered and before its events are staged, so
//! that the keys of a message are here before the message is.

pub mod receipts;
pub mod typing;

use std::{collections::HashMap, sync::Arc};

use futures_util::future::BoxFuture;
use ruma::ServerName;
use serde_json::value::RawValue;

use super::wire::read_edu;
use crate::store::StoreError;

/// Why an EDU was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EduError {
    /// It is not what the spec says, or not for its origin to say: it is passed over.
    #[error("{0}")]
    Ignored(String),
    /// The store failed: the whole transaction fails, so that the sender repeats it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes EDUs of one type. To be idempotent, because a transaction can come twice.
pub trait EduHandler: Send + Sync + 'static {
    /// Takes the content of one EDU. The handler checks that the users it speaks of belong to `origin`.
    fn handle<'a>(&'a self, origin: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>>;

    /// Takes all EDUs of the type in a transaction, in their order. Where each is a write of its own, do them in one here.
    fn handle_all<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [&'a RawValue],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for content in contents {
                match self.handle(origin, content).await {
                    Ok(()) => {}
                    Err(EduError::Ignored(reason)) => tracing::debug!(%origin, reason, "an EDU is passed over"),
                    Err(EduError::Store(error)) => return Err(error),
                }
            }
            Ok(())
        })
    }

    /// Whether what it takes must not be lost: then the transaction's id is remembered.
    fn durable(&self) -> bool {
        true
    }
}

/// The handlers, by type.
#[derive(Default)]
pub struct Edus {
    handlers: HashMap<&'static str, Arc<dyn EduHandler>>,
}

impl Edus {
    /// Registers the handler of a type.
    #[must_use]
    pub fn with(mut self, kind: &'static str, handler: Arc<dyn EduHandler>) -> Self {
        self.handlers.insert(kind, handler);
        self
    }

    /// Hands EDUs to their handlers, type by type in the order in which each first occurs; unknown types and malformed ones
    /// are passed over. Answers whether some must not be lost.
    ///
    /// # Errors
    /// [`StoreError`] of a handler; those before it had theirs.
    pub async fn apply(&self, origin: &ServerName, edus: &[Box<RawValue>]) -> Result<bool, StoreError> {
        let mut kinds: Vec<(&'static str, Vec<&RawValue>)> = Vec::new();
        for edu in edus {
            let Some((kind, content)) = read_edu(edu) else {
                tracing::debug!(%origin, "an EDU without edu_type or content is passed over");
                continue;
            };
            let Some((kind, _)) = self.handlers.get_key_value(kind.as_str()) else { continue };
            match kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, contents)) => contents.push(content),
                None => kinds.push((kind, vec![content])),
            }
        }
        let mut durable = false;
        for (kind, contents) in kinds {
            let Some(handler) = self.handlers.get(kind) else { continue };
            metrics::counter!("linkim_inbox_edus_total", "type" => kind).increment(contents.len() as u64);
            handler.handle_all(origin, &contents).await?;
            durable |= handler.durable();
        }
        Ok(durable)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ruma::server_name;
    use serde_json::value::to_raw_value;

    use super::*;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl EduHandler for Notes {
        fn handle<'a>(&'a self, _: &'a ServerName, content: &'a RawValue) -> BoxFuture<'a, Result<(), EduError>> {
            Box::pin(async move {
                match content.get() {
                    "\"bad\"" => Err(EduError::Ignored("bad".into())),
                    "\"full\"" => Err(EduError::Store(StoreError::Full)),
                    other => {
                        self.0.lock().unwrap().push(other.to_owned());
                        Ok(())
                    }
                }
            })
        }
    }

    fn edu(kind: &str, content: &str) -> Box<RawValue> {
        to_raw_value(&serde_json::json!({ "edu_type": kind, "content": content })).unwrap()
    }

    #[tokio::test]
    async fn one_bad_edu_costs_no_other_and_a_failing_store_costs_all() {
        let notes = Arc::new(Notes::default());
        let edus = Edus::default().with("a", notes.clone()).with("b", notes.clone());
        let origin = server_name!("a.example");
        let malformed = to_raw_value(&serde_json::json!({ "edu_type": "a" })).unwrap();
        let no_type = to_raw_value(&serde_json::json!({ "edu_type": 7, "content": {} })).unwrap();
        let list = [edu("b", "1"), edu("a", "2"), edu("x", "3"), malformed, no_type, edu("b", "bad"), edu("b", "4")];
        assert!(edus.apply(origin, &list).await.unwrap());
        assert_eq!(*notes.0.lock().unwrap(), ["\"1\"", "\"4\"", "\"2\""]);
        assert!(edus.apply(origin, &[edu("a", "full")]).await.is_err());
        assert!(!edus.apply(origin, &[edu("x", "1")]).await.unwrap());
    }
}
