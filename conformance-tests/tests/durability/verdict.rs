//! Whether everything acknowledged is there, once, and the data agree with themselves.

use std::collections::BTreeSet;

use conformance_tests::Server;

use crate::crowd::{Crowd, Sent, history};

/// What is wrong, in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Acknowledged and not there, by id or by body.
    pub missing: usize,
    /// There more than once, or with a body that nobody was told of.
    pub doubled: usize,
    /// Redacted, with the content still there.
    pub unredacted: usize,
}

/// Holds what the rooms show against what was acknowledged. Everything sent must have been acknowledged by now.
pub(crate) async fn compare(crowd: &Crowd, sent: &[Sent]) -> Verdict {
    let mut verdict = Verdict::default();
    for (number, room) in crowd.rooms.iter().enumerate() {
        let found = history(&crowd.users[0], room).await;
        let own: Vec<&Sent> = sent.iter().filter(|sent| sent.room == number).collect();
        for sent in &own {
            verdict.missing += usize::from(!found.ids.contains_key(&sent.event_id));
            match (sent.redacted, found.bodies.contains_key(&sent.body)) {
                (false, false) => verdict.missing += 1,
                (true, true) => verdict.unredacted += 1,
                _ => {}
            }
        }
        let ids: BTreeSet<&String> = own.iter().map(|sent| &sent.event_id).collect();
        verdict.doubled += own.len() - ids.len();
        verdict.doubled += found.ids.values().filter(|count| **count > 1).count();
        let told: BTreeSet<&String> = own.iter().map(|sent| &sent.body).collect();
        verdict.doubled += found.bodies.iter().filter(|(body, count)| **count > 1 || !told.contains(body)).count();
    }
    verdict
}

/// Has the data of a server that was ended checked: what is derived from the events, and SQLite's own check of the file.
pub(crate) fn check_data(server: &Server) {
    let (code, text) = server.run(&["check-data"]);
    assert_eq!(code, 0, "check-data: {text}");
    assert!(text.starts_with("ok"), "{text}");
    println!("check-data: {text}");
}
