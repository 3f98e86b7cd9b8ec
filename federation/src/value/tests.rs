//! Numbers of the room versions that do not enforce canonical JSON, and the limits of reading.

use proptest::prelude::*;

use super::*;

fn loose(text: &str) -> String {
    let object = parse_object(text.as_bytes(), Numbers::Loose).unwrap();
    let mut out = Vec::new();
    write_object(&mut out, &object);
    into_text(out)
}

/// The appendices give the encoding as a Python function, so the right-hand sides are what Python's `json` defines:
/// integers of any size in decimal, floats by `float.__repr__`.
#[test]
fn loose_numbers_are_written_as_the_appendices_function_writes_them() {
    for (text, written) in [
        ("9007199254740993", "9007199254740993"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("18446744073709551616", "18446744073709551616"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("0.0", "0.0"),
        ("1.0", "1.0"),
        ("1.50", "1.5"),
        ("1e10", "10000000000.0"),
        ("1E2", "100.0"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("1.25e16", "1.25e+16"),
        ("1e-7", "1e-07"),
        ("1.5e300", "1.5e+300"),
        ("50.57", "50.57"),
        ("5.114698E4", "51146.98"),
    ] {
        assert_eq!(loose(&format!(r#"{{"a":{text}}}"#)), format!(r#"{{"a":{written}}}"#), "{text}");
        assert_eq!(loose(&format!(r#"{{"a":[{{"b":{text}}}]}}"#)), format!(r#"{{"a":[{{"b":{written}}}]}}"#));
    }
    // Infinity has no JSON text: the function above writes none that can be read again.
    assert!(parse_object(br#"{"a":1e400}"#, Numbers::Loose).is_err());
}

#[test]
fn the_last_of_several_values_under_one_key_stays() {
    assert_eq!(loose(r#"{"b":1,"a":2,"b":3,"a":4,"c":5,"b":6}"#), r#"{"a":4,"b":6,"c":5}"#);
}

proptest! {
    /// Two readers that share no code beyond the parser's grammar agree on what is strict.
    #[test]
    fn reading_and_writing_agree_with_serde_json(value in arbitrary_json()) {
        let text = serde_json::to_string(&value).unwrap();
        let object = format!(r#"{{"v":{text}}}"#);
        // serde_json's map is sorted by key, and its writer has no white space.
        prop_assert_eq!(loose(&object), object);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_object(&bytes, Numbers::Strict);
        let _ = parse_object(&bytes, Numbers::Loose);
    }

    /// Text that is nearly JSON reaches further than random bytes.
    #[test]
    fn no_tokens_make_the_reader_panic(text in r#"[{}\[\],:"0-9eE+.\\u a-]{0,60}"#) {
        let _ = parse_object(text.as_bytes(), Numbers::Strict);
        let _ = parse_object(text.as_bytes(), Numbers::Loose);
    }

    #[test]
    fn a_float_survives_its_own_text(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let text = shortest_float(value);
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        prop_assert_eq!(loose(&format!(r#"{{"a":{text}}}"#)), format!(r#"{{"a":{text}}}"#));
    }
}

/// Values whose numbers are integers that canonical JSON allows.
fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-MAX_INTEGER..=MAX_INTEGER).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
