//! Who is found by phone number and e-mail address, and who sees them: what `org.linkim.settings` says of it.

use conformance_tests::verification::{destination, new_email, new_phone, with};
use conformance_tests::{Client, path, unique};
use serde_json::{Value, json};

use crate::accounts_codes::{CODES, server};
use crate::friends::{about, befriend, ids};

/// A user with a phone number and an e-mail address.
async fn with_addresses() -> (Client, Value, Value) {
    let (phone, email) = (new_phone(), new_email());
    let alice = CODES.register(&server().anonymous(), &phone, "one").await;
    let code = CODES.code(&alice, &email, 4).await;
    alice.put("/account/email", with(&email, &json!({ "verifyCode": code }))).await.done();
    (alice, phone, email)
}

async fn found(by: &Client, keyword: &str) -> Vec<String> {
    ids(&by.get(&path!("/users/search?keyword={}", keyword)).await.done())
}

async fn set(of: &Client, settings: Value) {
    of.put("/account/settings", settings).await.done();
}

#[tokio::test]
async fn who_allows_it_is_found_by_the_whole_address() {
    let (alice, phone, email) = with_addresses().await;
    let bob = server().register(&unique("bob")).await;
    let number = format!("{}{}", phone["areaCode"].as_str().unwrap(), phone["phoneNumber"].as_str().unwrap());
    let mail = email["email"].as_str().unwrap();
    let nobody = Vec::<String>::new();
    assert_eq!((found(&bob, &number).await, found(&bob, mail).await), (nobody.clone(), nobody.clone()));
    set(&alice, json!({ "find_by_phone": true })).await;
    let hers = vec![alice.user_id.clone()];
    assert_eq!((found(&bob, &number).await, found(&bob, mail).await), (hers.clone(), nobody.clone()));
    // The digits without the plus are the same number; a part of it is none.
    assert_eq!(found(&bob, number.trim_start_matches('+')).await, hers);
    assert_eq!(found(&bob, &number[..number.len() - 1]).await, nobody);
    set(&alice, json!({ "find_by_phone": false, "find_by_email": true })).await;
    assert_eq!((found(&bob, &number).await, found(&bob, &mail.to_uppercase()).await), (nobody.clone(), hers));
    assert_eq!(found(&bob, &mail[1..]).await, nobody);
    assert!(!destination(&phone).is_empty());
    // Who is found so shows nothing more than to anybody else.
    let person = bob.get(&path!("/users/search?keyword={}", mail)).await.done()["detail"][0].clone();
    assert_eq!((&person["Email"], &person["Area"], &person["Phone"]), (&json!(""), &json!(""), &json!("")));
}

#[tokio::test]
async fn friends_see_the_addresses_where_the_owner_lets_them() {
    let (alice, phone, email) = with_addresses().await;
    let (bob, carol) = (server().register(&unique("bob")).await, server().register(&unique("carol")).await);
    befriend(&alice, &bob).await;
    let seen = async |by: &Client| {
        let info = by.get(&path!("/account/getinfo?userID={}", alice.user_id)).await.done();
        json!([info["area"], info["phone"], info["email"]])
    };
    let listed = async || {
        let friend = bob.get("/account/friendlists").await.done()["detail"][0].clone();
        assert_eq!(friend["matrix_id"], alice.user_id);
        json!([friend["Area"], friend["Phone"], friend["Email"]])
    };
    let (all, none) = (json!([phone["areaCode"], phone["phoneNumber"], email["email"]]), json!(["", "", ""]));
    assert_eq!((seen(&bob).await, listed().await), (none.clone(), none.clone()));
    set(&alice, json!({ "friends_see_addresses": true })).await;
    assert_eq!((seen(&bob).await, listed().await), (all.clone(), all.clone()));
    assert_eq!(seen(&carol).await, none, "a stranger");
    // What one lets others see says nothing of what the others let see.
    let bobs = alice.get(&path!("/account/getinfo?userID={}", bob.user_id)).await.done();
    assert_eq!((&bobs["phone"], &bobs["email"]), (&json!(""), &json!("")));
    set(&alice, json!({ "friends_see_addresses": false })).await;
    assert_eq!((seen(&bob).await, listed().await), (none.clone(), none.clone()));
    set(&alice, json!({ "friends_see_addresses": true })).await;
    alice.delete("/account/delfriend", Some(about(&bob))).await.done();
    assert_eq!(seen(&bob).await, none, "a friend no more");
}
