//! Push rules.

use super::*;

async fn put(app: &App, token: &str, path: &str, body: Value) -> Answer {
    app.put(&format!("/v3/pushrules/global/{path}"), Some(token), body).await
}

async fn get(app: &App, token: &str, path: &str) -> Answer {
    app.get(&format!("/v3/pushrules/global/{path}"), Some(token)).await
}

/// The ids of a kind's rules that are not defaults, in order.
async fn ids(app: &App, token: &str, kind: &str) -> Vec<String> {
    let rules = app.get("/v3/pushrules/", Some(token)).await.ok();
    let rules = rules["global"][kind].as_array().unwrap().clone();
    let own = rules.iter().filter(|rule| rule["default"] == false);
    own.map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn rules_are_made_read_changed_and_removed() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let body = json!({ "pattern": "cake*lie", "actions": ["notify"] });
    put(&app, &token, "content/nocake", body).await.ok();
    let rule = get(&app, &token, "content/nocake").await.ok();
    let expected = json!({
        "rule_id": "nocake", "pattern": "cake*lie", "actions": ["notify"], "enabled": true,
        "default": false,
    });
    assert_eq!(rule, expected);
    put(&app, &token, "content/nocake/enabled", json!({ "enabled": false })).await.ok();
    let enabled = get(&app, &token, "content/nocake/enabled").await.ok();
    assert_eq!(enabled, json!({ "enabled": false }));
    let actions = json!({ "actions": [{ "set_tweak": "highlight" }] });
    put(&app, &token, "content/nocake/actions", actions.clone()).await.ok();
    assert_eq!(get(&app, &token, "content/nocake/actions").await.ok(), actions);
    let path = "/v3/pushrules/global/content/nocake";
    app.call(Method::DELETE, path, Some(&token), Value::Null).await.ok();
    assert_eq!(get(&app, &token, "content/nocake").await.error(), (404, "M_NOT_FOUND"));
    let global = app.get("/v3/pushrules/global/", Some(&token)).await.ok();
    assert!(global["underride"].is_array());
}

#[tokio::test]
async fn default_rules_are_switched_and_stay() {
    let app = App::open().await;
    let token = app.token("alice").await;
    put(&app, &token, "override/.m.rule.master/enabled", json!({ "enabled": true })).await.ok();
    let rule = get(&app, &token, "override/.m.rule.master").await.ok();
    assert_eq!((&rule["enabled"], &rule["default"]), (&json!(true), &json!(true)));
    let path = "/v3/pushrules/global/override/.m.rule.master";
    let removed = app.call(Method::DELETE, path, Some(&token), Value::Null).await;
    assert_eq!(removed.error(), (400, "M_INVALID_PARAM"));
    let replaced = put(&app, &token, "override/.m.rule.master", json!({ "actions": [] })).await;
    assert_eq!(replaced.error(), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn rules_take_their_place() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let body = json!({ "actions": [] });
    for room in ["!a:x", "!b:x", "!c:x"] {
        put(&app, &token, &format!("room/{room}"), body.clone()).await.ok();
    }
    assert_eq!(ids(&app, &token, "room").await, ["!c:x", "!b:x", "!a:x"]);
    put(&app, &token, "room/!c:x/enabled", json!({ "enabled": false })).await.ok();
    // Behind the last one, where there is no place in the list as it was.
    put(&app, &token, "room/!c:x?after=!a:x", body.clone()).await.ok();
    assert_eq!(ids(&app, &token, "room").await, ["!b:x", "!a:x", "!c:x"]);
    assert_eq!(get(&app, &token, "room/!c:x/enabled").await.ok(), json!({ "enabled": false }));
    put(&app, &token, "room/!d:x?before=!a:x", body.clone()).await.ok();
    assert_eq!(ids(&app, &token, "room").await, ["!b:x", "!d:x", "!a:x", "!c:x"]);
    put(&app, &token, "override/first", body.clone()).await.ok();
    let rules = app.get("/v3/pushrules/", Some(&token)).await.ok();
    assert_eq!(rules["global"]["override"][0]["rule_id"], ".m.rule.master");
    assert_eq!(rules["global"]["override"][1]["rule_id"], "first");
}

#[tokio::test]
async fn what_cannot_be_a_rule_says_why() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let actions = json!({ "actions": [] });
    let cases = [
        ("room/!a:x?after=!none:x", actions.clone(), 400, "M_UNKNOWN"),
        ("room/!a:x?after=!a:x", actions.clone(), 400, "M_INVALID_PARAM"),
        ("override/x?after=.m.rule.master", actions.clone(), 400, "M_INVALID_PARAM"),
        ("override/.mine", actions.clone(), 400, "M_INVALID_PARAM"),
        ("override/a%5Cb", actions.clone(), 400, "M_INVALID_PARAM"),
        ("override/a%2Fb", actions.clone(), 400, "M_INVALID_PARAM"),
        ("room/nonsense", actions.clone(), 400, "M_INVALID_PARAM"),
        ("sender/nonsense", actions.clone(), 400, "M_INVALID_PARAM"),
        ("nonsense/x", actions.clone(), 400, "M_INVALID_PARAM"),
        ("content/x", actions.clone(), 400, "M_MISSING_PARAM"),
        ("override/x", json!({}), 400, "M_BAD_JSON"),
        ("override/x", json!({ "actions": 5 }), 400, "M_BAD_JSON"),
        ("override/x/enabled", json!({ "enabled": true }), 404, "M_NOT_FOUND"),
        ("override/x/actions", actions.clone(), 404, "M_NOT_FOUND"),
    ];
    let before = app.store.position();
    for (path, body, status, errcode) in cases {
        let answer = put(&app, &token, path, body).await;
        assert_eq!(answer.error(), (status, errcode), "{path}");
    }
    assert_eq!(app.store.position(), before);
}
