//! A real Synapse, as another organisation's server.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::json;

use crate::folders::copy_folder;
use crate::server::watch;
use crate::{Authority, Client, Gate, eventually, unique};

/// A running Synapse with SQLite in a folder of its own. Dropping it kills the process and removes the folder.
pub struct Synapse {
    /// `http://127.0.0.1:port` of its client listener.
    pub base: String,
    gate: Gate,
    folder: tempfile::TempDir,
    child: Child,
    watchdog: Child,
    federation: SocketAddr,
}

impl Synapse {
    /// Starts one that trusts, and is certified by, `authority`; returns once it serves.
    ///
    /// # Panics
    /// If it is not installed, or does not serve in time; with its log.
    pub async fn start(authority: &Arc<Authority>) -> Self {
        Self::start_at(authority, 0, None).await
    }

    /// As [`start`](Self::start), with the port that others connect to (0 is any), on a copy of what [`keep`](Self::keep)
    /// kept of a server that had the same port.
    pub async fn start_at(authority: &Arc<Authority>, port: u16, data: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        if let Some(data) = data {
            copy_folder(data, folder.path());
        }
        let gate = Gate::at(port);
        let (client, federation) = (free_address(), free_address());
        let issued = authority.issue(&["localhost", "127.0.0.1"]);
        for (name, text) in [
            ("authority.pem", authority.certificate()),
            ("certificate.pem", &issued.certificate),
            ("key.pem", &issued.key),
            ("homeserver.yaml", &configuration(folder.path(), &gate, client, federation)),
        ] {
            fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        let (child, watchdog) = spawn(folder.path());
        gate.lead_to(federation);
        let synapse = Self { base: format!("http://{client}"), gate, folder, child, watchdog, federation };
        synapse.serves().await;
        synapse
    }

    /// Ends it; [`start_again`](Self::start_again) starts it on the same data.
    pub fn stop(&mut self) {
        // Before the process id that the watchdog would kill can be anyone else's. An error means that it is gone already.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it after [`stop`](Self::stop).
    pub async fn start_again(&mut self) {
        (self.child, self.watchdog) = spawn(self.folder.path());
        self.gate.lead_to(self.federation);
        self.serves().await;
    }

    /// Ends it and keeps its data.
    ///
    /// # Panics
    /// If it does not end by itself when told to.
    pub fn keep(&mut self, folder: &Path) {
        let told = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid())).status();
        assert!(told.is_ok_and(|status| status.success()), "Synapse was gone before it was told to end");
        self.child.wait().expect("a child can be waited for");
        copy_folder(self.folder.path(), folder);
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The way to it for others.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The name in user ids.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.gate.port())
    }

    /// Registers a user whose localpart begins with `name`.
    pub async fn register(&self, name: &str) -> Client {
        Client::register(&self.base, &unique(name), "correct horse battery staple").await
    }

    async fn serves(&self) {
        let anonymous = Client::anonymous(&self.base);
        let start = std::time::Instant::now();
        // Slower to start than anything else that a test waits for.
        while start.elapsed() < std::time::Duration::from_secs(90) {
            let path = "/_matrix/client/versions";
            if anonymous.try_raw(reqwest::Method::GET, path, &[], None).await.is_ok_and(|reply| reply.status == 200) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        eventually("Synapse serves", || std::future::ready(None)).await
    }
}

impl Drop for Synapse {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- Synapse's log:\n{}\n---", lines[lines.len().saturating_sub(100)..].join("\n"));
        }
    }
}

/// Synapse cannot say which port it was given, so one is chosen for it.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("a bound port")
}

/// The Python that `./test` installs Synapse into, beside what cargo builds.
fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("LINKIM_TEST_SYNAPSE") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("the executable has a path");
    // Tests lie in target/<profile>/deps, tools in target/<profile>.
    let wanted = own.ancestors().map(|folder| folder.join("clients/synapse/bin/python")).find(|python| python.exists());
    wanted.unwrap_or_else(|| PathBuf::from("target/clients/synapse/bin/python"))
}

/// Starts the process, and what ends it with this one: a static is never dropped.
fn spawn(folder: &Path) -> (Child, Child) {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log can be opened");
    let errors = log.try_clone().expect("a log can be opened twice");
    let child = Command::new(python())
        .args(["-m", "synapse.app.homeserver", "-c", "homeserver.yaml"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): run ./test once", python().display()));
    let watchdog = watch(child.id(), folder);
    (child, watchdog)
}

/// The configuration. YAML is a superset of JSON.
fn configuration(folder: &Path, gate: &Gate, client: SocketAddr, federation: SocketAddr) -> String {
    let often = json!({ "per_second": 1_000_000, "burst_count": 1_000_000 });
    let listener = |address: SocketAddr, tls: bool, names: &[&str]| {
        json!({
            "port": address.port(), "bind_addresses": ["127.0.0.1"], "type": "http", "tls": tls,
            "resources": [{ "names": names, "compress": false }],
        })
    };
    json!({
        "server_name": format!("localhost:{}", gate.port()),
        "pid_file": folder.join("pid"),
        "listeners": [
            listener(client, false, &["client", "federation"]),
            listener(federation, true, &["client", "federation"]),
        ],
        "tls_certificate_path": folder.join("certificate.pem"),
        "tls_private_key_path": folder.join("key.pem"),
        "federation_custom_ca_list": [folder.join("authority.pem")],
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        "database": { "name": "sqlite3", "args": { "database": folder.join("homeserver.db") } },
        "media_store_path": folder.join("media"),
        "signing_key_path": folder.join("signing.key"),
        "registration_shared_secret": "unused",
        "macaroon_secret_key": "unused",
        "form_secret": "unused",
        "report_stats": false,
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "bcrypt_rounds": 4,
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "rc_message": often, "rc_registration": often,
        "rc_login": { "address": often, "account": often, "failed_attempts": often },
        "rc_joins": { "local": often, "remote": often },
        "rc_joins_per_room": often,
        "rc_invites": { "per_room": often, "per_user": often, "per_issuer": often },
        "rc_room_creation": often, "rc_presence": { "per_user": often },
        "rc_federation": {
            "window_size": 1000, "sleep_limit": 1_000_000, "sleep_delay": 1, "reject_limit": 1_000_000, "concurrent": 100,
        },
        // Between the tries of one request it would wait 4, then 16 seconds, whoever calls meanwhile.
        "federation": {
            "destination_min_retry_interval": "1s", "destination_max_retry_interval": "5s", "max_long_retry_delay": "1s",
        },
    })
    .to_string()
}
