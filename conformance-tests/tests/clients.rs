//! Journeys of real clients: each program goes its whole way against a server, or fails with what it printed.

use std::path::{Path, PathBuf};
use std::process::Command;

use conformance_tests::{Options, Server};

#[test]
fn matrix_nio_goes_its_way() {
    let python = target_folder().join("clients/python/bin/python");
    journey(&python, &clients_folder().join("nio_journey.py"));
}

#[test]
fn matrix_nio_encrypts() {
    let python = target_folder().join("clients/python/bin/python");
    journey(&python, &clients_folder().join("nio_encrypted_journey.py"));
}

#[test]
fn matrix_nio_and_the_app_see_the_same() {
    let python = target_folder().join("clients/python/bin/python");
    journey(&python, &clients_folder().join("nio_linkim_journey.py"));
}

#[test]
fn matrix_js_sdk_goes_its_way() {
    let journey_file = clients_folder().join("js-sdk/journey.js");
    assert!(journey_file.with_file_name("node_modules").exists(), "matrix-js-sdk is not installed: run ./test once");
    journey(Path::new("node"), &journey_file);
}

fn journey(interpreter: &Path, program: &Path) {
    let server = Server::start(Options::default());
    let output = Command::new(interpreter)
        .arg(program)
        .arg(&server.base)
        .arg("traveller")
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): run ./test once", interpreter.display()));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("the journey is over"),
        "{} ended with {}:\n{printed}\n{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// The folder that cargo builds in: the executable lies in `<target>/<profile>/deps`.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the test executable has a path");
    test.ancestors().nth(3).expect("tests lie in target/<profile>/deps").to_owned()
}
