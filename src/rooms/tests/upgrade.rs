//! Upgrades.

use super::*;

#[tokio::test]
async fn an_upgrade_replaces_the_room() {
    let f = Fixture::new();
    let (alice, bob, carol) = (f.user("alice").await, f.user("bob").await, f.user("carol").await);
    for (from, to) in [("1", "12"), ("9", "10"), ("11", "12"), ("12", "11"), ("12", "12")] {
        let alias = format!("tea-{from}-{to}");
        let request = CreateRequest {
            room_version: Some(from.into()),
            visibility: Visibility::Public,
            room_alias_name: Some(alias.clone()),
            name: Some("Tea".into()),
            ..CreateRequest::default()
        };
        let old = f.create(&alice, request).await;
        f.membership.join(&bob, &old, None).await.unwrap();
        f.membership.act_on(&alice, &old, &carol.user_id, Change::Ban, None).await.unwrap();
        let new = f.upgrades.upgrade(&alice, &old, to, vec![bob.user_id.clone()]).await.unwrap();
        let create = f.state(&new, "m.room.create", "").await;
        assert_eq!(create["predecessor"]["room_id"], old.as_str(), "{from} to {to}");
        assert_eq!(create["room_version"], to);
        assert_eq!(f.state(&new, "m.room.name", "").await["name"], "Tea");
        assert_eq!(f.membership_of(&new, &carol).await, Some(MembershipState::Ban));
        let levels = f.state(&new, "m.room.power_levels", "").await;
        if to == "12" {
            assert_eq!(create["additional_creators"], json!(["@bob:a.example"]));
            assert_eq!(levels["users"], json!({}), "{levels}");
        } else {
            assert_eq!(levels["users"]["@alice:a.example"], 100, "{levels}");
        }
        let full = format!("#{alias}:a.example");
        assert_eq!(f.state(&new, "m.room.canonical_alias", "").await["alias"], full.as_str());
        assert_eq!(f.state(&old, "m.room.canonical_alias", "").await, json!({}));
        let resolved = f.aliases.resolve(&ruma::RoomAliasId::parse(&full).unwrap()).await.unwrap();
        assert_eq!(resolved.room_id, new);
        assert!(f.directory.is_listed(&new).await.unwrap() && !f.directory.is_listed(&old).await.unwrap());
        assert_eq!(f.state(&old, "m.room.tombstone", "").await["replacement_room"], new.as_str());
        let levels = f.state(&old, "m.room.power_levels", "").await;
        assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(50), &json!(50)));
        let id = 100 + u8::try_from(from.parse::<usize>().unwrap() + to.parse::<usize>().unwrap()).unwrap();
        let late = f.sending.send(&bob, &old, "m.room.message", text("late"), transaction(&bob, id)).await;
        assert!(matches!(late, Err(SendError::Forbidden(_))), "the old room is silent: {late:?}");
    }
}

#[tokio::test]
async fn an_upgrade_needs_the_power_for_a_tombstone() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let levels = content(json!({ "users": { "@bob:a.example": 60 } }));
    let request = |name: &str| CreateRequest { room_version: Some(name.into()), ..public() };
    let room = f.create(&alice, CreateRequest { power_level_content_override: levels, ..request("12") }).await;
    let count = count_rooms(&f).await;
    let upgrade = |room: &OwnedRoomId, to: &'static str| {
        let (bob, room, f) = (bob.clone(), room.clone(), &f);
        async move { f.upgrades.upgrade(&bob, &room, to, Vec::new()).await }
    };
    assert!(matches!(upgrade(&room, "12").await, Err(UpgradeError::Forbidden(_))), "no member");
    f.membership.join(&bob, &room, None).await.unwrap();
    assert!(matches!(upgrade(&room, "12").await, Err(UpgradeError::Forbidden(_))), "too little power");
    assert!(matches!(upgrade(&room, "13").await, Err(UpgradeError::UnsupportedVersion(_))));
    assert_eq!(count_rooms(&f).await, count);

    // With the power for the tombstone alone, the rest of the old room stays as it is.
    let levels = content(json!({
        "users": { "@alice:a.example": 100, "@bob:a.example": 60 }, "events": { "m.room.tombstone": 60, "m.room.power_levels": 100 },
        "state_default": 50,
    }));
    let room = f.create(&alice, CreateRequest { power_level_content_override: levels, ..request("11") }).await;
    f.membership.join(&bob, &room, None).await.unwrap();
    let new = upgrade(&room, "11").await.unwrap();
    assert_eq!(f.state(&room, "m.room.tombstone", "").await["replacement_room"], new.as_str());
    assert_eq!(f.state(&room, "m.room.power_levels", "").await["events_default"], 0);
    assert_eq!(f.state(&new, "m.room.power_levels", "").await["users"]["@bob:a.example"], 60);
}

#[tokio::test]
async fn who_moves_takes_their_settings_along() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let old = f.create(&alice, public()).await;
    f.membership.join(&bob, &old, None).await.unwrap();
    let nid = f.nid(&old).await;
    let direct = json!({ "@alice:a.example": [old] }).to_string();
    for user in [alice.user, bob.user] {
        let direct = direct.clone();
        f.write(move |tx| {
            let tags = r#"{"tags":{"m.favourite":{}}}"#;
            account_data::insert(tx, user, Some(nid), "m.tag", tags, tx.next_position())?;
            account_data::insert(tx, user, None, "m.direct", &direct, tx.next_position())
        })
        .await;
    }
    let new = f.upgrades.upgrade(&alice, &old, "12", Vec::new()).await.unwrap();
    f.membership.join(&bob, &new, None).await.unwrap();
    let nid = f.nid(&new).await;
    for user in [alice.user, bob.user] {
        let (tags, rooms) = f
            .read(move |read| {
                Ok((
                    account_data::get(read, user, Some(nid), "m.tag")?,
                    account_data::get(read, user, None, "m.direct")?.unwrap_or_default(),
                ))
            })
            .await;
        assert_eq!(tags.as_deref(), Some(r#"{"tags":{"m.favourite":{}}}"#));
        let rooms: Value = serde_json::from_str(&rooms).unwrap();
        assert_eq!(rooms, json!({ "@alice:a.example": [old, new] }));
    }
}
