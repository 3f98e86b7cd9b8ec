//! Whom something new is told: members here, or other servers too.

use std::sync::PoisonError;

use super::*;

#[derive(Default)]
struct Told(Mutex<Vec<&'static str>>);

impl Told {
    fn note(&self, how: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(how);
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Wake for Told {
    fn room_changed(&self, _: RoomNid, _: i64, _: &HashSet<UserNid>, _: &[UserNid]) {
        self.note("everywhere");
    }

    fn state_changed(&self, _: RoomNid) {}

    fn room_changed_here(&self, _: RoomNid, _: i64, members: &HashSet<UserNid>) {
        assert!(members.len() <= 1);
        self.note("here");
    }
}

#[tokio::test]
async fn other_servers_are_told_of_state_and_of_what_we_relay_where_there_are_any() {
    let told = Arc::<Told>::default();
    let f = fixture_telling(server_name!("a.example"), told.clone());
    let (room, first) = room(&f, room_version_id!("12")).await;
    assert_eq!(told.take(), ["everywhere"], "state");
    let mut oracle = Oracle::new(&f, &room, &first).await;
    let says = || LocalEvent::message(alice(), "m.room.message", object(json!({ "body": "hello" })));
    send(&f, &room, &mut oracle, says()).await;
    assert_eq!(told.take(), ["here"], "nobody is elsewhere");
    let topic = LocalEvent::state(alice(), "m.room.topic", "", object(json!({ "topic": "x" })));
    let topic = send(&f, &room, &mut oracle, topic).await;
    assert_eq!(told.take(), ["everywhere"], "state");

    let bob = user_id!("@b:b.example");
    let member = ("m.room.member", Some(bob.as_str()), json!({ "membership": "join" }));
    let join = oracle.build(&room, bob, member, &[topic], 1);
    oracle.add(join.clone());
    assert!(matches!(f.receive(room.nid, &join).await, Received::Accepted(_)));
    assert_eq!(told.take(), ["everywhere"], "state");
    let ours = send(&f, &room, &mut oracle, says()).await;
    assert_eq!(told.take(), ["everywhere"], "the server of the one who joined is owed it");
    let message = ("m.room.message", None, json!({ "body": "theirs", "msgtype": "m.text" }));
    let theirs = oracle.build(&room, bob, message, &[ours], 2);
    assert!(matches!(f.receive(room.nid, &theirs).await, Received::Accepted(_)));
    assert_eq!(told.take(), ["here"], "whoever sent it has it");
}

async fn send(f: &Fixture, room: &RoomKey, oracle: &mut Oracle, event: LocalEvent) -> OwnedEventId {
    let sent = f.appenders.append(room.nid, vec![event], None).await.unwrap().remove(0);
    let nid = sent.nid;
    let pdu = f.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, nid)).await.unwrap();
    assert!(oracle.add(pdu));
    sent.event_id
}
