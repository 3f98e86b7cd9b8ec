//! The services of rooms on a real store and real appenders.

use linkim_federation::STABLE_VERSIONS;
use ruma::{CanonicalJsonObject, EventId, OwnedRoomId, room_id};
use serde_json::{Value, json};

use super::{
    append::AppendError,
    checks::ContentError,
    create::{CreateError, CreateRequest, InitialState},
    fixture::{Fixture, content, transaction},
    membership::{MembershipError, MembershipState},
    presets::{Preset, Visibility},
    send::SendError,
};
use crate::{
    accounts::Session,
    params,
    store::{aliases, events, rooms},
};

fn public() -> CreateRequest {
    CreateRequest { preset: Some(Preset::PublicChat), ..CreateRequest::default() }
}

fn with_join_rule(room_version: &str, rule: Value) -> CreateRequest {
    CreateRequest {
        room_version: Some(room_version.into()),
        initial_state: vec![InitialState {
            kind: "m.room.join_rules".into(),
            state_key: String::new(),
            content: content(rule),
        }],
        ..CreateRequest::default()
    }
}

fn text(body: &str) -> CanonicalJsonObject {
    content(json!({ "msgtype": "m.text", "body": body }))
}

async fn count_rooms(f: &Fixture) -> i64 {
    f.read(|read| read.one("SELECT COUNT(*) FROM rooms", params![], |row| row.get(0))).await.unwrap()
}

#[tokio::test]
async fn a_room_of_every_version_can_be_made_joined_and_used() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    for name in STABLE_VERSIONS {
        let request = CreateRequest {
            room_version: Some(name.into()),
            invite: vec![bob.user_id.clone()],
            name: Some("Tea".into()),
            ..CreateRequest::default()
        };
        let room = f.create(&alice, request).await;
        assert_eq!(f.state(&room, "m.room.create", "").await["room_version"], name);
        assert_eq!(f.told(&room, &bob).await.unwrap().len(), 5, "create, name, join rules, inviter, invitation");
        f.membership.join(&bob, &room, None).await.unwrap();
        assert_eq!(f.told(&room, &bob).await, None, "told is over with the join");
        let transaction = transaction(&bob, name.parse().unwrap());
        f.sending.send(&bob, &room, "m.room.message", text("hello"), transaction).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_refused_leaves_no_room() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let named = |name: &str| CreateRequest { room_alias_name: Some(name.into()), ..CreateRequest::default() };
    f.create(&alice, named("tea")).await;
    let rooms = count_rooms(&f).await;
    let refused = |request| f.creation.create(&alice.user_id, request);
    assert!(matches!(refused(named("tea")).await, Err(CreateError::AliasInUse(_))));
    for name in ["", "a:b", "a b", "a\u{0}", &"x".repeat(255)] {
        assert!(matches!(refused(named(name)).await, Err(CreateError::Invalid(_))), "{name:?}");
    }
    let unknown = CreateRequest { room_version: Some("13".into()), ..CreateRequest::default() };
    assert!(matches!(refused(unknown).await, Err(CreateError::UnsupportedVersion(_))));
    let powerless = CreateRequest {
        room_version: Some("11".into()),
        name: Some("Tea".into()),
        power_level_content_override: content(json!({ "users": {} })),
        ..CreateRequest::default()
    };
    assert!(matches!(refused(powerless).await, Err(CreateError::InvalidState(_))));
    let creator_listed = CreateRequest {
        power_level_content_override: content(json!({ "users": { alice.user_id.as_str(): 100 } })),
        ..CreateRequest::default()
    };
    assert!(matches!(refused(creator_listed).await, Err(CreateError::InvalidState(_))));
    let remote =
        CreateRequest { invite: vec![ruma::user_id!("@bob:b.example").to_owned()], ..CreateRequest::default() };
    assert!(matches!(refused(remote).await, Err(CreateError::RemoteUser(_))));
    let large = CreateRequest { topic: Some("x".repeat(70_000)), ..CreateRequest::default() };
    assert!(matches!(refused(large).await, Err(CreateError::Append(AppendError::TooLarge))));
    assert_eq!(count_rooms(&f).await, rooms);
}

#[tokio::test]
async fn of_two_who_want_the_same_alias_one_gets_a_room() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let request = || CreateRequest { room_alias_name: Some("tea".into()), ..CreateRequest::default() };
    let many = (0..8).map(|_| {
        let (creation, user) = (f.creation.clone(), alice.user_id.clone());
        tokio::spawn(async move { creation.create(&user, request()).await })
    });
    let mut made = Vec::new();
    for one in many.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(room) => made.push(room),
            Err(CreateError::AliasInUse(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((made.len(), count_rooms(&f).await), (1, 1));
}

#[tokio::test]
async fn the_alias_and_the_listing_are_there_with_the_room() {
    let f = Fixture::new();
    let alice = f.user("alice").await;
    let request = CreateRequest {
        visibility: Visibility::Public,
        room_alias_name: Some("tea".into()),
        creation_content: content(json!({ "predecessor": { "room_id": "!old:a.example" } })),
        ..CreateRequest::default()
    };
    let room = f.create(&alice, request).await;
    let nid = f.nid(&room).await;
    let (listed, alias, predecessor) = f
        .read(move |read| Ok((rooms::listed(read, nid)?, aliases::of_room(read, nid)?, rooms::predecessor(read, nid)?)))
        .await;
    assert!(listed);
    assert_eq!(alias, ["#tea:a.example"]);
    assert_eq!(predecessor.as_deref(), Some("!old:a.example"));
    assert_eq!(f.state(&room, "m.room.join_rules", "").await["join_rule"], "public", "the visibility's preset");
}

#[tokio::test]
async fn member_events_say_the_profile_and_follow_it() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    f.set_profile(&alice, "displayname", "Alice").await;
    f.set_profile(&bob, "displayname", "Bob").await;
    f.set_profile(&bob, "avatar_url", "mxc://a.example/bob").await;
    let request = CreateRequest { invite: vec![bob.user_id.clone()], ..public() };
    let room = f.create(&alice, request).await;
    let member = |user: &Session| {
        let (user, room, f) = (user.user_id.clone(), room.clone(), &f);
        async move { f.state(&room, "m.room.member", user.as_str()).await }
    };
    assert_eq!(member(&alice).await, json!({ "membership": "join", "displayname": "Alice" }));
    let invited = json!({ "membership": "invite", "displayname": "Bob", "avatar_url": "mxc://a.example/bob" });
    assert_eq!(member(&bob).await, invited);
    f.membership.join(&bob, &room, Some("tea".into())).await.unwrap();
    assert_eq!(member(&bob).await["reason"], "tea");
    f.set_profile(&bob, "displayname", "Robert").await;
    f.membership.profile_changed(&bob.user_id).await.unwrap();
    let renewed = json!({ "membership": "join", "displayname": "Robert", "avatar_url": "mxc://a.example/bob" });
    assert_eq!(member(&bob).await, renewed);
    // Who has left stays as they were.
    f.membership.leave(&bob, &room, None).await.unwrap();
    f.set_profile(&bob, "displayname", "Bob").await;
    f.membership.profile_changed(&bob.user_id).await.unwrap();
    assert_eq!(member(&bob).await, json!({ "membership": "leave" }));
}

#[tokio::test]
async fn joining_again_changes_nothing() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let room = f.create(&alice, public()).await;
    f.membership.join(&bob, &room, None).await.unwrap();
    let position = f.store.position();
    f.membership.join(&bob, &room, Some("again".into())).await.unwrap();
    assert_eq!(f.store.position(), position);
    let unknown = f.membership.join(&bob, room_id!("!no:a.example"), None).await;
    assert!(matches!(unknown, Err(MembershipError::UnknownRoom)));
}

#[tokio::test]
async fn a_kick_is_no_unban_and_an_unban_no_kick() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let room = f.create(&alice, public()).await;
    let kick = || f.membership.kick(&alice, &room, &bob.user_id, None);
    let unban = || f.membership.unban(&alice, &room, &bob.user_id, None);
    assert!(matches!(kick().await, Err(MembershipError::Forbidden(_))), "a stranger");
    f.membership.join(&bob, &room, None).await.unwrap();
    assert!(matches!(unban().await, Err(MembershipError::BadState(_))), "a member");
    kick().await.unwrap();
    assert!(matches!(kick().await, Err(MembershipError::Forbidden(_))), "who has left");
    f.membership.ban(&alice, &room, &bob.user_id, None).await.unwrap();
    assert!(matches!(kick().await, Err(MembershipError::Forbidden(_))), "the banned");
    assert_eq!(f.membership_of(&room, &bob).await, Some(MembershipState::Ban));
    assert!(matches!(f.membership.join(&bob, &room, None).await, Err(MembershipError::Forbidden(_))));
    assert!(matches!(f.membership.leave(&bob, &room, None).await, Err(MembershipError::Forbidden(_))));
    unban().await.unwrap();
    f.membership.join(&bob, &room, None).await.unwrap();
}

#[tokio::test]
async fn an_invitation_tells_the_room_and_its_end_takes_that_back() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let room = f.create(&alice, CreateRequest { name: Some("Tea".into()), ..CreateRequest::default() }).await;
    f.membership.invite(&alice, &room, &bob.user_id, Some("come".into())).await.unwrap();
    let told = f.told(&room, &bob).await.unwrap();
    let kinds: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["m.room.create", "m.room.name", "m.room.join_rules", "m.room.member", "m.room.member"]);
    assert_eq!(told[4]["content"], json!({ "membership": "invite", "reason": "come" }));
    assert_eq!(told[4]["sender"], "@alice:a.example");
    f.membership.kick(&alice, &room, &bob.user_id, None).await.unwrap();
    assert_eq!(f.told(&room, &bob).await, None);
    let refused = f.membership.invite(&bob, &room, &alice.user_id, None).await;
    assert!(matches!(refused, Err(MembershipError::Forbidden(_))));
    let remote = f.membership.invite(&alice, &room, ruma::user_id!("@carol:b.example"), None).await;
    assert!(matches!(remote, Err(MembershipError::RemoteUser(_))));
}

#[tokio::test]
async fn a_knock_needs_the_rule_and_the_version() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    for (room_version, rule, allowed) in [
        ("6", "knock", false),
        ("7", "knock", true),
        ("9", "knock_restricted", false),
        ("10", "knock_restricted", true),
        ("12", "knock", true),
        ("12", "invite", false),
        ("12", "public", false),
    ] {
        let room = f.create(&alice, with_join_rule(room_version, json!({ "join_rule": rule }))).await;
        let knocked = f.membership.knock(&bob, &room, Some("please".into())).await;
        assert_eq!(knocked.is_ok(), allowed, "{room_version} {rule}: {knocked:?}");
        if allowed {
            let told = f.told(&room, &bob).await.unwrap();
            assert_eq!(told.last().unwrap()["content"], json!({ "membership": "knock", "reason": "please" }));
            f.membership.leave(&bob, &room, None).await.unwrap();
            assert_eq!(f.told(&room, &bob).await, None, "the knock is withdrawn");
        }
    }
}

fn restricted(room_version: &str, rule: &str, to: &OwnedRoomId) -> CreateRequest {
    let rule = json!({ "join_rule": rule, "allow": [{ "type": "m.room_membership", "room_id": to }] });
    with_join_rule(room_version, rule)
}

#[tokio::test]
async fn a_restricted_join_names_a_member_who_may_invite() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    for (room_version, rule) in
        [("8", "restricted"), ("11", "restricted"), ("10", "knock_restricted"), ("12", "restricted")]
    {
        let space = f.create(&alice, public()).await;
        let room = f.create(&alice, restricted(room_version, rule, &space)).await;
        let refused = f.membership.join(&bob, &room, None).await;
        assert!(matches!(refused, Err(MembershipError::Forbidden(_))), "{room_version}");
        f.membership.join(&bob, &space, None).await.unwrap();
        f.membership.join(&bob, &room, None).await.unwrap();
        let member = f.state(&room, "m.room.member", bob.user_id.as_str()).await;
        assert_eq!(member["join_authorised_via_users_server"], "@alice:a.example", "{room_version}");
    }
    // Version 7 does not know the rule, so it lets nobody in.
    let space = f.create(&bob, public()).await;
    let room = f.create(&alice, restricted("7", "restricted", &space)).await;
    assert!(matches!(f.membership.join(&bob, &room, None).await, Err(MembershipError::Forbidden(_))));
}

#[tokio::test]
async fn who_vouches_has_the_power_and_is_there() {
    let f = Fixture::new();
    let (alice, bob, carol) = (f.user("alice").await, f.user("bob").await, f.user("carol").await);
    let space = f.create(&alice, public()).await;
    for user in [&bob, &carol] {
        f.membership.join(user, &space, None).await.unwrap();
    }
    let mut request = restricted("12", "restricted", &space);
    request.power_level_content_override = content(json!({ "invite": 60, "users": { "@bob:a.example": 50 } }));
    let room = f.create(&alice, request).await;
    f.membership.join(&bob, &room, None).await.unwrap();
    f.membership.leave(&alice, &room, None).await.unwrap();
    let refused = f.membership.join(&carol, &room, None).await;
    assert!(matches!(&refused, Err(MembershipError::Forbidden(why)) if why.contains("nobody")), "{refused:?}");

    // Where everybody may invite, anybody who is there vouches.
    let mut request = restricted("12", "restricted", &space);
    request.power_level_content_override = content(json!({ "invite": 0 }));
    let room = f.create(&alice, request).await;
    f.membership.join(&bob, &room, None).await.unwrap();
    f.membership.leave(&alice, &room, None).await.unwrap();
    f.membership.join(&carol, &room, None).await.unwrap();
    let member = f.state(&room, "m.room.member", carol.user_id.as_str()).await;
    assert_eq!(member["join_authorised_via_users_server"], "@bob:a.example");
}

#[tokio::test]
async fn only_what_was_left_is_forgotten() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let room = f.create(&alice, public()).await;
    assert!(matches!(f.membership.forget(&alice, &room).await, Err(MembershipError::NotLeft)));
    assert!(matches!(f.membership.forget(&bob, &room).await, Err(MembershipError::UnknownRoom)));
    f.membership.join(&bob, &room, None).await.unwrap();
    f.membership.leave(&bob, &room, None).await.unwrap();
    f.membership.leave(&bob, &room, None).await.unwrap();
    f.membership.forget(&bob, &room).await.unwrap();
    let position = f.store.position();
    f.membership.forget(&bob, &room).await.unwrap();
    assert_eq!(f.store.position(), position, "forgetting twice is no change");
    f.membership.join(&bob, &room, None).await.unwrap();
}

#[tokio::test]
async fn guests_join_where_they_may_and_leave_when_they_no_longer_may() {
    let f = Fixture::new();
    let (alice, guest) = (f.user("alice").await, f.guest("1").await);
    let shut = f.create(&alice, public()).await;
    assert!(matches!(f.membership.join(&guest, &shut, None).await, Err(MembershipError::NoGuests)));
    let access = |value: &str| content(json!({ "guest_access": value }));
    let set = |value: &str| f.sending.put_state(&alice, &shut, "m.room.guest_access", "", access(value));
    set("can_join").await.unwrap();
    f.membership.join(&guest, &shut, None).await.unwrap();
    set("forbidden").await.unwrap();
    assert_eq!(f.membership_of(&shut, &guest).await, Some(MembershipState::Leave));
}

#[tokio::test]
async fn a_member_event_as_state_is_the_same_transition() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    f.set_profile(&bob, "displayname", "Bob").await;
    let room = f.create(&alice, CreateRequest::default()).await;
    let put = |by: &Session, value: Value| {
        let (by, room) = (by.clone(), room.clone());
        let f = &f;
        async move { f.sending.put_state(&by, &room, "m.room.member", "@bob:a.example", content(value)).await }
    };
    put(&alice, json!({ "membership": "invite" })).await.unwrap();
    assert!(f.told(&room, &bob).await.is_some());
    put(&bob, json!({ "membership": "join", "org.example.mood": "good" })).await.unwrap();
    let member = f.state(&room, "m.room.member", bob.user_id.as_str()).await;
    assert_eq!(member, json!({ "membership": "join", "displayname": "Bob", "org.example.mood": "good" }));
    put(&bob, json!({ "membership": "join", "displayname": "Bobby" })).await.unwrap();
    assert_eq!(f.state(&room, "m.room.member", bob.user_id.as_str()).await["displayname"], "Bobby");
    for wrong in [json!({}), json!({ "membership": "dancing" }), json!({ "membership": 7 })] {
        let refused = put(&alice, wrong).await;
        assert!(matches!(refused, Err(SendError::Membership(MembershipError::Malformed(_)))), "{refused:?}");
    }
    let other = f.create(&alice, public()).await;
    let forced = f
        .sending
        .put_state(&alice, &other, "m.room.member", "@bob:a.example", content(json!({ "membership": "join" })))
        .await;
    assert!(matches!(forced, Err(SendError::Membership(MembershipError::Forbidden(_)))), "{forced:?}");
}

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
