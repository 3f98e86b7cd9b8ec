//! A server process under test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::folders::copy_folder;
use crate::{Client, Gate, Options, unique};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);

/// How long a graceful stop may take (the contract of the command line).
const STOP: Duration = Duration::from_secs(5);

/// The password of every user that [`Server::register`] makes.
const PASSWORD: &str = "correct horse battery staple";

/// A running `linkim serve` with a data folder of its own. Dropping it kills the process and removes the folder.
pub struct Server {
    /// `http://127.0.0.1:port` of the client listener.
    pub base: String,
    /// `http://127.0.0.1:port` of the metrics listener, where configured.
    pub metrics: Option<String>,
    /// `http://127.0.0.1:port` of the gRPC listener, where configured.
    pub grpc: Option<String>,
    options: Options,
    folder: tempfile::TempDir,
    child: Child,
    watchdog: Child,
}

impl Server {
    /// Starts a server and returns once it serves.
    ///
    /// # Panics
    /// If there is no binary, or it does not announce its address within 30 seconds; with the log.
    pub fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        if let Some(federation) = &options.federation {
            let issued = federation.authority.issue(&["localhost", "127.0.0.1"]);
            for (name, text) in [
                ("authority.pem", federation.authority.certificate()),
                ("certificate.pem", &issued.certificate),
                ("key.pem", &issued.key),
            ] {
                fs::write(folder.path().join(name), text).expect("a certificate can be written");
            }
        }
        if let Some(data) = &options.data {
            copy_folder(data, &folder.path().join("data"));
        }
        let toml = options.to_toml(&folder.path().join("data"), "127.0.0.1:0", "127.0.0.1:0");
        let process = Process::start(folder.path(), &toml, &options);
        Self {
            base: process.base,
            metrics: process.metrics,
            grpc: process.grpc,
            options,
            folder,
            child: process.child,
            watchdog: process.watchdog,
        }
    }

    /// Ends the process as a power cut would: SIGKILL.
    pub fn kill9(&mut self) {
        // An error means that the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; holds that the process ends with success within 5 seconds.
    pub fn terminate(&mut self) {
        let status = self.signal_and_wait("TERM");
        assert!(status.success(), "SIGTERM ended the server with {status}");
    }

    /// Sends a signal by name and waits for the end of the process, 5 seconds at most.
    pub fn signal_and_wait(&mut self, signal: &str) -> ExitStatus {
        let start = Instant::now();
        let kill = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.child.id())).status();
        assert!(kill.is_ok_and(|status| status.success()), "the server was gone before {signal}");
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(start.elapsed() < STOP, "no end within {STOP:?} after {signal}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Runs another command of the binary on this server's configuration: its exit code and what it printed.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(binary())
            .args(arguments)
            .arg("--config")
            .arg(self.config_file())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", binary().display()));
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), text)
    }

    /// Starts the server again on the same data and the same ports, after killing it if it still runs.
    pub fn restart(&mut self) {
        self.kill9();
        self.end_watchdog();
        let strip = |base: &str| base.trim_start_matches("http://").to_owned();
        let metrics = self.metrics.as_deref().map_or_else(|| "127.0.0.1:0".to_owned(), strip);
        let toml = self.options.to_toml(&self.data_dir(), &strip(&self.base), &metrics);
        let process = Process::start(self.folder.path(), &toml, &self.options);
        (self.base, self.metrics, self.grpc) = (process.base, process.metrics, process.grpc);
        (self.child, self.watchdog) = (process.child, process.watchdog);
    }

    /// Ends the server and keeps its data, for [`Options::data`].
    pub fn keep(&mut self, folder: &Path) {
        self.terminate();
        copy_folder(&self.data_dir(), folder);
    }

    /// Changes the configuration for the next [`restart`](Self::restart).
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// The folder that holds the server's data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("linkim.toml")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The way to this server for others, where it federates.
    ///
    /// # Panics
    /// If it does not.
    pub fn gate(&self) -> &Gate {
        &self.options.federation.as_ref().expect("a server that federates").gate
    }

    /// The name in user ids.
    pub fn name(&self) -> &str {
        &self.options.server_name
    }

    /// Somebody without an account.
    pub fn anonymous(&self) -> Client {
        Client::anonymous(&self.base)
    }

    /// Registers a user whose localpart begins with `name` and is unique in this test process.
    pub async fn register(&self, name: &str) -> Client {
        Client::register(&self.base, &unique(name), PASSWORD).await
    }

    /// Another device of a user that [`register`](Self::register) made.
    pub async fn new_device(&self, user: &Client) -> Client {
        Client::login(&self.base, &user.user_id, PASSWORD).await
    }

    /// The password of users that [`register`](Self::register) makes.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// How long the log is by now, in bytes.
    pub fn log_length(&self) -> u64 {
        fs::metadata(self.log_file()).map_or(0, |file| file.len())
    }

    /// What the server logged from a byte offset on.
    pub fn log_since(&self, start: u64) -> String {
        let mut log = Vec::new();
        if let Ok(mut file) = File::open(self.log_file())
            && file.seek(SeekFrom::Start(start)).is_ok()
        {
            // A log cut short by an error is still the best there is to show.
            let _ = file.read_to_end(&mut log);
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Prints the log from a byte offset on, its last 200 lines.
    pub(crate) fn show_log(&self, start: u64) {
        let log = self.log_since(start);
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- the server's log:\n{}\n---", lines[lines.len().saturating_sub(200)..].join("\n"));
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Ends the watchdog before the process id that it would kill can be anyone else's.
    fn end_watchdog(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end_watchdog();
        self.kill9();
        if std::thread::panicking() {
            self.show_log(0);
        }
    }
}

/// What a start gives.
struct Process {
    child: Child,
    watchdog: Child,
    base: String,
    metrics: Option<String>,
    grpc: Option<String>,
}

impl Process {
    fn start(folder: &Path, toml: &str, options: &Options) -> Self {
        let config = folder.join("linkim.toml");
        fs::write(&config, toml).expect("the configuration can be written");
        let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log can be opened");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(&config).current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LINKIM_") {
                command.env_remove(name);
            }
        }
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: an interrupt at the terminal reaches the tests, and the watchdog ends the server.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{} cannot be run: {error}", binary().display()));
        let watchdog = watch(child.id(), folder);
        let announced = announced_addresses(&mut child, folder);
        if let Some(federation) = &options.federation {
            let address = announced.federation.expect("a federation listener is announced");
            federation.gate.lead_to(address.parse().expect("an address and a port"));
        }
        Self { child, watchdog, base: announced.client, metrics: announced.metrics, grpc: announced.grpc }
    }
}

/// The binary under test: `LINKIM_BIN`, else `linkim` in the profile folder, in which or in whose `deps` the executable lies.
///
/// # Panics
/// If there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LINKIM_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the test executable has a path");
    let mut folder = test.parent().expect("executables lie in target/<profile> or its deps");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in target/<profile>");
    }
    let binary = folder.join("linkim");
    assert!(binary.exists(), "no server at {}: run `cargo build` first, or set LINKIM_BIN", binary.display());
    binary
}

/// A shell that waits for the end of this process and then ends the server and removes its folder: a static server is
/// never dropped, and a killed test run drops nothing.
pub(crate) fn watch(pid: u32, folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\" 2>/dev/null; rm -rf \"$2\"", "watchdog"])
        .arg(pid.to_string())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh can be run")
}

/// What the `listening …` line names.
struct Announced {
    client: String,
    metrics: Option<String>,
    grpc: Option<String>,
    /// Without the scheme.
    federation: Option<String>,
}

/// Reads standard output until the `listening …` line.
fn announced_addresses(child: &mut Child, folder: &Path) -> Announced {
    let stdout = child.stdout.take().expect("standard output is piped");
    let (sender, receiver) = mpsc::channel();
    // The thread reads on after the announcement, so that the server never blocks on a full pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + START;
    let mut lines = Vec::new();
    while let Ok(line) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.starts_with("listening")
            && let Some(client) = address_after(&line, "client").or_else(|| address_after(&line, ""))
        {
            return Announced {
                client,
                metrics: address_after(&line, "metrics"),
                grpc: address_after(&line, "grpc"),
                federation: line
                    .split("https://")
                    .nth(1)
                    .and_then(|rest| rest.split_whitespace().next())
                    .map(str::to_owned),
            };
        }
        lines.push(line);
    }
    let _ = child.kill();
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("the server did not announce its address; it printed {lines:?} and logged\n{log}");
}

/// The first `http://host:port` after a word of the line.
fn address_after(line: &str, word: &str) -> Option<String> {
    let rest = &line[line.find(word)? + word.len()..];
    let address = &rest[rest.find("http://")?..];
    let end = address.find([' ', ',', ';']).unwrap_or(address.len());
    Some(address[..end].trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::address_after;

    #[test]
    fn each_listener_has_its_address() {
        let line = "listening client http://127.0.0.1:4711 metrics http://127.0.0.1:4712 grpc http://127.0.0.1:4713";
        assert_eq!(address_after(line, "client").as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(address_after(line, "metrics").as_deref(), Some("http://127.0.0.1:4712"));
        assert_eq!(address_after(line, "grpc").as_deref(), Some("http://127.0.0.1:4713"));
    }

    #[test]
    fn a_listener_that_is_not_open_has_none() {
        assert_eq!(address_after("listening client http://127.0.0.1:4711", "metrics"), None);
    }
}
