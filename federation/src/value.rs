//! A JSON value that borrows from the text it was read from, and its canonical serialisation.
//!
//! `ruma::CanonicalJsonValue` can hold neither a float nor an integer beyond 2^53, and events of room versions 1 to 5
//! may carry both ("Servers MUST NOT strictly enforce the JSON format", rooms/v1 and the appendices' warning). It also
//! copies every string. This value does neither.

pub(crate) mod rewrite;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::canonical::CanonicalError;

pub(crate) use write::{into_text, write_integer, write_members, write_object, write_string, write_value};

/// How deep objects and arrays may nest, the outermost counted as 1.
///
/// The specification names no bound. This one lies below the 128 levels that `serde_json` stops at, so that what we
/// accept can be read again by every part of the server, with room for the layers that an API response wraps around it.
pub(crate) const MAX_NESTING: usize = 100;

/// The largest integer that canonical JSON allows: 2^53 - 1.
pub(crate) const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A JSON object: keys unique and in the order of their code points, which is the order of their UTF-8 bytes.
pub(crate) type Object<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number that canonical JSON forbids: the text that it is written as.
    Loose(Box<str>),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    pub(crate) fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Whether it is or contains a number that canonical JSON forbids.
    fn is_loose(&self) -> bool {
        match self {
            Value::Loose(_) => true,
            Value::Array(items) => items.iter().any(Value::is_loose),
            Value::Object(object) => object.iter().any(|(_, value)| value.is_loose()),
            _ => false,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// The value under `key`.
pub(crate) fn get<'v, 'a>(object: &'v Object<'a>, key: &str) -> Option<&'v Value<'a>> {
    object.binary_search_by(|(name, _)| name.as_ref().cmp(key)).ok().map(|at| &object[at].1)
}

/// Puts a value under `key`, in the place of one that is there.
pub(crate) fn insert<'a>(object: &mut Object<'a>, key: Cow<'a, str>, value: Value<'a>) {
    match object.binary_search_by(|(name, _)| name.cmp(&key)) {
        Ok(at) => object[at].1 = value,
        Err(at) => object.insert(at, (key, value)),
    }
}

/// Which numbers are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Integers from -(2^53 - 1) to 2^53 - 1 (room version 6 and later).
    Strict,
    /// Any finite number (room versions 1 to 5).
    Loose,
}

/// Reads one JSON object, and nothing after it.
pub(crate) fn parse_object(json: &[u8], numbers: Numbers) -> Result<Object<'_>, CanonicalError> {
    let text = std::str::from_utf8(json).map_err(|_| CanonicalError::Utf8)?;
    match read_object(text, Numbers::Strict) {
        // Nearly every event of an old room is canonical; only others are worth the slower way.
        Err(CanonicalError::Float | CanonicalError::IntegerOutOfRange) if numbers == Numbers::Loose => {
            read_object(text, Numbers::Loose)
        }
        result => result,
    }
}

fn read_object(text: &str, numbers: Numbers) -> Result<Object<'_>, CanonicalError> {
    let mut reader = Reader { numbers, refused: None, negative_zero: false };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = At { reader: &mut reader, depth: 0 }.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    match (parsed, reader.refused) {
        (Ok(Value::Object(object)), _) => {
            // `-0` is an integer and `-0.0` is not, and only the text can tell them apart.
            if reader.negative_zero && read_object(text, Numbers::Loose)?.iter().any(|(_, value)| value.is_loose()) {
                return Err(CanonicalError::Float);
            }
            Ok(object)
        }
        (Ok(_), _) => Err(CanonicalError::NotAnObject),
        (Err(_), Some(refused)) => Err(refused),
        (Err(error), None) => Err(CanonicalError::Syntax(error.to_string())),
    }
}

struct Reader {
    numbers: Numbers,
    /// The precise reason, where one of ours and not the parser's stopped the reading.
    refused: Option<CanonicalError>,
    /// Whether the parser gave a negative zero.
    negative_zero: bool,
}

impl Reader {
    fn refuse<E: serde::de::Error>(&mut self, reason: CanonicalError) -> E {
        let error = E::custom(&reason);
        self.refused = Some(reason);
        error
    }
}

/// The place of one value: how many objects and arrays are around it.
struct At<'r> {
    reader: &'r mut Reader,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Value<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        match self.reader.numbers {
            Numbers::Strict => deserializer.deserialize_any(self),
            Numbers::Loose => {
                // serde_json reads an integer beyond 64 bits as a float and would lose its digits, so a number is
                // taken as text. A container is scanned once for each level around it, which the nesting bound caps.
                let raw = <&'de RawValue>::deserialize(deserializer)?;
                match raw.get().as_bytes().first() {
                    Some(b'-' | b'0'..=b'9') => match loose_number(raw.get()) {
                        Ok(value) => Ok(value),
                        Err(reason) => Err(self.reader.refuse(reason)),
                    },
                    _ => serde_json::Deserializer::from_str(raw.get()).deserialize_any(self).map_err(D::Error::custom),
                }
            }
        }
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        if !(-MAX_INTEGER..=MAX_INTEGER).contains(&value) {
            return Err(self.reader.refuse(CanonicalError::IntegerOutOfRange));
        }
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(self.reader.refuse(CanonicalError::IntegerOutOfRange)),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        // The parser gives `-0`, alone among integers, as a float. The encoding's example writes it as 0.
        if value == 0.0 && value.is_sign_negative() {
            self.reader.negative_zero = true;
            return Ok(Value::Integer(0));
        }
        // An integer that 64 bits cannot hold comes as a float too.
        let reason =
            if value.abs() >= 2f64.powi(63) { CanonicalError::IntegerOutOfRange } else { CanonicalError::Float };
        Err(self.reader.refuse(reason))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let depth = self.depth + 1;
        if depth > MAX_NESTING {
            return Err(self.reader.refuse(CanonicalError::TooDeep));
        }
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(At { reader: &mut *self.reader, depth })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let depth = self.depth + 1;
        if depth > MAX_NESTING {
            return Err(self.reader.refuse(CanonicalError::TooDeep));
        }
        let mut members: Object<'de> = Vec::new();
        let mut sorted = true;
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let value = map.next_value_seed(At { reader: &mut *self.reader, depth })?;
            sorted = sorted && members.last().is_none_or(|(last, _)| *last < key);
            members.push((key, value));
        }
        if !sorted {
            sort_members(&mut members);
        }
        Ok(Value::Object(members))
    }
}

/// Orders the members; of several under one key the last stays, as in Python's and JavaScript's readers.
fn sort_members(members: &mut Object<'_>) {
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut kept: usize = 0;
    for at in 1..members.len() {
        if members[at].0 != members[kept].0 {
            kept += 1;
        }
        members.swap(kept, at);
    }
    members.truncate(kept + 1);
}

/// An object key, borrowed where the text has no escape in it.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(value.to_owned())))
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(value)))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A number of a room version that does not enforce canonical JSON.
///
/// The encoding of these is not specified. We write them as the Python function in the appendices does, which is what
/// the servers that made such rooms ran: an integer keeps all its digits, a float becomes the shortest text that reads
/// back as the same double.
fn loose_number(text: &str) -> Result<Value<'static>, CanonicalError> {
    if !text.contains(['.', 'e', 'E']) {
        return Ok(match text.parse::<i64>() {
            Ok(value) => Value::Integer(value),
            Err(_) => Value::Loose(text.into()),
        });
    }
    let value: f64 = text.parse().map_err(|_| CanonicalError::Float)?;
    if !value.is_finite() {
        return Err(CanonicalError::Float);
    }
    Ok(Value::Loose(shortest_float(value).into()))
}

/// A finite double as Python's `repr` writes it: fixed notation from 1e-4 up to below 1e16, else an exponent of two
/// digits or more with its sign.
fn shortest_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let fixed = format!("{value}");
        return if fixed.contains('.') { fixed } else { format!("{fixed}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}
