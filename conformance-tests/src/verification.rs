//! Where verification codes arrive: a mail server and a webhook for text messages, as small as can be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::{Client, Options, eventually};

/// What arrived, and whether anything is taken.
#[derive(Default)]
struct Inbox {
    received: Mutex<Vec<(String, String)>>,
    failing: AtomicBool,
}

impl Inbox {
    fn put(&self, to: String, text: String) {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push((to, text));
    }

    fn for_address(&self, to: &str) -> Vec<String> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|(address, _)| address == to).map(|(_, text)| text.clone()).collect()
    }

    async fn newest_after(&self, to: &str, seen: usize) -> String {
        eventually(&format!("a code for {to}"), async || self.for_address(to).into_iter().nth(seen)).await
    }
}

/// A mail server and a webhook on loopback. Threads serve them, so that tests of several runtimes can share one.
pub struct Verification {
    mails: Arc<Inbox>,
    texts: Arc<Inbox>,
    mail_port: u16,
    text_port: u16,
}

impl Default for Verification {
    fn default() -> Self {
        Self::start()
    }
}

impl Verification {
    /// Starts both.
    pub fn start() -> Self {
        let (mails, texts) = (Arc::<Inbox>::default(), Arc::<Inbox>::default());
        let mail_port = listen(mails.clone(), mail);
        let text_port = listen(texts.clone(), webhook);
        Self { mails, texts, mail_port, text_port }
    }

    /// The tables of linkim.toml that make a server send codes here.
    pub fn tables(&self) -> String {
        format!(
            "[email]\nsmtp_url = \"smtp://127.0.0.1:{}\"\nfrom = \"LinkIM <linkim@a.example>\"\n\
             [verification]\nsms_webhook = \"http://127.0.0.1:{}/send?token=t\"\n\
             [outgoing]\nallow_private_addresses = true\n",
            self.mail_port, self.text_port
        )
    }

    /// A server that sends codes here.
    pub fn options(&self) -> Options {
        Options { tables: self.tables(), ..Options::default() }
    }

    /// Lets both refuse everything, or nothing.
    pub fn fail(&self, failing: bool) {
        self.mails.failing.store(failing, Ordering::Relaxed);
        self.texts.failing.store(failing, Ordering::Relaxed);
    }

    fn inbox(&self, to: &str) -> &Inbox {
        if to.contains('@') { &self.mails } else { &self.texts }
    }

    /// How many codes arrived for an address: an e-mail address, or a phone number with its plus.
    pub fn count(&self, to: &str) -> usize {
        self.inbox(to).for_address(to).len()
    }

    /// The text of the next message for an address, after the `seen` that were there before.
    pub async fn text_after(&self, to: &str, seen: usize) -> String {
        self.inbox(to).newest_after(to, seen).await
    }

    /// Has a code sent by LinkIM's API and gives it as it arrives. `address` has `areaCode` and `phoneNumber`, or `email`.
    pub async fn code(&self, client: &Client, address: &Value, used_for: i64) -> String {
        let to = destination(address);
        let seen = self.count(&to);
        client.post("/account/code/send", with(address, &json!({ "usedFor": used_for }))).await.done();
        code_in(&self.text_after(&to, seen).await)
    }

    /// Registers with an address, and a password, by LinkIM's API; the client has the token.
    pub async fn register(&self, anonymous: &Client, address: &Value, password: &str) -> Client {
        let code = self.code(anonymous, address, 1).await;
        let user = with(address, &json!({ "password": password, "nickname": "Alice" }));
        let body = json!({ "verifyCode": code, "platform": 2, "autoLogin": true, "user": user });
        let done = anonymous.post("/account/register", body).await.done();
        logged_in(anonymous, &done)
    }
}

/// The client with the session of an answer of LinkIM's API.
pub fn logged_in(client: &Client, answer: &Value) -> Client {
    let data = &answer["data"];
    client.with_login(&json!({
        "user_id": data["matrix_id"], "access_token": data["imToken"], "device_id": data["device_id"],
    }))
}

/// A phone number that nobody has, as LinkIM's requests name it.
pub fn new_phone() -> Value {
    static NEXT: AtomicU64 = AtomicU64::new(13_800_000_000);
    json!({ "areaCode": "+86", "phoneNumber": NEXT.fetch_add(1, Ordering::Relaxed).to_string() })
}

/// An e-mail address that nobody has, as LinkIM's requests name it.
pub fn new_email() -> Value {
    json!({ "email": format!("{}@mail.example", crate::unique("alice").to_lowercase()) })
}

/// An object with the fields of both.
pub fn with(object: &Value, more: &Value) -> Value {
    let mut all = object.as_object().cloned().unwrap_or_default();
    all.extend(more.as_object().cloned().unwrap_or_default());
    all.into()
}

/// Where a code for such an address arrives.
pub fn destination(address: &Value) -> String {
    match address["email"].as_str() {
        Some(email) => email.to_lowercase(),
        None => {
            format!("{}{}", address["areaCode"].as_str().unwrap_or(""), address["phoneNumber"].as_str().unwrap_or(""))
        }
    }
}

/// The six digits of a message.
pub fn code_in(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_code = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    words.into_iter().find(is_code).unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

/// Another code than this.
pub fn wrong_code(code: &str) -> String {
    let first = if code.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &code[1..])
}

fn listen(inbox: Arc<Inbox>, serve: fn(TcpStream, &Inbox) -> std::io::Result<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("a bound listener has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let inbox = inbox.clone();
            // A client that goes away ends its own thread.
            std::thread::spawn(move || serve(stream, &inbox));
        }
    });
    port
}

/// A conversation of RFC 5321 that takes every message, but none for `refused@…`.
fn mail(stream: TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    if inbox.failing.load(Ordering::Relaxed) {
        return out.write_all(b"421 not now\r\n");
    }
    out.write_all(b"220 mail.example\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let mut to = String::new();
    while let Some(line) = lines.next() {
        let line = line?;
        let answer = match line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => "250 mail.example",
            "RCPT" if line.contains("refused@") => "550 no such mailbox",
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or("").to_owned();
                "250 ok"
            }
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let text: Vec<String> =
                    lines.by_ref().map_while(Result::ok).take_while(|line| line.as_str() != ".").collect();
                // The head has a date with numbers.
                let body = text.join("\n").split_once("\n\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
                inbox.put(to.clone(), body);
                "250 taken"
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => "250 ok",
        };
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

/// An HTTP server that takes `{to, code, purpose}`.
fn webhook(mut stream: TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let failing = inbox.failing.load(Ordering::Relaxed);
    let status = if failing { "503 Service Unavailable" } else { "200 OK" };
    if !failing {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        inbox.put(body["to"].as_str().unwrap_or("").to_owned(), body.to_string());
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
}
