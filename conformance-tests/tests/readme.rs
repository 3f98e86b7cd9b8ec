//! The README's quick start, word for word: what a newcomer types first has to work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use conformance_tests::{binary, eventually};
use serde_json::Value;

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
    async fn start(folder: &Path) -> Self {
        match Self::listen(folder, None).await {
            Some(server) => server,
            None => Self::listen(folder, Some("127.0.0.1:0")).await.expect("a free port"),
        }
    }

    /// None if the process ends instead of serving.
    async fn listen(folder: &Path, address: Option<&str>) -> Option<Self> {
        let output = folder.join("stdout");
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LINKIM_") {
                command.env_remove(name);
            }
        }
        if let Some(address) = address {
            command.env("LINKIM_LISTEN__CLIENT", address);
        }
        command.current_dir(folder).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&output).expect("a file"));
        command.stderr(std::fs::File::create(folder.join("log")).expect("a file"));
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
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(path).expect("the README")
}

/// The shell block under a heading.
fn quick_start<'r>(readme: &'r str, heading: &str) -> &'r str {
    let section = readme.split(&format!("\n## {heading}\n")).nth(1).expect("a quick start");
    let block = section.split("\n```sh\n").nth(1).expect("a shell block");
    block.split("\n```").next().expect("its end")
}

/// Runs a block as a person would: line after line, in one shell, that goes on after a failure. Holds that nothing is
/// refused and that the news, which are shown in the end, are this one message.
async fn run(script: &str, folder: &Path, said: &str) {
    let mut shell = tokio::process::Command::new("bash");
    shell.arg("-c").arg(script).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), shell.output());
    let output = output.await.expect("an end within a minute").expect("bash can be run");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{printed}\n{errors}");
    assert!(!printed.contains("errcode"), "{printed}");
    let news = std::fs::read_to_string(folder.join("news.json")).expect("what Bob heard");
    let news: Value = serde_json::from_str(&news).unwrap_or_else(|error| panic!("{error}: {news}"));
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
    let server = Unconfigured::start(folder.path()).await;
    let readme = readme();
    let script = quick_start(&readme, "Quick start");
    assert!(script.contains(ADDRESS), "{script}");
    run(&script.replace(ADDRESS, &server.address), folder.path(), "Noon?").await;
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
