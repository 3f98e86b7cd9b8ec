//! How the ways in which two users do not come together look in LinkIM's API.

use axum::http::StatusCode;

use super::{errcode, refusal::Refusal};
use crate::{
    api::error::ApiError,
    contacts::OpenError,
    peers::whereabouts::ChangeError,
    rooms::{create::CreateError, membership::MembershipError},
};

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Oneself => Self::new(StatusCode::BAD_REQUEST, errcode::CANNOT_ADD_SELF, text),
            OpenError::NoUser => Self::not_found(errcode::USER_NOT_FOUND, text),
            OpenError::Blocked => Self::new(StatusCode::FORBIDDEN, errcode::BLOCKED_BY_PEER, text),
            OpenError::NotFriends => Self::new(StatusCode::FORBIDDEN, errcode::NOT_FRIENDS, text),
            OpenError::RefusesStrangers => Self::new(StatusCode::FORBIDDEN, errcode::REFUSES_REQUESTS, text),
            OpenError::Create(CreateError::InviteBlocked(_))
            | OpenError::Change(ChangeError::Membership(MembershipError::InviteBlocked(_))) => {
                Self::new(StatusCode::FORBIDDEN, errcode::REFUSES_REQUESTS, text)
            }
            OpenError::Create(CreateError::RemoteUser(_)) => Self::forbidden(text),
            OpenError::Create(error) => Self::internal(error),
            OpenError::Change(error) => ApiError::from(error).into(),
            OpenError::Store(error) => error.into(),
        }
    }
}
