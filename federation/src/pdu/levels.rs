//! Power levels that are written as floats.
//!
//! Room versions 1 to 5 allow them, and the authorisation rules read the part before the point
//! (<https://spec.matrix.org/v1.19/rooms/v1/#deprecated-event-content-schemas>). ruma reads integers alone, so where there
//! are other numbers it is shown a content with integers in their place.

use ruma::events::TimelineEventType;
use serde_json::value::RawValue;

use crate::canonical::CanonicalError;
use crate::value::{MAX_INTEGER, Numbers, Value, into_text, parse_object, write_value};

/// The content with every number an integer, or `None` if it is so already. In versions 6 and later it always is.
///
/// An integer beyond 2^53 - 1 becomes that: above it levels are no longer told apart.
pub(super) fn with_integers(event_type: &TimelineEventType, content: &RawValue) -> Option<Box<RawValue>> {
    if *event_type != TimelineEventType::RoomPowerLevels {
        return None;
    }
    let json = content.get().as_bytes();
    match parse_object(json, Numbers::Strict) {
        Err(CanonicalError::Float | CanonicalError::IntegerOutOfRange) => {}
        _ => return None,
    }
    let mut value = Value::Object(parse_object(json, Numbers::Loose).ok()?);
    truncate(&mut value);
    let mut text = Vec::with_capacity(json.len());
    write_value(&mut text, &value);
    RawValue::from_string(into_text(text)).ok()
}

fn truncate(value: &mut Value<'_>) {
    match value {
        Value::Loose(text) => {
            // The cast drops what is behind the point and holds what is out of range.
            let number = text.parse::<f64>().map_or(0, |number| number as i64);
            *value = Value::Integer(number.clamp(-MAX_INTEGER, MAX_INTEGER));
        }
        Value::Integer(number) => *number = (*number).clamp(-MAX_INTEGER, MAX_INTEGER),
        Value::Array(items) => items.iter_mut().for_each(truncate),
        Value::Object(object) => object.iter_mut().for_each(|(_, value)| truncate(value)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
