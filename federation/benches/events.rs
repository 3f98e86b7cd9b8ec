//! What one event costs: to build and sign, to read from a peer, to verify, to read from the store.
//!
//! `cargo bench -p linkim-federation --bench events`

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use linkim_federation::{
    EventReference, EventTemplate, Pdu, PublicKeyMap, SigningKey, build_event, canonical_object, redact, rules,
    verify_event,
};
use ruma::serde::Base64;
use ruma::{RoomVersionId, event_id, room_id, server_name, user_id};

const CONTENT: &str = r#"{"msgtype":"m.text","body":"A message of the usual length, such as people write all day.","m.mentions":{"user_ids":["@bob:a.example"]}}"#;

fn events(criterion: &mut Criterion) {
    let rules = rules(&RoomVersionId::V11).unwrap();
    let key = SigningKey::generate([7; 32], "a_bench").unwrap();
    let reference = |event_id| EventReference { event_id, reference_hash: None };
    let prev = [reference(event_id!("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"))];
    let auth = [
        reference(event_id!("$acR1l0raoZnm60CBwAVgqbZqoO_mYU81xysh1u7XcJk")),
        reference(event_id!("$bcR1l0raoZnm60CBwAVgqbZqoO_mYU81xysh1u7XcJk")),
        reference(event_id!("$ccR1l0raoZnm60CBwAVgqbZqoO_mYU81xysh1u7XcJk")),
    ];
    let build = |content| {
        let template = EventTemplate {
            room_id: Some(room_id!("!room:a.example")),
            sender: user_id!("@alice:a.example"),
            event_type: "m.room.message",
            state_key: None,
            content,
            prev_events: &prev,
            auth_events: &auth,
            depth: 1234,
            origin_server_ts: 1_700_000_000_000,
            redacts: None,
            event_id_v1: None,
        };
        build_event(template, rules, server_name!("a.example"), &key).unwrap()
    };
    let content = canonical_object(CONTENT, true).unwrap();
    let pdu = build(content.clone());
    let public = Base64::parse(key.public_key()).unwrap();
    let keys = PublicKeyMap::from([("a.example".to_owned(), BTreeMap::from([(key.key_id().to_owned(), public)]))]);

    criterion.bench_function("sign alone", |bench| bench.iter(|| black_box(key.sign_bytes(pdu.json().as_bytes()))));
    criterion.bench_function("build_event", |bench| bench.iter(|| black_box(build(content.clone()))));
    criterion.bench_function("canonical_object", |bench| bench.iter(|| black_box(canonical_object(CONTENT, true))));
    criterion.bench_function("from_peer", |bench| {
        bench.iter(|| black_box(Pdu::from_peer(pdu.json().as_bytes(), rules).unwrap()));
    });
    criterion.bench_function("from_trusted", |bench| {
        bench.iter(|| black_box(Pdu::from_trusted(pdu.event_id().to_owned(), pdu.json(), false).unwrap()));
    });
    criterion
        .bench_function("verify_event", |bench| bench.iter(|| black_box(verify_event(&pdu, &keys, rules).unwrap())));
    criterion.bench_function("redact", |bench| bench.iter(|| black_box(redact(&pdu, rules))));
}

criterion_group!(benches, events);
criterion_main!(benches);
