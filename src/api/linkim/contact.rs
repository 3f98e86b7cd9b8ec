//! How handlers about contacts begin: who asks, whom the request names, which page it wants.

use std::sync::Arc;

use axum::{extract::FromRef, http::StatusCode};
use ruma::OwnedUserId;

use super::{errcode, extract::is_caller, refusal::Refusal, state::LinkImState};
use crate::{
    accounts::{Rate, RateLimits, Session},
    contacts::Contacts,
    numbers::{Numbers, User, UserRef},
    store::StoreError,
};

/// Friends of a page where the request does not say how many, and at most: old clients ask for all.
const FRIENDS_PAGE: usize = 1000;

/// The ways in which a request names nobody; the contacts' own failures are in `contacts_error`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no such user")]
    NoUser,
    #[error("there is no such cursor")]
    Cursor,
    #[error("page_size is less than 1")]
    PageSize,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoUser => Self::new(StatusCode::NOT_FOUND, errcode::USER_NOT_FOUND, text),
            Error::Cursor => Self::no_cursor(),
            Error::PageSize => Self::argument(text),
            Error::Store(error) => error.into(),
        }
    }
}

/// The contacts, and what finds whom a request names.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) contacts: Arc<Contacts>,
    numbers: Arc<Numbers>,
    limits: Arc<RateLimits>,
}

impl FromRef<LinkImState> for Desk {
    fn from_ref(state: &LinkImState) -> Self {
        Self { contacts: FromRef::from_ref(state), numbers: FromRef::from_ref(state), limits: FromRef::from_ref(state) }
    }
}

impl Desk {
    /// Whom a request of the caller's is about; `user_id` is what it says of the caller.
    pub(super) async fn whom(
        &self,
        session: &Session,
        user_id: Option<&UserRef>,
        rate: Rate,
        friend: &UserRef,
    ) -> Result<User, Refusal> {
        self.may(session, user_id, rate)?;
        Ok(self.numbers.user(friend).await?.ok_or(Error::NoUser)?)
    }

    /// Holds that the caller asks, and not too often; `user_id` is what the request says of the caller.
    pub(super) fn may(&self, session: &Session, user_id: Option<&UserRef>, rate: Rate) -> Result<(), Refusal> {
        is_caller(session, user_id)?;
        Ok(self.limits.check(rate, session.user)?)
    }

    /// After whom a page of friends goes on, and how many it has at most; `user_id` is what the request says of the caller.
    pub(super) async fn page(
        &self,
        session: &Session,
        user_id: Option<&UserRef>,
        cursor: Option<&UserRef>,
        size: Option<i64>,
    ) -> Result<(Option<OwnedUserId>, usize), Refusal> {
        is_caller(session, user_id)?;
        let limit = match size.map(usize::try_from) {
            None => FRIENDS_PAGE,
            Some(Ok(0) | Err(_)) => return Err(Error::PageSize.into()),
            Some(Ok(wanted)) => wanted.min(FRIENDS_PAGE),
        };
        Ok((self.cursor(cursor).await?.map(|user| user.user_id), limit))
    }

    /// The user whom a cursor names.
    pub(super) async fn cursor(&self, name: Option<&UserRef>) -> Result<Option<User>, Error> {
        match name {
            Some(name) => self.numbers.user(name).await?.map(Some).ok_or(Error::Cursor),
            None => Ok(None),
        }
    }
}
