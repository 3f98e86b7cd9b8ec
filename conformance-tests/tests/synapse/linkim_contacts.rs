//! Friends across LinkIM and Synapse: there, a friend request is a direct invitation, and the other way round.

use conformance_tests::{Client, Sync, bodies, eventually, heard, invited, membership_is, timeline, v3};
use serde_json::{Value, json};

use crate::both;

fn about(other: &Client) -> Value {
    json!({ "friend_id": other.user_id })
}

async fn friends(of: &Client) -> Vec<String> {
    let list = of.get("/account/friendlists").await.done();
    let people = list["detail"].as_array().expect("a list");
    people.iter().map(|person| person["matrix_id"].as_str().expect("an id").to_owned()).collect()
}

async fn requests(of: &Client, direction: &str) -> Vec<Value> {
    let list = of.get(&format!("/account/friendrequests?direction={direction}")).await.done();
    list["detail"].as_array().expect("a list").clone()
}

async fn is_friend(here: &Client, there: &Client) {
    let what = format!("{} has {} as a friend", here.user_id, there.user_id);
    eventually(&what, || async { (friends(here).await == [there.user_id.clone()]).then_some(()) }).await;
}

/// What a client's "start a chat" sends.
fn direct(other: &Client) -> Value {
    json!({ "is_direct": true, "invite": [other.user_id], "preset": "trusted_private_chat" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn their_direct_invitation_is_a_friend_request_here() {
    let both = both().await;
    let (here, there) = (both.linkim.register("here").await, both.synapse.register("there").await);
    let room = there.create_room(direct(&here)).await;
    let asked = eventually("it is a request", || async {
        let asked = requests(&here, "in").await;
        (asked.len() == 1).then_some(asked)
    })
    .await;
    assert_eq!([&asked[0]["matrix_id"], &asked[0]["room_id"]], [&json!(there.user_id), &json!(room)]);
    here.put("/account/acceptfriend", about(&there)).await.done();
    is_friend(&here, &there).await;
    membership_is(&there, &room, &here.user_id, "join").await;
    heard(&there, &room, "good to see you", &[&here]).await;
    let list = here.get("/conversations").await.done();
    let entry = &list["detail"][0];
    assert_eq!([&entry["type"], &entry["user_info"]["matrix_id"]], [&json!("single"), &json!(there.user_id)]);
    assert_eq!([&entry["last_message"]["content"], &entry["unread_count"]], [&json!("good to see you"), &json!(1)]);
    let sent = here.post("/message/send", json!({ "the_other_person_id": there.user_id, "text": "you too" })).await;
    assert_eq!(sent.done()["room_id"], room);

    // Rejected: their client sees that.
    let other = both.synapse.register("other").await;
    let room = other.create_room(direct(&here)).await;
    eventually("they are asked", || async { (requests(&here, "in").await.len() == 1).then_some(()) }).await;
    here.put("/account/rejectfriend", about(&other)).await.done();
    membership_is(&other, &room, &here.user_id, "leave").await;
    assert_eq!(friends(&here).await, std::slice::from_ref(&there.user_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn our_friend_request_is_a_direct_invitation_there() {
    let both = both().await;
    let (here, there) = (both.linkim.register("here").await, both.synapse.register("there").await);
    let mut body = about(&there);
    body["request_message"] = "from the LinkIM app".into();
    assert_eq!(here.post("/account/addfriend", body).await.done()["state"], "pending");
    let room = requests(&here, "out").await[0]["room_id"].as_str().expect("a room").to_owned();
    let answer =
        there.wait_until_sync_with(Sync::initial(), |answer| answer["rooms"]["invite"].get(&room).is_some()).await;
    let invitation = answer["rooms"]["invite"][&room]["invite_state"]["events"].clone();
    let member = conformance_tests::find_state_in(&invitation, "m.room.member", &there.user_id).expect("the member");
    assert_eq!(member["content"]["is_direct"], true);
    assert!(invitation.to_string().contains("from the LinkIM app"), "{invitation}");
    there.join(&room).await;
    is_friend(&here, &there).await;
    assert!(requests(&here, "out").await.is_empty());
    heard(&there, &room, "accepted", &[&here]).await;
    // Typing, receipts: the status of a message.
    let sent = here.post("/message/send", json!({ "the_other_person_id": there.user_id, "text": "hi" })).await.done();
    assert_eq!(sent["room_id"], room);
    let message = sent["event_id"].as_str().expect("an id").to_owned();
    let status = |wanted: &'static str| {
        let (here, message) = (here.clone(), message.clone());
        async move {
            eventually(wanted, || async {
                let path = format!("/message/receipts?message_id={}", conformance_tests::encode(&message));
                (here.get(&path).await.done()["status"] == wanted).then_some(())
            })
            .await;
        }
    };
    status("delivered").await;
    there.post(&v3!("/rooms/{}/receipt/m.read/{}", room, message), json!({})).await.ok();
    status("read").await;

    // Declined there.
    let other = both.synapse.register("other").await;
    here.post("/account/addfriend", about(&other)).await.done();
    let room = requests(&here, "out").await[0]["room_id"].as_str().expect("a room").to_owned();
    invited(&other, &room).await;
    other.leave(&room).await;
    eventually("it is answered", || async { requests(&here, "out").await.is_empty().then_some(()) }).await;
    assert_eq!(friends(&here).await, std::slice::from_ref(&there.user_id));
}

/// Whoever asks somebody who has asked them accepts: there is no second room.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn asking_who_has_invited_us_accepts() {
    let both = both().await;
    let (here, there) = (both.linkim.register("here").await, both.synapse.register("there").await);
    let room = there.create_room(direct(&here)).await;
    eventually("they are asked", || async { (requests(&here, "in").await.len() == 1).then_some(()) }).await;
    assert_eq!(here.post("/account/addfriend", about(&there)).await.done()["state"], "accepted");
    membership_is(&there, &room, &here.user_id, "join").await;
    is_friend(&here, &there).await;
    assert!(requests(&here, "in").await.is_empty() && requests(&here, "out").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocked_user_of_synapse_is_not_heard() {
    let both = both().await;
    let (here, there) = (both.linkim.register("here").await, both.synapse.register("there").await);
    let room = there.create_room(direct(&here)).await;
    eventually("they are asked", || async { (requests(&here, "in").await.len() == 1).then_some(()) }).await;
    here.put("/account/acceptfriend", about(&there)).await.done();
    membership_is(&there, &room, &here.user_id, "join").await;
    let witness = both.linkim.register("witness").await;
    let group = here.create_room(json!({ "preset": "private_chat" })).await;
    for user in [&there, &witness] {
        here.invite(&group, user).await;
        invited(user, &group).await;
        user.join(&group).await;
    }
    let said = heard_by(&here, &group, "read this", &[&there, &witness]).await;

    here.post("/account/blacklist/add", about(&there)).await.done();
    let mut push = here.push(None).await;
    let since = here.now().await;
    let seen = witness.now().await;
    there.send_text(&room, "can you hear me?").await;
    for place in [&room, &group] {
        let typing = v3!("/rooms/{}/typing/{}", place, there.user_id);
        there.put(&typing, json!({ "typing": true, "timeout": 30_000 })).await.ok();
    }
    there.post(&v3!("/rooms/{}/receipt/m.read/{}", group, said), json!({})).await.ok();
    let hidden = there.send_text(&group, "hidden").await;
    let refused = there.create_room(direct(&here)).await;
    // The witness, of the same server, has all of it.
    let (mut typing, mut receipt, mut text) = (false, false, false);
    witness
        .wait_until_sync(&seen, |answer| {
            let ephemeral = answer["rooms"]["join"][&group]["ephemeral"]["events"].clone();
            let of = |kind: &str| {
                let mut events = ephemeral.as_array().into_iter().flatten();
                events.any(|event| event["type"] == kind && event.to_string().contains(&there.user_id))
            };
            typing |= of("m.typing");
            receipt |= of("m.receipt");
            text |= timeline(answer, &group).iter().any(|event| event["event_id"] == hidden);
            typing && receipt && text
        })
        .await;
    let shown = witness.send_text(&group, "shown").await;
    let answer = here.wait_for_event(&since, &group, &shown).await;
    assert_eq!(bodies(timeline(&answer, &group)), ["shown"]);
    let frames = push.said_until("shown").await;
    assert_eq!(frames, ["shown"]);
    let all = here.sync(Sync::initial()).await;
    for place in [&room, &group] {
        let section = &all["rooms"]["join"][place];
        assert!(!section["ephemeral"].to_string().contains(&there.user_id), "{}", section["ephemeral"]);
    }
    assert!(all["rooms"]["invite"].get(&refused).is_none(), "{}", all["rooms"]["invite"]);
    assert!(requests(&here, "in").await.is_empty());
    let list = here.get("/conversations").await.done();
    let entry = |of: &str| {
        let entries = list["detail"].as_array().expect("a list");
        entries.iter().find(|entry| entry["room_id"] == of).expect("the conversation").clone()
    };
    assert_eq!(entry(&room)["unread_count"], 0);
    assert_eq!(
        [&entry(&group)["unread_count"], &entry(&group)["last_message"]["content"]],
        [&json!(1), &json!("shown")]
    );
    // They are not told: nothing was refused.
    membership_is(&there, &room, &here.user_id, "join").await;

    here.delete("/account/blacklist/delete", Some(about(&there))).await.done();
    heard(&there, &room, "and now?", &[&here]).await;
    let path = format!("/conversation/get?the_other_person_id={}", conformance_tests::encode(&there.user_id));
    let history = here.get(&path).await.done()["detail"].to_string();
    assert!(history.contains("can you hear me?"), "{history}");
}

/// Sends a text that all of these hear; gives its event id.
async fn heard_by(sender: &Client, room: &str, text: &str, readers: &[&Client]) -> String {
    let event = sender.send_text(room, text).await;
    for reader in readers {
        eventually("it is heard", || async {
            let reply = reader.get(&v3!("/rooms/{}/event/{}", room, event)).await;
            (reply.status == 200).then_some(())
        })
        .await;
    }
    event
}
