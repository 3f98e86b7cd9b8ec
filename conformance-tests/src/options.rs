//! How a server under test is configured.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Authority, Gate};

/// What the `[registration]` table says.
#[derive(Clone, Debug)]
pub struct Registration {
    /// `m.login.dummy` suffices.
    pub open: bool,
    /// Guest accounts are given.
    pub guests: bool,
    /// The secret of `/_synapse/admin/v1/register`.
    pub shared_secret: Option<String>,
    /// Tokens of `m.login.registration_token`.
    pub tokens: Vec<String>,
    /// Localparts that nobody may register.
    pub reserved_names: Vec<String>,
}

impl Default for Registration {
    fn default() -> Self {
        Self { open: true, guests: false, shared_secret: None, tokens: Vec::new(), reserved_names: Vec::new() }
    }
}

/// How a server under test reaches others, and they it.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Who certifies the servers of the test.
    pub authority: Arc<Authority>,
    /// The way to this server; its port is part of the server's name.
    pub gate: Arc<Gate>,
}

/// The configuration of a server under test. The default has open registration, no rate limits, no federation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name in user ids.
    pub server_name: String,
    /// The `[registration]` table.
    pub registration: Registration,
    /// Whether `M_LIMIT_EXCEEDED` can happen; off unless a test is about it.
    pub rate_limits: bool,
    /// Whether a metrics listener is opened.
    pub metrics: bool,
    /// The federation listener and all that belongs to it; without, the server talks to no other.
    pub federation: Option<Federation>,
    /// More top-level keys, as TOML lines.
    pub top: String,
    /// More tables, as TOML; those that the fields above write may not be repeated.
    pub tables: String,
    /// Variables added to the environment of the process.
    pub environment: Vec<(String, String)>,
    /// What [`Server::keep`](crate::Server::keep) kept of a server of this name: the server starts on a copy of it.
    pub data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_name: "a.example".to_owned(),
            registration: Registration::default(),
            rate_limits: false,
            metrics: false,
            federation: None,
            top: String::new(),
            tables: String::new(),
            environment: Vec::new(),
            data: None,
        }
    }
}

impl Options {
    /// A server named `localhost:<port>` that talks to others over TLS on loopback, all certified by `authority`.
    pub fn federating(authority: &Arc<Authority>) -> Self {
        Self::federating_at(authority, 0)
    }

    /// As [`federating`](Self::federating), with the port that others connect to; 0 is any.
    pub fn federating_at(authority: &Arc<Authority>, port: u16) -> Self {
        let gate = Arc::new(Gate::at(port));
        Self {
            server_name: format!("localhost:{}", gate.port()),
            federation: Some(Federation { authority: authority.clone(), gate }),
            ..Self::default()
        }
    }

    /// The text of linkim.toml, with the client listener on `client` and the metrics listener, if wanted, on `metrics`.
    pub(crate) fn to_toml(&self, data_dir: &Path, client: &str, metrics: &str) -> String {
        let registration = &self.registration;
        let mut toml = String::new();
        let mut line = |key: &str, value: String| {
            let _ = writeln!(toml, "{key} = {value}");
        };
        line("server_name", quoted(&self.server_name));
        line("data_dir", quoted(&data_dir.to_string_lossy()));
        let _ = writeln!(toml, "{}", self.top);
        let mut line = |key: &str, value: String| {
            let _ = writeln!(toml, "{key} = {value}");
        };
        line("[listen]\nclient", format!("[{}]", quoted(client)));
        line("metrics", if self.metrics { format!("[{}]", quoted(metrics)) } else { "[]".to_owned() });
        match &self.federation {
            Some(_) => {
                line("federation", format!("[{}]", quoted("127.0.0.1:0")));
                line("[tls]\ncertificate", quoted("certificate.pem"));
                line("key", quoted("key.pem"));
                line("[outgoing]\nextra_ca_certificates", list(&["authority.pem".to_owned()]));
                line("allow_private_addresses", "true".to_owned());
            }
            None if self.tables.contains("[federation]") => {}
            None => line("[federation]\nenabled", "false".to_owned()),
        }
        line("[registration]\nopen", registration.open.to_string());
        line("guests", registration.guests.to_string());
        if let Some(secret) = &registration.shared_secret {
            line("shared_secret", quoted(secret));
        }
        line("tokens", list(&registration.tokens));
        line("reserved_names", list(&registration.reserved_names));
        line("[rate_limits]\nenabled", self.rate_limits.to_string());
        toml + &self.tables + "\n"
    }
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    serde_json::Value::from(items).to_string()
}
