//! Two organisations use LinkIM with each other, from the first request to the end of their group: what each of their apps shows
//! and hears at each step, while either server dies in between.
//!
//! Alice and bob are of one server, carol and dave of the other.

mod people;

use std::time::{Duration, Instant};

use conformance_tests::{Server, Sync, encode, eventually, invited, membership_is, v3};
use serde_json::json;

use self::people::{Person, ids, text_of};
use crate::own;

/// How long dave is muted across the death of the group's server.
const MUTE_SECONDS: u64 = 6;

struct Scene {
    a: Server,
    b: Server,
    alice: Person,
    bob: Person,
    carol: Person,
    dave: Person,
}

impl Scene {
    async fn new() -> Self {
        let [a, b] = own::<2>();
        let (alice, bob) = (Person::on(&a, "alice").await, Person::on(&a, "bob").await);
        let (carol, dave) = (Person::on(&b, "carol").await, Person::on(&b, "dave").await);
        Self { a, b, alice, bob, carol, dave }
    }

    /// The group's server dies.
    fn a_dies(&mut self) {
        self.a.kill9();
        self.alice.cut();
        self.bob.cut();
    }

    async fn a_returns(&mut self) {
        self.a.restart();
        self.alice.back(&self.a).await;
        self.bob.back(&self.a).await;
    }

    fn b_dies(&mut self) {
        self.b.kill9();
        self.carol.cut();
        self.dave.cut();
    }

    async fn b_returns(&mut self) {
        self.b.restart();
        self.carol.back(&self.b).await;
        self.dave.back(&self.b).await;
    }
}

#[tokio::test]
async fn two_organisations_from_the_first_request_to_the_end_of_their_group() {
    let mut scene = Scene::new().await;
    let direct = befriend(&mut scene).await;
    chat(&mut scene, &direct).await;
    let group = group(&mut scene).await;
    an_admin_elsewhere_acts(&mut scene, &group).await;
    announce_while_the_others_are_away(&mut scene, &group).await;
    mute_across_the_end_of_the_groups_server(&mut scene, &group).await;
    block_and_unblock(&mut scene, &direct, &group).await;
    hand_on_and_dissolve(&mut scene, &direct, &group).await;
}

/// Alice asks with a message, carol accepts; gives their room.
async fn befriend(Scene { alice, carol, .. }: &mut Scene) -> String {
    let body = json!({ "friend_id": carol.id(), "request_message": "Alice, of the joint venture" });
    assert_eq!(alice.client.post("/account/addfriend", body).await.done()["state"], "pending");
    let asked = carol.client.get("/account/friendrequests?direction=in").await.done()["detail"].clone();
    assert_eq!(ids(&asked), [alice.id()]);
    assert_eq!(asked[0]["request_message"], "Alice, of the joint venture");
    let room = text_of(&asked[0], "room_id");
    let told = carol.frame("friend", &room).await;
    assert_eq!([&told["matrix_id"], &told["state_key"]], [alice.id(), carol.id()]);
    assert_eq!(told["event_content"]["membership"], "invite");
    carol.client.put("/account/acceptfriend", json!({ "friend_id": alice.id() })).await.done();
    let joins = |data: &Value| data["state_key"] == carol.id() && data["event_content"]["membership"] == "join";
    alice.frame_where("friend", &room, joins).await;
    for (one, other) in [(&*alice, &*carol), (&*carol, &*alice)] {
        eventually("they are friends", || async { (one.friends().await == [other.id()]).then_some(()) }).await;
        let nothing = one.client.get("/account/friendrequests?direction=out").await.done();
        assert_eq!(nothing["detail"], json!([]));
    }
    room
}

/// Both ways.
async fn chat(Scene { alice, carol, .. }: &mut Scene, direct: &str) {
    is_read(alice, carol, direct, "Hello, Carol").await;
    is_read(carol, alice, direct, "Hello, Alice").await;
}

/// A message is sent, delivered, read; the lists count, the frames tell.
async fn is_read(one: &mut Person, other: &mut Person, direct: &str, text: &str) {
    let (message, room) = one.tells(other, text).await;
    assert_eq!(room, direct);
    other.hears(direct, text).await;
    other.list_shows(direct, text, 1).await;
    one.list_shows(direct, text, 0).await;
    one.status_is(&message, "delivered").await;
    other.reads(direct).await;
    let told = one.frame_where("read", direct, |data| data["matrix_id"] == other.id()).await;
    assert_eq!(told["event_id"], message);
    one.status_is(&message, "read").await;
    let entry = one.conversation(direct).await.expect("the conversation");
    assert_eq!([&entry["type"], &entry["user_info"]["matrix_id"]], ["single", other.id()]);
}

/// Alice makes a group of all four; gives its room.
async fn group(Scene { a, alice, bob, carol, dave, .. }: &mut Scene) -> String {
    let body = json!({ "user_ids": [bob.id(), carol.id(), dave.id()], "group_name": "Venture" });
    let made = alice.client.post("/group/create", body).await.done();
    assert_eq!((ids(&made["added"]).as_slice(), ids(&made["invited"]).len()), ([bob.id().to_owned()].as_slice(), 2));
    let room = text_of(&made, "room_id");
    for user in [&mut *carol, &mut *dave] {
        user.own_membership(&room, "invite").await;
        let body = json!({ "group_id": room, "via": [a.name()] });
        assert_eq!(user.client.post("/group/join", body).await.done()["joined"], true);
        membership_is(&alice.client, &room, user.id(), "join").await;
    }
    alice.says(&room, "Welcome to the venture").await;
    for user in [&mut *bob, &mut *carol, &mut *dave] {
        user.hears(&room, "Welcome to the venture").await;
        user.list_shows(&room, "Welcome to the venture", 1).await;
        user.has_group(&room, true).await;
        let group = user.group(&room).await;
        assert_eq!([&group["group_name"], &group["member_count"]], [&json!("Venture"), &json!(4)]);
        user.reads(&room).await;
    }
    room
}

/// Carol is made an admin and renames, mutes, lifts and removes: what her own power does not do, the group's server does.
async fn an_admin_elsewhere_acts(Scene { alice, bob, carol, dave, .. }: &mut Scene, room: &str) {
    carol.client.put("/group/name", json!({ "group_id": room, "new_name": "x" })).await.refused(403, 1002);
    let body = json!({ "group_id": room, "user_id": carol.id() });
    alice.client.put("/group/promote/admin", body).await.done();
    carol.role_is(room, "admin").await;
    carol.client.put("/group/name", json!({ "group_id": room, "new_name": "Joint Venture" })).await.done();
    for user in [&mut *alice, &mut *bob, &mut *dave] {
        let told = user.frame_where("group", room, |data| data["event_type"] == "m.room.name").await;
        assert_eq!([&told["event_content"]["name"], &told["matrix_id"]], ["Joint Venture", carol.id()]);
        user.name_is(room, "Joint Venture").await;
        let entry = user.conversation(room).await.expect("the conversation");
        assert_eq!(entry["group_info"]["group_name"], "Joint Venture");
    }

    let mute = |seconds: i64| json!({ "group_id": room, "user_id": bob.id(), "seconds": seconds });
    carol.client.put("/group/mute/member", mute(600)).await.done();
    assert_eq!(bob.tries_to_say(room, "muffled").await, (403, json!(1402)));
    carol.client.put("/group/mute/member", mute(0)).await.done();
    bob.says(room, "free again").await;
    for user in [&mut *carol, &mut *dave] {
        user.hears(room, "free again").await;
        user.reads(room).await;
    }
    let history = alice.client.whole_history(room, 100).await;
    let count = |kind: &str| history.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("org.linkim.group.request"), count("org.linkim.group.result")), (2, 2));

    let of_owner = json!({ "group_id": room, "user_ids": [alice.id()] });
    carol.client.delete("/group/kickout", Some(of_owner)).await.refused(403, 1002);
    let body = json!({ "group_id": room, "user_ids": [bob.id()], "reason": "wrong meeting" });
    carol.client.delete("/group/kickout", Some(body)).await.done();
    let told = bob.own_membership(room, "leave").await;
    assert_eq!([&told["matrix_id"], &told["event_content"]["reason"]], [carol.id(), "wrong meeting"]);
    bob.has_group(room, false).await;
    assert!(bob.conversation(room).await.is_none());
    assert_eq!(bob.tries_to_say(room, "still here?").await, (403, json!(1203)));
    // The owner takes him back.
    let body = json!({ "group_id": room, "user_ids": [bob.id()] });
    alice.client.post("/group/invite", body).await.done();
    bob.has_group(room, true).await;
    membership_is(&carol.client, room, bob.id(), "join").await;
}

/// The other server is down while alice announces something and mutes dave; back, it has all of it, and its members confirm.
async fn announce_while_the_others_are_away(scene: &mut Scene, room: &str) {
    scene.b_dies();
    let Scene { alice, bob, dave, .. } = scene;
    let body = json!({ "group_id": room, "new_notice": "The office is closed on Friday", "must_confirm": true });
    let post = text_of(&alice.client.put("/group/notice", body).await.done()["detail"], "event_id");
    let told = bob.frame("announcement", room).await;
    assert_eq!([&told["event_content"]["text"], &told["matrix_id"]], ["The office is closed on Friday", alice.id()]);
    let mute = json!({ "group_id": room, "user_id": dave.id(), "seconds": 600 });
    alice.client.put("/group/mute/member", mute).await.done();
    let said = alice.says(room, "while you were away").await;
    assert_eq!(alice.status_of(&said, dave).await, "sent");

    scene.b_returns().await;
    let Scene { alice, bob, carol, dave, .. } = scene;
    // What reminds the other server of this one: it has something to say.
    carol.types(room).await;
    for user in [&mut *carol, &mut *dave] {
        let told = user.frame("announcement", room).await;
        assert_eq!(told["event_content"]["event_id"], post);
        user.frame_where("group", room, |data| data["event_type"] == "org.linkim.group.mute").await;
        user.hears(room, "while you were away").await;
        let notice = user.client.get(&format!("/group/notice?group_id={}", encode(room))).await.done();
        assert_eq!(notice["notice"], "The office is closed on Friday");
        let detail = &notice["detail"];
        assert_eq!([&detail["must_confirm"], &detail["confirmed"]], [true, false]);
        assert_eq!(user.client.state(room, "m.room.pinned_events", "").await["pinned"], json!([post]));
    }
    // The post and the message.
    carol.list_shows(room, "while you were away", 2).await;
    dave.list_shows(room, "while you were away", 2).await;
    assert_eq!(dave.tries_to_say(room, "muffled").await, (403, json!(1402)));

    // Also who is muted confirms. The owner sees who did and who did not.
    readers_are(alice, room, &[], 3).await;
    for user in [&*carol, &*dave] {
        user.client.post("/group/notice/confirm", json!({ "group_id": room })).await.done();
    }
    readers_are(alice, room, &[&*carol, &*dave], 1).await;
    alice.frame_where("announcement", room, |data| data["event_type"] == "org.linkim.group.confirm").await;
    let check = json!({ "rel_type": "m.annotation", "event_id": post, "key": "✅" });
    bob.client.send(room, "m.reaction", json!({ "m.relates_to": check })).await;
    for user in [&*alice, &*carol] {
        readers_are(user, room, &[&*bob, &*carol, &*dave], 0).await;
    }
    dave.client.get(&format!("/group/notice/readers?group_id={}&state=read", encode(room))).await.refused(403, 1002);
    carol.reads(room).await;
    alice.status_is_with(&said, carol, "read").await;
}

/// Waits until `by` sees that these have confirmed the announcement, and so many others have not.
async fn readers_are(by: &Person, room: &str, confirmed: &[&Person], unconfirmed: i64) {
    let mut wanted: Vec<_> = confirmed.iter().map(|user| user.id().to_owned()).collect();
    wanted.sort();
    eventually(&format!("{} sees {wanted:?}", by.id()), || async {
        let path = format!("/group/notice/readers?group_id={}&state=confirmed", encode(room));
        let page = by.client.get(&path).await.done();
        let mut found = ids(&page["detail"]);
        found.sort();
        let counts = [&page["confirmed_count"], &page["unconfirmed_count"]];
        (found == wanted && counts == [&json!(wanted.len()), &json!(unconfirmed)]).then_some(())
    })
    .await;
}

/// The group's server is killed before a mute ends and started after: dave can't speak before that, and can then.
async fn mute_across_the_end_of_the_groups_server(scene: &mut Scene, room: &str) {
    let Scene { alice, dave, .. } = scene;
    let mute = |seconds: u64| json!({ "group_id": room, "user_id": dave.id(), "seconds": seconds });
    let (short, lifted) = (mute(MUTE_SECONDS), mute(0));
    alice.client.put("/group/mute/member", lifted).await.done();
    dave.level_is(room, None).await;
    dave.says(room, "thank you").await;
    alice.hears(room, "thank you").await;
    alice.client.put("/group/mute/member", short).await.done();
    let muted = Instant::now();
    dave.level_is(room, Some(-1)).await;
    assert_eq!(dave.tries_to_say(room, "muffled").await, (403, json!(1402)));
    scene.a_dies();
    let Scene { dave, .. } = scene;
    eventually("the time of the mute is over", || async {
        assert_eq!(dave.tries_to_say(room, "muffled").await.0, 403);
        (muted.elapsed() > Duration::from_secs(MUTE_SECONDS)).then_some(())
    })
    .await;
    // Only the group's server ends it.
    assert_eq!(dave.tries_to_say(room, "muffled").await.0, 403);
    scene.a_returns().await;
    let Scene { alice, dave, .. } = scene;
    dave.level_is(room, None).await;
    dave.says(room, "at last").await;
    alice.hears(room, "at last").await;
    assert!(!alice.group_history(room).await.contains(&"muffled".to_owned()));
}

/// Carol blocks alice, who is of the other server and hears nothing of it; nothing of hers comes to carol until she unblocks.
async fn block_and_unblock(Scene { alice, bob, carol, dave, .. }: &mut Scene, direct: &str, room: &str) {
    carol.reads(direct).await;
    carol.client.post("/account/blacklist/add", json!({ "friend_id": alice.id() })).await.done();
    assert!(carol.friends().await.is_empty());
    assert_eq!(alice.friends().await, [carol.id()]);
    carol.says(room, "who reads this?").await;
    alice.hears(room, "who reads this?").await;
    carol.told_by_now().await;

    let hidden = alice.client.create_room(json!({ "name": "Hidden", "preset": "private_chat" })).await;
    alice.client.invite(&hidden, &carol.client).await;
    membership_is(&alice.client, &hidden, carol.id(), "invite").await;
    alice.tells(carol, "can you hear me?").await;
    alice.says(room, "all but carol hear this").await;
    alice.reads(room).await;
    for place in [direct, room] {
        alice.types(place).await;
    }
    // Dave, of the same server, hears all that carol does not; and what is said later comes later.
    let (mut text, mut typing, mut read) = (false, false, false);
    dave.waits_for(|frame| {
        let (data, by_alice) = (&frame["data"], frame.to_string().contains(alice.id()));
        if data["room_id"] == room && by_alice {
            text |= data["body"]["content"] == "all but carol hear this";
            typing |= frame["type"] == "typing";
            read |= frame["type"] == "read";
        }
        text && typing && read
    })
    .await;
    bob.says(room, "carol hears this").await;
    let mut told = carol.frames_until(room, "carol hears this").await;
    told.extend(carol.told_by_now().await);
    // How far her own messages have come is no news of alice's.
    for frame in told.iter().filter(|frame| frame["type"] != "delivered") {
        assert!(!frame.to_string().contains(alice.id()), "carol was told {frame}");
    }
    carol.list_shows(direct, "Hello, Alice", 0).await;
    carol.list_shows(room, "carol hears this", 1).await;
    assert!(!carol.group_history(room).await.contains(&"all but carol hear this".to_owned()));
    assert!(dave.group_history(room).await.contains(&"all but carol hear this".to_owned()));
    let invitations = carol.client.sync(Sync::initial()).await["rooms"]["invite"].clone();
    assert!(invitations.get(&hidden).is_none(), "{invitations}");

    carol.client.delete("/account/blacklist/delete", Some(json!({ "friend_id": alice.id() }))).await.done();
    assert_eq!(carol.friends().await, [alice.id()]);
    alice.tells(carol, "and now?").await;
    carol.hears(direct, "and now?").await;
    // What came meanwhile is there, and does not count.
    carol.list_shows(direct, "and now?", 1).await;
    assert!(carol.group_history(room).await.contains(&"all but carol hear this".to_owned()));
    invited(&carol.client, &hidden).await;
    carol.client.leave(&hidden).await;
    membership_is(&alice.client, &hidden, carol.id(), "leave").await;
    alice.client.leave(&hidden).await;
}

/// The group becomes carol's, who renames it and ends it: nobody speaks in it then, and all can still read it.
async fn hand_on_and_dissolve(Scene { alice, bob, carol, dave, .. }: &mut Scene, direct: &str, room: &str) {
    alice.client.put("/group/promote/owner", json!({ "group_id": room, "user_id": carol.id() })).await.done();
    carol.role_is(room, "owner").await;
    alice.role_is(room, "admin").await;
    carol.client.put("/group/name", json!({ "group_id": room, "new_name": "Carol's" })).await.done();
    carol.client.put("/group/joinmode", json!({ "group_id": room, "join_mode": 1 })).await.done();
    for user in [&*alice, &*bob, &*dave] {
        user.name_is(room, "Carol's").await;
        eventually("the join mode", || async { (user.group(room).await["join_mode"] == 1).then_some(()) }).await;
    }
    let end = json!({ "group_id": room });
    alice.client.delete("/group/dissolve", Some(end.clone())).await.refused(403, 1002);
    carol.client.delete("/group/dissolve", Some(end)).await.done();
    for user in [&mut *alice, &mut *bob, &mut *carol, &mut *dave] {
        user.own_membership(room, "leave").await;
        user.has_group(room, false).await;
        user.client.get(&format!("/group/info?group_id={}", encode(room))).await.refused(410, 1204);
        assert_eq!(user.tries_to_say(room, "too late").await, (403, json!(1204)));
        let send = v3!("/rooms/{}/send/m.room.message/{}", room, user.client.next_transaction());
        user.client
            .put(&send, json!({ "msgtype": "m.text", "body": "too late" }))
            .await
            .expect_error(403, "M_FORBIDDEN");
        let history = user.group_history(room).await;
        assert!(history.contains(&"carol hears this".to_owned()), "{history:?}");
        assert!(!history.contains(&"too late".to_owned()), "{history:?}");
    }
    for (user, wanted) in [(&*alice, vec![direct]), (&*carol, vec![direct]), (&*bob, vec![]), (&*dave, vec![])] {
        let list = user.client.get("/conversations").await.done();
        let rooms: Vec<_> =
            list["detail"].as_array().expect("a list").iter().map(|it| text_of(it, "room_id")).collect();
        assert_eq!(rooms, wanted, "{}", user.id());
    }
    // They are friends as before.
    carol.tells(alice, "see you").await;
    alice.hears(direct, "see you").await;
}
