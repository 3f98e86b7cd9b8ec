//! What a room with many local members costs: what a message and a state change write, and what reading takes.
//!
//! `cargo bench --bench large_room -- 2 100 10000`; see benches/README.md.

mod measure;
mod server;
mod storage;

use std::{sync::Arc, time::Duration};

use linkim::{
    rooms::{
        access::OpenRoom,
        client_event::Shape,
        event_filter::RoomEventFilter,
        state_view::{self, Members},
        timeline::{self, Asked, Direction},
    },
    store::{StoreError, ids::RoomKey, members::Membership},
    sync::v3::SyncRequest,
};

use self::{
    measure::{Cpu, per},
    server::{Counted, Server, viewer},
    storage::Storage,
};

/// Messages and state changes over which a cost is averaged.
const TIMES: usize = 500;

fn main() {
    let mut sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![2, 100, 10_000];
    }
    // As the server's (main.rs).
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for size in sizes {
        runtime.block_on(one_size(size));
    }
}

async fn one_size(members: usize) {
    println!("== {members} local members");
    let server = Server::new();
    let room = build(&server, members).await;
    writes(&server, &room).await;
    waking(&server, &room).await;
    reads(&server, &room, members).await;
    old_states(&server, &room).await;
    syncs(&server, &room, members).await;
    everybody_polls(&server, &room, members).await;
}

/// The accounts and their joins.
async fn build(server: &Server, members: usize) -> Arc<RoomKey> {
    let cpu = Cpu::now();
    server.accounts(members).await;
    cpu.print("accounts written, each", members);
    let room = server.room().await;
    let before = Storage::of(server.store.path());
    let cpu = Cpu::now();
    for first in (1..members).step_by(100) {
        server.join(&room, first..members.min(first + 100)).await;
    }
    cpu.print("joins in batches of 100, each", members - 1);
    Storage::of(server.store.path()).print_growth("a join", &before, members - 1);
    room
}

/// What messages and state changes write.
async fn writes(server: &Server, room: &RoomKey) {
    // The sender's first message in a room writes how far they have read; the others move it.
    server.say(room, 0, "first").await;
    for (what, is_state) in [("state change", true), ("message", false)] {
        let before = Storage::of(server.store.path());
        let cpu = Cpu::now();
        for n in 0..TIMES {
            match is_state {
                true => server.topic(room, &format!("topic {n}")).await,
                false => server.say(room, 0, &format!("message {n} of a length that people write")).await,
            }
        }
        cpu.print(&format!("a {what}, alone in its commit"), TIMES);
        Storage::of(server.store.path()).print_growth(&format!("a {what}"), &before, TIMES);
    }
}

/// The first message of a room whose appender sleeps.
async fn waking(server: &Server, room: &RoomKey) {
    let times = 10;
    let cpu = Cpu::now();
    for _ in 0..times {
        server.with_appenders_asleep().say(room, 0, "good morning").await;
    }
    cpu.print("a message that wakes the room's appender", times);
}

/// The look-ups of the client-server API, on one thread.
async fn reads(server: &Server, room: &Arc<RoomKey>, members: usize) {
    type Look = fn(&mut OpenRoom<'_>) -> usize;
    let looks: [(&str, Look); 5] = [
        ("/state", |open| state_view::all(open).unwrap().len()),
        ("/members", |open| state_view::members(open, Members::default(), None).unwrap().len()),
        ("/members?membership=join", |open| {
            let asked = Members { membership: Some(Membership::Join), not_membership: None };
            state_view::members(open, asked, None).unwrap().len()
        }),
        ("/joined_members", |open| state_view::joined_members(open).unwrap().len()),
        ("/messages, 100 of them", |open| page(open)),
    ];
    let times = if members > 1_000 { 5 } else { 200 };
    for (what, look) in looks {
        let (viewer, room_id) = (viewer(&server.session(0)), room.room_id.clone());
        let line = server
            .store
            .read::<_, StoreError, _>(move |snapshot| {
                let mut bytes = 0;
                let mut run = |counted: &Counted<'_>| {
                    let mut open = OpenRoom::open(counted, &room_id, Shape::ClientWithRoom, &viewer).unwrap();
                    bytes = look(&mut open);
                };
                run(&Counted::new(snapshot));
                let counted = Counted::new(snapshot);
                let cpu = Cpu::now();
                for _ in 0..times {
                    run(&counted);
                }
                Ok(format!("{} ({} statements, {bytes} bytes)", cpu.line(what, times), counted.statements() / times))
            })
            .await
            .unwrap();
        println!("{line}");
    }
}

fn page(open: &mut OpenRoom<'_>) -> usize {
    let asked = Asked {
        from: None,
        to: None,
        direction: Direction::Backwards,
        limit: 100,
        filter: RoomEventFilter::default(),
        pause: None,
    };
    timeline::page(open, &asked).unwrap().chunk.len()
}

/// The state as it was before the newest changes.
async fn old_states(server: &Server, room: &Arc<RoomKey>) {
    let at = server.store.position() - 50;
    let line = room.main_line;
    let cpu = Cpu::now();
    let keys = server
        .store
        .read::<_, StoreError, _>(move |snapshot| {
            let state = linkim::store::events::StateRef { line, epoch: at };
            Ok(linkim::store::state::full(snapshot, state)?.len())
        })
        .await
        .unwrap();
    cpu.print(&format!("the numbers of an old state of {keys} keys"), 1);
    let (viewer, room_id) = (viewer(&server.session(0)), room.room_id.clone());
    let cpu = Cpu::now();
    server
        .store
        .read::<_, StoreError, _>(move |snapshot| {
            let mut open = OpenRoom::open(snapshot, &room_id, Shape::ClientWithRoom, &viewer).unwrap();
            let at = linkim::rooms::page_token::PageToken::Sync(at);
            state_view::members(&mut open, Members::default(), Some(at))?;
            Ok(())
        })
        .await
        .unwrap();
    cpu.print("/members?at=, some changes ago", 1);
}

async fn syncs(server: &Server, room: &RoomKey, members: usize) {
    let lazy = r#"{"room":{"state":{"lazy_load_members":true}}}"#;
    for (what, filter) in [("initial sync, lazy", Some(lazy)), ("initial sync, all members", None)] {
        let times = if filter.is_none() && members > 1_000 { 5 } else { 50 };
        let request = || SyncRequest { filter: filter.map(str::to_owned), ..SyncRequest::default() };
        let answer = server.v3.sync(&server.session(0), request()).await.unwrap();
        let cpu = Cpu::now();
        for _ in 0..times {
            server.v3.sync(&server.session(0), request()).await.unwrap();
        }
        println!("{} ({} bytes)", cpu.line(what, times), answer.len());
    }
    for (what, filter) in [("sync with one new event", None), ("the same, lazy", Some(lazy))] {
        let since = server.token(0).await;
        server.say(room, members - 1, "news").await;
        let request =
            || SyncRequest { since: Some(since.clone()), filter: filter.map(str::to_owned), ..SyncRequest::default() };
        server.v3.sync(&server.session(0), request()).await.unwrap();
        let cpu = Cpu::now();
        for _ in 0..TIMES {
            server.v3.sync(&server.session(0), request()).await.unwrap();
        }
        cpu.print(what, TIMES);
    }
}

/// Everybody waits; one message. The first time, the readers meet their statements and the rows.
async fn everybody_polls(server: &Server, room: &RoomKey, members: usize) {
    for _ in 0..5 {
        everybody_polls_once(server, room, members).await;
    }
}

async fn everybody_polls_once(server: &Server, room: &RoomKey, members: usize) {
    let since = server.token(0).await;
    let mut polls = tokio::task::JoinSet::new();
    for member in 0..members {
        let (v3, session, since) = (server.v3.clone(), server.session(member), since.clone());
        polls.spawn(async move {
            let request =
                SyncRequest { since: Some(since), timeout: Duration::from_secs(60), ..SyncRequest::default() };
            assert!(v3.sync(&session, request).await.unwrap().contains("to all"));
        });
    }
    while server.notifier.waiting() < members {
        tokio::task::yield_now().await;
    }
    let cpu = Cpu::now();
    server.say(room, 0, "to all").await;
    let sent = cpu.wall();
    while let Some(polled) = polls.join_next().await {
        polled.unwrap();
    }
    println!("  everybody polls: the sender's answer after {}, the last after {}", per(sent, 1), per(cpu.wall(), 1));
    cpu.print("everybody polls, a delivery", members);
}
