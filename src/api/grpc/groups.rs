//! `group.GroupService/ListGroupMembers` and `group.GroupService/ListGroupInfos`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use tonic::Status;
use tower::service_fn;
use uuid::Uuid;

use super::{
    GrpcState, MAX_NAMES,
    messages::{
        GroupInfo, GroupMember, ListGroupInfosRequest, ListGroupInfosResponse, ListGroupMembersRequest,
        ListGroupMembersResponse, Role,
    },
    unary,
};
use crate::{
    api::linkim::time::rfc3339,
    groups::{self, Member, MemberFilter},
    numbers::{GroupId, GroupRef},
    store::{StoreError, ids::RoomKey},
};

/// Members of a group at most, for the list of all of them to be given.
const MAX_MEMBERS: usize = 10_000;

/// Members read at once.
const PAGE: usize = 1_000;

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no such group")]
    NoGroup,
    #[error("the group has more than {MAX_MEMBERS} members")]
    TooLarge,
    #[error("more than {MAX_NAMES} groups are asked for")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::NoGroup => Self::not_found(error.to_string()),
            Error::TooLarge => Self::resource_exhausted(error.to_string()),
            Error::TooMany => Self::invalid_argument(error.to_string()),
            Error::Store(error) => super::failed(error),
        }
    }
}

/// The members of one group.
pub(super) async fn list_group_members(State(state): State<GrpcState>, request: Request) -> Response {
    let service = service_fn(move |request: tonic::Request<ListGroupMembersRequest>| {
        let state = state.clone();
        async move { Ok(tonic::Response::new(members(&state, request.into_inner().group_id).await?)) }
    });
    unary(service, request).await
}

/// Names and avatars of groups. Those that do not exist are left out.
pub(super) async fn list_group_infos(State(state): State<GrpcState>, request: Request) -> Response {
    let service = service_fn(move |request: tonic::Request<ListGroupInfosRequest>| {
        let state = state.clone();
        async move { Ok(tonic::Response::new(infos(&state, request.into_inner().group_id).await?)) }
    });
    unary(service, request).await
}

/// The room of a group; None if there is no such group.
async fn room(state: &GrpcState, group_id: &str) -> Result<Option<Arc<RoomKey>>, StoreError> {
    match Uuid::try_parse(group_id) {
        Ok(id) => state.numbers.group(&GroupRef::Uuid(GroupId(id))).await,
        Err(_) => Ok(None),
    }
}

async fn members(state: &GrpcState, group_id: String) -> Result<ListGroupMembersResponse, Error> {
    let room = room(state, &group_id).await?.ok_or(Error::NoGroup)?;
    let mut members = Vec::new();
    let mut filter = MemberFilter { limit: PAGE, ..MemberFilter::default() };
    loop {
        let page = state.groups.members_for_services(&room, filter.clone()).await?;
        members.extend(page.members);
        if members.len() > MAX_MEMBERS {
            return Err(Error::TooLarge);
        }
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    members.sort_by_key(|member| (member.joined_ts, member.user));
    Ok(ListGroupMembersResponse { group_id, members: members.into_iter().map(GroupMember::from).collect() })
}

impl From<Member> for GroupMember {
    fn from(member: Member) -> Self {
        let role = match member.role {
            groups::Role::Member => Role::Member,
            groups::Role::Admin => Role::Admin,
            groups::Role::Owner => Role::Owner,
        };
        Self {
            user_id: member.user.0,
            role: role.into(),
            nickname: member.nickname,
            join_time: rfc3339(member.joined_ts),
        }
    }
}

async fn infos(state: &GrpcState, wanted: Vec<String>) -> Result<ListGroupInfosResponse, Error> {
    if wanted.len() > MAX_NAMES {
        return Err(Error::TooMany);
    }
    let (mut ids, mut rooms) = (Vec::new(), Vec::new());
    for group_id in wanted {
        if let Some(room) = room(state, &group_id).await? {
            ids.push(group_id);
            rooms.push(room);
        }
    }
    let looks = state.groups.looks(rooms).await?;
    let groups = ids.into_iter().zip(looks);
    let groups = groups.map(|(group_id, (group_name, avatar))| GroupInfo { group_id, group_name, avatar }).collect();
    Ok(ListGroupInfosResponse { groups })
}
