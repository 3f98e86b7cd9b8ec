//! Stored filters.
//!
//! Source: Client-Server API, "Filtering".

use serde_json::{Map, Value};

use crate::{
    store::{Store, StoreError, filters, ids::UserNid},
    sync::filter::Filter,
};

/// Largest filter, in bytes of its JSON.
const MAX_FILTER: usize = 64 * 1024;

/// Filters that a user can have; beyond, the oldest go.
const MAX_FILTERS: i64 = 1000;

/// Why a filter is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It is not a filter.
    #[error("Not a filter: {0}")]
    Malformed(String),
    /// It is larger than 64 KiB.
    #[error("The filter is larger than {MAX_FILTER} bytes")]
    TooLarge,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The filters of this server's users.
pub struct Filters {
    store: Store,
}

impl Filters {
    /// In `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Stores a filter as it was sent and answers its id; equal ones have one id.
    pub async fn add(&self, user: UserNid, filter: Map<String, Value>) -> Result<String, FilterError> {
        let json = Value::Object(filter).to_string();
        if json.len() > MAX_FILTER {
            return Err(FilterError::TooLarge);
        }
        Filter::parse(&json).map_err(|error| FilterError::Malformed(error.to_string()))?;
        let hash = *blake3::hash(json.as_bytes()).as_bytes();
        let known = self.store.read::<_, StoreError, _>(move |read| filters::find(read, user, &hash)).await?;
        if let Some(nid) = known {
            return Ok(nid.to_string());
        }
        self.store
            .write(move |tx| {
                if let Some(nid) = filters::find(tx, user, &hash)? {
                    return Ok(nid.to_string());
                }
                let nid = filters::insert(tx, user, &hash, &json)?;
                filters::trim(tx, user, MAX_FILTERS)?;
                Ok(nid.to_string())
            })
            .await
    }

    /// The JSON of a user's filter.
    pub async fn get(&self, user: UserNid, id: &str) -> Result<Option<String>, StoreError> {
        let Ok(nid) = id.parse() else { return Ok(None) };
        self.store.read(move |read| filters::get(read, user, nid)).await
    }
}
