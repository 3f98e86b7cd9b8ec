//! Canonical JSON: the one text of an object that is hashed and signed.
//!
//! <https://spec.matrix.org/v1.19/appendices/#canonical-json>

use std::borrow::Cow;

use js_int::Int;
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::value::{MAX_INTEGER, Numbers, Object, Value, parse_object, write_integer, write_members, write_string};

/// Why a text has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CanonicalError {
    /// The bytes are not UTF-8.
    #[error("not valid UTF-8")]
    Utf8,
    /// The text is not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// The text is JSON, but its outermost value is not an object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// A number has a fraction or an exponent, or is no finite number.
    #[error("floats are not allowed")]
    Float,
    /// An integer is outside -(2^53 - 1) to 2^53 - 1.
    #[error("an integer is outside the range -(2^53)+1 to (2^53)-1")]
    IntegerOutOfRange,
    /// Objects and arrays nest deeper than 100 levels; in the body of a request, than 10,000.
    #[error("objects and arrays are nested too deeply")]
    TooDeep,
    /// In the body of a request, whose depth and order are not those of one event: its objects have too many members, or
    /// too many in disorder, to be put in order.
    #[error("objects have too many members to be put in order")]
    TooManyMembers,
}

/// A JSON text, from whichever of the usual types holds it.
#[derive(Debug, Clone, Copy)]
pub struct JsonText<'a>(&'a [u8]);

impl<'a> From<&'a [u8]> for JsonText<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> From<&'a str> for JsonText<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl<'a> From<&'a RawValue> for JsonText<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(raw.get().as_bytes())
    }
}

/// Reads an object in the form that events are built from and other JSON is signed in.
///
/// `strict` refuses every float, as rooms of version 6 and later demand of what a client sends. Without it a float that
/// is a whole number within the range becomes that integer, as in the appendix's example (`1e10` is `10000000000`); any
/// other float is still refused, because ruma's value cannot hold one. Nesting is bounded at 100 levels.
///
/// # Errors
/// [`CanonicalError`] tells which rule the text breaks.
pub fn canonical_object<'a>(
    json: impl Into<JsonText<'a>>,
    strict: bool,
) -> Result<CanonicalJsonObject, CanonicalError> {
    let numbers = if strict { Numbers::Strict } else { Numbers::Loose };
    to_ruma(parse_object(json.into().0, numbers)?)
}

/// The canonical text of an object.
pub fn canonical_text(object: &CanonicalJsonObject) -> String {
    let mut out = Vec::with_capacity(512);
    write_ruma_object(&mut out, object);
    crate::value::into_text(out)
}

fn to_ruma(object: Object<'_>) -> Result<CanonicalJsonObject, CanonicalError> {
    object.into_iter().map(|(key, value)| Ok((key.into_owned(), to_ruma_value(value)?))).collect()
}

fn to_ruma_value(value: Value<'_>) -> Result<CanonicalJsonValue, CanonicalError> {
    Ok(match value {
        Value::Null => CanonicalJsonValue::Null,
        Value::Bool(value) => CanonicalJsonValue::Bool(value),
        Value::Integer(value) => to_int(value)?,
        Value::Loose(text) => whole_number(&text)?,
        Value::String(text) => CanonicalJsonValue::String(Cow::into_owned(text)),
        Value::Array(items) => {
            CanonicalJsonValue::Array(items.into_iter().map(to_ruma_value).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => CanonicalJsonValue::Object(to_ruma(object)?),
    })
}

fn to_int(value: i64) -> Result<CanonicalJsonValue, CanonicalError> {
    Int::new(value).map(CanonicalJsonValue::Integer).ok_or(CanonicalError::IntegerOutOfRange)
}

fn whole_number(text: &str) -> Result<CanonicalJsonValue, CanonicalError> {
    if !text.contains(['.', 'e']) {
        return Err(CanonicalError::IntegerOutOfRange);
    }
    let value: f64 = text.parse().map_err(|_| CanonicalError::Float)?;
    if value.fract() != 0.0 {
        return Err(CanonicalError::Float);
    }
    if value.abs() > MAX_INTEGER as f64 {
        return Err(CanonicalError::IntegerOutOfRange);
    }
    to_int(value as i64)
}

/// Appends the canonical text of one of ruma's objects.
pub(crate) fn write_ruma_object(out: &mut Vec<u8>, object: &CanonicalJsonObject) {
    write_members(out, object.iter().map(|(key, value)| (key.as_str(), value)), write_ruma_value);
}

/// Appends the canonical text of one of ruma's values.
pub(crate) fn write_ruma_value(out: &mut Vec<u8>, value: &CanonicalJsonValue) {
    match value {
        CanonicalJsonValue::Null => out.extend_from_slice(b"null"),
        CanonicalJsonValue::Bool(true) => out.extend_from_slice(b"true"),
        CanonicalJsonValue::Bool(false) => out.extend_from_slice(b"false"),
        CanonicalJsonValue::Integer(value) => write_integer(out, i64::from(*value)),
        CanonicalJsonValue::String(text) => write_string(out, text),
        CanonicalJsonValue::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_ruma_value(out, item);
            }
            out.push(b']');
        }
        CanonicalJsonValue::Object(object) => write_ruma_object(out, object),
    }
}
