//! The ways in which a change of contacts fails.

use super::{MAX_REQUEST_TEXT, OpenError, labels::MAX_NAME, remarks::MAX_REMARK};
use crate::store::StoreError;

/// Why contacts did not change.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// The two do not come together.
    #[error(transparent)]
    Open(OpenError),
    /// The request's text is too long.
    #[error("the text has more than {MAX_REQUEST_TEXT} characters")]
    TextTooLong,
    /// The two are friends.
    #[error("you are friends already")]
    FriendsAlready,
    /// The other one has not asked.
    #[error("this user has not asked to be your friend")]
    NoRequest,
    /// The request was answered before.
    #[error("this request was answered before")]
    Handled,
    /// There is no such friend to be removed.
    #[error("this user is not among your friends")]
    NoFriend,
    /// Only friends have labels and remarks.
    #[error("this user is not your friend")]
    NotAFriend,
    /// A label's name is too short or too long.
    #[error("a label's name has 1 to {MAX_NAME} characters")]
    NameLength,
    /// There is no such label.
    #[error("there is no such label")]
    NoLabel,
    /// The friend does not have the label.
    #[error("this friend does not have the label")]
    NotLabelled,
    /// A remark is too long.
    #[error("a remark has at most {MAX_REMARK} characters")]
    RemarkTooLong,
    /// The user is not on the blacklist.
    #[error("this user is not blocked")]
    NotBlocked,
    /// It is there already.
    #[error("it is there already")]
    Duplicate,
    /// There is no room for more.
    #[error("there are as many as there can be")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OpenError> for ContactError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => Self::Store(error),
            other => Self::Open(other),
        }
    }
}
