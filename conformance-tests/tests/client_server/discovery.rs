//! "Server discovery", "API versions", "Capabilities negotiation" and "Web browser clients".

use conformance_tests::{Options, Server, v3};
use reqwest::Method;
use serde_json::json;

use crate::{ROOM_VERSIONS, SERVER};

#[tokio::test]
async fn versions_name_stable_releases_without_a_token() {
    let answer = SERVER.get().anonymous().get("/_matrix/client/versions").await.ok();
    let versions: Vec<&str> =
        answer["versions"].as_array().expect("a list").iter().filter_map(|v| v.as_str()).collect();
    // Clients in use refuse a server that lists none of v1.1 to v1.13.
    assert!(versions.contains(&"v1.11"), "{answer}");
    for version in &versions {
        let form = version.starts_with("v1.") || version.starts_with("r0.");
        assert!(form, "{version} is no version of the specification");
    }
    assert!(answer["unstable_features"].as_object().is_none_or(|features| features.values().all(|v| v.is_boolean())));
}

#[tokio::test]
async fn capabilities_name_the_room_versions() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let capabilities = alice.get(&v3!("/capabilities")).await.ok()["capabilities"].clone();
    let versions = &capabilities["m.room_versions"];
    assert_eq!(versions["default"], "12");
    for version in ROOM_VERSIONS {
        assert_eq!(versions["available"][version], "stable", "{versions}");
    }
    assert_eq!(capabilities["m.change_password"]["enabled"], true);
}

#[tokio::test]
async fn capabilities_need_a_token() {
    SERVER.get().anonymous().get(&v3!("/capabilities")).await.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn well_known_says_what_is_configured() {
    let well_known = "[well_known]\nserver = \"matrix.a.example:443\"\nclient = \"https://matrix.a.example\"\n\
        support = { admins = [\"@admin:a.example\"] }\n";
    let server = Server::start(Options { tables: well_known.to_owned(), ..Options::default() });
    let client = server.anonymous().get("/.well-known/matrix/client").await;
    assert_eq!(client.header("access-control-allow-origin"), "*", "browsers read it across origins");
    assert_eq!(client.ok()["m.homeserver"]["base_url"], "https://matrix.a.example");
    let answer = server.anonymous().get("/.well-known/matrix/server").await.ok();
    assert_eq!(answer["m.server"], "matrix.a.example:443");
    let support = server.anonymous().get("/.well-known/matrix/support").await.ok();
    assert_eq!(support["contacts"][0]["matrix_id"], "@admin:a.example");
    assert_eq!(support["contacts"][0]["role"], "m.role.admin");
}

#[tokio::test]
async fn well_known_is_not_found_unless_configured() {
    let server = SERVER.get();
    for name in ["server", "support"] {
        let reply = server.anonymous().get(&format!("/.well-known/matrix/{name}")).await;
        assert_eq!(reply.status, 404, "{reply}");
    }
}

#[tokio::test]
async fn browsers_may_call_from_any_origin() {
    let server = SERVER.get();
    let headers = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization, content-type"),
    ];
    let path = v3!("/rooms/{}/send/m.room.message/1", "!room:a.example");
    let reply = server.anonymous().raw(Method::OPTIONS, &path, &headers, None).await;
    assert!(matches!(reply.status, 200 | 204), "a preflight has no token and is never refused\n{reply}");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        assert!(reply.header("access-control-allow-methods").contains(method), "{method}: {:?}", reply.headers);
    }
    let allowed = reply.header("access-control-allow-headers").to_lowercase();
    for header in ["x-requested-with", "content-type", "authorization"] {
        assert!(allowed.contains(header), "{header}: {allowed}");
    }
}

#[tokio::test]
async fn errors_carry_the_cross_origin_header_too() {
    let server = SERVER.get();
    for path in [v3!("/account/whoami"), v3!("/no/such/path")] {
        let reply = server.anonymous().get(&path).await;
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{reply}");
    }
}

#[tokio::test]
async fn answers_are_json_by_their_content_type() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let replies = [alice.get(&v3!("/account/whoami")).await, alice.post(&v3!("/rooms/x/join"), json!({})).await];
    for reply in replies {
        assert!(reply.header("content-type").starts_with("application/json"), "{reply}");
    }
}
