//! Writing canonical JSON.

use super::{Object, Value};

/// Appends the canonical text of a value.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Integer(value) => write_integer(out, *value),
        Value::Loose(text) => out.extend_from_slice(text.as_bytes()),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(out, object),
    }
}

/// Appends the canonical text of an object.
pub(crate) fn write_object(out: &mut Vec<u8>, object: &Object<'_>) {
    write_members(out, object.iter().map(|(key, value)| (key.as_ref(), value)), write_value);
}

/// Appends an object of the given members, each value by `write`.
pub(crate) fn write_members<'m, V>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'m str, V)>,
    mut write: impl FnMut(&mut Vec<u8>, V),
) {
    out.push(b'{');
    for (at, (key, value)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        write(out, value);
    }
    out.push(b'}');
}

/// Appends a decimal integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, value: i64) {
    use std::io::Write as _;
    // Writing into a vector cannot fail.
    let _ = write!(out, "{value}");
}

/// Appends a string in quotes, with the escapes of the canonical grammar and no others.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// What was written by the functions above, as a string.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    // Every writer appends whole strings or ASCII, so the lossy branch is not reached; it keeps this free of panics.
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
