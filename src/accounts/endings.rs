//! Why a session ended that its own device did not end.

use super::session::Session;
use crate::store::{StoreError, ids::UserNid};

/// Who ended it, and how (`ended_tokens.reason`). A device that logs itself out leaves none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    /// A login that the policy of several devices gives its place to.
    #[error("Logged in on another device")]
    LoggedInElsewhere,
    /// The user, from another session.
    #[error("Logged out from another device")]
    Revoked,
    /// The password was changed.
    #[error("The password was changed")]
    PasswordChanged,
    /// An operator, or the end of the account.
    #[error("Logged out by the server")]
    ByServer,
}

impl EndReason {
    /// The number that stands for it in the database.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::LoggedInElsewhere => 1,
            Self::Revoked => 2,
            Self::PasswordChanged => 3,
            Self::ByServer => 4,
        }
    }

    pub(super) fn from_number(number: i64) -> Result<Self, StoreError> {
        Ok(match number {
            1 => Self::LoggedInElsewhere,
            2 => Self::Revoked,
            3 => Self::PasswordChanged,
            4 => Self::ByServer,
            other => return Err(StoreError::Damaged(format!("reason {other} of an ended session"))),
        })
    }

    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoggedInElsewhere => "logged_in_elsewhere",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
            Self::ByServer => "by_server",
        }
    }
}

/// A session that just ended, for those who hold connections open.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose it was.
    pub user: UserNid,
    /// On which device ([`Session::device`]).
    pub device: crate::store::ids::DeviceNid,
    /// Why; none: its own device ended it.
    pub reason: Option<EndReason>,
}

impl Ended {
    /// Whether it is this session.
    pub fn is(&self, session: &Session) -> bool {
        self.device == session.device
    }
}
