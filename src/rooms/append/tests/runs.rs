//! Runs of events against one event after the other.

use tokio::sync::mpsc;

use super::{super::actor::Appender, *};

/// Every row of what the write path keeps, as text.
async fn dump(f: &Fixture) -> Vec<String> {
    f.store
        .read::<_, StoreError, _>(|read| {
            let mut out = Vec::new();
            for sql in [
                "SELECT 'event ' || nid || ' ' || hex(event_id) || ' ' || position || ' ' || flags || ' ' || before_line \
                 || ':' || before_epoch || ' ' || after_line || ':' || after_epoch || ' ' || countable || ' ' || thread \
                 FROM events ORDER BY nid",
                "SELECT 'edge ' || hex(prev) || ' ' || event FROM event_edges ORDER BY prev, event",
                "SELECT 'auth ' || event || ' ' || hex(auth) FROM auth_edges ORDER BY event",
                "SELECT 'state ' || line || ' ' || state_key || ' ' || from_epoch || ' ' || COALESCE(event, 'none') \
                 FROM room_state ORDER BY line, state_key, from_epoch",
                "SELECT 'current ' || state_key || ' ' || event FROM current_state ORDER BY state_key",
                "SELECT 'member ' || user || ' ' || membership || ' ' || event || ' ' || position || ' ' || since \
                 FROM memberships ORDER BY user",
                "SELECT 'tip ' || event FROM forward_extremities ORDER BY event",
                "SELECT 'head ' || last_position || ' ' || state_position || ' ' || hex(state_hash) || ' ' || joined \
                 || ' ' || invited || ' ' || local_joined || ' ' || message_position FROM room_heads",
                "SELECT 'server ' || server || ' ' || from_position || ' ' || COALESCE(to_position, 'open') || ' ' \
                 || joined FROM room_servers ORDER BY server, from_position",
                "SELECT 'reason ' || event || ' ' || reason FROM rejections ORDER BY event",
            ] {
                out.extend((read as &dyn Read).all(sql, crate::params![], |row| row.get::<String>(0))?);
            }
            Ok(out)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_writes_what_its_events_would_one_by_one() {
    for (version, seed) in [(room_version_id!("11"), 77), (room_version_id!("12"), 4711), (room_version_id!("10"), 5)] {
        let f = fixture();
        let (room, first) = room(&f, version.clone()).await;
        let mut oracle = Oracle::new(&f, &room, &first).await;
        let start = first.last().unwrap().event_id.clone();
        let mut dag = Vec::new();
        // Lines of events that follow each other, between forks.
        let mut tip = start;
        for part in 0..4 {
            let bob = user_id!("@b:b.example");
            for n in 0..12u64 {
                let (kind, key, content) = match n % 4 {
                    0 => ("m.room.member", Some(bob.as_str()), json!({ "membership": "join", "n": n + part })),
                    1 => ("m.room.topic", Some(""), json!({ "topic": n })),
                    _ => ("m.room.message", None, json!({ "body": n, "msgtype": "m.text" })),
                };
                let pdu = oracle.build(&room, bob, (kind, key, content), &[tip], 100 * part + n);
                oracle.add(pdu.clone());
                tip = pdu.event_id().to_owned();
                dag.push(pdu);
            }
            let forks = random_dag(&mut oracle, &room, &tip, seed + part, 12);
            dag.extend(forks);
            let content = json!({ "membership": "join", "again": part });
            let named: HashSet<&EventId> = dag.iter().flat_map(|pdu| pdu.prev_events()).map(|id| &**id).collect();
            let tips = dag.iter().map(|pdu| pdu.owned_event_id()).filter(|id| !named.contains(&***id));
            let tips: Vec<OwnedEventId> = tips.cloned().collect();
            let merge =
                oracle.build(&room, &alice(), ("m.room.member", Some(alice().as_str()), content), &tips, 9_000 + part);
            oracle.add(merge.clone());
            tip = merge.event_id().to_owned();
            dag.push(merge);
        }
        let (batches, singles) = (fixture(), fixture());
        let other = copy_room(&f, &batches, &room, &first).await;
        let incoming = dag.iter().cloned().map(Incoming::new).collect();
        let answers = batches.appenders.receive(other.nid, incoming).await.unwrap();
        let other = copy_room(&f, &singles, &room, &first).await;
        let mut appender = Appender::new(singles.appenders.shared.clone(), other.nid, mpsc::channel(1).1);
        for (pdu, answer) in dag.iter().zip(answers) {
            let single = appender.receive_one(Incoming::new(pdu.clone()), None, None).await.unwrap();
            assert_eq!(single, answer);
        }
        let (batches_have, singles_have) = (dump(&batches).await, dump(&singles).await);
        for (one, other) in batches_have.iter().zip(&singles_have) {
            assert_eq!(one, other);
        }
        assert_eq!(batches_have.len(), singles_have.len());
        agrees(&batches, seed).await;
        agrees(&singles, seed).await;
    }
}
