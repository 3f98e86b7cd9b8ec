//! A LinkIM app's WebSocket: GET /ws.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Duration, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::{Client, PATIENCE, encode};

/// An open WebSocket.
pub struct Push {
    socket: WebSocketStream<TcpStream>,
    /// The position of the last frame that had one.
    pub position: String,
}

impl Client {
    /// Opens /ws where `since` says, or from now on; returns once the server has greeted.
    pub async fn push(&self, since: Option<&str>) -> Push {
        let mut push = self.try_push(since, None).await.unwrap_or_else(|status| panic!("/ws refused with {status}"));
        let hello = push.next().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        push
    }

    /// As [`push`](Self::push), without waiting for the greeting, perhaps with a small receive buffer; the status if it is
    /// refused.
    pub async fn try_push(&self, since: Option<&str>, buffer: Option<u32>) -> Result<Push, u16> {
        let host = self.base.trim_start_matches("http://");
        let mut url = format!("ws://{host}/ws");
        if let Some(since) = since {
            url += &format!("?since={}", encode(since));
        }
        let mut request = url.into_client_request().expect("a URL");
        let bearer = format!("Bearer {}", self.access_token).parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).expect("a buffer");
        }
        let stream = socket.connect(host.parse().expect("an address")).await.expect("a connection");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Push { socket, position: String::new() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no WebSocket: {error}"),
        }
    }
}

impl Push {
    async fn message(&mut self, patience: Duration) -> Message {
        loop {
            let next = timeout(patience, self.socket.next()).await.expect("a frame in time");
            match next.expect("the connection is open").expect("a frame") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The text of the next frame as it came; none where the server closes or the connection breaks. Waits for ever.
    pub async fn next_text(&mut self) -> Option<Utf8Bytes> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => return Some(text),
                Message::Ping(_) | Message::Pong(_) => {}
                _ => return None,
            }
        }
    }

    /// The next frame, whatever it is.
    pub async fn next(&mut self) -> Value {
        match self.message(PATIENCE).await {
            Message::Text(text) => self.note(&text),
            other => panic!("not a text: {other:?}"),
        }
    }

    fn note(&mut self, text: &str) -> Value {
        let frame: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"));
        assert!(frame["type"].is_string() && frame["data"].is_object(), "{frame}");
        if let Some(position) = frame["position"].as_str() {
            position.clone_into(&mut self.position);
        }
        frame
    }

    /// The data of the next frame of this type; the ones before it are passed over.
    pub async fn until(&mut self, kind: &str) -> Value {
        self.wait_for(|frame| frame["type"] == kind).await["data"].take()
    }

    /// The next frame that fits; the ones before it are passed over.
    pub async fn wait_for(&mut self, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let frame = self.next().await;
                if fits(&frame) {
                    return frame;
                }
            }
        };
        timeout(PATIENCE, look).await.expect("the frame in time")
    }

    /// The contents of messages up to and with this one.
    pub async fn said_until(&mut self, last: &str) -> Vec<String> {
        let mut said = Vec::new();
        while said.last().is_none_or(|content| content != last) {
            let data = self.until("message").await;
            said.push(data["body"]["content"].as_str().expect("a content").to_owned());
        }
        said
    }

    /// Frames up to and with the answer to a `ping` sent now.
    pub async fn up_to_now(&mut self) -> Vec<Value> {
        self.say(json!({ "type": "ping" })).await;
        let mut frames = Vec::new();
        while frames.last().is_none_or(|frame: &Value| frame["type"] != "pong") {
            frames.push(self.next().await);
        }
        frames
    }

    /// Sends a text frame.
    pub async fn say(&mut self, frame: Value) {
        self.send(Message::text(frame.to_string())).await;
    }

    /// Sends any frame.
    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("a frame can be sent");
    }

    /// The code and the reason with which the server closes; the frames before are passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        let (_, code, reason) = self.until_closed().await;
        (code, reason)
    }

    /// The frames that come before the server closes, and with which code and reason it does.
    pub async fn until_closed(&mut self) -> (Vec<Value>, u16, String) {
        let mut frames = Vec::new();
        loop {
            match self.message(PATIENCE).await {
                Message::Text(text) => frames.push(self.note(&text)),
                Message::Close(frame) => {
                    let frame = frame.expect("a code");
                    let code: CloseCode = frame.code;
                    return (frames, code.into(), frame.reason.to_string());
                }
                other => panic!("not a text: {other:?}"),
            }
        }
    }
}
