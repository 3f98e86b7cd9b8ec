//! What those outside find: aliases, the directory, summaries, hierarchies.

use super::*;

fn directory_query(limit: usize, since: Option<String>) -> DirectoryQuery {
    DirectoryQuery { limit: Some(limit), since, ..DirectoryQuery::default() }
}

fn ids(page: &DirectoryPage) -> Vec<&str> {
    page.chunk.iter().map(|room| room.room_id.as_str()).collect()
}

#[tokio::test]
async fn the_directory_is_paged_both_ways_by_members() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let mut rooms = Vec::new();
    for number in 0..5 {
        let request = CreateRequest {
            visibility: Visibility::Public,
            name: Some(format!("Room {number}")),
            topic: (number == 3).then(|| "Tea at six".into()),
            creation_content: content(if number == 4 { json!({ "type": "m.space" }) } else { json!({}) }),
            ..CreateRequest::default()
        };
        rooms.push(f.create(&alice, request).await);
    }
    f.create(&alice, public()).await;
    f.membership.join(&bob, &rooms[2], None).await.unwrap();
    let order: Vec<&str> = [2, 0, 1, 3, 4].map(|number: usize| rooms[number].as_str()).to_vec();
    let page = |query| f.directory.page(query);
    let first = page(directory_query(2, None)).await.unwrap();
    assert_eq!((ids(&first), first.total), (order[..2].to_vec(), 5));
    assert_eq!((first.chunk[0].num_joined_members, first.prev_batch.as_deref()), (2, None));
    let second = page(directory_query(2, first.next_batch.clone())).await.unwrap();
    assert_eq!(ids(&second), order[2..4]);
    let third = page(directory_query(2, second.next_batch.clone())).await.unwrap();
    assert_eq!((ids(&third), third.next_batch.as_deref()), (order[4..].to_vec(), None));
    let back = page(directory_query(2, third.prev_batch.clone())).await.unwrap();
    assert_eq!(ids(&back), order[2..4]);
    let start = page(directory_query(2, back.prev_batch.clone())).await.unwrap();
    assert_eq!((ids(&start), start.prev_batch.as_deref()), (order[..2].to_vec(), None));
    assert_eq!(ids(&page(directory_query(2, start.next_batch.clone())).await.unwrap()), order[2..4]);

    let search = DirectoryQuery { search_term: Some("TEA".into()), ..DirectoryQuery::default() };
    assert_eq!(ids(&page(search).await.unwrap()), [order[3]]);
    let spaces = DirectoryQuery { room_types: Some(vec![Some("m.space".into())]), ..DirectoryQuery::default() };
    assert_eq!(ids(&page(spaces).await.unwrap()), [order[4]]);
    let plain = DirectoryQuery { room_types: Some(vec![None]), ..DirectoryQuery::default() };
    assert_eq!(ids(&page(plain).await.unwrap()), order[..4]);
    let nonsense = page(directory_query(2, Some("nonsense".into()))).await;
    assert!(matches!(nonsense, Err(DirectoryError::BadToken)));
    // A changed name is found at once: what is kept is bound to the state.
    let renamed = content(json!({ "name": "Coffee" }));
    f.sending.put_state(&alice, &rooms[0], "m.room.name", "", renamed).await.unwrap();
    let search = DirectoryQuery { search_term: Some("coffee".into()), ..DirectoryQuery::default() };
    assert_eq!(ids(&page(search.clone()).await.unwrap()), [rooms[0].as_str()]);
    // As is a redacted one, though a redaction changes no state.
    let name =
        f.sending.put_state(&alice, &rooms[0], "m.room.name", "", content(json!({ "name": "Coffee" }))).await.unwrap();
    f.sending.redact(&alice, &rooms[0], &name, CanonicalJsonObject::new(), transaction(&alice, 1)).await.unwrap();
    assert!(ids(&page(search).await.unwrap()).is_empty());
}

#[tokio::test]
async fn who_may_name_a_room_may_publish_it() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let room = f.create(&alice, public()).await;
    f.membership.join(&bob, &room, None).await.unwrap();
    let refused = f.directory.set_listed(&bob, &room, true).await;
    assert!(matches!(refused, Err(DirectoryError::Forbidden)));
    assert!(!f.directory.is_listed(&room).await.unwrap());
    f.directory.set_listed(&alice, &room, true).await.unwrap();
    assert!(f.directory.is_listed(&room).await.unwrap());
    let unknown = f.directory.is_listed(room_id!("!no:a.example")).await;
    assert!(matches!(unknown, Err(DirectoryError::UnknownRoom)));
}

#[tokio::test]
async fn an_alias_has_one_room_and_is_its_makers_to_delete() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let (room, other) = (f.create(&alice, public()).await, f.create(&bob, public()).await);
    let tea = ruma::room_alias_id!("#tea:a.example");
    assert!(matches!(f.aliases.create(&bob, tea, &room).await, Err(AliasError::Forbidden(_))), "no member");
    f.aliases.create(&alice, tea, &room).await.unwrap();
    assert!(matches!(f.aliases.create(&bob, tea, &other).await, Err(AliasError::InUse(_))));
    let elsewhere = ruma::room_alias_id!("#tea:b.example");
    assert!(matches!(f.aliases.create(&alice, elsewhere, &room).await, Err(AliasError::NotOurs(_))));
    assert!(matches!(f.aliases.resolve(elsewhere).await, Err(AliasError::Unknown(_))));
    let resolved = f.aliases.resolve(tea).await.unwrap();
    assert_eq!((resolved.room_id, resolved.servers), (room.clone(), vec!["a.example".to_owned()]));
    assert!(matches!(f.aliases.of_room(&bob, &room).await, Err(AliasError::Forbidden(_))));
    f.membership.join(&bob, &room, None).await.unwrap();
    assert_eq!(f.aliases.of_room(&bob, &room).await.unwrap(), [tea]);

    let canonical = content(json!({ "alias": tea, "alt_aliases": [tea] }));
    f.sending.put_state(&alice, &room, "m.room.canonical_alias", "", canonical).await.unwrap();
    assert!(matches!(f.aliases.delete(&bob, tea).await, Err(AliasError::Forbidden(_))));
    f.aliases.delete(&alice, tea).await.unwrap();
    assert!(matches!(f.aliases.resolve(tea).await, Err(AliasError::Unknown(_))));
    assert_eq!(f.state(&room, "m.room.canonical_alias", "").await, json!({ "alt_aliases": [] }));
    assert!(matches!(f.aliases.delete(&alice, tea).await, Err(AliasError::Unknown(_))));

    // Who made it and has no power over the room still deletes it; the room's state stays.
    f.aliases.create(&bob, tea, &room).await.unwrap();
    let canonical = content(json!({ "alias": tea }));
    f.sending.put_state(&alice, &room, "m.room.canonical_alias", "", canonical).await.unwrap();
    f.aliases.delete(&bob, tea).await.unwrap();
    assert!(matches!(f.aliases.resolve(tea).await, Err(AliasError::Unknown(_))));
    assert_eq!(f.state(&room, "m.room.canonical_alias", "").await, json!({ "alias": tea }));
}

#[tokio::test]
async fn a_summary_is_for_those_who_may_know_of_the_room() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let summary = |by: &Session, room: &str| {
        let (by, room, summaries) = (by.clone(), room.to_owned(), f.summaries.clone());
        async move { summaries.for_user(&by, &room).await.unwrap() }
    };
    let private = f.create(&alice, CreateRequest { name: Some("Tea".into()), ..CreateRequest::default() }).await;
    assert!(summary(&bob, private.as_str()).await.is_none());
    f.membership.act_on(&alice, &private, &bob.user_id, Change::Invite, None).await.unwrap();
    let own = summary(&bob, private.as_str()).await.unwrap();
    let json = serde_json::to_value(&own).unwrap();
    assert_eq!(
        json,
        json!({
            "room_id": private, "num_joined_members": 1, "world_readable": false, "guest_can_join": true,
            "join_rule": "invite", "name": "Tea", "room_version": "12", "membership": "invite",
        })
    );
    let open = f.create(&alice, CreateRequest { room_alias_name: Some("open".into()), ..public() }).await;
    assert!(summary(&bob, "#open:a.example").await.unwrap().membership.is_none());
    f.membership.act_on(&alice, &open, &bob.user_id, Change::Ban, None).await.unwrap();
    assert!(summary(&bob, open.as_str()).await.is_none(), "the banned");
    assert!(summary(&bob, "#no:a.example").await.is_none());
    let knock = f.create(&alice, with_join_rule("12", json!({ "join_rule": "knock" }))).await;
    assert!(summary(&bob, knock.as_str()).await.is_some());
    let space = f.create(&bob, public()).await;
    let members_only = f.create(&alice, restricted("12", "restricted", &space)).await;
    let own = summary(&bob, members_only.as_str()).await.unwrap();
    assert_eq!(own.summary.allowed_room_ids, [space.to_string()]);
}

async fn space(f: &Fixture, by: &Session, children: &[(&OwnedRoomId, Value)]) -> OwnedRoomId {
    let request = CreateRequest { creation_content: content(json!({ "type": "m.space" })), ..public() };
    let space = f.create(by, request).await;
    for (child, child_content) in children {
        f.sending.put_state(by, &space, "m.space.child", child.as_str(), content(child_content.clone())).await.unwrap();
    }
    space
}

#[tokio::test]
async fn a_hierarchy_is_walked_depth_first_in_pages() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let via = || json!({ "via": ["a.example"] });
    let (leaf, last) = (f.create(&alice, public()).await, f.create(&alice, public()).await);
    let hidden = f.create(&alice, CreateRequest::default()).await;
    let inner = space(&f, &alice, &[(&leaf, via())]).await;
    let unknown = room_id!("!no:b.example").to_owned();
    let root = space(
        &f,
        &alice,
        &[
            (&last, json!({ "via": ["a.example"], "order": "b", "suggested": true })),
            (&inner, json!({ "via": ["a.example"], "order": "a" })),
            (&hidden, via()),
            (&unknown, via()),
            (&leaf, json!({})),
        ],
    )
    .await;
    // A loop.
    f.sending.put_state(&alice, &inner, "m.space.child", root.as_str(), content(via())).await.unwrap();
    let walk = |by: &Session, query: HierarchyQuery| {
        let (by, root, f) = (by.clone(), root.clone(), &f);
        async move { f.hierarchy.page(&by, &root, query).await }
    };
    let ids = |page: &HierarchyPage| -> Vec<OwnedRoomId> {
        page.rooms.iter().map(|room| room.room_id().to_owned()).collect()
    };
    let whole = walk(&bob, HierarchyQuery::default()).await.unwrap();
    assert_eq!(ids(&whole), [root.clone(), inner.clone(), leaf.clone(), last.clone()]);
    assert!(whole.next_batch.is_none());
    let json = serde_json::to_value(&whole).unwrap();
    let children: Vec<&str> = json["rooms"][0]["children_state"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|child| child["state_key"].as_str())
        .collect();
    assert_eq!(children[..2], [inner.as_str(), last.as_str()]);
    assert_eq!(children.len(), 4, "without `via` it is no child: {children:?}");
    assert_eq!(json["rooms"][2]["children_state"], json!([]));
    let mine = walk(&alice, HierarchyQuery::default()).await.unwrap();
    assert!(ids(&mine).contains(&hidden), "members see more");

    let mut paged = Vec::new();
    let mut from = None;
    loop {
        let page = walk(&bob, HierarchyQuery { limit: Some(1), from, ..HierarchyQuery::default() }).await.unwrap();
        paged.extend(ids(&page));
        from = page.next_batch;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(paged, ids(&whole));
    let shallow = walk(&bob, HierarchyQuery { max_depth: Some(1), ..HierarchyQuery::default() }).await.unwrap();
    assert_eq!(ids(&shallow), [root.clone(), inner, last.clone()]);
    let suggested = walk(&bob, HierarchyQuery { suggested_only: true, ..HierarchyQuery::default() }).await.unwrap();
    assert_eq!(ids(&suggested), [root, last]);
    let outside = f.hierarchy.page(&bob, &hidden, HierarchyQuery::default()).await;
    assert!(matches!(outside, Err(HierarchyError::Forbidden)));
}
