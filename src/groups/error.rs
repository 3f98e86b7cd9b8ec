//! Why something was not done in a group.

use crate::{
    rooms::{append::AppendError, membership::MembershipError, send_rules::Refused},
    store::StoreError,
};

/// Why something was not done in a group. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The caller is not in the group.
    #[error("you are not in this group")]
    NotInGroup,
    /// Who is acted on is not in the group.
    #[error("{0} is not in this group")]
    TargetNotInGroup(String),
    /// The group was dissolved.
    #[error("this group was dissolved")]
    Dissolved,
    /// The caller's role does not suffice, or the room's rules refuse it.
    #[error("{0}")]
    NotPermitted(String),
    /// An argument is wrong.
    #[error("{0}")]
    Argument(String),
    /// The entry after which a page is to begin is not in the list.
    #[error("there is no such cursor")]
    NoCursor,
    /// It is so already.
    #[error("{0}")]
    Already(&'static str),
    /// There is no such request to join.
    #[error("there is no such request")]
    NoRequest,
    /// There is no announcement, or no longer this one.
    #[error("there is no such announcement")]
    NoNotice,
    /// The group's own server was asked, and has not answered yet.
    #[error("the group's own server was asked and has not answered yet")]
    Pending,
    /// The group's own server was asked and refused.
    #[error("{error}")]
    Elsewhere {
        /// Why, as a number of OpenIM's.
        errcode: u32,
        /// Why, for a person to read.
        error: String,
    },
    /// The request was answered before.
    #[error("this request was answered already")]
    Handled,
    /// The group changed again and again while it was tried, or too much waits for it.
    #[error("the group is too busy")]
    Busy,
    /// A membership did not change.
    #[error(transparent)]
    Membership(MembershipError),
    /// The events could not be appended.
    #[error(transparent)]
    Append(AppendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for GroupError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::NotPermitted(reason),
            AppendError::Busy => Self::Busy,
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

impl From<MembershipError> for GroupError {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Append(error) => error.into(),
            MembershipError::Store(error) => Self::Store(error),
            MembershipError::Forbidden(reason) => Self::NotPermitted(reason),
            MembershipError::Refused(Refused::Dissolved) => Self::Dissolved,
            MembershipError::Refused(refused) => Self::NotPermitted(refused.to_string()),
            other => Self::Membership(other),
        }
    }
}
