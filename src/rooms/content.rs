//! Contents of the events that this server makes itself.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int};

/// An object of these members.
pub(crate) fn object<const N: usize>(members: [(&str, CanonicalJsonValue); N]) -> CanonicalJsonObject {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A number; beyond 2^53 − 1 it is held there.
pub(crate) fn number(value: i64) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(Int::new_saturating(value))
}

/// The string under this name, if it is one.
pub(crate) fn string<'c>(content: &'c CanonicalJsonObject, name: &str) -> Option<&'c str> {
    match content.get(name) {
        Some(CanonicalJsonValue::String(text)) => Some(text),
        _ => None,
    }
}

/// The content of `m.room.topic`, plain and as extensible text.
pub(crate) fn topic(text: String) -> CanonicalJsonObject {
    let representation = object([("body", text.as_str().into())]);
    let block = object([("m.text", vec![representation.into()].into())]);
    object([("m.topic", block.into()), ("topic", text.into())])
}
