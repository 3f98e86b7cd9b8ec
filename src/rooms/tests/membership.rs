//! Memberships, with what the authorisation rules do not say.

use super::{
    super::{append::LocalEvent, elsewhere::TellsElsewhere, membership::Membership},
    *,
};
use crate::store::{StoreError, WriteTx, ids::EventNid};

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
    let kick = || f.membership.act_on(&alice, &room, &bob.user_id, Change::Kick, None);
    let unban = || f.membership.act_on(&alice, &room, &bob.user_id, Change::Unban, None);
    assert!(matches!(kick().await, Err(MembershipError::Forbidden(_))), "a stranger");
    f.membership.join(&bob, &room, None).await.unwrap();
    assert!(matches!(unban().await, Err(MembershipError::BadState(_))), "a member");
    kick().await.unwrap();
    assert!(matches!(kick().await, Err(MembershipError::Forbidden(_))), "who has left");
    f.membership.act_on(&alice, &room, &bob.user_id, Change::Ban, None).await.unwrap();
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
    f.membership.act_on(&alice, &room, &bob.user_id, Change::Invite, Some("come".into())).await.unwrap();
    let told = f.told(&room, &bob).await.unwrap();
    let kinds: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["m.room.create", "m.room.name", "m.room.join_rules", "m.room.member", "m.room.member"]);
    assert_eq!(told[4]["content"], json!({ "membership": "invite", "reason": "come" }));
    assert_eq!(told[4]["sender"], "@alice:a.example");
    f.membership.act_on(&alice, &room, &bob.user_id, Change::Kick, None).await.unwrap();
    assert_eq!(f.told(&room, &bob).await, None);
    let refused = f.membership.act_on(&bob, &room, &alice.user_id, Change::Invite, None).await;
    assert!(matches!(refused, Err(MembershipError::Forbidden(_))));
    let remote = f.membership.act_on(&alice, &room, ruma::user_id!("@carol:b.example"), Change::Invite, None).await;
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
    assert!(matches!(&refused, Err(MembershipError::NobodyVouches)), "{refused:?}");

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
async fn who_wants_no_invitations_gets_none() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let user = bob.user;
    f.write(move |tx| {
        let block = r#"{"default_action":"block"}"#;
        account_data::insert(tx, user, None, "m.invite_permission_config", block, tx.next_position())
    })
    .await;
    let room = f.create(&alice, public()).await;
    let refused = f.membership.act_on(&alice, &room, &bob.user_id, Change::Invite, None).await;
    assert!(matches!(refused, Err(MembershipError::InviteBlocked(_))), "{refused:?}");
    let invite = content(json!({ "membership": "invite" }));
    let refused = f.sending.put_state(&alice, &room, "m.room.member", bob.user_id.as_str(), invite).await;
    assert!(matches!(refused, Err(SendError::Membership(MembershipError::InviteBlocked(_)))), "{refused:?}");
    let rooms = count_rooms(&f).await;
    let request = CreateRequest { invite: vec![bob.user_id.clone()], ..public() };
    let refused = f.creation.create(&alice.user_id, request).await;
    assert!(matches!(refused, Err(CreateError::InviteBlocked(_))), "{refused:?}");
    assert_eq!((count_rooms(&f).await, f.membership_of(&room, &bob).await), (rooms, None));
    f.membership.join(&bob, &room, None).await.unwrap();
}

/// Remembers whom it was to tell.
#[derive(Default)]
struct Told(std::sync::Mutex<Vec<String>>);

impl TellsElsewhere for Told {
    fn owe(&self, _: &WriteTx<'_>, destination: &ruma::ServerName, _: EventNid) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(destination.to_string());
        Ok(())
    }
}

#[tokio::test]
async fn a_server_that_is_not_in_the_room_is_told_of_what_befalls_its_user() {
    let f = Fixture::new();
    let (alice, bob) = (f.user("alice").await, f.user("bob").await);
    let room = f.create(&alice, CreateRequest::default()).await;
    let told = std::sync::Arc::new(Told::default());
    let appenders = f.membership.appenders.clone();
    let membership = Membership::new(f.store.clone(), appenders.clone(), ruma::server_name!("a.example").to_owned())
        .telling_elsewhere(told.clone());
    let carol = ruma::user_id!("@carol:b.example");
    let invite = content(json!({ "membership": "invite" }));
    let invite = LocalEvent::state(alice.user_id.clone(), "m.room.member", carol.as_str(), invite);
    appenders.append(f.nid(&room).await, vec![invite], None).await.unwrap();
    for change in [Change::Kick, Change::Ban, Change::Unban] {
        membership.act_on(&alice, &room, carol, change, None).await.unwrap();
    }
    assert_eq!(*told.0.lock().unwrap(), ["b.example"; 3]);
    membership.act_on(&alice, &room, &bob.user_id, Change::Ban, None).await.unwrap();
    assert_eq!(told.0.lock().unwrap().len(), 3, "ours need no telling");
}
