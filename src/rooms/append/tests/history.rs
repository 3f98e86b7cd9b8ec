//! History from before our joining, fetched in stretches.

use super::{
    gaps::{add_state, told},
    remote::{answer, member, near, nora, tips},
    *,
};
use crate::{
    rooms::visibility::Visibility,
    store::events::{Topological, flag},
};

/// Whether nora may see each of the events.
async fn visible(f: &Fixture, room: &Arc<RoomKey>, events: &[OwnedEventId]) -> Vec<bool> {
    let (room, events) = (room.clone(), events.to_vec());
    f.store
        .read::<_, StoreError, _>(move |read| {
            let user = ids::user_nid(read, &nora())?.unwrap();
            let mut visibility = Visibility::new(read, &room, user)?;
            events
                .iter()
                .map(|id| visibility.allows(read, &events::by_id(read, id)?.unwrap()))
                .collect::<Result<Vec<bool>, _>>()
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn history_comes_in_stretches() {
    let seeds = std::env::var("GAP_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2u64);
    for seed in 1..=seeds {
        let version = if seed % 2 == 0 { room_version_id!("11") } else { room_version_id!("12") };
        let f = fixture();
        let (room, first) = room(&f, version.clone()).await;
        let mut far = Oracle::new(&f, &room, &first).await;
        let start = first.last().unwrap().event_id.clone();
        let mut dag: Vec<Arc<Pdu>> = first.iter().map(|appended| far.pdus[&appended.event_id].clone()).collect();
        dag.extend(random_dag(&mut far, &room, &start, seed * 7919, 40));
        let content = json!({ "membership": "join", "again": true });
        let again = far.build(&room, &alice(), ("m.room.member", Some(alice().as_str()), content), &tips(&dag), 9_000);
        if !far.add(again.clone()) {
            // In this history nobody may join any more.
            continue;
        }
        dag.push(again.clone());
        let join = member(&mut far, &room, "join", &[again.event_id().to_owned()], 9_001);
        let n = near();
        let (joined, _) = n.appenders.import(answer(&far, &room, &join)).await.unwrap();
        let mut here = far.elsewhere();
        here.add_told(join.event_id(), &far.before[join.event_id()]);
        let current = current_of(&n, &joined).await;

        let mut end = dag.len();
        while end > 0 {
            let batch = &dag[end.saturating_sub(7)..end];
            end = end.saturating_sub(7);
            for pdu in batch {
                add_state(&n, joined.nid, &far, &far.before[pdu.event_id()]).await;
            }
            let incoming = batch.iter().map(|pdu| told(&far, pdu)).collect();
            let answers = n.appenders.backfill(joined.nid, incoming).await.unwrap();
            let mut last = i64::MIN;
            for (pdu, answer) in batch.iter().zip(answers) {
                let id = pdu.event_id();
                let allowed = here.add_told(id, &far.before[id]);
                let appended = match &answer {
                    Received::Accepted(appended) if allowed => appended,
                    Received::Rejected(appended, _) if !allowed => appended,
                    other => panic!("seed {seed}: {id} allowed {allowed}: {other:?}"),
                };
                assert!(appended.position < 0 && appended.position > last, "the newest has the highest place");
                last = appended.position;
                let (before, after) = states_of(&n, id).await;
                assert_eq!(before, here.before[id], "seed {seed}: state before {id}");
                assert_eq!(after, here.after[id], "seed {seed}: state after {id}");
            }
            assert_eq!(current_of(&n, &joined).await, current, "history changes nothing");
        }
        let nid = joined.nid;
        let (history, missing) = n
            .store
            .read::<_, StoreError, _>(move |read| {
                let end = Topological { depth: i64::MAX, position: i64::MAX };
                let history = events::backwards(read, nid, end, i64::MAX, 1000)?;
                Ok((history, rooms::backward_extremities(read, nid, 100)?))
            })
            .await
            .unwrap();
        assert_eq!(missing, [], "all is here down to the creation");
        let accepted = dag.iter().filter(|pdu| !here.pdus[pdu.event_id()].rejected()).count();
        assert_eq!(history.len(), accepted + 1);
        assert!(history.windows(2).all(|pair| pair[0].topological() > pair[1].topological()));
        let backfilled = history.iter().filter(|row| row.is(flag::BACKFILLED)).count();
        assert_eq!(backfilled, accepted);
        let ids: Vec<OwnedEventId> = history.into_iter().map(|row| row.event_id).collect();
        assert!(visible(&n, &joined, &ids).await.into_iter().all(|seen| seen), "shared history is for those who join");

        // Who left sees it still; nothing that came from later is shown to them, whatever place it was given.
        let leave = LocalEvent::state(nora(), "m.room.member", nora(), object(json!({ "membership": "leave" })));
        let leave = n.appenders.append(nid, vec![leave], None).await.unwrap().remove(0);
        let id = leave.nid;
        far.add(n.store.read::<_, StoreError, _>(move |read| crate::rooms::state::load_pdu(read, id)).await.unwrap());
        assert!(visible(&n, &joined, &ids).await.into_iter().all(|seen| seen));
        let content = json!({ "body": "about nora", "msgtype": "m.text" });
        let later =
            far.build(&room, &alice(), ("m.room.message", None, content), std::slice::from_ref(&leave.event_id), 9_005);
        far.add(later.clone());
        let answer = n.appenders.backfill(nid, vec![Incoming::new(later.clone())]).await.unwrap().remove(0);
        assert!(matches!(answer, Received::Accepted(Appended { position: 1.., .. })), "it is news: {answer:?}");
        assert_eq!(visible(&n, &joined, &[later.event_id().to_owned()]).await, [false]);
        agrees(&n, seed).await;
    }
}

/// A server may say of a state of long ago what it likes, in answers to backfill and with what it sends as news: what the room
/// stands on since the join is not rejected by it.
#[tokio::test]
async fn a_false_state_of_long_ago_takes_nothing_out_of_effect() {
    let versions = [room_version_id!("6"), room_version_id!("11"), room_version_id!("12")];
    for (version, as_news) in versions.into_iter().flat_map(|version| [(version.clone(), false), (version, true)]) {
        let f = fixture();
        let (room, first) = room(&f, version).await;
        let mut far = Oracle::new(&f, &room, &first).await;
        let tip = first.last().unwrap().event_id.clone();
        let v12 = room.version == room_version_id!("12");
        let users = if v12 { json!({}) } else { json!({ alice().as_str(): 100 }) };
        let content = json!({ "users": users, "events_default": 0, "state_default": 50 });
        let levels = far.build(&room, &alice(), ("m.room.power_levels", Some(""), content), &[tip], 1);
        assert!(far.add(levels.clone()));
        let join = member(&mut far, &room, "join", &[levels.owned_event_id().clone()], 2);
        let n = near();
        let (here, _) = n.appenders.import(answer(&far, &room, &join)).await.unwrap();
        // Alice, who sent it, was not in the room then.
        let alices =
            far.before[levels.event_id()].values().find(|id| far.pdus[*id].state_key() == Some(alice().as_str()));
        let alices = alices.unwrap().clone();
        let mut lie = told(&far, &levels);
        lie.state_before.as_mut().unwrap().retain(|id| *id != alices);
        let verdicts = match as_news {
            true => n.appenders.receive(here.nid, vec![lie]).await,
            false => n.appenders.backfill(here.nid, vec![lie]).await,
        };
        let verdict = verdicts.unwrap().remove(0);
        assert!(matches!(verdict, Received::SoftFailed(..)), "as news: {as_news}: {verdict:?}");
        let content = json!({ "body": "still here", "msgtype": "m.text" });
        let on = [join.event_id().to_owned()];
        let message = far.build(&room, &alice(), ("m.room.message", None, content), &on, 3);
        assert!(message.auth_events().contains(levels.owned_event_id()));
        assert!(far.add(message.clone()));
        let verdict = n.appenders.receive(here.nid, vec![Incoming::new(message)]).await.unwrap().remove(0);
        assert!(matches!(verdict, Received::Accepted(_)), "{verdict:?}");
        agrees(&n, 0).await;
    }
}

#[tokio::test]
async fn a_thread_and_a_redaction_come_backwards() {
    let f = fixture();
    let (room, first) = room(&f, room_version_id!("11")).await;
    let mut far = Oracle::new(&f, &room, &first).await;
    let mut tip = first.last().unwrap().event_id.clone();
    let mut dag = Vec::new();
    let mut say = |far: &mut Oracle, kind: &str, content: serde_json::Value| {
        let pdu = far.build(&room, &alice(), (kind, None, content), std::slice::from_ref(&tip), dag.len() as u64);
        assert!(far.add(pdu.clone()));
        tip = pdu.event_id().to_owned();
        dag.push(pdu.clone());
        pdu
    };
    let text = |body: &str| json!({ "body": body, "msgtype": "m.text" });
    let root = say(&mut far, "m.room.message", text("root"));
    let secret = say(&mut far, "m.room.message", text("secret"));
    let mut reply = text("reply");
    reply["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root.event_id() });
    let reply = say(&mut far, "m.room.message", reply);
    let relates = json!({ "rel_type": "m.annotation", "event_id": reply.event_id(), "key": "+" });
    let reaction = say(&mut far, "m.reaction", json!({ "m.relates_to": relates }));
    say(&mut far, "m.room.redaction", json!({ "redacts": secret.event_id() }));
    let join = member(&mut far, &room, "join", &[tip], 99);
    let n = near();
    let (here, _) = n.appenders.import(answer(&far, &room, &join)).await.unwrap();
    for pdu in dag.iter().rev() {
        let answer = n.appenders.backfill(here.nid, vec![told(&far, pdu)]).await.unwrap().remove(0);
        assert!(matches!(answer, Received::Accepted(_)), "{answer:?}");
    }
    n.store
        .read::<_, StoreError, _>(move |read| {
            let row = |id: &EventId| events::by_id(read, id).map(Option::unwrap);
            let root = row(root.event_id())?;
            assert_eq!(row(reply.event_id())?.thread, Some(root.nid));
            assert_eq!(row(reaction.event_id())?.thread, Some(root.nid));
            let secret = row(secret.event_id())?;
            assert!(secret.redacted_by.is_some());
            assert!(!events::json(read, secret.nid)?.contains("secret"));
            Ok(())
        })
        .await
        .unwrap();
    agrees(&n, 0).await;
}
