//! The messages, with the field numbers of `spec/grpc/`.

/// Whom to describe.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetUserInfosRequest {
    #[prost(int64, repeated, tag = "1")]
    pub(super) user_ids: Vec<i64>,
}

/// Those who exist, in the order asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetUserInfosResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) users: Vec<UserInfo>,
}

/// A user.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UserInfo {
    #[prost(int64, tag = "1")]
    pub(super) user_id: i64,
    #[prost(string, tag = "2")]
    pub(super) nickname: String,
    #[prost(string, tag = "3")]
    pub(super) avatar: String,
}

/// Whose members are asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListGroupMembersRequest {
    #[prost(string, tag = "1")]
    pub(super) group_id: String,
}

/// The members, the first to join first.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListGroupMembersResponse {
    #[prost(string, tag = "1")]
    pub(super) group_id: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) members: Vec<GroupMember>,
}

/// What somebody is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Role {
    Unspecified = 0,
    Member = 1,
    Admin = 2,
    Owner = 3,
}

/// A member.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GroupMember {
    #[prost(int64, tag = "1")]
    pub(super) user_id: i64,
    #[prost(enumeration = "Role", tag = "2")]
    pub(super) role: i32,
    #[prost(string, tag = "3")]
    pub(super) nickname: String,
    #[prost(string, tag = "4")]
    pub(super) join_time: String,
}

/// Which groups to describe.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListGroupInfosRequest {
    #[prost(string, repeated, tag = "1")]
    pub(super) group_id: Vec<String>,
}

/// Those that exist, in the order asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListGroupInfosResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) groups: Vec<GroupInfo>,
}

/// A group.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GroupInfo {
    #[prost(string, tag = "1")]
    pub(super) group_id: String,
    #[prost(string, tag = "2")]
    pub(super) group_name: String,
    #[prost(string, tag = "3")]
    pub(super) avatar: String,
}
