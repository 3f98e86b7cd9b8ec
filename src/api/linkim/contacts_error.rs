//! How the ways in which two users do not come together look in LinkIM's API.

use axum::http::StatusCode;

use super::{errcode, refusal::Refusal};
use crate::{
    api::error::ApiError,
    contacts::{ContactError, OpenError},
    peers::whereabouts::ChangeError,
    rooms::{create::CreateError, membership::MembershipError, send_rules::Refused},
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
            OpenError::Create(CreateError::Refused(refused))
            | OpenError::Change(ChangeError::Membership(MembershipError::Refused(refused))) => refused.into(),
            OpenError::Change(ChangeError::Membership(MembershipError::Elsewhere(refusal))) => {
                match (refusal.status, refusal.errcode.as_str()) {
                    (Some(403), "M_INVITE_BLOCKED") => {
                        Self::new(StatusCode::FORBIDDEN, errcode::REFUSES_REQUESTS, text)
                    }
                    (Some(404), _) => Self::not_found(errcode::USER_NOT_FOUND, text),
                    _ => ApiError::from(refusal).into(),
                }
            }
            OpenError::Create(CreateError::RemoteUser(_)) => Self::forbidden(text),
            OpenError::Create(error) => Self::internal(error),
            OpenError::Change(error) => ApiError::from(error).into(),
            OpenError::Store(error) => error.into(),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let errcode = match &refused {
            Refused::Blocked => errcode::BLOCKED_BY_PEER,
            Refused::NotFriends => errcode::NOT_FRIENDS,
            Refused::RefusesStrangers => errcode::REFUSES_REQUESTS,
            Refused::Muted { .. } => errcode::MEMBER_MUTED,
            Refused::GroupMuted => errcode::GROUP_MUTED,
            Refused::Dissolved => errcode::GROUP_DISMISSED,
            Refused::NotReceiving | Refused::NotPermitted(_) => errcode::NO_PERMISSION,
        };
        Self::new(StatusCode::FORBIDDEN, errcode, refused.to_string())
    }
}

impl From<ContactError> for Refusal {
    fn from(error: ContactError) -> Self {
        let text = error.to_string();
        match error {
            ContactError::Open(error) => error.into(),
            ContactError::TextTooLong | ContactError::NameLength | ContactError::RemarkTooLong => Self::argument(text),
            ContactError::FriendsAlready => Self::conflict(errcode::FRIENDS_ALREADY, text),
            ContactError::NoRequest | ContactError::NoFriend | ContactError::NoLabel | ContactError::NotLabelled => {
                Self::not_found(errcode::NOT_FOUND, text)
            }
            ContactError::NotBlocked => Self::not_found(errcode::NOT_FOUND, text),
            ContactError::Handled => Self::conflict(errcode::FRIEND_REQUEST_HANDLED, text),
            ContactError::NotAFriend => Self::new(StatusCode::FORBIDDEN, errcode::NOT_FRIENDS, text),
            ContactError::Duplicate => Self::conflict(errcode::DUPLICATE, text),
            ContactError::TooMany => Self::conflict(errcode::NO_PERMISSION, text),
            ContactError::Store(error) => error.into(),
        }
    }
}
