//! Canonical text straight from JSON text, for a body that is signed as a whole.
//!
//! A transaction carries events that may nest as deeply, and have such numbers, as the room version of each lets them.
//! What is refused here refuses all of them, so next to nothing is: numbers are [loose](super::Numbers::Loose), and the
//! bounds are those of time and memory alone, for the text comes from whoever says to be a server. Nothing recurses.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Key, loose_number, write_string, write_value};
use crate::canonical::CanonicalError;

/// How deep containers may nest: each that is open takes 40 bytes. Go's reader, the most liberal among those that servers
/// use, stops there too.
const MAX_OPEN: usize = 10_000;

/// How many members may be remembered at a time, 32 bytes each, while the objects that they are in are open.
const MAX_MEMBERS: usize = 1 << 20;

/// How many bytes may be moved to put members in order, at least; for a long text, 32 times its length.
///
/// A text whose objects are unordered at every level costs its length times its depth. This lets through a body of 20 MB
/// that is unordered at 30 levels, and a small one at hundreds.
const MAX_MOVED: usize = 64 << 20;

/// Appends the canonical text of the object that `json` is. On an error `out` is left with a part of it.
///
/// Of several members under one key the last stays.
pub(crate) fn write_canonical(out: &mut Vec<u8>, json: &[u8]) -> Result<(), CanonicalError> {
    let text = std::str::from_utf8(json).map_err(|_| CanonicalError::Utf8)?;
    let budget = MAX_MOVED.max(text.len().saturating_mul(32));
    let mut rewriter = Rewriter { text, at: 0, out, open: Vec::new(), members: 0, budget };
    match rewriter.peek() {
        Some(b'{') => rewriter.run(),
        Some(b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => Err(CanonicalError::NotAnObject),
        _ => Err(rewriter.unexpected()),
    }
}

struct Rewriter<'a, 'o> {
    text: &'a str,
    at: usize,
    out: &'o mut Vec<u8>,
    open: Vec<Container<'a>>,
    /// How many members the open objects have.
    members: usize,
    /// How many bytes may still be moved.
    budget: usize,
}

/// An array or object that has not ended.
enum Container<'a> {
    Array,
    Object {
        /// Where its text begins in the output, after the brace.
        start: usize,
        members: Vec<Member<'a>>,
        sorted: bool,
    },
}

/// A member that has been written.
struct Member<'a> {
    key: Cow<'a, str>,
    /// Where its key begins in the output; it ends where the next begins, but for the comma.
    start: usize,
}

impl<'a> Rewriter<'a, '_> {
    fn run(&mut self) -> Result<(), CanonicalError> {
        loop {
            let opened = self.value()?;
            if opened {
                self.member(true)?;
                continue;
            }
            // A value has ended, and with it as many containers as close after it.
            loop {
                if self.open.is_empty() {
                    return if self.peek().is_none() { Ok(()) } else { Err(self.unexpected()) };
                }
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.member(false)?;
                        break;
                    }
                    Some(b'}' | b']') => self.close()?,
                    _ => return Err(self.unexpected()),
                }
            }
        }
    }

    /// Writes a value, or the beginning of a container that has something in it, and tells which.
    fn value(&mut self) -> Result<bool, CanonicalError> {
        match self.peek() {
            Some(byte @ (b'{' | b'[')) => {
                self.at += 1;
                self.out.push(byte);
                let array = byte == b'[';
                if self.peek() == Some(if array { b']' } else { b'}' }) {
                    self.at += 1;
                    self.out.push(if array { b']' } else { b'}' });
                    return Ok(false);
                }
                if self.open.len() == MAX_OPEN {
                    return Err(CanonicalError::TooDeep);
                }
                self.open.push(if array {
                    Container::Array
                } else {
                    Container::Object { start: self.out.len(), members: Vec::new(), sorted: true }
                });
                return Ok(true);
            }
            Some(b'"') => {
                let text = self.string()?;
                write_string(self.out, &text);
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.literal()?,
        }
        Ok(false)
    }

    /// Writes what comes before a value: a comma, and in an object the key.
    fn member(&mut self, first: bool) -> Result<(), CanonicalError> {
        if !first {
            self.out.push(b',');
        }
        if matches!(self.open.last(), Some(Container::Array)) {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        let start = self.out.len();
        write_string(self.out, &key);
        self.out.push(b':');
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(CanonicalError::TooManyMembers);
        }
        if let Some(Container::Object { members, sorted, .. }) = self.open.last_mut() {
            *sorted = *sorted && members.last().is_none_or(|last| last.key < key);
            members.push(Member { key, start });
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), CanonicalError> {
        let byte = self.peek();
        match (self.open.pop(), byte) {
            (Some(Container::Array), Some(b']')) => self.out.push(b']'),
            (Some(Container::Object { start, members, sorted }), Some(b'}')) => {
                self.members -= members.len();
                if !sorted {
                    self.sort(start, members)?;
                }
                self.out.push(b'}');
            }
            _ => return Err(self.unexpected()),
        }
        self.at += 1;
        Ok(())
    }

    fn sort(&mut self, start: usize, members: Vec<Member<'a>>) -> Result<(), CanonicalError> {
        let written = self.out.split_off(start);
        self.budget = self.budget.checked_sub(written.len()).ok_or(CanonicalError::TooManyMembers)?;
        let ends = members.iter().skip(1).map(|next| next.start - 1).chain([start + written.len()]);
        let ends: Vec<usize> = ends.collect();
        let mut order: Vec<(Member<'a>, usize)> = members.into_iter().zip(ends).collect();
        order.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
        for (at, (member, end)) in order.iter().enumerate() {
            if order.get(at + 1).is_some_and(|(next, _)| next.key == member.key) {
                continue;
            }
            if self.out.len() > start {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&written[member.start - start..end - start]);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, CanonicalError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(CanonicalError::Syntax("a string does not end".to_owned())),
            }
        }
        self.at = end + 1;
        let text = self.text.get(start..self.at).ok_or_else(|| self.unexpected())?;
        let key: Key<'a> = serde_json::from_str(text).map_err(|error| CanonicalError::Syntax(error.to_string()))?;
        Ok(key.0)
    }

    fn number(&mut self) -> Result<(), CanonicalError> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9'));
        let text = &rest[..length.count()];
        serde_json::from_str::<&RawValue>(text).map_err(|error| CanonicalError::Syntax(error.to_string()))?;
        write_value(self.out, &loose_number(text)?);
        self.at += text.len();
        Ok(())
    }

    fn literal(&mut self) -> Result<(), CanonicalError> {
        let rest = &self.text[self.at..];
        let literal = ["true", "false", "null"].into_iter().find(|literal| rest.starts_with(literal));
        let literal = literal.ok_or_else(|| self.unexpected())?;
        self.out.extend_from_slice(literal.as_bytes());
        self.at += literal.len();
        Ok(())
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn unexpected(&self) -> CanonicalError {
        CanonicalError::Syntax(match self.text.as_bytes().get(self.at) {
            Some(_) => format!("unexpected character at byte {}", self.at),
            None => "unexpected end".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{Numbers, into_text, parse_object, write_object};

    fn rewritten(json: &str) -> Result<String, CanonicalError> {
        let mut out = b"before".to_vec();
        write_canonical(&mut out, json.as_bytes())?;
        Ok(into_text(out.split_off(6)))
    }

    #[test]
    fn the_examples_of_the_appendices_hold() {
        for (given, canonical) in [
            ("{}", "{}"),
            ("{\n \"one\": 1,\n \"two\": \"Two\"\n}", r#"{"one":1,"two":"Two"}"#),
            (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
            (
                r#"{"auth":{"success":true,"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe",
                "three_pids":[{"medium":"email","address":"john.doe@example.org"},
                {"medium":"msisdn","address":"123456789"}]}}}"#,
                r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
            ),
            (r#"{"本":2,"日":1}"#, r#"{"日":1,"本":2}"#),
            (r#"{"a":"\u65E5"}"#, r#"{"a":"日"}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":-0}"#, r#"{"a":0}"#),
        ] {
            assert_eq!(rewritten(given).as_deref(), Ok(canonical), "{given}");
        }
    }

    #[test]
    fn the_last_of_several_members_under_one_key_stays() {
        let given = r#"{"b":1,"a":{"x":[]},"b":{"c":2},"a":3,"a":[ { } ]}"#;
        assert_eq!(rewritten(given).as_deref(), Ok(r#"{"a":[{}],"b":{"c":2}}"#));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(rewritten("[]"), Err(CanonicalError::NotAnObject));
        assert_eq!(rewritten(" 1"), Err(CanonicalError::NotAnObject));
        for wrong in [
            "",
            "{",
            "}",
            "{]",
            "{}}",
            "{} {}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1}"#,
            r#"{"a":01}"#,
            r#"{"a":1e}"#,
            r#"{"a":--1}"#,
            r#"{"a":nul}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"b}"#,
            r#"{a:1}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"\"#,
            r#"{"a":1 "b":2}"#,
        ] {
            assert!(matches!(rewritten(wrong), Err(CanonicalError::Syntax(_))), "{wrong}");
        }
    }

    #[test]
    fn depth_disorder_and_members_are_bounded() {
        let deep = |before: &str, after: &str, depth: usize| {
            format!(r#"{{"a":{}1{}}}"#, before.repeat(depth), after.repeat(depth))
        };
        let deepest = deep("[", "]", MAX_OPEN - 1);
        assert_eq!(rewritten(&deepest).as_deref(), Ok(deepest.as_str()));
        assert_eq!(rewritten(&deep("[", "]", MAX_OPEN)), Err(CanonicalError::TooDeep));
        let ordered = deep(r#"{"a":"#, r#","b":0}"#, 500);
        assert_eq!(rewritten(&deep(r#"{"b":0,"a":"#, "}", 500)).as_deref(), Ok(ordered.as_str()));
        // 64 MiB are moved after 256 levels around 256 KiB.
        let large = format!("\"{}\"", "x".repeat(256 << 10));
        let around = |depth| deep(r#"{"b":0,"a":"#, "}", depth).replace('1', &large);
        assert!(rewritten(&around(250)).is_ok());
        assert_eq!(rewritten(&around(260)), Err(CanonicalError::TooManyMembers));
        let members = |count: usize| format!("{{\"\":0{}}}", ",\"\":0".repeat(count - 1));
        assert_eq!(rewritten(&members(MAX_MEMBERS)).as_deref(), Ok("{\"\":0}"));
        assert_eq!(rewritten(&members(MAX_MEMBERS + 1)), Err(CanonicalError::TooManyMembers));
        // Those of objects that are closed do not count.
        let many = format!("{{\"a\":[{0},{0}]}}", members(MAX_MEMBERS - 1));
        assert!(rewritten(&many).is_ok());
    }

    /// A JSON value as text, members in any order, with white space and escapes that are not canonical.
    fn value_text() -> impl Strategy<Value = String> {
        let key =
            prop::sample::select(vec!["a", "b", "\\u0061", "é", "\\ud83d\\ude00", "", "\\/\\\"\\n", "z\u{ffff}", "😀"]);
        let leaf = prop::sample::select(vec![
            "0",
            "-0",
            "-0.0",
            "1.50",
            "1e3",
            "9007199254740993",
            "36893488147419103232",
            "true",
            "false",
            "null",
            "\"\"",
            "\"\\u65E5\\t\"",
            "{ }",
            "[\n]",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(5, 60, 6, move |inner| {
            let members = proptest::collection::vec((key.clone(), inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,"))),
                members.prop_map(|members| {
                    let members: Vec<String> =
                        members.into_iter().map(|(key, value)| format!("\"{key}\" :\t{value}")).collect();
                    format!("{{{}\r\n}}", members.join(" , "))
                }),
            ]
        })
    }

    fn read(json: &str) -> Result<String, CanonicalError> {
        let object = parse_object(json.as_bytes(), Numbers::Loose)?;
        let mut out = Vec::new();
        write_object(&mut out, &object);
        Ok(into_text(out))
    }

    proptest! {
        #[test]
        fn any_object_is_written_as_the_reader_writes_it(value in value_text()) {
            let json = format!("{{\"x\":{value}}}");
            prop_assert_eq!(rewritten(&json).unwrap(), read(&json).unwrap());
        }

        /// Pieces of JSON in any order: the reader that makes values is the other opinion.
        #[test]
        fn it_agrees_with_the_reader(pieces in proptest::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"\\u0061\"", "\"é\\n\"", "1", "-0", "1.5", "1e3", "true", "null", " ",
            "\"a\":", "\"b\":", "\"c\":{", "\"a\":[", "{}", "[]",
        ]), 0..12)) {
            let json = format!("{{{}}}", pieces.concat());
            match (rewritten(&json), read(&json)) {
                (Ok(text), Ok(read)) => prop_assert_eq!(text, read),
                (ours, read) => prop_assert!(ours.is_err() && read.is_err(), "{} {:?} {:?}", json, ours, read),
            }
        }
    }
}
