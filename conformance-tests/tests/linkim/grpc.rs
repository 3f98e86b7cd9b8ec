//! The gRPC services, with the messages of `spec/grpc/` by their field numbers.

use bytes::{BufMut as _, Bytes, BytesMut};
use conformance_tests::{Client, Options, Server, path};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::json;

use crate::groups::{group, people};

const TOKEN: &str = "of the back ends";

/// The codes of gRPC.
const INVALID_ARGUMENT: u32 = 3;
const NOT_FOUND: u32 = 5;
const RESOURCE_EXHAUSTED: u32 = 8;
const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAUTHENTICATED: u32 = 16;

const USERS: &str = "/user.UserService/GetUserInfos";
const MEMBERS: &str = "/group.GroupService/ListGroupMembers";
const GROUPS: &str = "/group.GroupService/ListGroupInfos";

#[derive(Clone, PartialEq, Message)]
struct UserIds {
    #[prost(int64, repeated, tag = "1")]
    user_ids: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Users {
    #[prost(message, repeated, tag = "1")]
    users: Vec<User>,
}

#[derive(Clone, PartialEq, Message)]
struct User {
    #[prost(int64, tag = "1")]
    user_id: i64,
    #[prost(string, tag = "2")]
    nickname: String,
    #[prost(string, tag = "3")]
    avatar: String,
}

#[derive(Clone, PartialEq, Message)]
struct GroupId {
    #[prost(string, tag = "1")]
    group_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Members {
    #[prost(string, tag = "1")]
    group_id: String,
    #[prost(message, repeated, tag = "2")]
    members: Vec<Member>,
}

#[derive(Clone, PartialEq, Message)]
struct Member {
    #[prost(int64, tag = "1")]
    user_id: i64,
    #[prost(int32, tag = "2")]
    role: i32,
    #[prost(string, tag = "3")]
    nickname: String,
    #[prost(string, tag = "4")]
    join_time: String,
}

#[derive(Clone, PartialEq, Message)]
struct GroupIds {
    #[prost(string, repeated, tag = "1")]
    group_id: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Groups {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<Group>,
}

#[derive(Clone, PartialEq, Message)]
struct Group {
    #[prost(string, tag = "1")]
    group_id: String,
    #[prost(string, tag = "2")]
    group_name: String,
    #[prost(string, tag = "3")]
    avatar: String,
}

fn server() -> Server {
    let environment = [("LINKIM_LISTEN__GRPC", "127.0.0.1:0"), ("LINKIM_LINKIM__GRPC_TOKEN", TOKEN)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Server::start(Options { environment: environment.into(), ..Options::default() })
}

/// One call over a connection of its own: the answer, or the code of the failure.
async fn call<A: Message + Default>(
    server: &Server,
    authorization: Option<&str>,
    path: &str,
    message: &[u8],
) -> Result<A, u32> {
    let base = server.grpc.as_deref().expect("a gRPC listener");
    let stream = tokio::net::TcpStream::connect(base.trim_start_matches("http://")).await.expect("a connection");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    // A message is preceded by whether it is compressed, and its length.
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.len().try_into().expect("a short message"));
    body.put_slice(message);
    let mut request =
        Request::post(format!("{base}{path}")).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Full::<Bytes>::from(body.freeze())).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (hyper::StatusCode::OK, &"application/grpc".parse().expect("a value"))
    );
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a whole answer");
    connection.abort();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status")).expect("a status");
    match status.to_str().expect("text").parse().expect("a number") {
        0 => Ok(A::decode(&body.to_bytes()[5..]).expect("a message")),
        code => Err(code),
    }
}

/// A call by who knows the token.
async fn asked<A: Message + Default>(server: &Server, path: &str, message: &impl Message) -> Result<A, u32> {
    call(server, Some(&format!("Bearer {TOKEN}")), path, &message.encode_to_vec()).await
}

async fn members(server: &Server, group_id: &str) -> Result<Members, u32> {
    asked(server, MEMBERS, &GroupId { group_id: group_id.to_owned() }).await
}

#[tokio::test]
async fn weakness_05_only_who_knows_the_token_is_answered() {
    let server = server();
    for authorization in
        [None, Some("Bearer"), Some("Bearer "), Some("Bearer wrong"), Some(TOKEN), Some("Basic b2Y6dGhl")]
    {
        for path in [USERS, MEMBERS, GROUPS, "/group.GroupService/Other"] {
            let refused = call::<Users>(&server, authorization, path, &[]).await;
            assert_eq!(refused, Err(UNAUTHENTICATED), "{authorization:?} {path}");
        }
    }
    assert_eq!(asked::<Users>(&server, USERS, &UserIds::default()).await, Ok(Users::default()));
    assert_eq!(asked::<Users>(&server, "/group.GroupService/Other", &UserIds::default()).await, Err(UNIMPLEMENTED));
    // An access token is for people.
    let alice = server.register("alice").await;
    let theirs = call::<Users>(&server, Some(&format!("Bearer {}", alice.access_token)), USERS, &[]).await;
    assert_eq!(theirs, Err(UNAUTHENTICATED));
}

#[tokio::test]
async fn users_are_in_the_order_asked_for_and_the_unknown_left_out() {
    let server = server();
    let [alice, bob] = people(&server, ["alice", "bob"]).await;
    alice.put("/account/nickname", json!({ "nickname": "Alice A." })).await.done();
    alice.put("/account/profile", json!({ "profileUrl": "mxc://a.example/alice" })).await.done();
    let (a, b) = (alice.number().await, bob.number().await);
    let wanted = UserIds { user_ids: vec![b, 9_007_199_254_740_991, a, -1, b] };
    let users: Users = asked(&server, USERS, &wanted).await.expect("users");
    assert_eq!(users.users.iter().map(|user| user.user_id).collect::<Vec<_>>(), [b, a, b]);
    assert_eq!((&*users.users[1].nickname, &*users.users[1].avatar), ("Alice A.", "mxc://a.example/alice"));
    assert_eq!(users.users[0].avatar, "");
    let many = UserIds { user_ids: vec![a; 1000] };
    assert_eq!(asked::<Users>(&server, USERS, &many).await.expect("users").users.len(), 1000);
    let too_many = UserIds { user_ids: vec![a; 1001] };
    assert_eq!(asked::<Users>(&server, USERS, &too_many).await, Err(INVALID_ARGUMENT));
    // More bytes than a request may have.
    let too_long = GroupIds { group_id: vec!["x".repeat(256 * 1024)] };
    let refused = asked::<Groups>(&server, GROUPS, &too_long).await;
    assert!(matches!(refused, Err(RESOURCE_EXHAUSTED | OUT_OF_RANGE)), "{refused:?}");
    assert_eq!(call::<Users>(&server, Some(&format!("Bearer {TOKEN}")), USERS, &[0xff]).await, Err(INTERNAL));
}

#[tokio::test]
async fn members_have_roles_names_and_the_time_of_their_joining() {
    let server = server();
    let [alice, bob, carol, dave] = people(&server, ["alice", "bob", "carol", "dave"]).await;
    let before = now_ms();
    let made = group(&alice, &[&carol, &dave]).await;
    alice.post("/group/invite", json!({ "group_id": made.id, "user_ids": [bob.user_id] })).await.done();
    let promoted = json!({ "group_id": made.id, "user_id": carol.user_id });
    alice.put("/group/promote/admin", promoted).await.done();
    bob.put("/group/nickname", json!({ "group_id": made.id, "new_name": "Bobby" })).await.done();
    let answer = members(&server, &made.id).await.expect("members");
    assert_eq!(answer.group_id, made.id);
    let role = |user: i64| answer.members.iter().find(|member| member.user_id == user).map(|member| member.role);
    assert_eq!(answer.members.len(), 4, "the server's own user is none: {answer:?}");
    let (a, b, c, d) = (alice.number().await, bob.number().await, carol.number().await, dave.number().await);
    assert_eq!([role(a), role(b), role(c), role(d)], [Some(3), Some(1), Some(2), Some(1)]);
    // Bob came last, though others' numbers are higher.
    let last = answer.members.last().expect("a member");
    assert_eq!((last.user_id, &*last.nickname), (b, "Bobby"));
    let times: Vec<&str> = answer.members.iter().map(|member| &*member.join_time).collect();
    assert!(times.is_sorted(), "{times:?}");
    let shown = alice.get(&path!("/group/members?group_id={}", made.id)).await.done();
    let shown = shown["detail"].as_array().expect("a list");
    for member in &answer.members {
        let same = shown.iter().find(|one| one["user_id"] == member.user_id).expect("the same member");
        let ms = ms_of(&member.join_time);
        assert_eq!(same["joined_ts"], ms, "{member:?}");
        assert!((before..=now_ms()).contains(&ms), "{member:?}");
    }
}

#[tokio::test]
async fn weakness_11_a_group_of_one_or_two_has_its_members() {
    let server = server();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let made = group(&alice, &[&bob, &carol]).await;
    let leave = async |who: &Client| who.post("/group/leave", json!({ "group_id": made.id })).await.done();
    leave(&carol).await;
    let numbers = async || {
        let answer = members(&server, &made.id).await.expect("members");
        let mut numbers: Vec<i64> = answer.members.iter().map(|member| member.user_id).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut both = vec![alice.number().await, bob.number().await];
    both.sort_unstable();
    assert_eq!(numbers().await, both);
    leave(&bob).await;
    assert_eq!(numbers().await, [alice.number().await]);
    for unknown in ["", "x", "01890a5d-ac96-774b-bcce-b302099a8057", &*made.room] {
        assert_eq!(members(&server, unknown).await, Err(NOT_FOUND), "{unknown}");
    }
}

#[tokio::test]
async fn groups_are_in_the_order_asked_for_and_the_unknown_left_out() {
    let server = server();
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]).await;
    let one = group(&alice, &[&bob, &carol]).await.id;
    let other = group(&bob, &[&alice, &carol]).await.id;
    alice.put("/group/name", json!({ "group_id": one, "new_name": "One" })).await.done();
    alice.put("/group/avatar", json!({ "group_id": one, "avatar": "mxc://a.example/one" })).await.done();
    let wanted = GroupIds {
        group_id: vec![other.clone(), "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(), one.clone(), String::new()],
    };
    let answer: Groups = asked(&server, GROUPS, &wanted).await.expect("groups");
    let shown = |group_id, group_name: &str, avatar: &str| Group {
        group_id,
        group_name: group_name.to_owned(),
        avatar: avatar.to_owned(),
    };
    assert_eq!(answer.groups, [shown(other, "Team", ""), shown(one.clone(), "One", "mxc://a.example/one")]);
    let too_many = GroupIds { group_id: vec![one; 1001] };
    assert_eq!(asked::<Groups>(&server, GROUPS, &too_many).await, Err(INVALID_ARGUMENT));
}

fn now_ms() -> i64 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis().try_into().expect("in range")
}

/// The milliseconds since 1970 of a time in UTC, as RFC 3339 has it.
fn ms_of(text: &str) -> i64 {
    let output = std::process::Command::new("date").args(["--utc", "+%s%3N", "--date", text]).output().expect("date");
    assert!(output.status.success() && text.ends_with('Z'), "{text}");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}
