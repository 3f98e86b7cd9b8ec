//! How requests name a conversation, and how it looks when something is not done in one.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{errcode, refusal::Refusal};
use crate::{
    accounts::PushRuleError,
    api::error::ApiError,
    conversations::{ComposeError, ConversationRef, MessageError, PlaceError, ReadMarkError, settings::SettingError},
    numbers::{GroupRef, ThreadRef, UserRef},
    rooms::{receipts::ReceiptError, send::SendError},
};

/// A conversation, by one of its names; with more than one, or none, the request is refused.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Named {
    /// The conversation.
    thread_id: Option<ThreadRef>,
    /// The group.
    group_id: Option<GroupRef>,
    /// The other one of a conversation of two people.
    the_other_person_id: Option<UserRef>,
}

impl Named {
    /// From its parts, where a request can't hold the whole.
    pub(super) fn new(
        thread_id: Option<ThreadRef>,
        group_id: Option<GroupRef>,
        the_other_person_id: Option<UserRef>,
    ) -> Self {
        Self { thread_id, group_id, the_other_person_id }
    }

    /// Whether no name is given.
    pub(super) fn is_nothing(&self) -> bool {
        self.thread_id.is_none() && self.group_id.is_none() && self.the_other_person_id.is_none()
    }

    /// The one name.
    pub(super) fn one(self) -> Result<ConversationRef, Refusal> {
        match (self.thread_id, self.group_id, self.the_other_person_id) {
            (Some(thread), None, None) => Ok(ConversationRef::Thread(thread)),
            (None, Some(group), None) => Ok(ConversationRef::Group(group)),
            (None, None, Some(user)) => Ok(ConversationRef::With(user)),
            _ => Err(Refusal::argument("name the conversation by one of thread_id, group_id and the_other_person_id")),
        }
    }
}

impl From<PlaceError> for Refusal {
    fn from(error: PlaceError) -> Self {
        let text = error.to_string();
        match error {
            PlaceError::NoUser => Self::not_found(errcode::USER_NOT_FOUND, text),
            PlaceError::NoConversation => Self::not_found(errcode::NOT_FOUND, text),
            PlaceError::NoGroup => Self::not_found(errcode::GROUP_NOT_FOUND, text),
            PlaceError::NotMember => Self::new(StatusCode::FORBIDDEN, errcode::NOT_IN_GROUP, text),
            PlaceError::Store(error) => error.into(),
        }
    }
}

impl From<ComposeError> for Refusal {
    fn from(error: ComposeError) -> Self {
        let status = match error {
            ComposeError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, errcode::ARGUMENT, error.to_string())
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        let text = error.to_string();
        match error {
            MessageError::Place(error) => error.into(),
            MessageError::Open(error) => error.into(),
            MessageError::Compose(error) => error.into(),
            MessageError::ClientId | MessageError::NoText => Self::argument(text),
            MessageError::NoMessage => Self::not_found(errcode::NOT_FOUND, text),
            MessageError::NotSender
            | MessageError::MayNotMentionAll
            | MessageError::TooLate(_)
            | MessageError::Role => Self::forbidden(text),
            MessageError::Withdrawn => Self::conflict(errcode::WITHDRAWN_ALREADY, text),
            MessageError::NotWithdrawn => Self::conflict(errcode::ARGUMENT, text),
            MessageError::Send(error) => of_send(error),
            MessageError::Store(error) => error.into(),
        }
    }
}

/// A message that was refused where events are.
fn of_send(error: SendError) -> Refusal {
    match error {
        SendError::Refused(refused) => refused.into(),
        other => ApiError::from(other).into(),
    }
}

impl From<SettingError> for Refusal {
    fn from(error: SettingError) -> Self {
        let text = error.to_string();
        match error {
            SettingError::TooLong(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, errcode::ARGUMENT, text),
            SettingError::AccountData(error) => ApiError::from(error).into(),
            SettingError::PushRule(PushRuleError::AccountData(error)) => ApiError::from(error).into(),
            // The rules that muting makes and removes are always well-formed.
            SettingError::PushRule(error) => Self::internal(error),
        }
    }
}

impl From<ReadMarkError> for Refusal {
    fn from(error: ReadMarkError) -> Self {
        let text = error.to_string();
        match error {
            ReadMarkError::NoMessage | ReadMarkError::Receipt(ReceiptError::UnknownEvent) => {
                Self::not_found(errcode::NOT_FOUND, text)
            }
            ReadMarkError::Receipt(error) => ApiError::from(error).into(),
            ReadMarkError::Setting(error) => error.into(),
            ReadMarkError::Store(error) => error.into(),
        }
    }
}
