//! What LinkIM's API costs: the list of an account with 2,000 rooms, a message beside Matrix's own send, and who has read the
//! announcement of a group of 5,000.
//!
//! `cargo bench --bench conversations -- 2000`; see benches/README.md. Requests go through the router, without sockets.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, FromRef},
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use linkim::{
    accounts::Session,
    app::App,
    config::Config,
    conversations::MarkRead,
    groups::{Actor, Groups},
    numbers::{GroupRef, Numbers},
    ops::data_dir,
    params,
    store::{
        StoreError,
        ids::{self, DeviceNid},
    },
};
use ruma::{UserId, server_name};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Requests over which a time is taken.
const TIMES: usize = 200;

/// Members of the group whose announcement is read.
const MEMBERS: usize = 5_000;

/// Users whom one call may add.
const AT_ONCE: usize = 1_000;

struct User {
    router: Router,
    token: String,
    id: String,
}

impl User {
    async fn register(router: &Router, name: &str) -> Self {
        let mut user = Self { router: router.clone(), token: String::new(), id: String::new() };
        let body = json!({ "username": name, "password": "correct horse", "auth": { "type": "m.login.dummy" } });
        let answer = user.call("POST", "/_matrix/client/v3/register", Some(body)).await;
        user.token = answer["access_token"].as_str().unwrap().to_owned();
        user.id = answer["user_id"].as_str().unwrap().to_owned();
        user
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))))
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::OK, "{method} {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

fn main() {
    let rooms = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(2_000);
    // As the server's (main.rs).
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(measure(rooms));
}

async fn measure(rooms: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
    config.registration.open = true;
    config.rate_limits.enabled = false;
    let lock = data_dir::hold(&config.data_dir).unwrap();
    let app = App::start(Arc::new(config), lock).await.unwrap();
    let router = app.router();
    let (alice, bob) = (User::register(&router, "alice").await, User::register(&router, "bob").await);
    let rooms = build(&alice, &bob, rooms).await;
    lists(&alice, &bob, &rooms).await;
    sends(&alice, &bob).await;
    readers(&app, &alice).await;
    app.stop().await;
}

/// Rooms of the two, each with messages by the other.
async fn build(alice: &User, bob: &User, rooms: usize) -> Vec<String> {
    let start = Instant::now();
    let mut made = Vec::with_capacity(rooms);
    for n in 0..rooms {
        let body = json!({ "name": format!("Room {n}"), "preset": "public_chat" });
        let room = alice.call("POST", "/_matrix/client/v3/createRoom", Some(body)).await["room_id"].clone();
        let room = room.as_str().unwrap().replace('!', "%21");
        bob.call("POST", &format!("/_matrix/client/v3/rooms/{room}/join"), Some(json!({}))).await;
        for n in 0..3 {
            say(bob, &room, &format!("b{n}")).await;
        }
        made.push(room);
    }
    println!("{rooms} rooms made in {:.1} s", start.elapsed().as_secs_f64());
    made
}

async fn say(user: &User, room: &str, transaction: &str) {
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{transaction}");
    let body = json!({ "msgtype": "m.text", "body": "a message of a length that people write" });
    user.call("PUT", &path, Some(body)).await;
}

async fn lists(alice: &User, bob: &User, rooms: &[String]) {
    let first = alice.call("GET", "/conversations?page_size=1", None).await;
    let since = format!("/conversations?since={}", first["position"].as_str().unwrap());
    for room in rooms.iter().take(3) {
        say(bob, room, "since").await;
    }
    let sizes =
        [("first page, 20", "/conversations?page_size=20"), ("first page, 200", "/conversations?page_size=200")];
    for (what, path) in sizes.into_iter().chain([("incremental, 3 changed", since.as_str())]) {
        time(alice, what, path).await;
    }
}

/// How long a list takes.
async fn time(user: &User, what: &str, path: &str) {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        let list = user.call("GET", path, None).await;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        assert!(!list["detail"].as_array().unwrap().is_empty());
    }
    print(what, times);
}

/// Accounts without passwords: hashing them would be all that takes time.
async fn people(app: &App, count: usize) -> Vec<Session> {
    let write = app.store().write::<_, StoreError, _>(move |tx| {
        let person = |number: usize| {
            let user_id = UserId::parse(format!("@person-{number}:a.example")).unwrap();
            let user = ids::intern_user(tx, &user_id)?;
            tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0)", params![user])?;
            Ok(Session {
                user,
                user_id,
                device: DeviceNid(user.0),
                device_id: "DEVICE".into(),
                token: user.0,
                guest: false,
                admin: false,
                suspended: false,
            })
        };
        (0..count).map(person).collect()
    });
    write.await.unwrap()
}

/// A group of all of them, its announcement, which half have read and a quarter have confirmed, and the lists of who has and
/// who has not.
async fn readers(app: &App, alice: &User) {
    let people = people(app, MEMBERS - 1).await;
    let start = Instant::now();
    let names: Vec<i64> = people.iter().map(|person| person.user.0).collect();
    let (first, rest) = names.split_at(AT_ONCE.min(names.len()));
    let body = json!({ "group_name": "Everybody", "user_ids": first });
    let group = alice.call("POST", "/group/create", Some(body)).await["groupID"].as_str().unwrap().to_owned();
    for some in rest.chunks(AT_ONCE) {
        let body = json!({ "group_id": group, "user_ids": some });
        alice.call("POST", "/group/invite", Some(body)).await;
    }
    println!("a group of {MEMBERS} made in {:.1} s", start.elapsed().as_secs_f64());

    let body = json!({ "group_id": group, "new_notice": "The office is closed on Monday", "must_confirm": true });
    alice.call("PUT", "/group/notice", Some(body)).await;
    let named: GroupRef = serde_json::from_value(json!(group)).unwrap();
    let room = Arc::<Numbers>::from_ref(app.linkim()).group(&named).await.unwrap().unwrap();
    let (groups, mark) = (Arc::<Groups>::from_ref(app.linkim()), Arc::<MarkRead>::from_ref(app.linkim()));
    let start = Instant::now();
    for (number, person) in people.iter().enumerate() {
        match number % 4 {
            0 => mark.mark(person, &room, None).await.unwrap(),
            1 => drop(groups.confirm(&room, &Actor::from(person), None).await.unwrap()),
            _ => {}
        }
    }
    println!("read or confirmed by half of them in {:.1} s", start.elapsed().as_secs_f64());
    for state in ["read", "unread", "confirmed", "unconfirmed"] {
        let path = format!("/group/notice/readers?group_id={group}&state={state}");
        time(alice, &format!("{state}, first page, 20"), &path).await;
        time(alice, &format!("{state}, first page, 200"), &(path + "&page_size=200")).await;
    }
}

/// The two in turns, so that both meet the same machine.
async fn sends(alice: &User, bob: &User) {
    let body = json!({ "the_other_person_id": bob.id, "text": "a message of a length that people write" });
    let first = alice.call("POST", "/message/send", Some(body.clone())).await;
    let room = first["room_id"].as_str().unwrap().replace('!', "%21");
    let (mut matrix, mut linkim) = (Vec::new(), Vec::new());
    for n in 0..TIMES * 2 {
        let start = Instant::now();
        say(alice, &room, &format!("s{n}")).await;
        matrix.push(start.elapsed().as_secs_f64() * 1000.0);
        let start = Instant::now();
        alice.call("POST", "/message/send", Some(body.clone())).await;
        linkim.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    print("Matrix's send", matrix);
    print("/message/send", linkim);
}

fn print(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{what}: median {:.2} ms, p95 {:.2} ms", at(50), at(95));
}
