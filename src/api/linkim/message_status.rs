//! `GET /message/receipts`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{Caller, Input, page_size},
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    conversations::{
        MessageStatus,
        status::{Receiver, Status, StatusError, Wanted},
    },
    numbers::{MessageRef, Numbers, UserRef},
};

impl From<StatusError> for Refusal {
    fn from(error: StatusError) -> Self {
        let text = error.to_string();
        match error {
            StatusError::NoMessage => Self::not_found(errcode::NOT_FOUND, text),
            StatusError::NotSender => Self::forbidden(text),
            StatusError::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(receipts))
}

/// Which of them are wanted.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OfStatus {
    /// Those whom it has not reached.
    Sent,
    /// Those whom it has reached and who have not read it.
    Delivered,
    /// Those who have read it.
    Read,
}

/// Of which message.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// The message.
    message_id: MessageRef,
    /// Lists those alone with whom the message has come so far and no further; left out: all.
    #[param(inline)]
    status: Option<OfStatus>,
    /// Lists those after this one: the `next` of the page before.
    cursor: Option<UserRef>,
    /// How many to list; 20 if left out, 200 at most.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// How far a message has come.
#[derive(Serialize, ToSchema)]
struct ReceiptsReply {
    /// The message's number.
    message_id: i64,
    /// The same as a string.
    message_id_str: String,
    /// The event that has its content.
    event_id: String,
    /// How far it has come with all who are to receive it.
    status: &'static str,
    /// How many are to receive it: who is in the conversation since before it, the sender left out.
    recipient_count: usize,
    /// How many have it, those included who have read it.
    delivered_count: usize,
    /// How many have read it.
    read_count: usize,
    /// A page of them.
    detail: Vec<ReceiverInfo>,
    /// Whether there are more.
    has_more: bool,
    /// The cursor of the next page; 0 if there is none.
    next: i64,
}

/// One of those who are to receive it.
#[derive(Serialize, ToSchema)]
struct ReceiverInfo {
    /// Their number.
    user_id: i64,
    /// The same as a string.
    user_id_str: String,
    /// Their id.
    matrix_id: String,
    /// `sent`, `delivered` or `read`.
    status: &'static str,
    /// When they said that they have read it, in milliseconds; 0 if they have not.
    read_ts: i64,
}

impl From<Receiver> for ReceiverInfo {
    fn from(of: Receiver) -> Self {
        Self {
            user_id: of.user.0,
            user_id_str: of.user.0.to_string(),
            matrix_id: of.user_id.to_string(),
            status: of.status.as_str(),
            read_ts: of.read_ts,
        }
    }
}

/// Tells who sent a message how far it has come: whom it has reached and who has read it.
#[utoipa::path(get, path = "/message/receipts", tag = "message", params(Request), security(("token" = [])),
    responses((status = 200, body = Reply<ReceiptsReply>), (status = "4XX", body = Failure)))]
async fn receipts(
    Caller(session): Caller,
    State(limits): State<Arc<RateLimits>>,
    State(numbers): State<Arc<Numbers>>,
    State(status): State<Arc<MessageStatus>>,
    Input(request): Input<Request>,
) -> Result<Reply<ReceiptsReply>, Refusal> {
    let limit = page_size(request.page_size)?;
    // It looks at each member of the conversation.
    limits.check(Rate::Search, session.user)?;
    let after = match &request.cursor {
        Some(cursor) => {
            let user = numbers.user(cursor).await?.ok_or_else(Refusal::no_cursor)?;
            Some(user.nid)
        }
        None => None,
    };
    let wanted = request.status.map(|status| match status {
        OfStatus::Sent => Status::Sent,
        OfStatus::Delivered => Status::Delivered,
        OfStatus::Read => Status::Read,
    });
    let found = status.receipts(&session, request.message_id, Wanted { status: wanted, after, limit }).await?;
    let all = match (found.recipients, found.delivered, found.read) {
        (0, ..) => Status::Sent,
        (all, _, read) if all == read => Status::Read,
        (all, delivered, _) if all == delivered => Status::Delivered,
        _ => Status::Sent,
    };
    Ok(Reply::new(
        "load ok",
        ReceiptsReply {
            message_id: found.number,
            message_id_str: found.number.to_string(),
            event_id: found.event_id,
            status: all.as_str(),
            recipient_count: found.recipients,
            delivered_count: found.delivered,
            read_count: found.read,
            detail: found.page.into_iter().map(ReceiverInfo::from).collect(),
            has_more: found.next.is_some(),
            next: found.next.map_or(0, |next| next.0),
        },
    ))
}
