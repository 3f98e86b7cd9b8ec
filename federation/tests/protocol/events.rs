//! Building events, and verifying them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#signing-events>

use std::collections::BTreeMap;

use linkim_federation::{
    BuildError, EventReference, EventTemplate, Pdu, PublicKeyMap, SigningKey, Verified, VerifyError, add_signature,
    build_event, redact, required_servers, verify_event, verify_event_signature,
};
use proptest::prelude::*;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, RoomId, ServerName, event_id, server_name};

use crate::common::{content, key, keys_of, template, version};

fn origin() -> &'static ServerName {
    server_name!("a.example")
}

fn fitted<'a>(number: usize, mut template: EventTemplate<'a>) -> EventTemplate<'a> {
    if number < 3 {
        template.event_id_v1 = Some(event_id!("$made:a.example"));
    }
    template
}

fn build(number: usize, template: EventTemplate<'_>) -> Pdu {
    build_event(fitted(number, template), version(number), origin(), &key()).unwrap()
}

#[test]
fn a_built_event_is_verified_in_every_version_and_ruma_agrees() {
    for number in 1..=12 {
        let rules = version(number);
        let pdu = build(number, template(content(r#"{"body":"hello","msgtype":"m.text"}"#)));
        assert_eq!(verify_event(&pdu, &keys_of("a.example", &key()), rules), Ok(Verified::All));
        let object = content(pdu.json());
        let ruma = ruma::signatures::verify_event(&keys_of("a.example", &key()), &object, rules).unwrap();
        assert_eq!(ruma, ruma::signatures::Verified::All);
        let hash = ruma::signatures::reference_hash(&object, rules).unwrap();
        if number >= 3 {
            assert_eq!(pdu.event_id().as_str(), format!("${hash}"));
        }
        let base64 = if number < 4 { base64_standard } else { base64_url };
        assert_eq!(base64(&pdu.reference_hash(rules)), hash);
    }
}

fn base64_standard(bytes: &[u8]) -> String {
    Base64Of::<ruma::serde::base64::Standard>::new(bytes.to_vec()).encode()
}

fn base64_url(bytes: &[u8]) -> String {
    Base64Of::<ruma::serde::base64::UrlSafe>::new(bytes.to_vec()).encode()
}

type Base64Of<C> = ruma::serde::Base64<C>;

#[test]
fn a_changed_content_leaves_the_signatures_alone() {
    for number in 1..=12 {
        let rules = version(number);
        let keys = keys_of("a.example", &key());
        let pdu = build(number, template(content(r#"{"body":"hello"}"#)));
        let changed = pdu.json().replace("hello", "other");
        let changed = Pdu::from_peer(changed.as_bytes(), rules).unwrap();
        assert_eq!(verify_event(&changed, &keys, rules), Ok(Verified::SignaturesOnly));
        assert_eq!(changed.event_id(), pdu.event_id(), "the identifier is of the redacted event");
        assert_eq!(verify_event(&redact(&pdu, rules), &keys, rules), Ok(Verified::SignaturesOnly));
        let forged = pdu.json().replace(r#""depth":5"#, r#""depth":6"#);
        let forged = Pdu::from_peer(forged.as_bytes(), rules).unwrap();
        let wrong = Err(VerifyError::WrongSignature("a.example".into()));
        assert_eq!(verify_event(&forged, &keys, rules), wrong, "version {number}");
    }
}

/// Room version 5, with numbers that canonical JSON forbids. Hash, signature and identifier were computed with Python:
/// the appendices' `canonical_json`, `hashlib` and the ed25519 of `cryptography`, with the appendices' key.
#[test]
fn an_event_with_loose_numbers_is_verified_as_it_was_signed() {
    let hash = "3tVNrNJgK9+r2zh+72H4oPDdHS3tzknsYw91jCen8jg";
    let signature = "tB4j74lVlT6/WZF7yfV9ViUcCOCTHXa7QfoBed/2bNM4OTkPSRqegSxI6PsXxNEdLM6aqRsDEF7Ll0d3BSo/CQ";
    let given = format!(
        r#"{{"type":"m.room.power_levels","state_key":"","content":{{"users":{{"@a:domain":100,"@b:domain":50.570,
        "@c:domain":1e2}},"ban":123456789012345678901234567890,"redact":1e-7,"kick":-0,"extra":2.5e16}},
        "sender":"@a:domain","room_id":"!x:domain","origin_server_ts":1000000,"depth":9007199254740993,
        "prev_events":["$p"],"auth_events":[],"hashes":{{"sha256":"{hash}"}},
        "signatures":{{"domain":{{"ed25519:1":"{signature}"}}}}}}"#
    );
    let written = format!(
        r#"{{"auth_events":[],"content":{{"ban":123456789012345678901234567890,"extra":2.5e+16,"kick":0,"redact":1e-07,"users":{{"@a:domain":100,"@b:domain":50.57,"@c:domain":100.0}}}},"depth":9007199254740993,"hashes":{{"sha256":"{hash}"}},"origin_server_ts":1000000,"prev_events":["$p"],"room_id":"!x:domain","sender":"@a:domain","signatures":{{"domain":{{"ed25519:1":"{signature}"}}}},"state_key":"","type":"m.room.power_levels"}}"#
    );
    let pdu = Pdu::from_peer(given.as_bytes(), version(5)).unwrap();
    assert_eq!(pdu.json(), written);
    assert_eq!(pdu.event_id(), "$EQ3ZUxtswhUjO8cgGLnGs2hyjQh4FKw7XF2orB-Shdc");
    let key = SigningKey::parse_file("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap().remove(0);
    assert_eq!(verify_event(&pdu, &keys_of("domain", &key), version(5)), Ok(Verified::All));
}

#[test]
fn the_servers_that_must_sign_depend_on_type_and_version() {
    let servers = |pdu: &Pdu, number: usize| {
        required_servers(pdu, version(number)).unwrap().into_iter().map(|server| server.to_string()).collect::<Vec<_>>()
    };
    let member = |json: &str| EventTemplate {
        event_type: "m.room.member",
        state_key: Some("@alice:a.example"),
        ..template(content(json))
    };
    for number in 1..=12 {
        let restricted = member(r#"{"membership":"join","join_authorised_via_users_server":"@bob:b.example"}"#);
        let expected: &[&str] = if number < 8 { &["a.example"] } else { &["a.example", "b.example"] };
        assert_eq!(servers(&build(number, restricted), number), expected, "version {number}");

        let invite = member(r#"{"membership":"invite","third_party_invite":{"signed":{}}}"#);
        let expected: &[&str] = if number < 3 { &["a.example"] } else { &[] };
        assert_eq!(servers(&build(number, invite), number), expected, "version {number}");
    }
    let other = EventTemplate { event_id_v1: Some(event_id!("$x:c.example")), ..template(content("{}")) };
    let other = build_event(other, version(1), origin(), &key()).unwrap();
    assert_eq!(servers(&other, 1), ["a.example", "c.example"]);
    assert_eq!(
        verify_event(&other, &keys_of("a.example", &key()), version(1)),
        Err(VerifyError::Unsigned("c.example".into()))
    );
    let malformed = member(r#"{"membership":"join","join_authorised_via_users_server":7}"#);
    let malformed = required_servers(&build(8, malformed), version(8));
    assert!(matches!(malformed, Err(VerifyError::Malformed(_))));
}

/// A relay can add signatures; it must neither break an event nor make one valid.
#[test]
fn another_signature_of_the_same_server_neither_helps_nor_harms() {
    let rules = version(12);
    let pdu = build(12, EventTemplate { room_id: Some(ruma::room_id!("!r")), ..template(content("{}")) });
    let both =
        pdu.json().replace(r#""ed25519:a_test":"#, r#""ed25519:0_old":"AAAA","unknown:x":"y","ed25519:a_test":"#);
    let both = Pdu::from_peer(both.as_bytes(), rules).unwrap();
    assert_eq!(both.event_id(), pdu.event_id());
    let mut keys = keys_of("a.example", &key());
    let old = SigningKey::generate([8; 32], "0_old").unwrap();
    keys.get_mut("a.example").unwrap().extend(keys_of("a.example", &old).remove("a.example").unwrap());
    assert_eq!(verify_event(&both, &keys, rules), Ok(Verified::All));
    keys.get_mut("a.example").unwrap().remove(key().key_id());
    assert_eq!(verify_event(&both, &keys, rules), Err(VerifyError::WrongSignature("a.example".into())));
    assert_eq!(verify_event(&both, &PublicKeyMap::new(), rules), Err(VerifyError::UnknownKey("a.example".into())));
}

#[test]
fn a_second_server_can_sign_and_the_event_stays_the_same() {
    let second = SigningKey::generate([9; 32], "ed25519:b_key").unwrap();
    assert_eq!(second.key_id(), "ed25519:b_key");
    for number in 1..=12 {
        let rules = version(number);
        let join = EventTemplate {
            event_type: "m.room.member",
            state_key: Some("@alice:a.example"),
            ..template(content(r#"{"membership":"join","join_authorised_via_users_server":"@bob:b.example"}"#))
        };
        let pdu = build(number, join);
        let mut keys = keys_of("a.example", &key());
        keys.extend(keys_of("b.example", &second));
        let server = server_name!("b.example");
        let unsigned = Err(VerifyError::Unsigned("b.example".into()));
        assert_eq!(verify_event_signature(&pdu, server, &keys, rules), unsigned);
        let both = add_signature(&pdu, rules, server, &second).unwrap();
        assert_eq!(both.event_id(), pdu.event_id());
        assert_eq!(verify_event(&both, &keys, rules), Ok(Verified::All), "version {number}");
        assert_eq!(verify_event_signature(&both, server, &keys, rules), Ok(()));
        assert_eq!(verify_event_signature(&both, origin(), &keys, rules), Ok(()));
        let read = Pdu::from_peer(both.json().as_bytes(), rules).unwrap();
        assert_eq!(format!("{read:?}"), format!("{both:?}"), "the text is canonical");
        let again = add_signature(&both, rules, server, &second).unwrap();
        assert_eq!(again.json(), both.json(), "signing twice is signing once");
    }
}

#[test]
fn events_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Pdu>();
    shared::<SigningKey>();
}

#[test]
fn a_template_must_fit_its_version() {
    let try_build =
        |number: usize, template: EventTemplate<'_>| build_event(template, version(number), origin(), &key());
    let create = EventTemplate { event_type: "m.room.create", state_key: Some(""), ..template(content("{}")) };
    assert!(matches!(try_build(12, create.clone()), Err(BuildError::Template("room_id"))));
    let without_room = EventTemplate { room_id: None, ..create };
    let pdu = try_build(12, without_room.clone()).unwrap();
    assert_eq!(pdu.room_id().as_str()[1..], pdu.event_id().as_str()[1..]);
    assert!(matches!(try_build(11, without_room), Err(BuildError::Template("room_id"))));
    assert!(matches!(try_build(2, template(content("{}"))), Err(BuildError::Template("event_id_v1"))));
    let named = EventTemplate { event_id_v1: Some(event_id!("$x:a.example")), ..template(content("{}")) };
    assert!(matches!(try_build(3, named.clone()), Err(BuildError::Template("event_id_v1"))));
    let reference = EventReference { event_id: event_id!("$p:a.example"), reference_hash: None };
    let unhashed = EventTemplate { prev_events: &[reference], ..named };
    assert!(matches!(try_build(1, unhashed), Err(BuildError::Template("reference_hash"))));
}

#[test]
fn a_built_event_is_bounded_like_a_received_one() {
    let rules = version(11);
    let build = |template: EventTemplate<'_>| build_event(template, rules, origin(), &key());
    let sized = |bytes: usize| template(content(&format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes))));
    let rest = build(sized(0)).unwrap().json().len();
    assert_eq!(build(sized(65_536 - rest)).unwrap().json().len(), 65_536);
    assert_eq!(build(sized(65_537 - rest)).unwrap_err(), BuildError::TooLarge);
    let long = "x".repeat(256);
    let typed = EventTemplate { event_type: &long, ..template(content("{}")) };
    assert_eq!(build(typed).unwrap_err(), BuildError::TypeTooLong);
    let keyed = EventTemplate { state_key: Some(&long), ..template(content("{}")) };
    assert_eq!(build(keyed).unwrap_err(), BuildError::StateKeyTooLong);

    // The event around it is one level of the 100 that a reader takes.
    let nested = |levels: usize| {
        let inner = (1..levels).fold(CanonicalJsonValue::Null, |inner, _| CanonicalJsonValue::Array(vec![inner]));
        template(CanonicalJsonObject::from([("a".to_owned(), inner)]))
    };
    let deepest = build(nested(99)).unwrap();
    assert!(Pdu::from_peer(deepest.json().as_bytes(), rules).is_ok());
    assert_eq!(build(nested(100)).unwrap_err(), BuildError::TooDeep);
}

#[test]
fn a_redaction_is_written_where_the_version_wants_it() {
    for number in 1..=12 {
        let redaction = EventTemplate {
            event_type: "m.room.redaction",
            redacts: Some(event_id!("$target:a.example")),
            ..template(content(r#"{"reason":"spam"}"#))
        };
        let pdu = build(number, redaction);
        assert_eq!(pdu.redacts().unwrap(), "$target:a.example");
        assert_eq!(content(pdu.json()).contains_key("redacts"), number < 11, "version {number}");
    }
}

/// Contents with every kind of value in them, of the types that redaction treats specially too.
fn any_value() -> impl Strategy<Value = CanonicalJsonValue> {
    let leaf = prop_oneof![
        Just(CanonicalJsonValue::Null),
        any::<bool>().prop_map(CanonicalJsonValue::Bool),
        (-9_007_199_254_740_991..=9_007_199_254_740_991_i64)
            .prop_map(|value| CanonicalJsonValue::Integer(value.try_into().unwrap())),
        any::<String>().prop_map(CanonicalJsonValue::String),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(CanonicalJsonValue::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(CanonicalJsonValue::Object),
        ]
    })
}

fn any_content() -> impl Strategy<Value = CanonicalJsonObject> {
    let key = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "membership",
            "third_party_invite",
            "users",
            "join_rule",
            "allow",
            "body",
            "redacts"
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::btree_map(key, any_value(), 0..6)
}

/// Everything in a template that a test varies, with room for what the template borrows.
#[derive(Debug, Clone)]
struct Parts {
    number: usize,
    event_type: String,
    state_key: Option<String>,
    content: CanonicalJsonObject,
    ids: Vec<String>,
    depth: u64,
    ts: u64,
}

fn any_parts() -> impl Strategy<Value = Parts> {
    let event_type = prop_oneof![
        prop::sample::select(vec![
            "m.room.member",
            "m.room.create",
            "m.room.power_levels",
            "m.room.join_rules",
            "m.room.redaction",
            "m.room.history_visibility",
            "m.room.aliases",
            "m.room.message",
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_filter("long", |text| text.len() <= 255),
    ];
    let state_key = proptest::option::of(any::<String>().prop_filter("long", |text| text.len() <= 255));
    let ids = proptest::collection::vec("[$][a-zA-Z0-9_-]{1,43}", 0..10);
    let times = (0..9_007_199_254_740_992_u64, 0..9_007_199_254_740_992_u64);
    (1..=12_usize, event_type, state_key, any_content(), ids, times).prop_map(
        |(number, event_type, state_key, content, ids, (depth, ts))| Parts {
            number,
            event_type,
            state_key,
            content,
            ids,
            depth,
            ts,
        },
    )
}

fn build_parts(parts: &Parts) -> Pdu {
    let references: Vec<EventReference<'_>> = parts
        .ids
        .iter()
        .map(|id| EventReference {
            event_id: <&EventId>::try_from(id.as_str()).unwrap(),
            reference_hash: Some([3; 32]),
        })
        .collect();
    let names_room = parts.number == 12 && parts.event_type == "m.room.create";
    let room_id = <&RoomId>::try_from("!room:a.example").unwrap();
    build(
        parts.number,
        EventTemplate {
            room_id: (!names_room).then_some(room_id),
            event_type: &parts.event_type,
            state_key: parts.state_key.as_deref(),
            prev_events: &references,
            auth_events: &references,
            depth: parts.depth,
            origin_server_ts: parts.ts,
            ..template(parts.content.clone())
        },
    )
}

proptest! {
    /// Any event survives build, text, reading from a peer and verification, and ruma computes the same hash of it.
    #[test]
    fn any_event_survives_the_wire(parts in any_parts()) {
        let rules = version(parts.number);
        let built = build_parts(&parts);
        let read = Pdu::from_peer(built.json().as_bytes(), rules).unwrap();
        prop_assert_eq!(format!("{built:?}"), format!("{read:?}"));
        let stored = Pdu::from_trusted(built.event_id().to_owned(), built.json(), false).unwrap();
        prop_assert_eq!(stored.json(), built.json());
        prop_assert_eq!(content(built.content().get()), parts.content.clone());
        prop_assert_eq!(built.event_type().to_string(), parts.event_type.clone());
        prop_assert_eq!(built.state_key(), parts.state_key.as_deref());

        let object = content(built.json());
        let text = serde_json::to_string(&object).unwrap();
        prop_assert_eq!(text.as_str(), built.json(), "the text is canonical");
        let keys = keys_of("a.example", &key());
        if let Ok(servers) = required_servers(&read, rules)
            && servers.iter().all(|server| server == "a.example")
        {
            prop_assert_eq!(verify_event(&read, &keys, rules), Ok(Verified::All));
        }
        // ruma keeps a `third_party_invite` that is no object, where the text allows only its `signed` key.
        let odd = matches!(parts.content.get("third_party_invite"), Some(value) if value.as_object().is_none());
        if parts.number >= 3 && !(odd && parts.event_type == "m.room.member" && parts.number >= 11) {
            let hash = ruma::signatures::reference_hash(&object, rules).unwrap();
            prop_assert_eq!(built.event_id().as_str(), format!("${hash}"));
        }
    }

    /// Verification never panics and never accepts, whatever stands where the signatures do.
    #[test]
    fn no_signatures_make_verification_panic(
        parts in any_parts(),
        signatures in any_value(),
        server in prop::sample::select(vec!["a.example", "b.example"]),
        key_id in "(ed25519|[a-z]{0,3}):?[a-z_]{0,6}",
        signature in any_value(),
        public in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let rules = version(parts.number);
        let mut object = content(build_parts(&parts).json());
        let key_map = BTreeMap::from([(key_id.clone(), ruma::serde::Base64::new(public))]);
        let keys = PublicKeyMap::from([(server.to_owned(), key_map)]);
        let inner = CanonicalJsonObject::from([(key_id, signature)]);
        let outer = CanonicalJsonObject::from([(server.to_owned(), CanonicalJsonValue::Object(inner))]);
        for value in [signatures, CanonicalJsonValue::Object(outer)] {
            object.insert("signatures".to_owned(), value);
            let text = serde_json::to_string(&object).unwrap();
            if let Ok(pdu) = Pdu::from_peer(text.as_bytes(), rules)
                && !required_servers(&pdu, rules).is_ok_and(|servers| servers.is_empty())
            {
                prop_assert!(verify_event(&pdu, &keys, rules).is_err());
            }
        }
    }
}
