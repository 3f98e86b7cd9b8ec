//! Sends, state and redactions.

use super::*;

#[tokio::test]
async fn a_repeated_transaction_is_the_first_ones_event() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let room = f.create(&alice, CreateRequest::default()).await;
    let send = |body: &str, id| f.sending.send(&alice, &room, "m.room.message", text(body), transaction(&alice, id));
    let first = send("first", 1).await.unwrap();
    assert_eq!(send("second", 1).await.unwrap(), first);
    assert_ne!(send("first", 2).await.unwrap(), first);
    // Also for what must look at the room first.
    let reaction = content(json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": first, "key": "👍" } }));
    let react = |id| f.sending.send(&alice, &room, "m.reaction", reaction.clone(), transaction(&alice, id));
    let once = react(3).await.unwrap();
    assert_eq!(react(3).await.unwrap(), once);
    assert!(matches!(react(4).await, Err(SendError::DuplicateAnnotation)));
    let redact = |id| f.sending.redact(&alice, &room, &once, CanonicalJsonObject::new(), transaction(&alice, id));
    let redaction = redact(5).await.unwrap();
    assert_eq!(redact(5).await.unwrap(), redaction);
    react(6).await.unwrap();
}

#[tokio::test]
async fn the_own_is_redacted_and_with_the_level_that_of_others() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    for (number, name) in STABLE_VERSIONS.into_iter().enumerate() {
        let room = f.create(&alice, CreateRequest { room_version: Some(name.into()), ..public() }).await;
        f.membership.join(&bob, &room, None).await.unwrap();
        let mut id = u8::try_from(number).unwrap() * 16;
        let mut next = |by: &Session| {
            id += 1;
            transaction(by, id)
        };
        let send = |by: &Session, transaction| {
            let (by, room) = (by.clone(), room.clone());
            let f = &f;
            async move { f.sending.send(&by, &room, "m.room.message", text("x"), transaction).await.unwrap() }
        };
        let alices = send(&alice, next(&alice)).await;
        let bobs = send(&bob, next(&bob)).await;
        let redact = |by: &Session, target: &EventId, transaction| {
            let (by, room, target) = (by.clone(), room.clone(), target.to_owned());
            let f = &f;
            async move { f.sending.redact(&by, &room, &target, CanonicalJsonObject::new(), transaction).await }
        };
        let refused = redact(&bob, &alices, next(&bob)).await;
        assert!(matches!(refused, Err(SendError::Forbidden(_))), "{name}: {refused:?}");
        redact(&bob, &bobs, next(&bob)).await.unwrap();
        let another = send(&bob, next(&bob)).await;
        // As an event, too.
        let as_event = content(json!({ "redacts": another, "reason": "r" }));
        f.sending.send(&alice, &room, "m.room.redaction", as_event, next(&alice)).await.unwrap();
        for redacted in [bobs, another] {
            let row = f.read(move |read| events::by_id(read, &redacted)).await.unwrap();
            assert!(row.redacted_by.is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_the_room_is_not_redacted() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let (room, other) = (f.create(&alice, public()).await, f.create(&alice, public()).await);
    let elsewhere = f.sending.send(&alice, &other, "m.room.message", text("x"), transaction(&alice, 1)).await.unwrap();
    let unknown = EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    for target in [elsewhere, unknown] {
        let refused =
            f.sending.redact(&alice, &room, &target, CanonicalJsonObject::new(), transaction(&alice, 2)).await;
        assert!(matches!(refused, Err(SendError::UnknownEvent)), "{refused:?}");
    }
    let none = f.sending.send(&alice, &room, "m.room.redaction", text("x"), transaction(&alice, 3)).await;
    assert!(matches!(none, Err(SendError::Content(ContentError::Shape(_)))), "{none:?}");
}

#[tokio::test]
async fn a_canonical_alias_points_here() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let named = |name: &str| CreateRequest { room_alias_name: Some(name.into()), ..CreateRequest::default() };
    let room = f.create(&alice, named("here")).await;
    f.create(&alice, named("there")).await;
    let put = |value: Value| f.sending.put_state(&alice, &room, "m.room.canonical_alias", "", content(value));
    put(json!({ "alias": "#here:a.example", "alt_aliases": ["#here:a.example"] })).await.unwrap();
    for elsewhere in ["#there:a.example", "#nowhere:a.example", "#here:b.example"] {
        for wrong in [json!({ "alias": elsewhere }), json!({ "alt_aliases": [elsewhere] })] {
            let refused = put(wrong).await;
            assert!(matches!(refused, Err(SendError::Content(ContentError::BadAlias(_)))), "{refused:?}");
        }
    }
    let refused = put(json!({ "alias": "here" })).await;
    assert!(matches!(refused, Err(SendError::Content(ContentError::NoAlias(_)))), "{refused:?}");
    // One that is listed already is not looked at again, even when it points nowhere by now.
    let gone = ruma::room_alias_id!("#here:a.example");
    assert!(f.write(move |tx| aliases::delete(tx, gone)).await);
    put(json!({ "alt_aliases": ["#here:a.example"] })).await.unwrap();
}

#[tokio::test]
async fn rule_state_of_the_wrong_shape_is_refused() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let room = f.create(&alice, CreateRequest::default()).await;
    let put = |kind: &'static str, value: Value| f.sending.put_state(&alice, &room, kind, "", content(value));
    let before = f.state(&room, "m.room.power_levels", "").await;
    for wrong in [json!({ "users": { "x": 1 } }), json!({ "ban": "50" }), json!({ "events": { "a": "1" } })] {
        let refused = put("m.room.power_levels", wrong).await;
        assert!(matches!(refused, Err(SendError::Content(ContentError::Shape(_)))), "{refused:?}");
    }
    assert_eq!(f.state(&room, "m.room.power_levels", "").await, before);
    let create = put("m.room.create", json!({ "room_version": "1" })).await;
    assert!(matches!(create, Err(SendError::Forbidden(_))), "{create:?}");
    let long = f.sending.put_state(&alice, &room, &"t".repeat(256), "", content(json!({}))).await;
    assert!(matches!(long, Err(SendError::NameTooLong)));
    let large = put("m.room.topic", json!({ "topic": "x".repeat(66_000) })).await;
    assert!(matches!(large, Err(SendError::Append(AppendError::TooLarge))), "{large:?}");
}
