//! Children of events, and threads.

use ruma::OwnedEventId;
use serde_json::Value;

use super::*;
use crate::rooms::{
    append::Appended,
    client_event::{Shape, Viewer},
    reading_fixture::{Room, fixture},
    threads,
};

#[derive(Clone, Default)]
struct Ask {
    rel_type: Option<&'static str>,
    event_type: Option<&'static str>,
    recurse: bool,
    forwards: bool,
    limit: usize,
}

fn ids(text: &str) -> Vec<String> {
    let events: Vec<Value> = serde_json::from_str(text).unwrap();
    events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

async fn children(room: &Room<'_>, viewer: &Viewer, parent: &OwnedEventId, ask: &Ask) -> Vec<String> {
    let (mut from, mut all) = (None, Vec::new());
    for _ in 0..20 {
        let (parent, ask) = (parent.clone(), ask.clone());
        let look = room.look(viewer, Shape::Client, move |open| {
            let asked = Asked {
                rel_type: ask.rel_type,
                event_type: ask.event_type,
                recurse: ask.recurse,
                from,
                to: None,
                direction: if ask.forwards { Direction::Forwards } else { Direction::Backwards },
                limit: ask.limit,
            };
            page(open, &parent, &asked)
        });
        let (chunk, next) = look.await.unwrap();
        let chunk = ids(&chunk);
        assert!(chunk.len() <= 2);
        all.extend(chunk);
        if next.is_none() {
            return all;
        }
        from = next;
    }
    panic!("the pages do not end");
}

fn expected(events: &[&Appended]) -> Vec<String> {
    events.iter().map(|event| event.event_id.to_string()).collect()
}

#[tokio::test]
async fn pages_of_children() {
    let f = fixture();
    let room = f.room("12", None).await;
    let alice = f.viewer("alice").await;
    let root = room.say("alice", "root").await;
    let one = room.relate("alice", "m.thread", &root.event_id, "1").await;
    let two = room.relate("alice", "m.reference", &root.event_id, "2").await;
    let edit = room.relate("alice", "m.replace", &one.event_id, "1b").await;
    let deep = room.relate("alice", "m.reference", &edit.event_id, "3").await;
    let deeper = room.relate("alice", "m.reference", &deep.event_id, "4").await;
    let gone = room.relate("alice", "m.reference", &root.event_id, "5").await;
    room.redact("alice", &gone.event_id).await;
    let relates_to = serde_json::json!({ "rel_type": "m.reference", "event_id": root.event_id });
    let other = room.send("alice", "m.sticker", serde_json::json!({ "m.relates_to": relates_to })).await;

    let all = Ask { limit: 2, ..Ask::default() };
    let ask = |ask: Ask| {
        let (room, alice, root) = (&room, &alice, &root.event_id);
        async move { children(room, alice, root, &ask).await }
    };
    assert_eq!(ask(all.clone()).await, expected(&[&other, &two, &one]));
    assert_eq!(ask(Ask { forwards: true, ..all.clone() }).await, expected(&[&one, &two, &other]));
    let references = Ask { rel_type: Some("m.reference"), ..all.clone() };
    assert_eq!(ask(references.clone()).await, expected(&[&other, &two]));
    let messages = Ask { event_type: Some("m.room.message"), ..references.clone() };
    assert_eq!(ask(messages).await, expected(&[&two]));
    assert_eq!(ask(Ask { rel_type: Some("org.example.never"), ..all.clone() }).await, expected(&[]));
    // Three levels, no fourth; a filter breaks the chain where it does not match.
    let recursive = Ask { recurse: true, ..all };
    assert_eq!(ask(recursive).await, expected(&[&other, &deep, &edit, &two, &one]));
    let recursive_references = Ask { recurse: true, ..references };
    assert_eq!(ask(recursive_references).await, expected(&[&other, &two]));
    assert_ne!(deeper.event_id, deep.event_id);
}

#[tokio::test]
async fn an_unknown_parent_is_not_found() {
    let f = fixture();
    let room = f.room("12", None).await;
    let alice = f.viewer("alice").await;
    let look = room.look(&alice, Shape::Client, |open| {
        let asked = Asked {
            rel_type: None,
            event_type: None,
            recurse: false,
            from: None,
            to: None,
            direction: Direction::Backwards,
            limit: 1,
        };
        page(open, ruma::event_id!("$nothing"), &asked)
    });
    assert!(matches!(look.await, Err(ReadError::NotFound(_))));
}

#[tokio::test]
async fn threads_by_their_newest_event() {
    let f = fixture();
    let room = f.room("12", None).await;
    let (alice, bob) = (f.viewer("alice").await, f.viewer("bob").await);
    room.member("bob", "bob", "join").await;
    let mut roots = Vec::new();
    for n in 0..5 {
        roots.push(room.say("alice", &n.to_string()).await);
    }
    for n in [0, 1, 2, 3, 4, 1, 0] {
        room.relate("alice", "m.thread", &roots[n].event_id, "in").await;
    }
    room.relate("bob", "m.thread", &roots[2].event_id, "in").await;
    let order: Vec<&Appended> = [2, 0, 1, 4, 3].into_iter().map(|n| &roots[n]).collect();
    let list = |viewer: &Viewer, participated: bool| {
        let (room, viewer) = (&room, viewer.clone());
        async move {
            let (mut before, mut all) = (None, Vec::new());
            for _ in 0..10 {
                let look =
                    room.look(&viewer, Shape::Client, move |open| Ok(threads::page(open, participated, before, 2)?));
                let (chunk, next) = look.await.unwrap();
                all.push(ids(&chunk));
                match next {
                    Some(next) => before = Some(next),
                    None => return all,
                }
            }
            panic!("the pages do not end");
        }
    };
    let pages = list(&alice, false).await;
    assert_eq!(pages.concat(), expected(&order));
    assert!(pages.iter().all(|page| page.len() <= 2));
    assert_eq!(list(&alice, true).await.concat(), expected(&order));
    assert_eq!(list(&bob, true).await.concat(), expected(&[&roots[2]]));
}
