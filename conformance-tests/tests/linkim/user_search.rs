//! Finding people.

use conformance_tests::{path, unique, v3};
use serde_json::json;

use crate::SERVER;
use crate::friends::{ids, two};

#[tokio::test]
async fn a_user_is_found_by_number_and_id() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let number = alice.number_of(&bob.user_id).await;
    for keyword in [number.to_string(), bob.user_id.clone()] {
        let found = alice.get(&path!("/users/search?keyword={}", keyword)).await.done();
        assert_eq!(ids(&found), std::slice::from_ref(&bob.user_id), "{keyword}");
        assert_eq!(found["detail"][0]["ID"], number);
    }
    for keyword in ["9007199254740991", "@nobody:a.example", "+8613800000000", "nobody@nowhere.example"] {
        let found = alice.get(&path!("/users/search?keyword={}", keyword)).await.done();
        assert_eq!((ids(&found), &found["has_more"]), (Vec::new(), &json!(false)), "{keyword}");
    }
}

#[tokio::test]
async fn a_user_is_found_by_name_where_a_room_is_shared() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let name = unique("Zebedee");
    bob.put(&v3!("/profile/{}/displayname", bob.user_id), json!({ "displayname": name })).await.ok();
    let search = path!("/users/search?keyword={}", name.to_lowercase());
    assert_eq!(ids(&alice.get(&search).await.done()), Vec::<String>::new());
    let room = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    bob.join(&room).await;
    let found = alice.get(&search).await.done();
    assert_eq!(ids(&found), std::slice::from_ref(&bob.user_id));
    assert_eq!(found["detail"][0]["Nickname"], name);
}

#[tokio::test]
async fn what_cannot_be_looked_for() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    alice.get("/users/search").await.refused(400, 1001);
    alice.get("/users/search?keyword=%20").await.refused(400, 1001);
    alice.get(&format!("/users/search?keyword={}", "a".repeat(256))).await.refused(400, 1001);
    alice.get("/users/search?keyword=a&page_size=0").await.refused(400, 1001);
    server.anonymous().get("/users/search?keyword=a").await.refused(401, 1507);
}
