//! Requests whose signature does not say what they say.
//!
//! Source: Server-Server API, "Request Authentication".

use conformance_tests::peer::{RawPeer, Sending, transaction};
use conformance_tests::{Server, unique};
use linkim_federation::SigningKey;
use ruma::OwnedServerName;

use crate::{not_shown, raw, shared, still_there, world};

/// A signed request that needs to be signed.
fn question(peer: &RawPeer, server: &Server) -> Sending {
    let user = conformance_tests::encode(&format!("@nobody:{}", server.name()));
    peer.sending(server, "GET", &format!("/_matrix/federation/v1/query/profile?user_id={user}"), None)
}

async fn refused(peer: &RawPeer, server: &Server, sending: Sending) {
    peer.send(server, sending).await.expect_error(401, "M_UNAUTHORIZED");
}

#[tokio::test]
async fn an_honest_request_is_answered() {
    let (server, peer) = (shared(), raw().await);
    peer.send(&server, question(&peer, &server)).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_request_for_another_server_is_refused() {
    let (server, peer) = (shared(), raw().await);
    let destination = OwnedServerName::try_from("elsewhere.example").expect("a name");
    refused(&peer, &server, Sending { destination, ..question(&peer, &server) }).await;
    // Signed for another server, sent as if for this one.
    let mut sending = question(&peer, &server);
    sending.destination = OwnedServerName::try_from("elsewhere.example").expect("a name");
    let header = sending.header().replace("elsewhere.example", server.name());
    refused(&peer, &server, Sending { authorization: Some(header), ..sending }).await;
}

#[tokio::test]
async fn a_request_that_was_changed_is_refused() {
    let (server, peer) = (shared(), raw().await);
    let mut other_uri = question(&peer, &server);
    other_uri.sent_uri = other_uri.sent_uri.replace("nobody", "somebody");
    refused(&peer, &server, other_uri).await;
    let mut more_query = question(&peer, &server);
    more_query.sent_uri += "&field=displayname";
    refused(&peer, &server, more_query).await;
    let mut other_encoding = question(&peer, &server);
    other_encoding.sent_uri = other_encoding.sent_uri.replace("%40", "@");
    refused(&peer, &server, other_encoding).await;
    let other_method = question(&peer, &server);
    let header = Sending { method: "POST".to_owned(), ..other_method.clone() }.header();
    refused(&peer, &server, Sending { authorization: Some(header), ..other_method }).await;
}

#[tokio::test]
async fn a_body_that_was_changed_is_refused_and_has_no_effect() {
    let server = shared();
    let world = world(&server).await;
    let (first, second) = (world.say("signed"), world.say("sent instead"));
    let uri = format!("/_matrix/federation/v1/send/{}", unique("txn"));
    let signed = transaction(world.peer.name.as_str(), &[&first], &[]);
    let sent = transaction(world.peer.name.as_str(), &[&second], &[]);
    let mut sending = world.peer.sending(&server, "PUT", &uri, Some(&signed));
    sending.sent_body = Some(sent.to_string().into_bytes());
    refused(&world.peer, &server, sending).await;
    let mut unsigned = world.peer.sending(&server, "PUT", &uri, Some(&sent));
    unsigned.authorization = Some(String::new());
    refused(&world.peer, &server, unsigned).await;
    let mut no_body = world.peer.sending(&server, "PUT", &uri, None);
    no_body.sent_body = Some(sent.to_string().into_bytes());
    refused(&world.peer, &server, no_body).await;
    not_shown(&world.alice, &world.room.id, &second).await;
    still_there(&server, &world.alice, &world.peer).await;
}

#[tokio::test]
async fn a_key_that_is_not_published_is_refused() {
    let (server, peer) = (shared(), raw().await);
    peer.send(&server, question(&peer, &server)).await.expect_error(404, "M_NOT_FOUND");
    let other = SigningKey::generate([9; 32], "other").expect("a key");
    refused(&peer, &server, Sending { key: other, ..question(&peer, &server) }).await;
    // Under the identifier of the one that is published.
    let same_name = SigningKey::generate([9; 32], peer.key.key_id()).expect("a key");
    refused(&peer, &server, Sending { key: same_name, ..question(&peer, &server) }).await;
}

#[tokio::test]
async fn nobody_speaks_for_another_server() {
    let (server, peer, other) = (shared(), raw().await, raw().await);
    for name in [other.name.clone(), OwnedServerName::try_from(server.name()).expect("a name")] {
        refused(&peer, &server, Sending { origin: name, ..question(&peer, &server) }).await;
    }
}

#[tokio::test]
async fn a_server_that_publishes_no_keys_is_refused() {
    let (server, peer) = (shared(), raw().await);
    let gone = OwnedServerName::try_from("localhost:1").expect("a name");
    refused(&peer, &server, Sending { origin: gone, ..question(&peer, &server) }).await;
}

#[tokio::test]
async fn a_header_that_is_none_is_refused() {
    let (server, peer) = (shared(), raw().await);
    let right = question(&peer, &server).header();
    let long = format!("{right},x=\"{}\"", "x".repeat(5000));
    let twice = format!("{right},{}", right.trim_start_matches("X-Matrix "));
    let no_sig = right.split(",sig=").next().unwrap_or_default().to_owned();
    let quote = format!("{right},x=\"");
    let headers =
        ["", "Bearer abc", "X-Matrix", "X-Matrix ", "X-Matrix origin=", "X-Matrix =,=", &long, &twice, &no_sig, &quote];
    for header in headers {
        let sending = Sending { authorization: Some(header.to_owned()), ..question(&peer, &server) };
        let reply = peer.send(&server, sending).await;
        assert_eq!((reply.status, reply.errcode()), (401, "M_UNAUTHORIZED"), "{header:?}: {reply}");
    }
}

#[tokio::test]
async fn a_header_of_an_old_server_is_read() {
    let (server, peer) = (shared(), raw().await);
    let sending = question(&peer, &server);
    // «destination» is there since Matrix 1.3; what is signed always had it.
    let header = sending.header().replace(&format!(",destination=\"{}\"", server.name()), "");
    assert!(!header.contains("destination"), "{header}");
    peer.send(&server, Sending { authorization: Some(header), ..sending }).await.expect_error(404, "M_NOT_FOUND");
}
