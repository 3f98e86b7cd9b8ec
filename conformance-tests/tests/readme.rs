//! The README's examples, word for word: what a newcomer types first has to work. The Chinese README has the same ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use conformance_tests::{binary, eventually};
use serde_json::{Value, json};

/// What the README's quick start is written for.
const ADDRESS: &str = "127.0.0.1:8008";

/// A server without a configuration, as the README starts it; ended with the test.
struct Unconfigured {
    child: Child,
    /// `host:port`
    address: String,
}

impl Drop for Unconfigured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Unconfigured {
    /// On the address of the README, or on a free port if that is taken.
    async fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        match Self::listen(folder, environment, None).await {
            Some(server) => server,
            None => Self::listen(folder, environment, Some("127.0.0.1:0")).await.expect("a free port"),
        }
    }

    /// None if the process ends instead of serving.
    async fn listen(folder: &Path, environment: &[(&str, &str)], address: Option<&str>) -> Option<Self> {
        let output = folder.join("stdout");
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LINKIM_") {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        if let Some(address) = address {
            command.env("LINKIM_LISTEN__CLIENT", address);
        }
        command.current_dir(folder).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&output).expect("a file"));
        command.stderr(std::fs::File::create(folder.join("server.log")).expect("a file"));
        let child = command.spawn().expect("the binary can be run");
        let mut server = Self { child, address: String::new() };
        let line = eventually("the line with the address, or the end of the process", || {
            let line = std::fs::read_to_string(&output).unwrap_or_default();
            std::future::ready(match line.ends_with('\n') {
                true => Some(Some(line)),
                false => server.child.try_wait().expect("a child can be waited for").map(|_| None),
            })
        })
        .await?;
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        server.address = address.expect("an address").to_owned();
        Some(server)
    }
}

fn readme() -> String {
    text_of("README.md")
}

fn text_of(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The shell block under a heading.
fn quick_start<'r>(readme: &'r str, heading: &str) -> &'r str {
    let section = readme.split(&format!("\n## {heading}\n")).nth(1).expect("a quick start");
    let block = section.split("\n```sh\n").nth(1).expect("a shell block");
    block.split("\n```").next().expect("its end")
}

/// Runs a block as a person would: line after line, in one shell, that goes on after a failure. Holds that nothing is
/// refused. Gives what it printed.
async fn shown(script: &str, folder: &Path) -> String {
    let mut shell = tokio::process::Command::new("bash");
    shell.arg("-c").arg(script).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), shell.output());
    let output = output.await.expect("an end within a minute").expect("bash can be run");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{printed}\n{errors}");
    assert!(!printed.contains("errcode"), "{printed}");
    printed.into_owned()
}

fn json_of(folder: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

/// Runs a block, and holds that the news, which are shown in the end, are this one message.
async fn run(script: &str, folder: &Path, said: &str) {
    let printed = shown(script, folder).await;
    let news = json_of(folder, "news.json");
    let rooms = news["rooms"]["join"].as_object().expect("a room");
    let bodies: Vec<&str> = rooms
        .values()
        .flat_map(|room| room["timeline"]["events"].as_array().expect("events"))
        .filter_map(|event| event["content"]["body"].as_str())
        .collect();
    assert_eq!(bodies, [said], "{news}");
    assert!(printed.contains(&format!("\"body\": \"{said}\"")), "it is shown in the end: {printed}");
}

#[tokio::test]
async fn the_quick_start_works_word_for_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Unconfigured::start(folder.path(), &[]).await;
    let readme = readme();
    let script = quick_start(&readme, "Quick start");
    assert!(script.contains(ADDRESS), "{script}");
    run(&script.replace(ADDRESS, &server.address), folder.path(), "Noon?").await;
}

#[tokio::test]
async fn the_app_developers_example_works_word_for_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let readme = readme();
    assert!(readme.contains("\n    LINKIM_VERIFICATION__LOG_CODES=true cargo run --release 2> server.log\n"));
    let server = Unconfigured::start(folder, &[("LINKIM_VERIFICATION__LOG_CODES", "true")]).await;
    let script = quick_start(&readme, "For app developers");
    let printed = shown(&script.replace(ADDRESS, &server.address), folder).await;
    let list = json_of(folder, "conversations.json");
    let list = list["detail"].as_array().expect("conversations");
    let seen: Vec<_> = list.iter().map(|one| (&one["type"], &one["last_message"]["content"])).collect();
    assert_eq!(seen, [(&json!("group"), &json!("I do")), (&json!("single"), &json!("Hello, Bob"))]);
    assert_eq!(
        (&list[0]["group_info"]["group_name"], &list[1]["user_info"]["nickname"]),
        (&json!("Lunch"), &json!("Alice"))
    );
    assert_eq!(list[1]["unread_count"], 1);
    assert!(printed.contains("\"content\": \"I do\""), "they are shown: {printed}");
    let sync = json_of(folder, "sync.json");
    let group = &sync["rooms"]["join"][list[0]["room_id"].as_str().expect("a room")];
    let events = group["timeline"]["events"].as_array().expect("events");
    assert!(events.iter().any(|event| event["content"]["body"] == "I do"), "{sync}");
    let text = |name| std::fs::read_to_string(folder.join(name)).expect("a document");
    assert!(text("linkim-api.yaml").starts_with("openapi: 3.1"));
    for document in ["docs.html", "linkim-api.yaml"] {
        assert!(text(document).contains("/message/group/send"), "{document}");
    }
}

/// A section of a README: its level and what it holds in code, without what is said to a reader.
#[derive(Debug, PartialEq)]
struct Section {
    level: usize,
    /// Blocks with their language, without comments.
    blocks: Vec<String>,
    /// Keys of tables with their defaults.
    rows: Vec<String>,
    /// Names and commands inside the text.
    names: BTreeSet<String>,
}

/// A line of a block without its comment.
fn command_of(line: &str) -> &str {
    let line = line.trim_end();
    if line.starts_with("# ") { "" } else { line.split_once("  # ").map_or(line, |(command, _)| command.trim_end()) }
}

fn sections(readme: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut lines = readme.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            let level = line.chars().take_while(|c| *c == '#').count();
            sections.push(Section { level, blocks: Vec::new(), rows: Vec::new(), names: BTreeSet::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if line.starts_with("```") || line.starts_with("    ") {
            let fenced = line.starts_with('`');
            let mut block = vec![command_of(line)];
            while let Some(next) = lines.next_if(|next| if fenced { *next != "```" } else { next.starts_with("    ") })
            {
                block.push(command_of(next));
            }
            if fenced {
                lines.next();
            }
            section.blocks.push(block.join("\n"));
            continue;
        }
        if line.starts_with("| `") {
            let code = |cell: &str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>().join(" ");
            section.rows.push(line.split(" | ").take(2).map(code).collect::<Vec<_>>().join(" | "));
        }
        section.names.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    sections
}

#[test]
fn the_chinese_readme_has_the_same_sections_and_commands() {
    let (english, chinese) = (sections(&readme()), sections(&text_of("README.zh-CN.md")));
    assert!(english.len() >= 10 && english.iter().any(|section| section.rows.len() > 40), "it is read");
    for (at, (one, other)) in english.iter().zip(&chinese).enumerate() {
        assert_eq!(one, other, "section {at}");
    }
    assert_eq!(english.len(), chinese.len());
}

/// `deploy/two-organisations` in a folder of the test's own, started; both servers end with the test.
struct TwoOrganisations(Child);

impl Drop for TwoOrganisations {
    fn drop(&mut self) {
        // A signal, so that the script can end its servers.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn two_organisations_work_word_for_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let readme = readme();
    // The ports of the README may be taken on this machine.
    let ports: Vec<(&str, String)> = ["8448", "8449", "8108", "8208"]
        .into_iter()
        .map(|port| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            (port, free.local_addr().expect("an address").port().to_string())
        })
        .collect();
    let moved = |text: &str| ports.iter().fold(text.to_owned(), |text, (port, free)| text.replace(port, free));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/two-organisations");
    for name in ["a.toml", "b.toml"] {
        let text = std::fs::read_to_string(source.join(name)).expect("a configuration");
        std::fs::write(folder.path().join(name), moved(&text)).expect("a file");
    }
    std::fs::copy(source.join("start"), folder.path().join("start")).expect("the script");
    let output = folder.path().join("stdout");
    let child = Command::new(folder.path().join("start"))
        .env("LINKIM_BIN", binary())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&output).expect("a file"))
        .stderr(std::fs::File::create(folder.path().join("log")).expect("a file"))
        .spawn()
        .expect("the script can be run");
    let _servers = TwoOrganisations(child);
    eventually("both servers listen", || {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        std::future::ready((text.matches("listening").count() == 2).then_some(()))
    })
    .await;
    let script = moved(quick_start(&readme, "Quick start: two organisations"));
    run(&script, folder.path(), "Shall we?").await;
}
