//! "Content repository": uploads, downloads, thumbnails.

use base64::Engine as _;
use conformance_tests::{Options, Server, path};
use reqwest::Method;
use serde_json::json;

use crate::SERVER;

/// A PNG of 2 by 2 pixels.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEUlEQVR4nGP4z8AARGDiPwMAHfAD/aAzCYkAAAAASUVORK5CYII=";

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let uri = alice.upload("application/zip", "the plan.zip", &bytes).await;
    let reply = bob.download(&uri).await.expect_status(200);
    assert!(reply.bytes == bytes, "other bytes came back");
    assert_eq!(reply.header("content-type"), "application/zip");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"the plan.zip\"");
    assert_eq!(reply.header("cross-origin-resource-policy"), "cross-origin");
    assert!(reply.header("content-security-policy").contains("sandbox"));
}

#[tokio::test]
async fn images_are_shown_inline_and_pages_are_not() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let image = alice.upload("image/png", "a.png", b"whatever").await;
    assert_eq!(alice.download(&image).await.header("content-disposition"), "inline; filename=\"a.png\"");
    let page = alice.upload("text/html", "a.html", b"<script>").await;
    assert_eq!(alice.download(&page).await.header("content-disposition"), "attachment; filename=\"a.html\"");
}

#[tokio::test]
async fn the_path_may_name_the_file() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let uri = alice.upload("text/plain", "old.txt", b"text").await;
    let (_, id) = uri.rsplit_once('/').expect("an id");
    let path = path!("/_matrix/client/v1/media/download/{}/{}/{}", server.name(), id, "new.txt");
    let reply = alice.get(&path).await.expect_status(200);
    assert_eq!(reply.header("content-disposition"), "inline; filename=\"new.txt\"");
}

#[tokio::test]
async fn files_are_for_users_only() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let uri = alice.upload("text/plain", "a.txt", b"text").await;
    let anonymous = server.anonymous();
    anonymous.download(&uri).await.expect_error(401, "M_MISSING_TOKEN");
    anonymous.post("/_matrix/media/v3/upload", json!({})).await.expect_error(401, "M_MISSING_TOKEN");
    let (_, id) = uri.rsplit_once('/').expect("an id");
    let deprecated = path!("/_matrix/media/v3/download/{}/{}", server.name(), id);
    anonymous.get(&deprecated).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    alice.download(&format!("mxc://{}/nothing", server.name())).await.expect_error(404, "M_NOT_FOUND");
    for id in ["a.b", "%2e%2e", "a/../b"] {
        let path = path!("/_matrix/client/v1/media/download/{}/{}", server.name(), id);
        alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused() {
    let tables = "[media]\nmax_upload_bytes = 1000\n".to_owned();
    let server = Server::start(Options { tables, ..Options::default() });
    let alice = server.register("alice").await;
    let config = alice.get("/_matrix/client/v1/media/config").await.ok();
    assert_eq!(config["m.upload.size"], 1000);
    alice.upload("text/plain", "a.txt", &[b'a'; 1000]).await;
    let reply = alice.raw(Method::POST, "/_matrix/media/v3/upload", &[], Some(vec![b'a'; 1001])).await;
    reply.expect_error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn a_file_survives_a_restart() {
    let mut server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let uri = alice.upload("text/plain", "a.txt", b"kept").await;
    server.restart();
    assert_eq!(alice.at(&server.base).download(&uri).await.expect_status(200).text, "kept");
}

#[tokio::test]
async fn an_id_may_come_before_its_content() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let created = alice.post("/_matrix/media/v1/create", json!({})).await.ok();
    let uri = created["content_uri"].as_str().expect("a URI").to_owned();
    assert!(created["unused_expires_at"].is_i64(), "{created}");
    let (_, id) = uri.rsplit_once('/').expect("an id");
    let download = path!("/_matrix/client/v1/media/download/{}/{}", server.name(), id);
    let early = bob.get(&format!("{download}?timeout_ms=0")).await;
    early.expect_error(504, "M_NOT_YET_UPLOADED");

    let waiting = {
        let (bob, path) = (bob.clone(), format!("{download}?timeout_ms=10000"));
        tokio::spawn(async move { bob.get(&path).await })
    };
    let upload = path!("/_matrix/media/v3/upload/{}/{}", server.name(), id);
    let plain = [("content-type", "text/plain")];
    let foreign = bob.raw(Method::PUT, &upload, &plain, Some(b"mine".to_vec())).await;
    foreign.expect_error(403, "M_FORBIDDEN");
    alice.raw(Method::PUT, &upload, &plain, Some(b"late".to_vec())).await.ok();
    assert_eq!(waiting.await.expect("a reply").expect_status(200).text, "late");
    let again = alice.raw(Method::PUT, &upload, &plain, Some(b"other".to_vec())).await;
    again.expect_error(409, "M_CANNOT_OVERWRITE_MEDIA");
    let unknown = path!("/_matrix/media/v3/upload/{}/{}", server.name(), "unknown");
    alice.raw(Method::PUT, &unknown, &plain, Some(b"x".to_vec())).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_image_has_thumbnails_and_a_text_has_none() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let png = base64::engine::general_purpose::STANDARD.decode(PNG).expect("base64");
    let image = alice.upload("image/png", "a.png", &png).await;
    // It is smaller than any thumbnail: the file itself.
    let reply = alice.thumbnail(&image, 32, 32, "crop").await.expect_status(200);
    assert_eq!(reply.header("content-type"), "image/png");
    assert_eq!(reply.bytes, png);
    let text = alice.upload("text/plain", "a.txt", b"text").await;
    alice.thumbnail(&text, 32, 32, "crop").await.expect_error(400, "M_UNKNOWN");
    alice.thumbnail(&image, 0, 32, "crop").await.expect_error(400, "M_INVALID_PARAM");
}
