//! Where verification codes arrive: a mail server and a webhook for text messages, as small as can be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::{Authority, Client, Options, eventually};

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
    smtp_url: String,
    text_port: u16,
    /// The file of the authority that certified the mail server.
    authority: Option<tempfile::NamedTempFile>,
}

/// How a mail server speaks TLS.
#[derive(Clone, Copy, Debug)]
pub enum MailTls {
    /// From the start: `smtps`.
    Wrapped,
    /// After STARTTLS.
    Upgraded,
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
        let smtp_url = format!("smtp://127.0.0.1:{}", listen(mails.clone(), mail));
        let text_port = listen(texts.clone(), webhook);
        Self { mails, texts, smtp_url, text_port, authority: None }
    }

    /// Starts both, the mail server with TLS, certified by `authority`. Servers that send codes here believe it if `believed`.
    pub fn start_over_tls(how: MailTls, authority: &Authority, believed: bool) -> Self {
        let tls = authority.issue(&["127.0.0.1"]).server_config();
        let (mails, texts) = (Arc::<Inbox>::default(), Arc::<Inbox>::default());
        let upgraded = matches!(how, MailTls::Upgraded);
        let port = listen(mails.clone(), move |stream, inbox| mail_over_tls(stream, inbox, upgraded, tls.clone()));
        let smtp_url = match how {
            MailTls::Wrapped => format!("smtps://127.0.0.1:{port}"),
            MailTls::Upgraded => format!("smtp://127.0.0.1:{port}?tls=required"),
        };
        let text_port = listen(texts.clone(), webhook);
        let file = believed.then(|| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(authority.certificate().as_bytes()).expect("a file that can be written");
            file
        });
        Self { mails, texts, smtp_url, text_port, authority: file }
    }

    /// The tables of linkim.toml that make a server send codes here.
    pub fn tables(&self) -> String {
        let trusted = self.authority.as_ref().map(|file| format!("extra_ca_certificates = [{:?}]\n", file.path()));
        format!(
            "[email]\nsmtp_url = \"{}\"\nfrom = \"LinkIM <linkim@a.example>\"\n\
             [verification]\nsms_webhook = \"http://127.0.0.1:{}/send?token=t\"\n\
             [outgoing]\nallow_private_addresses = true\n{}",
            self.smtp_url,
            self.text_port,
            trusted.unwrap_or_default()
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

fn listen<S>(inbox: Arc<Inbox>, serve: S) -> u16
where
    S: Fn(TcpStream, &Inbox) -> std::io::Result<()> + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("a bound listener has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (inbox, serve) = (inbox.clone(), serve.clone());
            // A client that goes away ends its own thread.
            std::thread::spawn(move || serve(stream, &inbox));
        }
    });
    port
}

/// A conversation of RFC 5321, in the clear.
fn mail(stream: TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    converse(&mut BufReader::new(stream), inbox, false).map(drop)
}

/// The same within TLS: from the start, or after STARTTLS (RFC 3207).
fn mail_over_tls(
    stream: TcpStream,
    inbox: &Inbox,
    upgraded: bool,
    tls: Arc<rustls::ServerConfig>,
) -> std::io::Result<()> {
    let mut plain = BufReader::new(stream);
    if upgraded && !converse(&mut plain, inbox, true)? {
        return Ok(());
    }
    let connection = rustls::ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let stream = rustls::StreamOwned::new(connection, plain.into_inner());
    let mut within = BufReader::new(stream);
    if upgraded {
        // The greeting was before.
        return commands(&mut within, inbox, false).map(drop);
    }
    converse(&mut within, inbox, false).map(drop)
}

/// Greets, and takes every message but those for `refused@…`; with `tls_first` none. Whether it ended with STARTTLS.
fn converse(stream: &mut BufReader<impl Read + Write>, inbox: &Inbox, tls_first: bool) -> std::io::Result<bool> {
    if inbox.failing.load(Ordering::Relaxed) {
        stream.get_mut().write_all(b"421 not now\r\n")?;
        return Ok(false);
    }
    stream.get_mut().write_all(b"220 mail.example\r\n")?;
    commands(stream, inbox, tls_first)
}

fn commands(stream: &mut BufReader<impl Read + Write>, inbox: &Inbox, tls_first: bool) -> std::io::Result<bool> {
    let mut to = String::new();
    while let Some(line) = line(stream)? {
        let answer = match line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase().as_str() {
            "EHLO" if tls_first => "250-mail.example\r\n250 STARTTLS",
            "STARTTLS" if tls_first => {
                stream.get_mut().write_all(b"220 go on\r\n")?;
                return Ok(true);
            }
            "QUIT" => {
                stream.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(false);
            }
            _ if tls_first => "530 STARTTLS first",
            "EHLO" | "HELO" => "250 mail.example",
            "RCPT" if line.contains("refused@") => "550 no such mailbox",
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or("").to_owned();
                "250 ok"
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n")?;
                let mut text = Vec::new();
                while let Some(line) = self::line(stream)?.filter(|line| line != ".") {
                    text.push(line);
                }
                // The head has a date with numbers.
                let body = text.join("\n").split_once("\n\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
                inbox.put(to.clone(), body);
                "250 taken"
            }
            _ => "250 ok",
        };
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(false)
}

/// The next line, without its end; None at the end.
fn line(stream: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
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
