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

/// The shell block under the heading.
fn quick_start(readme: &str) -> &str {
    let section = readme.split("\n## Quick start\n").nth(1).expect("a quick start");
    let block = section.split("\n```sh\n").nth(1).expect("a shell block");
    block.split("\n```").next().expect("its end")
}

#[tokio::test]
async fn the_quick_start_works_word_for_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Unconfigured::start(folder.path()).await;
    let readme = readme();
    let script = quick_start(&readme);
    assert!(script.contains(ADDRESS), "{script}");
    let script = script.replace(ADDRESS, &server.address);
    // As a person would: line after line, in one shell, that goes on after a failure.
    let mut shell = tokio::process::Command::new("bash");
    shell.arg("-c").arg(&script).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), shell.output());
    let output = output.await.expect("an end within a minute").expect("bash can be run");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{printed}\n{errors}");
    assert!(!printed.contains("errcode"), "{printed}");
    let news = std::fs::read_to_string(folder.path().join("news.json")).expect("what Bob heard");
    let news: Value = serde_json::from_str(&news).unwrap_or_else(|error| panic!("{error}: {news}"));
    let rooms = news["rooms"]["join"].as_object().expect("a room");
    let bodies: Vec<&str> = rooms
        .values()
        .flat_map(|room| room["timeline"]["events"].as_array().expect("events"))
        .filter_map(|event| event["content"]["body"].as_str())
        .collect();
    assert_eq!(bodies, ["Noon?"], "{news}");
    assert!(printed.contains("\"body\": \"Noon?\""), "it is shown in the end: {printed}");
}
