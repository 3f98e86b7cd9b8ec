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
