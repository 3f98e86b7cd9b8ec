//! Memberships of local users in rooms that we are not in.

use super::{
    remote::{answer, member, membership_of, near, nora},
    *,
};
use crate::store::{members::Membership, stripped_state};

fn outside(room: &RoomKey, event: &Arc<Pdu>) -> OutsideMembership {
    let stripped = RawValue::from_string(json!({ "type": "m.room.name" }).to_string()).unwrap();
    OutsideMembership {
        room_id: room.room_id.clone(),
        version: room.version.clone(),
        event: event.clone(),
        stripped: Some(vec![stripped]),
    }
}

async fn stripped(f: &Fixture, room: RoomNid) -> Option<String> {
    let read = f.store.read::<_, StoreError, _>(move |read| {
        let user = ids::user_nid(read, &nora())?.unwrap();
        stripped_state::get(read, user, room)
    });
    read.await.unwrap()
}

#[tokio::test]
async fn an_invitation_stands_alone_until_it_is_taken_up() {
    for version in [room_version_id!("10"), room_version_id!("12")] {
        let f = fixture();
        let (room, first) = room(&f, version.clone()).await;
        let mut far = Oracle::new(&f, &room, &first).await;
        let content = json!({ "membership": "invite" });
        let start = first.last().unwrap().event_id.clone();
        let invite = far.build(&room, &alice(), ("m.room.member", Some(nora().as_str()), content), &[start], 5);
        assert!(far.add(invite.clone()));
        let n = near();
        // Whoever invites first may be mistaken about the version.
        let mistaken = OutsideMembership { version: room_version_id!("9"), ..outside(&room, &invite) };
        n.appenders.outside(mistaken).await.unwrap();
        let noted = n.appenders.outside(outside(&room, &invite)).await.unwrap();
        let id = room.room_id.clone();
        let here = n.store.read::<_, StoreError, _>(move |read| ids::room(read, &id)).await.unwrap().unwrap();
        assert_eq!(here.version, version);
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Invite));
        assert!(stripped(&n, here.nid).await.is_some());
        assert!(matches!(n.receive(here.nid, &invite).await, Received::Malformed(_)), "there is no room to receive it");

        // Rejected.
        let leave = member(&mut far, &room, "leave", &[invite.event_id().to_owned()], 6);
        n.appenders.outside(outside(&room, &leave)).await.unwrap();
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Leave));
        assert_eq!(stripped(&n, here.nid).await, None);

        // Invited again, and taken up: the event finds its place in the auth chain.
        n.appenders.outside(outside(&room, &invite)).await.unwrap();
        let mut far = far.clone();
        let join = member(&mut far, &room, "join", &[invite.event_id().to_owned()], 7);
        n.appenders.import(answer(&far, &room, &join)).await.unwrap();
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Join));
        assert_eq!(stripped(&n, here.nid).await, None);
        assert_eq!(current_of(&n, &here).await.1, far.after[join.event_id()]);
        let id = invite.event_id().to_owned();
        let nid = n.store.read::<_, StoreError, _>(move |read| events::nid(read, &id)).await.unwrap().unwrap();
        assert!(nid > noted.nid, "behind its auth events");

        // Left, and invited from outside once more: the old state of the room stays what it was.
        let content = object(json!({ "membership": "leave" }));
        let leave = LocalEvent::state(nora(), "m.room.member", nora(), content);
        let leave = n.appenders.append(here.nid, vec![leave], None).await.unwrap().remove(0);
        let left = leave.nid;
        far.add(n.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, left)).await.unwrap());
        let content = json!({ "membership": "invite", "again": true });
        let again = far.build(&room, &alice(), ("m.room.member", Some(nora().as_str()), content), &[leave.event_id], 9);
        assert!(far.add(again.clone()));
        n.appenders.outside(outside(&room, &again)).await.unwrap();
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Invite));
        let join = member(&mut far, &room, "join", &[again.event_id().to_owned()], 10);
        n.appenders.import(answer(&far, &room, &join)).await.unwrap();
        assert_eq!(membership_of(&n, here.nid, nora()).await, Some(Membership::Join));
        assert_eq!(current_of(&n, &here).await.1, far.after[join.event_id()]);
        agrees(&n, 0).await;
    }
}

#[tokio::test]
async fn what_is_no_membership_of_ours_is_refused() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("12")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let start = first.last().unwrap().event_id.clone();
    let join = member(&mut far, &room, "join", std::slice::from_ref(&start), 1);
    let content = json!({ "membership": "invite" });
    let other = far.build(&room, &alice(), ("m.room.member", Some("@x:x.example"), content), &[start], 2);
    let n = near();
    for event in [join, other, far.pdus[&first[0].event_id].clone()] {
        let refused = n.appenders.outside(outside(&room, &event)).await;
        assert!(matches!(refused, Err(AppendError::Malformed(_))), "{refused:?}");
    }
}
