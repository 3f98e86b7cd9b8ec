//! What the peer is asked, and how it may answer.

use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In upper case.
    pub method: String,
    /// The path, percent-decoded: for comparing, not for verifying.
    pub path: String,
    /// The path and query as they stood in the request line.
    pub uri: String,
    /// The `Authorization` header, or nothing.
    pub authorization: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What stands behind a prefix of the path, decoded.
    pub fn after(&self, prefix: &str) -> Option<&str> {
        self.path.strip_prefix(prefix)
    }

    /// The values of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Vec<String> {
        let query = self.uri.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).collect()
    }
}

/// Percent-decodes a text.
pub(super) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer, and the pace at which it comes.
#[derive(Clone, Debug)]
pub enum Body {
    /// All at once.
    Whole(Vec<u8>),
    /// A beginning, then a piece over and over with a pause after each; `times` pieces at most.
    Repeated {
        /// The beginning.
        start: Vec<u8>,
        /// The piece.
        piece: Vec<u8>,
        /// How many pieces.
        times: u64,
        /// After each piece.
        pause: Duration,
    },
    /// Less than the head promised, then the end of the connection.
    BrokenOff(Vec<u8>),
    /// No answer at all, and the connection stays open.
    Never,
}

impl Answer {
    /// 200 with JSON.
    pub fn json(value: Value) -> Self {
        Self::status(200, value)
    }

    /// Any status with JSON.
    pub fn status(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(value.to_string().into_bytes()) }
    }

    /// A standard error response.
    pub fn error(status: u16, errcode: &str) -> Self {
        Self::status(status, json!({ "errcode": errcode, "error": "says the peer" }))
    }

    /// 200 with a body that comes in its own way.
    pub fn streamed(body: Body) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    /// A redirection.
    pub fn redirect(to: &str) -> Self {
        let headers = vec![("location".to_owned(), to.to_owned())];
        Self { status: 302, headers, body: Body::Whole(Vec::new()) }
    }
}
