//! What is a well-formed event, by room version.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#size-limits>, <https://spec.matrix.org/v1.19/rooms/>

use linkim_federation::{CanonicalError, FormatError, Pdu};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::version;

/// A valid event of the version, made of the tables in its "Event format".
fn valid(number: usize) -> Value {
    let reference = |id: &str| {
        if number < 3 {
            json!([format!("{id}:a.example"), {"sha256": "abase64encodedsha256hashshouldbe43byteslong"}])
        } else {
            json!(id)
        }
    };
    let mut event = json!({
        "auth_events": [reference("$auth")],
        "content": {"body": "hello"},
        "depth": 12,
        "hashes": {"sha256": "thishashcoversallfieldsincasethisisredacted"},
        "origin_server_ts": 1_838_188_000_u64,
        "prev_events": [reference("$prev"), reference("$other")],
        "room_id": "!room:a.example",
        "sender": "@alice:a.example",
        "signatures": {"a.example": {"ed25519:1": "x"}},
        "type": "m.room.message",
        "unsigned": {"age": 4612},
    });
    if number < 3 {
        event["event_id"] = json!("$event:a.example");
    }
    event
}

fn read(event: &Value, number: usize) -> Result<Pdu, FormatError> {
    Pdu::from_peer(event.to_string().as_bytes(), version(number))
}

fn with(number: usize, field: &str, value: Value) -> Result<Pdu, FormatError> {
    let mut event = valid(number);
    event[field] = value;
    read(&event, number)
}

#[test]
fn a_valid_event_is_read_in_every_version() {
    for number in 1..=12 {
        let pdu = read(&valid(number), number).unwrap_or_else(|error| panic!("version {number}: {error}"));
        assert_eq!(pdu.room_id(), "!room:a.example");
        assert_eq!(pdu.sender(), "@alice:a.example");
        assert_eq!(pdu.event_type().to_string(), "m.room.message");
        assert_eq!(pdu.content().get(), r#"{"body":"hello"}"#);
        assert_eq!((pdu.depth(), pdu.origin_server_ts(), pdu.state_key()), (12, 1_838_188_000, None));
        assert_eq!((pdu.prev_events().len(), pdu.auth_events().len()), (2, 1));
        assert!(!pdu.rejected() && !pdu.is_state());
        assert!(!pdu.json().contains("unsigned"));
        let id = pdu.event_id().as_str();
        match number {
            1 | 2 => assert_eq!(id, "$event:a.example"),
            3 => assert_eq!(id.len(), 44),
            _ => assert!(id.len() == 44 && !id.contains(['+', '/']), "{id}"),
        }
        let stored = Pdu::from_trusted(pdu.event_id().to_owned(), pdu.json(), true).unwrap();
        assert_eq!(format!("{:?}", stored.with_rejected(false)), format!("{pdu:?}"));
    }
}

#[test]
fn unsigned_changes_neither_text_nor_identifier() {
    let with_unsigned = read(&valid(11), 11).unwrap();
    let mut event = valid(11);
    event.as_object_mut().unwrap().remove("unsigned");
    let without = read(&event, 11).unwrap();
    assert_eq!((with_unsigned.json(), with_unsigned.event_id()), (without.json(), without.event_id()));
}

#[test]
fn each_required_field_is_required() {
    for number in 1..=12 {
        for field in [
            "auth_events",
            "content",
            "depth",
            "hashes",
            "origin_server_ts",
            "prev_events",
            "room_id",
            "sender",
            "signatures",
            "type",
        ] {
            let mut event = valid(number);
            event.as_object_mut().unwrap().remove(field);
            assert!(read(&event, number).is_err(), "version {number} without {field}");
            for wrong in [json!(null), json!(true), json!("x"), json!(-1), json!([1]), json!({"a": 1})] {
                let fits = match field {
                    "content" | "hashes" | "signatures" => wrong.is_object(),
                    "type" => wrong.is_string(),
                    _ => false,
                };
                assert_eq!(with(number, field, wrong.clone()).is_ok(), fits, "version {number}, {field}: {wrong}");
            }
        }
    }
    let mut event = valid(2);
    event.as_object_mut().unwrap().remove("event_id");
    assert!(read(&event, 2).is_err());
    assert!(with(2, "event_id", json!("$hash_without_server")).is_err());
    assert!(with(11, "state_key", json!(null)).is_err());
    assert!(with(11, "state_key", json!(1)).is_err());
}

#[test]
fn the_size_of_an_event_is_bounded_at_exactly_65536_bytes() {
    for number in [1, 6, 12] {
        let mut event = valid(number);
        event.as_object_mut().unwrap().remove("unsigned");
        let sized = |bytes: usize, event: &mut Value| {
            event["content"]["body"] = json!("");
            let rest = event.to_string().len();
            event["content"]["body"] = json!("x".repeat(bytes - rest));
            assert_eq!(event.to_string().len(), bytes);
        };
        sized(65_536, &mut event);
        assert_eq!(read(&event, number).unwrap().json().len(), 65_536);
        // Neither white space nor `unsigned` counts.
        event["unsigned"] = json!({"filler": "y".repeat(70_000)});
        assert!(Pdu::from_peer(serde_json::to_vec_pretty(&event).unwrap().as_slice(), version(number)).is_ok());
        // But nobody makes us read without end.
        event["unsigned"] = json!({"filler": "y".repeat(1_100_000)});
        assert_eq!(read(&event, number).unwrap_err(), FormatError::TooLarge);
        event.as_object_mut().unwrap().remove("unsigned");
        sized(65_537, &mut event);
        assert_eq!(read(&event, number).unwrap_err(), FormatError::TooLarge);
    }
}

#[test]
fn fields_are_bounded_at_exactly_255_bytes() {
    // Two bytes each in UTF-8: 127 of them and one more byte are 255 bytes and 128 characters.
    let long = |bytes: usize| "é".repeat(bytes / 2) + &"x".repeat(bytes % 2);
    let named =
        |start: &str, bytes: usize, end: &str| format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()));
    for number in [2, 5, 11] {
        for (bytes, fits) in [(255, true), (256, false)] {
            assert_eq!(with(number, "type", json!(long(bytes))).is_ok(), fits, "type of {bytes}");
            assert_eq!(with(number, "state_key", json!(long(bytes))).is_ok(), fits, "state_key of {bytes}");
            assert_eq!(
                with(number, "sender", json!(named("@", bytes, ":a.example"))).is_ok(),
                fits,
                "sender of {bytes}"
            );
            assert_eq!(
                with(number, "room_id", json!(named("!", bytes, ":a.example"))).is_ok(),
                fits,
                "room_id of {bytes}"
            );
        }
    }
    for (bytes, fits) in [(255, true), (256, false)] {
        assert_eq!(with(1, "event_id", json!(named("$", bytes, ":a.example"))).is_ok(), fits, "event_id of {bytes}");
    }
}

#[test]
fn references_are_bounded_and_have_the_versions_form() {
    for number in [1, 3, 12] {
        let list = |count: usize| {
            let one = |at: usize| {
                if number < 3 {
                    json!([format!("$e{at}:a.example"), {"sha256": "x"}])
                } else {
                    json!(format!("$e{at}"))
                }
            };
            Value::Array((0..count).map(one).collect())
        };
        assert!(with(number, "prev_events", list(20)).is_ok());
        assert!(with(number, "prev_events", list(21)).is_err());
        assert!(with(number, "auth_events", list(10)).is_ok());
        assert!(with(number, "auth_events", list(11)).is_err());
        assert!(with(number, "auth_events", json!([])).is_ok());
    }
    for field in ["prev_events", "auth_events"] {
        assert!(with(2, field, json!(["$e:a.example"])).is_err());
        assert!(with(3, field, json!([["$e:a.example", {"sha256": "x"}]])).is_err());
        assert!(with(3, field, json!(["no sigil"])).is_err());
        assert!(with(3, field, json!([[]])).is_err());
    }
}

#[test]
fn numbers_are_strict_from_version_6_on() {
    for number in 1..=12 {
        for odd in ["1.5", "1e3", "9007199254740992", "-123456789012345678901234567890"] {
            let text = valid(number).to_string().replace(r#""hello""#, odd);
            let read = Pdu::from_peer(text.as_bytes(), version(number));
            if number < 6 {
                let pdu = read.unwrap();
                let again = Pdu::from_peer(pdu.json().as_bytes(), version(number)).unwrap();
                assert_eq!((again.json(), again.event_id()), (pdu.json(), pdu.event_id()), "{odd} is stable");
            } else {
                let error = read.unwrap_err();
                let expected = [CanonicalError::Float, CanonicalError::IntegerOutOfRange].map(FormatError::Json);
                assert!(expected.contains(&error), "version {number}: {odd}: {error}");
            }
        }
    }
    let text = valid(5).to_string().replace("1838188000", "9007199254740993").replace("12,", "9223372036854775807,");
    let pdu = Pdu::from_peer(text.as_bytes(), version(5)).unwrap();
    assert_eq!((pdu.depth(), pdu.origin_server_ts()), (9_223_372_036_854_775_807, 9_007_199_254_740_993));
}

/// Version 12: the create event has no room, its identifier names it, and no event lists it as an auth event.
#[test]
fn a_version_12_create_event_names_its_room() {
    let mut create = valid(12);
    create["type"] = json!("m.room.create");
    create["state_key"] = json!("");
    create["auth_events"] = json!([]);
    create["prev_events"] = json!([]);
    create.as_object_mut().unwrap().remove("room_id");
    let pdu = read(&create, 12).unwrap();
    assert_eq!(pdu.room_id().as_str()[1..], pdu.event_id().as_str()[1..]);
    assert!(read(&create, 11).is_err(), "version 11 requires a room");
    let mut message = valid(12);
    message["room_id"] = json!(pdu.room_id());
    assert!(read(&message, 12).is_ok());
    message["auth_events"] = json!([pdu.event_id()]);
    assert!(read(&message, 12).is_err());
}

#[test]
fn what_a_redaction_redacts_stands_where_the_version_says() {
    for number in 1..=12 {
        let mut event = valid(number);
        event["type"] = json!("m.room.redaction");
        event["redacts"] = json!("$top:a.example");
        event["content"]["redacts"] = json!("$content:a.example");
        let expected = if number < 11 { "$top:a.example" } else { "$content:a.example" };
        let pdu = read(&event, number).unwrap();
        assert_eq!(pdu.redacts().unwrap(), expected);
        let stored = Pdu::from_trusted(pdu.event_id().to_owned(), pdu.json(), false).unwrap();
        assert_eq!(stored.redacts_by(version(number)).unwrap(), expected);
        event["redacts"] = json!(3);
        event["content"]["redacts"] = json!(["$x"]);
        assert_eq!(read(&event, number).unwrap().redacts(), None);
        event["type"] = json!("m.room.message");
        event["redacts"] = json!("$top:a.example");
        assert_eq!(read(&event, number).unwrap().redacts(), None, "only redactions redact");
    }
}

/// ruma's own check is the oracle for everything but the size of the whole, where it stops one byte short.
#[test]
fn ruma_agrees_on_each_mutation_of_a_valid_event() {
    let mutations: [(&str, Value); 12] = [
        ("depth", json!(-1)),
        ("depth", json!("1")),
        ("depth", json!(0)),
        ("type", json!("x".repeat(256))),
        ("state_key", json!("x".repeat(256))),
        ("state_key", json!("")),
        ("state_key", json!({})),
        ("prev_events", json!({})),
        ("prev_events", json!([])),
        ("auth_events", json!("$x")),
        ("room_id", json!(4)),
        ("sender", json!(null)),
    ];
    for number in 3..=12 {
        for (field, value) in &mutations {
            let mut event = valid(number);
            event[field] = value.clone();
            let object = linkim_federation::canonical_object(event.to_string().as_str(), true).unwrap();
            let ruma = ruma::state_res::check_pdu_format(&object, &version(number).event_format);
            assert_eq!(read(&event, number).is_ok(), ruma.is_ok(), "version {number}, {field}: {value}: {ruma:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), number in 1..=12_usize) {
        let _ = Pdu::from_peer(&bytes, version(number));
    }

    /// One byte changed in a valid event reaches every check.
    #[test]
    fn no_changed_byte_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), number in 1..=12_usize) {
        let mut text = valid(number).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(pdu) = Pdu::from_peer(&text, version(number)) {
            // What was read is canonical: reading it again changes nothing.
            let again = Pdu::from_peer(pdu.json().as_bytes(), version(number)).unwrap();
            prop_assert_eq!(again.json(), pdu.json());
            prop_assert_eq!(again.event_id(), pdu.event_id());
        }
    }
}
