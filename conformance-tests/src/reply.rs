//! An HTTP answer and what a test says about it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer of the server, with the request it answers for readable failures.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Method, path and body of the request.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// The body as text; what is no UTF-8 is replaced.
    pub text: String,
    /// The body as JSON; `null` where it is none.
    pub json: Value,
}

impl Reply {
    /// The body of an answer that must be 200 and JSON.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.expect_status(200).json
    }

    /// Holds the status.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Holds status and `errcode` of a standard error response, and that it has an `error` text; gives the body.
    #[track_caller]
    pub fn expect_error(self, status: u16, errcode: &str) -> Value {
        assert_eq!((self.status, self.errcode()), (status, errcode), "{self}");
        assert!(self.json["error"].is_string(), "a standard error response has an error text\n{self}");
        self.json
    }

    /// Holds that the answer is one of these errors, where the spec leaves the choice.
    #[track_caller]
    pub fn expect_one_of(self, allowed: &[(u16, &str)]) -> Value {
        assert!(allowed.contains(&(self.status, self.errcode())), "wanted one of {allowed:?}\n{self}");
        self.json
    }

    /// The `errcode`, or nothing.
    pub fn errcode(&self) -> &str {
        self.json["errcode"].as_str().unwrap_or("")
    }

    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.text.chars().take(4000).collect();
        write!(f, "{}\nwas answered {}: {body}", self.request, self.status)
    }
}
