//! LinkIM's API against its description: schemathesis makes requests from `spec/linkim-api.yaml`, right ones and wrong ones, and
//! holds the answers to it. What it needs to know beyond the description is in `clients/schemathesis`.
//!
//! By hand, longer and otherwise: `LINKIM_SCHEMATHESIS="--max-examples 300 --seed 7"`, whose options come behind those below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance_tests::{Options, Server};

/// What a seed and a bound make the same on every machine.
const OPTIONS: &[&str] = &["--seed", "1", "--generation-deterministic", "--no-color", "--continue-on-failure"];

/// How often each operation answered with each status.
type Tally = BTreeMap<String, BTreeMap<String, u64>>;

#[test]
fn without_a_token_requests_are_answered_as_described() {
    let tally = run(&["--max-examples", "3", "--phases", "examples,coverage,fuzzing"], false);
    for (operation, statuses) in &tally {
        let known =
            ["POST /account/code/send", "POST /account/code/verify", "POST /account/login", "POST /account/register"];
        let open = known.contains(&operation.as_str()) || operation == "PUT /account/password";
        assert!(
            open || !statuses.keys().any(|status| status.starts_with('2')),
            "{operation} needs no token: {statuses:?}"
        );
    }
}

#[test]
fn with_a_token_requests_are_answered_as_described() {
    let tally = run(&["--max-examples", "8", "--phases", "examples,coverage,fuzzing,stateful"], true);
    // A WebSocket handshake is none of schemathesis' requests.
    let succeeded = |statuses: &BTreeMap<String, u64>| statuses.keys().any(|status| status.starts_with('2'));
    let never: Vec<_> = tally.iter().filter(|(name, statuses)| *name != "GET /ws" && !succeeded(statuses)).collect();
    assert!(never.is_empty() && tally.len() > 80, "no request succeeded of {never:?}, {} operations", tally.len());
}

/// Runs schemathesis over the whole document against a server of its own; as a user who has friends, groups and messages, or
/// as nobody. Gives what was answered.
fn run(options: &[&str], authenticated: bool) -> Tally {
    let tables = "[verification]\nlog_codes = true\n".to_owned();
    let server = Server::start(Options { tables, ..Options::default() });
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (tally, clients) = (folder.path().join("tally.json"), clients_folder());
    let schemathesis = target_folder().join("clients/schemathesis/bin/st");
    let mut command = Command::new(&schemathesis);
    command.arg("--config-file").arg(clients.join("schemathesis.toml")).arg("run");
    command
        .arg(clients.join("../../../spec/linkim-api.yaml"))
        .args(["--url", &server.base])
        .args(OPTIONS)
        .args(options);
    if let Ok(more) = std::env::var("LINKIM_SCHEMATHESIS") {
        command.args(more.split_whitespace());
    }
    command.current_dir(folder.path());
    command.env("PYTHONPATH", &clients).env("PYTHONDONTWRITEBYTECODE", "1").env("SCHEMATHESIS_HOOKS", "hooks");
    command.env("LINKIM_BASE", &server.base).env("LINKIM_TALLY", &tally);
    command.env("LINKIM_LOG", server.config_file().with_file_name("log"));
    command.env("LINKIM_AUTHENTICATED", if authenticated { "1" } else { "" });
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): run ./test once", schemathesis.display()));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "schemathesis ended with {}:\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{printed}");
    let tally = std::fs::read(&tally).expect("what was answered");
    serde_json::from_slice(&tally).expect("what was answered, as JSON")
}

fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/schemathesis")
}

/// The folder that cargo builds in: the executable lies in `<target>/<profile>/deps`.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the test executable has a path");
    test.ancestors().nth(3).expect("tests lie in target/<profile>/deps").to_owned()
}
