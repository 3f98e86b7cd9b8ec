//! Joins whose answer leaves out the members, which come later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};

use super::two_servers::{Network, Person, Server};

/// A room of Bob's on `b`, with so many members there, of which all but Bob joined after him, and a name, so that nobody is told
/// for its sake.
async fn crowd(b: &Server, bob: &Person, members: usize) -> String {
    let room = b.room(bob, json!({ "preset": "public_chat", "name": "Crowd" })).await;
    for number in 1..members {
        let person = b.person(&format!("member{number}")).await;
        b.post(&format!("/join/{room}"), &person, json!({})).await.ok();
    }
    room
}

/// Has the state refused to whoever asks for it.
fn hold_back(network: &Network) {
    network.tamper(|_, line, status, body| {
        if line.contains("/v1/state") {
            *status = StatusCode::NOT_FOUND;
            *body = json!({ "errcode": "M_NOT_FOUND", "error": "not yet" });
        }
    });
}

/// The current state as (type, state key, event id), in order.
async fn state(server: &Server, by: &Person, room: &str) -> Vec<(String, String, String)> {
    let state = server.get(&format!("/rooms/{room}/state"), by).await.ok();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut state: Vec<_> = state
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (text(&event["type"]), text(&event["state_key"]), text(&event["event_id"])))
        .collect();
    state.sort();
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_used_before_its_members_are_here_and_is_the_same_afterwards() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let room = crowd(&b, &bob, 8).await;
    hold_back(&network);
    let before = a.sync(&alice).await["next_batch"].as_str().unwrap().to_owned();
    a.post(&format!("/join/{room}?via=b.example"), &alice, json!({})).await.ok();
    assert_eq!(network.count("omit_members=true"), 1);
    // The room is there at once, without those who are not known.
    let sync = a.get(&format!("/sync?since={before}&timeout=10000"), &alice).await.ok();
    let joined = &sync["rooms"]["join"][&room];
    assert_eq!(joined["summary"]["org.linkim.partial_state"], true, "{joined}");
    let members: Vec<&Value> =
        joined["state"]["events"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.member").collect();
    assert!(members.len() < 3, "{members:?}");
    assert_eq!(a.membership(&room, &alice, &alice.id).await, "join");
    let path = format!("/rooms/{room}/send/m.room.message/1");
    a.put(&path, &alice, json!({ "msgtype": "m.text", "body": "hello" })).await.ok();
    let since = sync["next_batch"].as_str().unwrap().to_owned();
    // Who asks for members waits for them.
    let path = format!("/rooms/{room}/joined_members");
    let asked = a.get(&path, &alice);
    let opened = async {
        tokio::task::yield_now().await;
        network.tamper_no_more();
    };
    let (answer, ()) = tokio::join!(asked, opened);
    assert_eq!(answer.ok()["joined"].as_object().unwrap().len(), 9);
    assert_eq!(
        state(&a, &alice, &room).await.iter().filter(|(kind, ..)| kind != "m.room.member").collect::<Vec<_>>(),
        state(&b, &bob, &room).await.iter().filter(|(kind, ..)| kind != "m.room.member").collect::<Vec<_>>()
    );
    // The client hears of them, and that nothing is left out any more.
    let sync = a.get(&format!("/sync?since={since}&timeout=10000"), &alice).await.ok();
    let joined = &sync["rooms"]["join"][&room];
    assert_eq!(joined["summary"]["org.linkim.partial_state"], false, "{joined}");
    assert_eq!(joined["summary"]["m.joined_member_count"], 9);
    let told = joined["state"]["events"].as_array().unwrap();
    assert_eq!(told.iter().filter(|event| event["type"] == "m.room.member").count(), 8, "{joined}");
    let changed = sync["device_lists"]["changed"].as_array().unwrap();
    assert!(changed.contains(&json!(bob.id)), "their keys are to be asked for: {changed:?}");
    // One that loads members lazily needs only those whom it shows.
    let filter = "%7B%22room%22:%7B%22state%22:%7B%22lazy_load_members%22:true%7D%7D%7D";
    let lazy = a.get(&format!("/sync?since={since}&filter={filter}"), &alice).await.ok();
    let lazy = &lazy["rooms"]["join"][&room];
    assert_eq!(lazy["summary"]["m.joined_member_count"], 9, "{lazy}");
    let told = lazy["state"]["events"].as_array().unwrap();
    assert!(told.iter().filter(|event| event["type"] == "m.room.member").count() < 3, "{lazy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_user_asks_a_server_that_knows_who_is_banned() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let (carol, dave, erin) = (a.person("carol").await, a.person("dave").await, a.person("erin").await);
    let room = crowd(&b, &bob, 3).await;
    b.post(&format!("/rooms/{room}/ban"), &bob, json!({ "user_id": carol.id })).await.ok();
    let liars = erin.id.clone();
    network.tamper(move |_, line, status, body| {
        if line.contains("/v1/state") {
            *status = StatusCode::NOT_FOUND;
            *body = json!({ "errcode": "M_NOT_FOUND", "error": "not yet" });
        } else if line.contains("/send_join/") && body["event"]["sender"] == liars.as_str() {
            body["members_omitted"] = json!(true);
            body["servers_in_room"] = json!(["b.example"]);
        }
    });
    a.post(&format!("/join/{room}?via=b.example"), &alice, json!({})).await.ok();
    let path = format!("/join/{room}");
    let [carols, daves, erins] = [&carol, &dave, &erin].map(|person| a.post(&path, person, json!({})));
    let (banned, joined, lied) = tokio::join!(carols, daves, erins);
    assert_eq!(banned.error(), (403, "M_FORBIDDEN"));
    joined.ok();
    assert_eq!(lied.error(), (502, "M_UNKNOWN"), "what leaves out members is of no use here");
    assert_eq!(network.count("omit_members=false"), 2, "{:?}", network.seen());
    network.tamper_no_more();
    let mut members = a.get(&format!("/rooms/{room}/joined_members"), &alice).await.ok();
    // Where her join came before Dave's, the state that came with his has her.
    members["joined"].as_object_mut().unwrap().remove(erin.id.as_str());
    assert_eq!(members["joined"].as_object().unwrap().len(), 5, "{members}");
    assert_eq!(a.membership(&room, &alice, &carol.id).await, "ban");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_nobody() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let room = crowd(&b, &bob, 3).await;
    hold_back(&network);
    let path = format!("/join/{room}?via=b.example");
    a.post(&path, &alice, json!({})).await.ok();
    a.post(&format!("/rooms/{room}/leave"), &alice, json!({})).await.ok();
    let given_up = async {
        while !a.services().filling.whole(room.as_str().try_into().unwrap(), Duration::from_secs(1)).await.unwrap() {}
    };
    tokio::time::timeout(Duration::from_secs(30), given_up).await.unwrap();
    network.tamper_no_more();
    let asked = network.count("/v1/state");
    // No server named: those that were in the room when we left are known.
    a.post(&format!("/rooms/{room}/join"), &alice, json!({})).await.ok();
    let members = a.get(&format!("/rooms/{room}/joined_members"), &alice).await.ok();
    assert_eq!(members["joined"].as_object().unwrap().len(), 4, "{members}");
    assert!(network.count("/v1/state") > asked);
}

/// A state that can't be that before the join is not taken, whoever says it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_changes_nothing() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let room = crowd(&b, &bob, 4).await;
    let whole = state(&b, &bob, &room).await;
    let of = |kept: &dyn Fn(&str) -> bool| -> Vec<Value> {
        whole.iter().filter(|(kind, ..)| kept(kind)).map(|(.., id)| json!(id)).collect()
    };
    let lies = [
        ("without its members", of(&|kind| kind != "m.room.member")),
        ("without what authorises the join", of(&|kind| kind != "m.room.power_levels")),
        ("without its create event", of(&|kind| kind != "m.room.create")),
    ];
    let asked = Arc::new(AtomicUsize::new(0));
    let (told, count) = (lies.map(|(_, ids)| ids), asked.clone());
    network.tamper(move |_, line, _, body| {
        if line.contains("/v1/state_ids/")
            && let Some(lie) = told.get(count.fetch_add(1, Ordering::SeqCst))
        {
            body["pdu_ids"] = json!(lie);
        }
    });
    a.post(&format!("/join/{room}?via=b.example"), &alice, json!({})).await.ok();
    let members = a.get(&format!("/rooms/{room}/joined_members"), &alice).await.ok();
    assert_eq!(members["joined"].as_object().unwrap().len(), 5, "{members}");
    assert_eq!(asked.load(Ordering::SeqCst), 4, "each of the three was refused");
}
