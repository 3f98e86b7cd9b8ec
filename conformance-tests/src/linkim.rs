//! What tests of LinkIM's own API say.

use reqwest::Method;
use serde_json::Value;

use crate::{Client, Reply, path};

impl Client {
    /// This user's number in LinkIM's API.
    pub async fn number(&self) -> i64 {
        self.number_of(&self.user_id).await
    }

    /// Another user's number in LinkIM's API, as this server gives it.
    pub async fn number_of(&self, user_id: &str) -> i64 {
        let info = self.get(&path!("/account/getinfo?userID={}", user_id)).await.ok();
        info["userID"].as_i64().unwrap_or_else(|| panic!("no number in {info}"))
    }

    /// GET with a JSON body, as the old LinkIM's clients send it.
    pub async fn get_with_body(&self, path: &str, body: Value) -> Reply {
        let body = body.to_string().into_bytes();
        self.raw(Method::GET, path, &[("content-type", "application/json")], Some(body)).await
    }
}

impl Reply {
    /// The body of an answer of LinkIM's API that must be a success.
    #[track_caller]
    pub fn done(self) -> Value {
        assert_eq!((self.status, self.json["code"].as_i64()), (200, Some(0)), "{self}");
        self.json
    }

    /// Holds that LinkIM's API refused with this status and number; gives the body.
    #[track_caller]
    pub fn refused(self, status: u16, errcode: u32) -> Value {
        let said = (self.status, self.json["code"].as_u64(), self.json["errcode"].as_u64());
        assert_eq!(said, (status, Some(1), Some(errcode.into())), "{self}");
        assert!(self.json["error"].is_string(), "a failure has a text\n{self}");
        self.json
    }
}
