//! Command lines of the binary under test.

use std::path::Path;
use std::process::{Output, Stdio};

use crate::{PATIENCE, binary};

/// Runs a command line in a folder, without what the environment says of LinkIM, until it ends by itself.
///
/// # Panics
/// If it does not end within [`PATIENCE`].
pub async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(binary());
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LINKIM_") {
            command.env_remove(name);
        }
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    output.unwrap_or_else(|_| panic!("{arguments:?} does not end")).expect("the binary can be run")
}

/// What a command wrote to both its streams.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
