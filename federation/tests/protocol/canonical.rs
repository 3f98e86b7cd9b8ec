//! Canonical JSON: the specification's examples, and what is refused.
//!
//! <https://spec.matrix.org/v1.19/appendices/#canonical-json>

use linkim_federation::canonical::canonical_text;
use linkim_federation::{CanonicalError, canonical_object};

fn canonical(json: &str) -> String {
    canonical_text(&canonical_object(json, false).unwrap())
}

#[test]
fn the_examples_of_the_appendices() {
    for (given, expected) in [
        ("{}", "{}"),
        ("{\n    \"one\": 1,\n    \"two\": \"Two\"\n}", r#"{"one":1,"two":"Two"}"#),
        ("{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}", r#"{"a":"1","b":"2"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
                "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
                    {"medium": "msisdn", "address": "123456789"}]}}}"#,
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
        ),
        (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
        (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
        (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
        (r#"{"a": null}"#, r#"{"a":null}"#),
        (r#"{"a": -0, "b": 1e10}"#, r#"{"a":0,"b":10000000000}"#),
    ] {
        assert_eq!(canonical(given), expected);
    }
}

/// The grammar: dedicated escapes for seven characters, `\u00xx` in lower case for the other controls, none for the rest.
#[test]
fn every_character_below_256_is_escaped_as_the_grammar_says() {
    for code in 0..256_u32 {
        let character = char::from_u32(code).unwrap();
        let expected = match character {
            '\u{8}' => r"\b".to_owned(),
            '\t' => r"\t".to_owned(),
            '\n' => r"\n".to_owned(),
            '\u{c}' => r"\f".to_owned(),
            '\r' => r"\r".to_owned(),
            '"' => r#"\""#.to_owned(),
            '\\' => r"\\".to_owned(),
            control if code < 0x20 => format!("\\u{:04x}", u32::from(control)),
            plain => plain.to_string(),
        };
        let escaped = format!(r#"{{"x":"\u{code:04X}y"}}"#);
        assert_eq!(canonical(&escaped), format!(r#"{{"x":"{expected}y"}}"#));
    }
}

/// By code point, U+FFFD comes before U+1F600; by UTF-16 unit it would come after.
#[test]
fn keys_are_sorted_by_code_point() {
    assert_eq!(canonical("{\"\u{1f600}\":1,\"\u{fffd}\":2,\"a\":3}"), "{\"a\":3,\"\u{fffd}\":2,\"\u{1f600}\":1}");
}

#[test]
fn the_integer_range_is_exact() {
    for inside in ["9007199254740991", "-9007199254740991"] {
        assert_eq!(canonical(&format!(r#"{{"a":{inside}}}"#)), format!(r#"{{"a":{inside}}}"#));
    }
    for outside in ["9007199254740992", "-9007199254740992", "18446744073709551616", "-99999999999999999999"] {
        for strict in [true, false] {
            let refused = canonical_object(format!(r#"{{"a":{outside}}}"#).as_str(), strict);
            assert_eq!(refused, Err(CanonicalError::IntegerOutOfRange), "{outside}");
        }
    }
}

#[test]
fn strict_reading_refuses_every_float_by_name() {
    for float in ["1.0", "1e10", "0.5", "-0.0", "1E2"] {
        assert_eq!(
            canonical_object(format!(r#"{{"a":[{float}]}}"#).as_str(), true),
            Err(CanonicalError::Float),
            "{float}"
        );
    }
    assert_eq!(canonical_object(r#"{"a":0.5}"#, false), Err(CanonicalError::Float));
    assert!(canonical_object(r#"{"a":-0}"#, true).is_ok());
}

#[test]
fn nesting_is_bounded_at_exactly_100_levels() {
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    for strict in [true, false] {
        assert!(canonical_object(nested(100).as_str(), strict).is_ok());
        assert_eq!(canonical_object(nested(101).as_str(), strict), Err(CanonicalError::TooDeep));
        let endless = "{\"a\":".repeat(100_000);
        assert_eq!(canonical_object(endless.as_str(), strict), Err(CanonicalError::TooDeep));
    }
}

#[test]
fn what_is_no_single_object_is_refused() {
    for other in ["[]", "1", "\"a\"", "null"] {
        assert_eq!(canonical_object(other, true), Err(CanonicalError::NotAnObject), "{other}");
    }
    for broken in ["", "{", "{}{}", "{\"a\":1,}", "{\"a\":NaN}", "{\"a\":\"\\ud800\"}", "{\"a\":01}", "{'a':1}"] {
        assert!(matches!(canonical_object(broken, true), Err(CanonicalError::Syntax(_))), "{broken}");
    }
    assert_eq!(canonical_object(&b"{\"a\":\"\xff\"}"[..], true), Err(CanonicalError::Utf8));
}
