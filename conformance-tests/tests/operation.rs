//! The command line, the configuration and what an operator sees of a running server.

use std::process::{Command, Stdio};
use std::time::Duration;

use conformance_tests::{Client, Options, PATIENCE, Server, Sync, binary, eventually, printed, run, v3};
use serde_json::json;

#[tokio::test]
async fn health_needs_no_token() {
    let server = Server::start(Options::default());
    let reply = server.anonymous().get("/health").await;
    assert_eq!(reply.status, 200, "{reply}");
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own() {
    let server = Server::start(Options { metrics: true, ..Options::default() });
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.send_texts(&room, "", 1..=3).await;
    let metrics = Client::anonymous(server.metrics.as_deref().expect("an address"));
    let reply = metrics.get("/metrics").await.expect_status(200);
    assert!(reply.header("content-type").starts_with("text/plain"), "{:?}", reply.headers);
    for line in reply.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        assert!(name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_'), "{line:?}");
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
    }
    for subject in ["request", "commit", "queue"] {
        assert!(reply.text.contains(subject), "nothing about {subject}:\n{}", reply.text);
    }
    // Labels are of bounded number: no room or user is among them.
    for name in [&room, &alice.user_id] {
        assert!(!reply.text.contains(name.as_str()), "{name} is in a label:\n{}", reply.text);
    }
    metrics.get("/_matrix/client/versions").await.expect_status(404);
    alice.get("/metrics").await.expect_status(404);
}

#[tokio::test]
async fn metrics_are_off_by_default() {
    let server = Server::start(Options::default());
    assert_eq!(server.metrics, None);
}

#[tokio::test]
async fn a_waiting_poll_does_not_hold_up_the_end() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(Options::default());
        let alice = server.register("alice").await;
        let since = alice.now().await;
        let polling = {
            let (alice, path) = (alice.clone(), v3!("/sync?timeout=60000&since={}", since));
            tokio::spawn(async move {
                alice.try_raw(reqwest::Method::GET, &path, &[], None).await.map(|reply| reply.status)
            })
        };
        // The poll is under way once the server has answered something that was sent after it.
        alice.sync(Sync::since(&since)).await;
        let status = tokio::task::spawn_blocking(move || {
            let status = server.signal_and_wait(signal);
            (status, server)
        });
        let (status, _server) = status.await.expect("the task ends");
        assert!(status.success(), "{signal}: {status}");
        let ended = tokio::time::timeout(PATIENCE, polling).await.expect("the poll ends").expect("the task ends");
        assert!(ended.is_err() || ended.is_ok_and(|status| matches!(status, 200 | 503)), "{signal}");
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let server = Server::start(Options::default());
    let alice = server.register("alice").await;
    let config = server.config_file();
    let folder = config.parent().expect("a folder");
    let output = run(folder, &["serve", "--config", &config.to_string_lossy()]).await;
    assert!(!output.status.success(), "{}", printed(&output));
    alice.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn data_of_another_server_name_is_refused() {
    let mut server = Server::start(Options::default());
    server.terminate();
    let config = server.config_file();
    let changed = std::fs::read_to_string(&config).expect("a configuration").replace("a.example", "b.example");
    std::fs::write(&config, changed).expect("it can be written");
    let output = run(config.parent().expect("a folder"), &["serve", "--config", &config.to_string_lossy()]).await;
    assert!(!output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("a.example"), "it says whose data it is:\n{}", printed(&output));
    server.restart();
}

#[tokio::test]
async fn check_config_names_every_mistake_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("linkim.toml");
    let path = config.to_string_lossy().into_owned();
    std::fs::write(&config, "server_name = \"a.example\"\n").expect("it can be written");
    let output = run(folder.path(), &["check-config", "--config", &path]).await;
    assert!(output.status.success(), "{}", printed(&output));

    let wrong = "server_name = \"a.example\"\nno_such_key = 1\n[listen]\nclient = \"everywhere\"\n\
        [registration]\nopen = \"yes\"\n[no_such_table]\nx = 1\n[rooms]\ndefault_version = \"99\"\n";
    std::fs::write(&config, wrong).expect("it can be written");
    for arguments in [["check-config", "--config", &path], ["serve", "--config", &path]] {
        let output = run(folder.path(), &arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        let printed = printed(&output);
        for (name, line) in
            [("no_such_key", "2"), ("client", "4"), ("open", "6"), ("no_such_table", "7"), ("default_version", "10")]
        {
            assert!(
                printed.lines().any(|said| said.contains(name) && said.contains(line)),
                "{name} in line {line} is not named:\n{printed}"
            );
        }
        assert!(!folder.path().join("linkim-data").exists(), "nothing is started");
    }
    let missing = run(folder.path(), &["check-config", "--config", "no-such-file.toml"]).await;
    assert!(!missing.status.success() && printed(&missing).contains("no-such-file.toml"), "{}", printed(&missing));
}

#[tokio::test]
async fn every_documented_key_is_accepted() {
    let tables = "[federation]\nenabled = true\npublic_rooms = true\nallow = []\ndeny = [\"evil.example\"]\n\
        trusted_key_servers = []\nbackoff_max_seconds = 3600\n\
        [outgoing]\nallow_private_addresses = false\nallow_networks = [\"10.1.0.0/16\"]\n\
        [storage]\nurl = \"sqlite:linkim.db\"\n\
        [media]\nmax_upload_bytes = 104857600\nurl_previews = false\n\
        [email]\nsmtp_url = \"smtp://mail.example\"\nfrom = \"linkim@a.example\"\n\
        [verification]\nsms_webhook = \"https://sms.example/\"\nlog_codes = false\n\
        [linkim]\nwithdraw_seconds = 180\ntext_limit = 5000\nfriend_verify = false\nreveal_block = true\n\
        multi_device_policy = 0\ninvitation_required = false\ngrpc_token = \"x\"\n\
        [presence]\nenabled = true\n[appservices]\nregistrations = []\n[rooms]\ndefault_version = \"11\"\n\
        [retention]\n[turn]\n[log]\nfilter = \"info\"\n";
    let top = "public_base_url = \"https://a.example\"\nsigning_key = \"signing.key\"";
    let server = Server::start(Options { top: top.to_owned(), tables: tables.to_owned(), ..Options::default() });
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    assert_eq!(alice.state(&room, "m.room.create", "").await["room_version"], "11", "the default is configured");
    let capabilities = alice.get(&v3!("/capabilities")).await.ok();
    assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "11");
}

/// A process that is killed when dropped.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn without_a_configuration_it_serves_loopback_with_open_registration() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(binary());
    // The port would be 8008, which may be taken; the environment sets any key.
    command.current_dir(folder.path()).env("LINKIM_LISTEN__CLIENT", "127.0.0.1:0").env_remove("LINKIM_BIN");
    command.stdin(Stdio::null()).stdout(std::fs::File::create(folder.path().join("stdout")).expect("a file"));
    let _process = Process(command.stderr(Stdio::null()).spawn().expect("the binary can be run"));
    let base = eventually("the line with the address", async || {
        let line = std::fs::read_to_string(folder.path().join("stdout")).ok().filter(|text| text.ends_with('\n'))?;
        assert!(line.starts_with("listening"), "{line}");
        line.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:")).map(str::to_owned)
    })
    .await;
    let alice = Client::register(&base, "alice", "wonderland").await;
    assert_eq!(alice.user_id, "@alice:localhost:8008");
    assert!(folder.path().join("linkim-data").is_dir());
}

#[tokio::test]
async fn check_data_finds_nothing_wrong_after_a_kill() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    let ids = bob.send_texts(&room, "", 1..=20).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "x" })).await;
    alice.redact(&room, &ids[3], json!({})).await;
    alice.post(&v3!("/rooms/{}/receipt/m.read/{}", room, ids[9]), json!({})).await.ok();
    bob.leave(&room).await;
    server.kill9();
    let config = server.config_file();
    let output = run(config.parent().expect("a folder"), &["check-data", "--config", &config.to_string_lossy()]).await;
    assert!(output.status.success(), "{}", printed(&output));
}

#[tokio::test]
async fn the_signing_key_is_made_once_and_kept() {
    let mut server = Server::start(Options::default());
    let key = || std::fs::read_to_string(server.data_dir().join("signing.key")).expect("a signing key");
    let first = key();
    let words: Vec<&str> = first.split_whitespace().collect();
    assert!(words.len() == 3 && words[0] == "ed25519", "Synapse's format: algorithm, version, seed");
    server.restart();
    assert_eq!(std::fs::read_to_string(server.data_dir().join("signing.key")).expect("a key"), first);
}

#[tokio::test]
async fn the_log_says_nothing_secret() {
    let server = Server::start(Options { tables: "[log]\nfilter = \"debug\"\n".to_owned(), ..Options::default() });
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.send_text(&room, "a very private remark").await;
    alice.sync(Sync::initial()).await;
    let log = server.log_since(0);
    for secret in [server.password(), alice.access_token.as_str(), "a very private remark"] {
        assert!(!log.contains(secret), "the log has {secret:?}");
    }
}

#[tokio::test]
async fn rate_limits_say_when_to_try_again() {
    let server = Server::start(Options { rate_limits: true, ..Options::default() });
    let alice = server.register("alice").await;
    let wrong = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.user_id }, "password": "wrong",
    });
    let mut limited = None;
    for _ in 0..100 {
        let reply = server.anonymous().post(&v3!("/login"), wrong.clone()).await;
        if reply.status == 429 {
            limited = Some(reply);
            break;
        }
        reply.expect_error(403, "M_FORBIDDEN");
    }
    let reply = limited.expect("a hundred wrong passwords in a row are too many");
    let wait: u64 = reply.header("retry-after").parse().expect("Retry-After in seconds");
    assert!(wait <= 3600, "{wait}");
    reply.expect_error(429, "M_LIMIT_EXCEEDED");
    // The limit is of one thing, not of everything.
    alice.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn an_ordinary_conversation_is_within_the_limits() {
    let server = Server::start(Options { rate_limits: true, ..Options::default() });
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.send_texts(&room, "", 1..=5).await;
    alice.sync(Sync::initial()).await;
    // Reading is never so narrow that a client that starts would meet the limit.
    for _ in 0..20 {
        alice.sync(Sync::initial()).await;
        alice.all_state(&room).await;
    }
    tokio::time::timeout(Duration::from_secs(1), alice.get(&v3!("/account/whoami"))).await.expect("at once").ok();
}
