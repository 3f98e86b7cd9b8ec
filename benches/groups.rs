//! What groups cost as they grow: making one, adding, listing, muting, announcing, handing on, dissolving.
//!
//! `cargo bench --bench groups -- 5000`; see benches/README.md. Requests go through the router, without sockets.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use linkim::{
    app::App,
    config::Config,
    ops::data_dir,
    store::{Store, StoreError, accounts, accounts::AccountKind, groups, ids},
};
use ruma::{UserId, server_name};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Users in one call at most.
const AT_ONCE: usize = 1_000;

/// Requests over which a time is taken, where one changes nothing.
const TIMES: usize = 50;

#[derive(Clone)]
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

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
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
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{method} {path}: {answer}");
        answer
    }

    /// A message in another room, and how long it took.
    async fn says(&self, room: &str, transaction: &str) -> Duration {
        let start = Instant::now();
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{transaction}");
        let body = json!({ "msgtype": "m.text", "body": "a message of a length that people write" });
        self.call("PUT", &path, Some(body)).await;
        start.elapsed()
    }
}

fn main() {
    let members = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(5_000);
    // As the server's (main.rs).
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(measure(members));
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in parentheses; the 14th and 15th fields of proc(5), in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// How long something takes, and the CPU that it costs.
async fn timed<T>(what: &str, does: impl Future<Output = T>) -> T {
    let (start, before) = (Instant::now(), cpu());
    let out = does.await;
    println!("{what}: {:.0} ms, CPU {} ms", start.elapsed().as_secs_f64() * 1_000.0, (cpu() - before).as_millis());
    out
}

async fn measure(members: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
    config.registration.open = true;
    config.rate_limits.enabled = false;
    let lock = data_dir::hold(&config.data_dir).unwrap();
    let app = App::start(Arc::new(config), lock).await.unwrap();
    let router = app.router();
    let (owner, next) = (User::register(&router, "owner").await, User::register(&router, "next").await);
    let people = accounts(app.store(), members.saturating_sub(2)).await;
    let group = grow(&owner, &next, &people).await;
    look(&owner, &group).await;
    change(&owner, &next, &group).await;
    dissolve(app.store(), &owner, &next, &group).await;
    app.stop().await;
}

/// Accounts that nobody logs in to: a password would cost more than all that is measured.
async fn accounts(store: &Store, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("@member{number}:a.example")).collect();
    for names in names.chunks(AT_ONCE) {
        let names = names.to_vec();
        let made = store.write::<_, StoreError, _>(move |tx| {
            for name in &names {
                let user = ids::intern_user(tx, <&UserId>::try_from(name.as_str()).unwrap())?;
                accounts::insert(tx, user, AccountKind::Person, None, false, 0)?;
            }
            Ok(())
        });
        made.await.unwrap();
    }
    names
}

/// Makes a group and adds all; gives its id.
async fn grow(owner: &User, next: &User, people: &[String]) -> String {
    let (first, rest) = people.split_at(people.len().min(AT_ONCE - 1));
    let first: Vec<&str> = first.iter().map(String::as_str).chain([&*next.id]).collect();
    let body = json!({ "user_ids": first, "group_name": "Everybody" });
    let what = format!("making a group of {}", first.len() + 1);
    let made = timed(&what, owner.call("POST", "/group/create", Some(body))).await;
    let id = made["groupID"].as_str().unwrap().to_owned();
    for users in rest.chunks(AT_ONCE) {
        let body = json!({ "group_id": id, "user_ids": users });
        let added = timed(&format!("adding {}", users.len()), owner.call("POST", "/group/invite", Some(body))).await;
        assert_eq!(added["added"].as_array().unwrap().len(), users.len());
    }
    id
}

async fn look(owner: &User, group: &str) {
    for (what, path) in [
        ("what the group is like", format!("/group/info?group_id={group}")),
        ("a page of 200 members", format!("/group/members?group_id={group}&page_size=200")),
        ("the admins", format!("/group/members?group_id={group}&role=admin")),
        ("a name that nobody has", format!("/group/members?group_id={group}&keyword=nobody")),
        ("the avatar", format!("/group/avatar?group_id={group}")),
    ] {
        many(what, || owner.call("GET", &path, None)).await;
    }
    let path = format!("/group/members?group_id={group}&page_size=200");
    timed("all members, page by page", async {
        let (mut next, mut count) = (String::new(), 0);
        loop {
            let page = owner.call("GET", &format!("{path}{next}"), None).await;
            count += page["detail"].as_array().unwrap().len();
            let Some(last) = page["next"].as_i64() else { break };
            next = format!("&last_user_id={last}");
        }
        println!("{count} members");
    })
    .await;
}

async fn change(owner: &User, next: &User, group: &str) {
    for mute in [true, false] {
        let body = json!({ "group_id": group, "mute": mute });
        timed(&format!("mute all: {mute}"), owner.call("PUT", "/group/mute/all", Some(body))).await;
    }
    let about = json!({ "group_id": group, "user_id": next.id, "seconds": 600 });
    timed("muting a member", owner.call("PUT", "/group/mute/member", Some(about.clone()))).await;
    let body = json!({ "group_id": group, "text": "a message of a length that people write" });
    many("a message", || owner.call("POST", "/message/group/send", Some(body.clone()))).await;
    let notice = json!({ "group_id": group, "new_notice": "Read this", "must_confirm": true });
    timed("announcing", owner.call("PUT", "/group/notice", Some(notice))).await;
    next.call("POST", "/group/notice/confirm", Some(json!({ "group_id": group }))).await;
    for state in ["unread", "confirmed"] {
        let path = format!("/group/notice/readers?group_id={group}&state={state}&page_size=200");
        many(&format!("who has {state} it"), || owner.call("GET", &path, None)).await;
    }
    timed("handing it on", owner.call("PUT", "/group/promote/owner", Some(about.clone()))).await;
    let back = json!({ "group_id": group, "user_id": owner.id });
    next.call("PUT", "/group/promote/owner", Some(back)).await;
}

/// Dissolves it; meanwhile somebody writes in another room.
async fn dissolve(store: &Store, owner: &User, next: &User, group: &str) {
    let room = next.call("POST", "/_matrix/client/v3/createRoom", Some(json!({}))).await["room_id"].clone();
    let room = room.as_str().unwrap().replace('!', "%21");
    let mut alone = Vec::new();
    for n in 0..TIMES {
        alone.push(next.says(&room, &format!("alone{n}")).await);
    }
    let start = Instant::now();
    let before = cpu();
    let body = json!({ "group_id": group });
    timed("dissolving, until it is answered", owner.call("DELETE", "/group/dissolve", Some(body))).await;
    let mut beside = Vec::new();
    while !store.read::<_, StoreError, _>(|read| groups::dissolutions(read)).await.unwrap().is_empty() {
        beside.push(next.says(&room, &format!("beside{}", beside.len())).await);
    }
    println!("until all are out: {:.1} s, CPU {} ms", start.elapsed().as_secs_f64(), (cpu() - before).as_millis());
    print("a message in another room before", alone);
    print("a message in another room meanwhile", beside);
}

async fn many<F: Future<Output = Value>>(what: &str, mut does: impl FnMut() -> F) {
    let before = cpu();
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        does().await;
        times.push(start.elapsed());
    }
    println!("CPU {:.1} ms", (cpu() - before).as_secs_f64() * 1_000.0 / TIMES as f64);
    print(what, times);
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1_000.0;
    println!("{what}: median {:.2} ms, p95 {:.2} ms, longest {:.2} ms", at(50), at(95), at(100));
}
