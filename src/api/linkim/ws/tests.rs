//! Clients that say nothing, and clients that take nothing; time goes a hundred times as fast as with real ones.

use std::{collections::VecDeque, future::pending, time::Duration};

use axum::extract::ws::Message;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::connection::{Connection, Frames, PATIENCE, Patience, Socket};
use crate::{
    rooms::page_token::BadToken,
    sync::ws::{Batch, FeedError, Position, Wakening},
};

/// A hundredth of what clients get, but for the time in which a busy machine may run nobody.
const HURRY: Patience = Patience {
    ping_every: Duration::from_millis(300),
    idle: Duration::from_millis(750),
    stall: Duration::from_secs(1),
    last_words: Duration::from_secs(1),
};

/// A client's end of a connection.
struct Wire {
    /// What the server sent; holds so many frames until the client takes them.
    sent: mpsc::Sender<Message>,
    /// What the client says.
    said: mpsc::Receiver<Message>,
}

impl Socket for Wire {
    async fn send(&mut self, message: Message) -> Result<(), axum::Error> {
        self.sent.send(message).await.map_err(axum::Error::new)
    }

    async fn recv(&mut self) -> Option<Result<Message, axum::Error>> {
        self.said.recv().await.map(Ok)
    }
}

/// Frames that are all there at the beginning; nothing further happens.
struct Script(VecDeque<Bytes>);

impl Frames for Script {
    async fn next(&mut self) -> Result<Batch, FeedError> {
        let frame = self.0.pop_front();
        Ok(Batch { more: frame.is_some(), frames: frame.into_iter().collect() })
    }

    async fn wait(&mut self) -> Wakening {
        pending().await
    }

    fn position(&self) -> Position {
        Position { position: 1, incarnation: 1 }
    }

    fn acknowledge(&self, _: Position) -> Result<(), BadToken> {
        Ok(())
    }
}

/// Starts a connection that holds `room` frames on the way to the client, and has `frames` to send.
fn open(frames: usize, room: usize) -> (mpsc::Sender<Message>, mpsc::Receiver<Message>) {
    let ((sent, takes), (says, said)) = (mpsc::channel(room), mpsc::channel(1));
    let script = (0..frames).map(|n| Bytes::from(format!("{n}"))).collect();
    tokio::spawn(Connection::new(Wire { sent, said }, Script(script), &HURRY).run());
    (says, takes)
}

fn close_code(message: &Message) -> Option<u16> {
    match message {
        Message::Close(frame) => frame.as_ref().map(|frame| frame.code),
        _ => None,
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_asked_and_then_cut() {
    let (_says, mut takes) = open(0, 16);
    let start = Instant::now();
    let mut pings = 0;
    let code = loop {
        match takes.recv().await.unwrap() {
            Message::Ping(_) => pings += 1,
            other => break close_code(&other),
        }
    };
    // The second one may come too late for a busy machine.
    assert_eq!((code, (1..=2).contains(&pings)), (Some(4002), true), "{pings}");
    assert!(start.elapsed() > HURRY.idle, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_answers_stays() {
    let (says, mut takes) = open(0, 16);
    let start = Instant::now();
    while start.elapsed() < HURRY.idle * 3 {
        assert!(matches!(takes.recv().await.unwrap(), Message::Ping(_)));
        says.send(Message::Pong(Bytes::new())).await.unwrap();
    }
    // Anything that it says will do, also what is refused.
    let start = Instant::now();
    while start.elapsed() < HURRY.idle * 2 {
        says.send(Message::text("?")).await.unwrap();
        let refused = loop {
            match takes.recv().await.unwrap() {
                Message::Ping(_) => {}
                other => break other,
            }
        };
        assert!(refused.to_text().unwrap().contains("\"error\""), "{refused:?}");
        // Until the next ping.
        while !matches!(takes.recv().await.unwrap(), Message::Ping(_)) {}
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let (_says, mut takes) = open(10, 3);
    sleep(HURRY.stall + HURRY.stall / 2).await;
    let mut taken = Vec::new();
    while let Some(message) = takes.recv().await {
        taken.push(message);
    }
    let last = taken.pop().unwrap();
    assert_eq!(close_code(&last), Some(4008));
    assert_eq!(taken.len(), 3, "what was on its way arrives, and nothing further is held for it");
}

#[tokio::test]
async fn a_client_that_is_slow_but_takes_is_not_cut() {
    let (_says, mut takes) = open(5, 1);
    for n in 0..5 {
        sleep(HURRY.stall / 3).await;
        assert_eq!(takes.recv().await.unwrap().to_text().unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn a_client_that_hears_nothing_any_more_is_dropped() {
    let (says, _takes) = open(10, 3);
    says.closed().await;
}

#[test]
fn real_clients_get_what_the_documentation_says() {
    let seconds = [PATIENCE.ping_every, PATIENCE.idle, PATIENCE.stall].map(|time| time.as_secs());
    assert_eq!(seconds, [30, 75, 10]);
}
