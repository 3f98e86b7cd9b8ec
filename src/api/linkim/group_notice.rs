//! `PUT /group/notice`, `GET /group/notice`, `GET /group/notice/history`, `POST /group/notice/confirm`,
//! `GET /group/notice/readers`: announcements.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, Caller, Input, page_size},
    group_call::{Call, GroupCalls},
    groups::UserName,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::Rate,
    groups::{NewNotice, ReadState, Reader, ReaderFilter, ShownNotice},
    numbers::{GroupRef, MessageRef, UserRef},
    store::{Store, StoreError, ids::EventNid, message_numbers},
};

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(put, get))
        .routes(routes!(history))
        .routes(routes!(confirm))
        .routes(routes!(readers))
}

/// An announcement.
#[derive(Debug, Serialize, ToSchema)]
struct NoticeInfo {
    /// What is announced.
    text: String,
    /// Who announced it.
    author: UserName,
    /// When it was announced, in milliseconds.
    created_ts: i64,
    /// When it was last changed, in milliseconds; none if it never was.
    edited_ts: Option<i64>,
    /// Whether members are asked to confirm it.
    must_confirm: bool,
    /// Whether the asker has confirmed it. Not in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed: Option<bool>,
    /// The number of the post in the group's conversation; none if it is not here.
    message_id: Option<i64>,
    /// The number as a string.
    message_id_str: Option<String>,
    /// The post's event id.
    event_id: String,
    /// The number of this version of the announcement: the history's cursor.
    notice_id: i64,
    /// The number as a string.
    notice_id_str: String,
}

impl NoticeInfo {
    async fn all(store: &Store, notices: Vec<ShownNotice>) -> Result<Vec<Self>, StoreError> {
        store
            .read::<_, StoreError, _>(move |read| {
                let number = |post: EventNid| message_numbers::of_event(read, post);
                notices
                    .into_iter()
                    .map(|shown| {
                        let message_id = shown.post.map(number).transpose()?;
                        Ok(Self::of(shown, message_id))
                    })
                    .collect()
            })
            .await
    }

    fn of(shown: ShownNotice, message_id: Option<i64>) -> Self {
        let notice = shown.notice;
        Self {
            text: notice.text,
            author: UserName::new(shown.author, notice.author.to_string()),
            created_ts: notice.ts,
            edited_ts: notice.edited_ts,
            must_confirm: notice.must_confirm,
            confirmed: shown.confirmed,
            message_id,
            message_id_str: message_id.map(|number| number.to_string()),
            event_id: notice.post.to_string(),
            notice_id: shown.number.0,
            notice_id_str: shown.number.0.to_string(),
        }
    }
}

/// The current announcement.
#[derive(Serialize, ToSchema)]
struct NoticeReply {
    /// What is announced; empty: nothing is.
    notice: String,
    /// All of it.
    detail: Option<NoticeInfo>,
}

impl NoticeReply {
    async fn of(store: &Store, notice: Option<ShownNotice>) -> Result<Self, StoreError> {
        let detail = NoticeInfo::all(store, notice.into_iter().collect()).await?.pop();
        Ok(Self { notice: detail.as_ref().map(|detail| detail.text.clone()).unwrap_or_default(), detail })
    }
}

/// What is to be announced.
#[derive(Deserialize, ToSchema)]
struct PutRequest {
    /// The group.
    group_id: GroupRef,
    /// Who asks: the token's user; may be left out.
    executor_id: Option<UserRef>,
    /// The text: 5,000 characters at most. Empty: the announcement is taken away.
    #[schema(max_length = 5000)]
    new_notice: String,
    /// Whether members are asked to confirm it. Left out: as before where it is an edit, else no.
    must_confirm: Option<bool>,
    /// Whether the current announcement is changed: one's own stays with its confirmations, another's is replaced by a new
    /// post in its place. Left out, or false: a new one is made.
    edit: Option<bool>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// Announces something to a group, changes what is announced, or takes it away. The owner and the admins may. It is posted and
/// pinned.
#[utoipa::path(put, path = "/group/notice", tag = "group", request_body = PutRequest, security(("token" = [])),
    responses((status = 200, body = Reply<NoticeReply>), (status = "4XX", body = Failure)))]
async fn put(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<PutRequest>,
) -> Result<Reply<NoticeReply>, Refusal> {
    let Call { room, by } =
        calls.change(&session, request.executor_id.as_ref(), Rate::State, &request.group_id).await?;
    let new = NewNotice {
        text: request.new_notice,
        must_confirm: request.must_confirm,
        edit: request.edit.unwrap_or_default(),
    };
    let notice = calls.groups.announce(&room, &by, new).await?;
    Ok(Reply::new("update notice successfully", NoticeReply::of(&calls.store, notice).await?))
}

/// Which group's announcement is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GetRequest {
    /// The group.
    group_id: GroupRef,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    #[param(rename = "platform")]
    _platform: Option<i64>,
}

/// What is announced in a group; its members alone hear it, also who came later.
#[utoipa::path(get, path = "/group/notice", tag = "group", params(GetRequest), security(("token" = [])),
    responses((status = 200, body = Reply<NoticeReply>), (status = "4XX", body = Failure)))]
async fn get(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<GetRequest>,
) -> Result<Reply<NoticeReply>, Refusal> {
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let notice = calls.groups.notice(&room, &by).await?;
    Ok(Reply::new("load ok", NoticeReply::of(&calls.store, notice).await?))
}

/// Which page of a group's announcements is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryRequest {
    /// The group.
    group_id: GroupRef,
    /// The `notice_id` of the last entry of the page before.
    last_notice_id: Option<MessageRef>,
    /// How many at most: 20 if left out, at most 200.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A page of announcements.
#[derive(Serialize, ToSchema)]
struct History {
    /// They, the newest first; each change is an entry.
    detail: Vec<NoticeInfo>,
    /// Whether there are more.
    has_more: bool,
}

/// What was announced in a group, as far back as the member can read its history.
#[utoipa::path(get, path = "/group/notice/history", tag = "group", params(HistoryRequest), security(("token" = [])),
    responses((status = 200, body = Reply<History>), (status = "4XX", body = Failure)))]
async fn history(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<HistoryRequest>,
) -> Result<Reply<History>, Refusal> {
    let limit = page_size(request.page_size)?;
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let (found, has_more) = calls.groups.notices(&room, &by, request.last_notice_id, limit).await?;
    Ok(Reply::new("load ok", History { detail: NoticeInfo::all(&calls.store, found).await?, has_more }))
}

/// Which announcement is confirmed.
#[derive(Deserialize, ToSchema)]
struct ConfirmRequest {
    /// The group.
    group_id: GroupRef,
    /// Who confirms: the token's user; may be left out.
    user_id: Option<UserRef>,
    /// The post that the member has before them. If it is no longer the current announcement's, it is not confirmed. Left out:
    /// whatever is announced now.
    message_id: Option<MessageRef>,
    /// The platform's number; not used.
    #[serde(rename = "platform")]
    _platform: Option<i64>,
}

/// A confirmation.
#[derive(Serialize, ToSchema)]
struct Confirmed {
    /// The event that confirms it, signed by the member's server.
    event_id: String,
}

/// Confirms that one took note of the announcement. Once: a second time the first confirmation is answered.
#[utoipa::path(post, path = "/group/notice/confirm", tag = "group", request_body = ConfirmRequest,
    security(("token" = [])), responses((status = 200, body = Reply<Confirmed>), (status = "4XX", body = Failure)))]
async fn confirm(
    ActiveCaller(session): ActiveCaller,
    State(calls): State<GroupCalls>,
    Input(request): Input<ConfirmRequest>,
) -> Result<Reply<Confirmed>, Refusal> {
    let Call { room, by } = calls.change(&session, request.user_id.as_ref(), Rate::Message, &request.group_id).await?;
    let event_id = calls.groups.confirm(&room, &by, request.message_id).await?;
    Ok(Reply::new("confirm ok", Confirmed { event_id: event_id.to_string() }))
}

/// Which members are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReadersRequest {
    /// The group.
    group_id: GroupRef,
    /// Those who have read the announcement, or have not, have confirmed it, or have not.
    #[param(inline)]
    state: ReadState,
    /// The announcement's post; left out: the current one's.
    message_id: Option<MessageRef>,
    /// The `user_id` of the last member of the page before.
    last_user_id: Option<UserRef>,
    /// How many at most: 20 if left out, at most 200.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A member who has read or confirmed an announcement, or has not.
#[derive(Debug, Serialize, ToSchema)]
struct ReaderInfo {
    #[serde(flatten)]
    user: UserName,
    /// Their name in the group; empty if they have none.
    nickname: String,
    /// Where their avatar is; empty if they have none.
    avatar: String,
    /// When they read or confirmed it, in milliseconds; none for who has not.
    state_ts: Option<i64>,
}

impl From<Reader> for ReaderInfo {
    fn from(Reader { member, ts }: Reader) -> Self {
        Self {
            user: UserName::new(member.user, member.user_id.to_string()),
            nickname: member.nickname,
            avatar: member.avatar,
            state_ts: ts,
        }
    }
}

/// A page of members, and how many are what. The author of the announcement is left out of all.
#[derive(Serialize, ToSchema)]
struct Readers {
    /// The members, by number.
    detail: Vec<ReaderInfo>,
    /// Whether there are more.
    has_more: bool,
    /// Members in all.
    member_count: usize,
    /// Of them, those who have read it: by a public receipt, or by confirming it.
    read_count: usize,
    /// Those who have not.
    unread_count: usize,
    /// Those who have confirmed it.
    confirmed_count: usize,
    /// Those who have not.
    unconfirmed_count: usize,
}

/// Who has read or confirmed an announcement. The group's owner and admins hear it.
#[utoipa::path(get, path = "/group/notice/readers", tag = "group", params(ReadersRequest), security(("token" = [])),
    responses((status = 200, body = Reply<Readers>), (status = "4XX", body = Failure)))]
async fn readers(
    Caller(session): Caller,
    State(calls): State<GroupCalls>,
    Input(request): Input<ReadersRequest>,
) -> Result<Reply<Readers>, Refusal> {
    let limit = page_size(request.page_size)?;
    let Call { room, by } = calls.look(&session, &request.group_id).await?;
    let after = calls.cursor(request.last_user_id.as_ref()).await?;
    let filter = ReaderFilter { state: request.state, post: request.message_id, after, limit };
    let page = calls.groups.readers(&room, &by, filter).await?;
    let counts = page.counts;
    Ok(Reply::new(
        "load ok",
        Readers {
            detail: page.readers.into_iter().map(ReaderInfo::from).collect(),
            has_more: page.more,
            member_count: counts.members,
            read_count: counts.read,
            unread_count: counts.members - counts.read,
            confirmed_count: counts.confirmed,
            unconfirmed_count: counts.members - counts.confirmed,
        },
    ))
}
