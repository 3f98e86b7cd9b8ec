//! What holds for all endpoints (spec/decisions/0014-linkim-api.md), shown on one of them.

use conformance_tests::{path, unique};
use serde_json::json;

use crate::SERVER;

#[tokio::test]
async fn a_user_is_named_by_number_string_or_id() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let number = alice.number().await;
    for name in [number.to_string(), alice.user_id.clone()] {
        let info = alice.get(&path!("/account/getinfo?userID={}&platform=1", name)).await.done();
        assert_eq!((&info["userID"], &info["matrix_id"]), (&json!(number), &json!(alice.user_id)));
    }
    for name in [json!(number), json!(number.to_string()), json!(alice.user_id)] {
        let info = alice.get_with_body("/account/getinfo", json!({ "userID": name, "platform": 1 })).await.done();
        assert_eq!(info["userID"], json!(number));
    }
}

#[tokio::test]
async fn failures_have_a_code_a_text_and_a_number() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    server.anonymous().get("/account/getinfo?userID=1").await.refused(401, 1507);
    alice.with_token("nonsense").get("/account/getinfo?userID=1").await.refused(401, 1505);
    alice.get("/account/getinfo").await.refused(400, 1001);
    alice.get("/account/getinfo?userID=alice").await.refused(400, 1001);
    alice.get_with_body("/account/getinfo", json!({ "userID": [] })).await.refused(400, 1001);
    alice.get_with_body("/account/getinfo", json!([1])).await.refused(400, 1001);
    alice.get("/account/getinfo?userID=9007199254740991").await.refused(404, 1101);
    alice.get("/account/getinfo?userID=%40nobody%3Aa.example").await.refused(404, 1101);
}
