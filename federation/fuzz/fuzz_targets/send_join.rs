//! An answer to send_join, in whatever pieces it comes, and each of its events.
//!
//! `cargo +nightly fuzz run send_join`, in `federation/`.

#![no_main]

#[path = "../../../src/peers/event_lists.rs"]
mod event_lists;
#[path = "../../../src/peers/joining/response.rs"]
mod response;

/// As the server names it.
mod peers {
    pub(crate) use super::event_lists;
}

use bytes::Bytes;
use linkim_federation::{Pdu, STABLE_VERSIONS, rules};
use response::{Part, Rest, parse};
use ruma::RoomVersionId;
use tokio::sync::mpsc;

/// Reads an answer that comes in pieces of this size: what it says, and the texts of its events.
fn read(text: &[u8], size: usize) -> Option<(Rest, Vec<(bool, String)>)> {
    let pieces: Vec<&[u8]> = text.chunks(size).collect();
    let (send, receive) = mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        send.try_send(Ok(Bytes::copy_from_slice(piece))).ok()?;
    }
    drop(send);
    // Every event takes two bytes at least, so that the parser never waits for room.
    let (sink, mut batches) = mpsc::channel(text.len() + 1);
    let rest = parse(receive, sink).ok()?;
    let mut events = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        let in_state = batch.part == Part::State;
        events.extend(batch.events.into_iter().map(|event| (in_state, event.get().to_owned())));
    }
    Some((rest, events))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let whole = read(text, text.len().max(1));
    let cut = read(text, usize::from(*first).max(1));
    match (&whole, &cut) {
        (None, None) => {}
        (Some((one, events)), Some((other, same))) => {
            assert_eq!(events, same);
            assert_eq!(one.members_omitted, other.members_omitted);
            assert_eq!(one.servers_in_room, other.servers_in_room);
        }
        _ => panic!("how it is cut makes a difference"),
    }
    let version = STABLE_VERSIONS[usize::from(*first) % STABLE_VERSIONS.len()];
    let rules = rules(&RoomVersionId::try_from(version).expect("a version")).expect("a stable one");
    for (_, event) in whole.into_iter().flat_map(|(_, events)| events) {
        let _ = Pdu::from_peer(event.as_bytes(), rules);
    }
});
