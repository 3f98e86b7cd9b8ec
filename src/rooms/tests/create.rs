//! Rooms are made whole or not at all.

use super::*;

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
    for name in ["", "a:b", "a\u{0}", &"x".repeat(255)] {
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
