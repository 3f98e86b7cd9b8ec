//! What an answer to `send_join` says, read as it arrives.
//!
//! Source: Server-Server API, `PUT /_matrix/federation/v2/send_join`; `v1`, whose answer is `[200, {…}]`.

use std::fmt;

use bytes::Bytes;
use ruma::OwnedServerName;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::peers::event_lists::{self, Answer, Bounds};

/// Bytes of an answer at most: a room of 500,000 events of 1 KB.
pub(super) const MAX_BYTES: usize = 500 * 1024 * 1024;

/// Events in an answer at most, both lists together, what is in both counted twice.
pub(super) const MAX_EVENTS: usize = 500_000;

/// Servers in `servers_in_room` at most.
const MAX_SERVERS: usize = 50_000;

/// In which list an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The room's state before the join.
    State,
    /// The auth chains of the state and the join.
    AuthChain,
}

/// Some events of one list.
pub(super) type Batch = event_lists::Batch<Part>;

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

impl Answer for Rest {
    type Part = Part;
    const LISTS: &'static [(&'static str, Part)] = &[("state", Part::State), ("auth_chain", Part::AuthChain)];
    const IN_LIST: bool = true;

    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "event" => self.event = map.next_value()?,
            "members_omitted" => self.members_omitted = map.next_value::<Option<bool>>()?.unwrap_or(false),
            "servers_in_room" => self.servers_in_room = map.next_value_seed(Servers)?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Parses an answer whose pieces come through `pieces`, handing its events to `events`. Blocks: not for the async threads.
///
/// # Errors
/// What is wrong with the answer, in words.
pub(super) fn parse(
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    events: mpsc::Sender<Batch>,
) -> Result<Rest, String> {
    event_lists::parse(pieces, events, Bounds { bytes: MAX_BYTES, events: MAX_EVENTS })
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
        let long = format!(r#"{{"state":[{{"a":"{}"}}],"auth_chain":[]}}"#, "x".repeat(event_lists::MAX_PIECE));
        assert!(read(&long, 64 * 1024).await.unwrap_err().contains("too large"));
        let many = format!(r#"{{"state":[{}1],"auth_chain":[]}}"#, "1,".repeat(MAX_EVENTS));
        assert!(read(&many, 64 * 1024).await.unwrap_err().contains("too many"));
    }
}
