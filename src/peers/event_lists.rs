//! Reads an answer with long lists of events as it arrives: events are handed on in batches, and nothing of the text is kept.

use std::{
    cell::Cell,
    fmt,
    io::{BufReader, Read},
    rc::Rc,
};

use bytes::{Buf as _, Bytes};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// Bytes between two events, or of one, at most. An event has 64 KiB as canonical JSON; its text may be longer.
pub(crate) const MAX_PIECE: usize = 1024 * 1024;

/// Events that are handed on at once.
const BATCH: usize = 200;

/// Bytes of events that are handed on at once, about.
const BATCH_BYTES: usize = 512 * 1024;

/// What an answer may have at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Its bytes.
    pub(crate) bytes: usize,
    /// Its events, all lists together, what is in several counted as often.
    pub(crate) events: usize,
}

/// An answer with lists of events: what it says beside them.
pub(crate) trait Answer: Default {
    /// What tells the lists apart.
    type Part: Copy + Send + 'static;
    /// The lists, each with its field; all must be there.
    const LISTS: &'static [(&'static str, Self::Part)];
    /// Whether it may stand in a list, as second item: `[200, {…}]`.
    const IN_LIST: bool = false;

    /// Reads the value of another field.
    ///
    /// # Errors
    /// The deserializer's, also for what the field may not be.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Some events of one list.
pub(crate) struct Batch<P> {
    /// Which list.
    pub(crate) part: P,
    /// As they stand there.
    pub(crate) events: Vec<Box<RawValue>>,
}

/// Parses an answer whose pieces come through `pieces`, handing its events to `events`. Blocks: not for the async threads.
///
/// # Errors
/// What is wrong with the answer, in words.
pub(crate) fn parse<T: Answer>(
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    events: mpsc::Sender<Batch<T::Part>>,
    bounds: Bounds,
) -> Result<T, String> {
    let piece = Rc::new(Cell::new(0));
    let source = Source { pieces, current: Bytes::new(), left: bounds.bytes, piece: piece.clone() };
    let mut sink = Sink { events, waiting: Vec::new(), bytes: 0, left: bounds.events, piece };
    let mut answer = T::default();
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(source));
    let whole = Whole { sink: &mut sink, answer: &mut answer, in_list: T::IN_LIST };
    whole.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(answer)
}

/// The pieces of the body as a reader that keeps the bounds.
struct Source {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    current: Bytes,
    left: usize,
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
        self.piece.set(self.piece.get() + length);
        let left = self.left.checked_sub(length).filter(|_| self.piece.get() <= MAX_PIECE);
        self.left = left.ok_or_else(|| std::io::Error::other("the answer is too large"))?;
        self.current.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

struct Sink<P> {
    events: mpsc::Sender<Batch<P>>,
    waiting: Vec<Box<RawValue>>,
    bytes: usize,
    left: usize,
    piece: Rc<Cell<usize>>,
}

impl<P: Copy> Sink<P> {
    fn push(&mut self, part: P, event: Box<RawValue>) -> Result<(), &'static str> {
        self.piece.set(0);
        self.left = self.left.checked_sub(1).ok_or("the answer has too many events")?;
        self.bytes += event.get().len();
        self.waiting.push(event);
        if self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush(part) } else { Ok(()) }
    }

    fn flush(&mut self, part: P) -> Result<(), &'static str> {
        let events = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if events.is_empty() {
            return Ok(());
        }
        self.events.blocking_send(Batch { part, events }).map_err(|_| "nobody waits for the answer any more")
    }
}

/// The whole answer: an object, or a list in which it is the second item.
struct Whole<'a, T: Answer> {
    sink: &'a mut Sink<T::Part>,
    answer: &'a mut T,
    in_list: bool,
}

impl<'de, T: Answer> DeserializeSeed<'de> for Whole<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Answer> Visitor<'de> for Whole<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an answer with events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { sink, answer, in_list: true } = self else { return Err(A::Error::custom("a list, not an object")) };
        list.next_element::<IgnoredAny>()?.ok_or_else(|| A::Error::custom("an empty list"))?;
        let second = Whole { sink, answer, in_list: false };
        list.next_element_seed(second)?.ok_or_else(|| A::Error::custom("a list without an answer"))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = vec![false; T::LISTS.len()];
        while let Some(key) = map.next_key::<String>()? {
            match T::LISTS.iter().position(|(name, _)| *name == key) {
                Some(list) if found[list] => return Err(A::Error::custom("a list stands there twice")),
                Some(list) => {
                    map.next_value_seed(Events { part: T::LISTS[list].1, sink: self.sink })?;
                    found[list] = true;
                }
                None => self.answer.field(&key, &mut map)?,
            }
        }
        match T::LISTS.iter().zip(found).find(|(_, found)| !found) {
            Some(((name, _), _)) => Err(A::Error::custom(format_args!("{name} is missing"))),
            None => Ok(()),
        }
    }
}

/// One list of events.
struct Events<'a, P> {
    part: P,
    sink: &'a mut Sink<P>,
}

impl<'de, P: Copy> DeserializeSeed<'de> for Events<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, P: Copy> Visitor<'de> for Events<'_, P> {
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
