//! Profiles.

use super::*;

const ALICE: &str = "/v3/profile/@alice:a.example";

#[tokio::test]
async fn fields_are_set_read_and_deleted() {
    let app = App::open().await;
    let token = app.token("alice").await;
    assert_eq!(app.get(ALICE, None).await.ok(), json!({}));
    let set = async |field: &str, value: Value| {
        app.put(&format!("{ALICE}/{field}"), Some(&token), json!({ field: value })).await
    };
    set("displayname", json!("Alice")).await.ok();
    set("avatar_url", json!("mxc://a.example/abc")).await.ok();
    set("org.example.job", json!({ "title": "x" })).await.ok();
    let field = app.get(&format!("{ALICE}/displayname"), None).await.ok();
    assert_eq!(field, json!({ "displayname": "Alice" }));
    let whole = json!({
        "displayname": "Alice", "avatar_url": "mxc://a.example/abc",
        "org.example.job": { "title": "x" },
    });
    assert_eq!(app.get(ALICE, None).await.ok(), whole);
    set("avatar_url", json!("")).await.ok();
    app.call(Method::DELETE, &format!("{ALICE}/org.example.job"), Some(&token), Value::Null).await.ok();
    assert_eq!(app.get(ALICE, None).await.ok(), json!({ "displayname": "Alice" }));
}

#[tokio::test]
async fn what_cannot_be_set_says_why() {
    let app = App::open().await;
    let token = app.token("alice").await;
    app.register("bob").await;
    let put = async |path: &str, body| app.put(path, Some(&token), body).await;
    let path = format!("{ALICE}/displayname");
    let bob = "/v3/profile/@bob:a.example/displayname";
    assert_eq!(put(bob, json!({ "displayname": "x" })).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(put(&path, json!({ "name": "x" })).await.error(), (400, "M_MISSING_PARAM"));
    assert_eq!(put(&path, json!({ "displayname": 5 })).await.error(), (400, "M_BAD_JSON"));
    let custom = format!("{ALICE}/custom");
    assert_eq!(put(&custom, json!({ "custom": 1 })).await.error(), (400, "M_INVALID_PARAM"));
    let long = format!("{ALICE}/org.{}", "x".repeat(252));
    assert_eq!(put(&long, json!({})).await.error(), (400, "M_KEY_TOO_LARGE"));
    let anonymous = app.put(&path, None, json!({ "displayname": "x" })).await;
    assert_eq!(anonymous.error(), (401, "M_MISSING_TOKEN"));
    assert_eq!(app.get(&path, None).await.error(), (404, "M_NOT_FOUND"));
    for path in ["/v3/profile/@nobody:a.example", "/v3/profile/@alice:b.example"] {
        assert_eq!(app.get(path, None).await.error(), (404, "M_NOT_FOUND"));
    }
    assert_eq!(app.get("/v3/profile/nonsense", None).await.error(), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_profile_is_smaller_than_64_kib() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let put = async |field: &str, length: usize| {
        let body = json!({ field: "x".repeat(length) });
        app.put(&format!("{ALICE}/{field}"), Some(&token), body).await
    };
    put("a.first", 30_000).await.ok();
    // {"a.first":"…","a.other":"…"} has 27 bytes beside the texts: 65,535 in all.
    let rest = 65_535 - 27 - 30_000;
    assert_eq!(put("a.other", rest + 1).await.error(), (400, "M_PROFILE_TOO_LARGE"));
    put("a.other", rest).await.ok();
    assert_eq!(app.get(ALICE, None).await.ok().to_string().len(), 65_535);
    put("a.other", rest).await.ok();
    put("a.other", 5).await.ok();
}
