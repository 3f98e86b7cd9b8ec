//! Reads an answer to `send_join` as it arrives: events are handed on in batches, and nothing of the text is kept.
//!
//! Source: Server-Server API, `PUT /_matrix/federation/v2/send_join`; `v1`, whose answer is `[200, {…}]`.

use std::{
    cell::Cell,
    fmt,
    io::{BufReader, Read},
    rc::Rc,
};

use bytes::{Buf as _, Bytes};
use ruma::OwnedServerName;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// Bytes of an answer at most: a room of 500,000 events of 1 KB.
pub(super) const MAX_BYTES: usize = 500 * 1024 * 1024;

/// Events in an answer at most, both lists together, what is in both counted twice.
pub(super) const MAX_EVENTS: usize = 500_000;

/// Bytes between two events, or of one, at most. An event has 64 KiB as canonical JSON; its text may be longer.
const MAX_PIECE: usize = 1024 * 1024;

/// Servers in `servers_in_room` at most.
const MAX_SERVERS: usize = 50_000;

/// Events that are handed on at once.
const BATCH: usize = 200;

/// Bytes of events that are handed on at once, about.
const BATCH_BYTES: usize = 512 * 1024;

/// In which list an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The room's state before the join.
    State,
    /// The auth chains of the state and the join.
    AuthChain,
}

/// Some events of one list.
pub(super) struct Batch {
    pub(super) part: Part,
    pub(super) events: Vec<Box<RawValue>>,
}

/// What the answer says beside the two lists.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The join as the resident server signed it.
    pub(super) event: Option<Box<RawValue>>,
    /// Whether the state lacks members.
    pub(super) members_omitted: bool,
    /// The servers in the room.
    pub(super) servers_in_room: Vec<OwnedServerName>,
}

/// Parses an answer whose pieces come through `pieces`, handing its events to `events`. Blocks: not for the async threads.
///
/// # Errors
/// What is wrong with the answer, in words.
pub(super) fn parse(
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    events: mpsc::Sender<Batch>,
) -> Result<Rest, String> {
    let piece = Rc::new(Cell::new(0));
    let source = Source { pieces, current: Bytes::new(), total: 0, piece: piece.clone() };
    let mut sink = Sink { events, waiting: Vec::new(), bytes: 0, count: 0, piece };
    let mut rest = Rest::default();
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(source));
    let answer = Answer { sink: &mut sink, rest: &mut rest };
    answer.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(rest)
}

/// The pieces of the body as a reader that keeps the bounds.
struct Source {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    current: Bytes,
    total: usize,
    /// Bytes since the last event ended.
    piece: Rc<Cell<usize>>,
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => return Err(std::io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let length = out.len().min(self.current.len());
        self.total += length;
        self.piece.set(self.piece.get() + length);
        if self.total > MAX_BYTES || self.piece.get() > MAX_PIECE {
            return Err(std::io::Error::other("the answer is too large"));
        }
        self.current.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

struct Sink {
    events: mpsc::Sender<Batch>,
    waiting: Vec<Box<RawValue>>,
    bytes: usize,
    count: usize,
    piece: Rc<Cell<usize>>,
}

impl Sink {
    fn push(&mut self, part: Part, event: Box<RawValue>) -> Result<(), &'static str> {
        self.piece.set(0);
        self.count += 1;
        if self.count > MAX_EVENTS {
            return Err("the answer has too many events");
        }
        self.bytes += event.get().len();
        self.waiting.push(event);
        if self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush(part) } else { Ok(()) }
    }

    fn flush(&mut self, part: Part) -> Result<(), &'static str> {
        let events = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if events.is_empty() {
            return Ok(());
        }
        self.events.blocking_send(Batch { part, events }).map_err(|_| "nobody waits for the answer any more")
    }
}

/// The whole answer: an object, or in version 1 a list of 200 and the object.
struct Answer<'a> {
    sink: &'a mut Sink,
    rest: &'a mut Rest,
}

impl<'de> DeserializeSeed<'de> for Answer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an answer to send_join")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        list.next_element::<IgnoredAny>()?.ok_or_else(|| A::Error::custom("an empty list"))?;
        let Self { sink, rest } = self;
        list.next_element_seed(Answer { sink, rest })?.ok_or_else(|| A::Error::custom("a list without an answer"))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut state, mut auth_chain) = (false, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "state" if !state => {
                    map.next_value_seed(Events { part: Part::State, sink: self.sink })?;
                    state = true;
                }
                "auth_chain" if !auth_chain => {
                    map.next_value_seed(Events { part: Part::AuthChain, sink: self.sink })?;
                    auth_chain = true;
                }
                "event" => self.rest.event = map.next_value()?,
                "members_omitted" => self.rest.members_omitted = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "servers_in_room" => self.rest.servers_in_room = map.next_value_seed(Servers)?,
                "state" | "auth_chain" => return Err(A::Error::custom("a list stands there twice")),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if state && auth_chain { Ok(()) } else { Err(A::Error::custom("state or auth_chain is missing")) }
    }
}

/// One list of events.
struct Events<'a> {
    part: Part,
    sink: &'a mut Sink,
}

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(event) = list.next_element::<Box<RawValue>>()? {
            self.sink.push(self.part, event).map_err(A::Error::custom)?;
        }
        self.sink.flush(self.part).map_err(A::Error::custom)
    }
}

/// Names of servers; what is none is left out.
struct Servers;

impl<'de> DeserializeSeed<'de> for Servers {
    type Value = Vec<OwnedServerName>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Servers {
    type Value = Vec<OwnedServerName>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of server names")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut servers = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            if servers.len() >= MAX_SERVERS {
                return Err(A::Error::custom("too many servers"));
            }
            servers.extend(OwnedServerName::try_from(name).ok());
        }
        Ok(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a text that comes in pieces of `size` bytes: the rest, and the numbers of events in the two lists.
    async fn read(text: &str, size: usize) -> Result<(Rest, usize, usize), String> {
        let (send, pieces) = mpsc::channel(1);
        let (sink, mut events) = mpsc::channel(1);
        let parsing = tokio::task::spawn_blocking(move || parse(pieces, sink));
        let text = Bytes::from(text.to_owned());
        tokio::spawn(async move {
            for at in (0..text.len()).step_by(size) {
                if send.send(Ok(text.slice(at..text.len().min(at + size)))).await.is_err() {
                    return;
                }
            }
        });
        let (mut state, mut auth_chain) = (0, 0);
        while let Some(batch) = events.recv().await {
            *(if batch.part == Part::State { &mut state } else { &mut auth_chain }) += batch.events.len();
        }
        parsing.await.unwrap().map(|rest| (rest, state, auth_chain))
    }

    #[tokio::test]
    async fn both_versions_are_read_however_they_are_cut() {
        let object = r#" {"origin":"b","state":[{"a":1},{"b":[2]}],"x":[{}],"auth_chain":[{}],"event":{"c":3},
            "members_omitted":true,"servers_in_room":["b.example","not a name"]} "#;
        for (text, size) in [(object.to_owned(), 1), (object.to_owned(), 7), (format!("[200,{object}]"), 1000)] {
            let (rest, state, auth_chain) = read(&text, size).await.unwrap();
            assert_eq!((state, auth_chain), (2, 1));
            assert_eq!(rest.event.unwrap().get(), r#"{"c":3}"#);
            assert!(rest.members_omitted);
            assert_eq!(rest.servers_in_room, ["b.example"]);
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        for text in [
            "",
            "{}",
            "[200]",
            "[]",
            r#"{"state":[],"auth_chain":{}}"#,
            r#"{"state":[]}"#,
            r#"{"state":[],"state":[],"auth_chain":[]}"#,
            r#"{"state":[],"auth_chain":[{}"#,
            r#"{"state":[],"auth_chain":[]} x"#,
        ] {
            read(text, 1000).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn nothing_endless_is_kept() {
        let long = format!(r#"{{"state":[{{"a":"{}"}}],"auth_chain":[]}}"#, "x".repeat(MAX_PIECE));
        assert!(read(&long, 64 * 1024).await.unwrap_err().contains("too large"));
        let many = format!(r#"{{"state":[{}1],"auth_chain":[]}}"#, "1,".repeat(MAX_EVENTS));
        assert!(read(&many, 64 * 1024).await.unwrap_err().contains("too many"));
    }
}
