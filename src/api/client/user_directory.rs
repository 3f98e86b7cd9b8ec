//! `POST /user_directory/search`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use serde::{Deserialize, Serialize};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{error::ApiError, extract::Json},
    rooms::user_directory::{FoundUser, UserDirectory},
};

/// Longest search term, in bytes: a user id has as many at most.
const MAX_TERM: usize = 255;

/// The ways in which a search fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("search_term has more than {MAX_TERM} bytes")]
    LongTerm,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::LongTerm => Self::invalid_param(error.to_string()),
        }
    }
}

/// The route under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/user_directory/search", post(search))
}

#[derive(Deserialize)]
struct Body {
    search_term: String,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct User {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    results: Vec<User>,
    limited: bool,
}

/// `POST /user_directory/search`
async fn search(
    session: Session,
    State(directory): State<Arc<UserDirectory>>,
    State(limits): State<Arc<RateLimits>>,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, ApiError> {
    limits.check(Rate::Search, session.user)?;
    if body.search_term.len() > MAX_TERM {
        return Err(Error::LongTerm.into());
    }
    let found = directory.search(&session, &body.search_term, body.limit).await?;
    let shown =
        |user: FoundUser| User { user_id: user.user_id, display_name: user.display_name, avatar_url: user.avatar_url };
    Ok(Json(Answer { results: found.users.into_iter().map(shown).collect(), limited: found.limited }))
}
