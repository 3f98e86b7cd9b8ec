//! Pages of the room directory as both APIs ask for them and are answered.
//!
//! Source: Client-Server API and Server-Server API, `GET` and `POST /publicRooms`.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::rooms::{
    directory::{DirectoryError, DirectoryPage, DirectoryQuery},
    summary::PublishedRoom,
};

/// `limit` is negative: `M_INVALID_PARAM`.
#[derive(Debug, thiserror::Error)]
#[error("limit is negative")]
pub(super) struct BadLimit;

impl From<BadLimit> for ApiError {
    fn from(error: BadLimit) -> Self {
        Self::invalid_param(error.to_string())
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        let text = error.to_string();
        match error {
            DirectoryError::UnknownRoom => Self::not_found(text),
            DirectoryError::Forbidden => Self::forbidden(text),
            DirectoryError::BadToken => Self::invalid_param(text),
            DirectoryError::Store(error) => error.into(),
        }
    }
}

/// The query of `GET`.
#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<i64>,
    since: Option<String>,
}

impl Page {
    /// What is asked for.
    pub(super) fn query(self) -> Result<DirectoryQuery, BadLimit> {
        let since = self.since.filter(|since| !since.is_empty());
        Ok(DirectoryQuery { limit: limit(self.limit)?, since, ..DirectoryQuery::default() })
    }
}

#[derive(Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

/// The body of `POST`.
#[derive(Deserialize)]
pub(super) struct Search {
    limit: Option<i64>,
    since: Option<String>,
    filter: Option<Filter>,
}

impl Search {
    /// What is asked for.
    pub(super) fn query(self) -> Result<DirectoryQuery, BadLimit> {
        let filter = self.filter.unwrap_or_default();
        Ok(DirectoryQuery {
            limit: limit(self.limit)?,
            since: self.since.filter(|since| !since.is_empty()),
            search_term: filter.generic_search_term,
            room_types: filter.room_types,
        })
    }
}

fn limit(limit: Option<i64>) -> Result<Option<usize>, BadLimit> {
    limit.map(|limit| usize::try_from(limit).map_err(|_| BadLimit)).transpose()
}

/// The answer to both.
#[derive(Serialize)]
pub(super) struct Answer {
    chunk: Vec<PublishedRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: usize,
}

impl From<DirectoryPage> for Answer {
    fn from(page: DirectoryPage) -> Self {
        let DirectoryPage { chunk, next_batch, prev_batch, total } = page;
        Self { chunk, next_batch, prev_batch, total_room_count_estimate: total }
    }
}
