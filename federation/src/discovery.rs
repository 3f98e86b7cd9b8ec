//! Where to connect to reach a server: resolution of its name, as a machine that asks its caller for one thing at a time.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>
//!
//! [`resolve_server_name`] gives the first [`Step`]. Each step but the last is a question that takes its answer and gives
//! the next step, so an answer cannot meet the wrong question, and there are at most 3 + [`MAX_SRV_TARGETS`] of them.

mod srv;

use std::net::{IpAddr, SocketAddr};

use ruma::ServerName;
use thiserror::Error;

use crate::server_name::{Host, ParsedServerName, ServerNameError};

pub use srv::{MAX_SRV_TARGETS, SrvRecord, order_srv_records};

/// The port of a server whose name and records give none.
pub const DEFAULT_PORT: u16 = 8448;

/// How many addresses of one server are kept, over all its SRV targets.
pub const MAX_ADDRESSES: usize = 32;

/// What resolution needs next, or its result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Ask the host for its well-known document.
    WellKnown(WellKnownQuestion),
    /// Look up SRV records.
    Srv(SrvQuestion),
    /// Look up the addresses of a host.
    Addresses(AddressQuestion),
    /// The server is found.
    Done(Route),
    /// It cannot be found now. To be tried again, with back-off.
    Failed(DiscoveryError),
}

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to connect to, the first to try first; never empty. Not filtered: see [`crate::private_address`].
    pub addresses: Vec<SocketAddr>,
    /// The value of the `Host` header.
    pub host_header: String,
    /// What the certificate must be for.
    pub tls_name: TlsName,
}

/// The name that a certificate must be valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsName {
    /// A DNS name, which is also sent as SNI.
    Dns(String),
    /// An address; no SNI is sent.
    Ip(IpAddr),
}

/// Why a server was not found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiscoveryError {
    /// A SRV lookup failed, which is not the same as that it found nothing.
    #[error("the SRV lookup of {0} failed")]
    SrvLookup(String),
    /// The one SRV record has the target `.`: the domain says that it has no such service (RFC 2782).
    #[error("{0} says that there is no Matrix server")]
    NotOffered(String),
    /// None of the hosts has an address.
    #[error("no address of {0}")]
    NoAddress(String),
}

/// Begins to resolve a server name.
///
/// # Errors
/// [`ServerNameError`] if it is none: `ruma::ServerName` is less strict than the grammar.
pub fn resolve_server_name(name: &ServerName) -> Result<Step, ServerNameError> {
    let parsed = ParsedServerName::parse(name.as_str())?;
    Ok(literal_or_port(&parsed)
        .unwrap_or_else(|| Step::WellKnown(WellKnownQuestion { host: parsed.hostname().to_owned() })))
}

/// Steps 1 and 2, and 3.1 and 3.2, which are the same for the name and the delegated name.
fn literal_or_port(parsed: &ParsedServerName<'_>) -> Option<Step> {
    let host_header = parsed.name().to_string();
    match (parsed.host(), parsed.port()) {
        (Host::Ip(address), port) => Some(Step::Done(Route {
            addresses: vec![SocketAddr::new(address, port.unwrap_or(DEFAULT_PORT))],
            host_header,
            tls_name: TlsName::Ip(address),
        })),
        (Host::Dns(host), Some(port)) => Some(AddressQuestion::ask(vec![(host.to_owned(), port)], host, host_header)),
        (Host::Dns(_), None) => None,
    }
}

/// Step 3: `GET https://<host>/.well-known/matrix/server`, on port 443, redirects followed within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WellKnownQuestion {
    host: String,
}

impl WellKnownQuestion {
    /// The host to ask.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Takes the answer: the delegated server name, or `None` if there is no valid one
    /// ([`read_well_known`](crate::well_known::read_well_known) tells, or what is remembered of it).
    pub fn answer(self, delegated: Option<&ServerName>) -> Step {
        // A name that is none was no valid answer.
        let Some(parsed) = delegated.and_then(|name| ParsedServerName::parse(name.as_str()).ok()) else {
            return SrvQuestion::ask(self.host);
        };
        literal_or_port(&parsed).unwrap_or_else(|| SrvQuestion::ask(parsed.hostname().to_owned()))
    }
}

/// Steps 3.3 and 3.4, or 4 and 5: the SRV records of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvQuestion {
    host: String,
    deprecated: bool,
}

/// What a SRV lookup gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SrvAnswer {
    /// Its records; none, if the name or the type does not exist.
    Records(Vec<SrvRecord>),
    /// It failed: a timeout, or a name server that is out of order. Resolution stops, for to go on would send what is
    /// meant for one server to whatever listens at another port of its host.
    Failed,
}

impl SrvQuestion {
    fn ask(host: String) -> Step {
        Step::Srv(Self { host, deprecated: false })
    }

    /// The name to look up: `_matrix-fed._tcp.<host>`, and when that has no records `_matrix._tcp.<host>`.
    pub fn name(&self) -> String {
        let service = if self.deprecated { "_matrix" } else { "_matrix-fed" };
        format!("{service}._tcp.{}", self.host)
    }

    /// Takes the answer. `random` orders targets of one priority as in [`order_srv_records`].
    pub fn answer(self, answer: SrvAnswer, random: impl FnMut(u32) -> u32) -> Step {
        let records = match answer {
            SrvAnswer::Records(records) => records,
            SrvAnswer::Failed => return Step::Failed(DiscoveryError::SrvLookup(self.name())),
        };
        if let [only] = records.as_slice()
            && matches!(only.target.as_str(), "" | ".")
        {
            return Step::Failed(DiscoveryError::NotOffered(self.name()));
        }
        let targets: Vec<(String, u16)> =
            order_srv_records(records, random).into_iter().map(|record| (record.target, record.port)).collect();
        match (targets.is_empty(), self.deprecated) {
            (false, _) => AddressQuestion::ask(targets, &self.host, self.host.clone()),
            (true, false) => Step::Srv(Self { deprecated: true, ..self }),
            // Steps 3.5 and 6.
            (true, true) => {
                AddressQuestion::ask(vec![(self.host.clone(), DEFAULT_PORT)], &self.host, self.host.clone())
            }
        }
    }
}

/// The addresses of a host: AAAA and A records. The targets of SRV records are asked for one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressQuestion {
    /// The hosts and ports that are still to be asked for, the next one last.
    targets: Vec<(String, u16)>,
    host: String,
    port: u16,
    found: Vec<SocketAddr>,
    host_header: String,
    tls_host: String,
}

impl AddressQuestion {
    fn ask(mut targets: Vec<(String, u16)>, tls_host: &str, host_header: String) -> Step {
        targets.reverse();
        let asked = Self {
            targets,
            host: String::new(),
            port: DEFAULT_PORT,
            found: Vec::new(),
            host_header,
            tls_host: tls_host.to_owned(),
        };
        asked.next()
    }

    /// The host to look up. Where it is the target of a SRV record, CNAME records need not be followed.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that goes with it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes the answer: the addresses in the order to try them in; none if the lookup found none or failed.
    pub fn answer(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Step {
        for address in addresses {
            let address = SocketAddr::new(address, self.port);
            if self.found.len() == MAX_ADDRESSES {
                break;
            }
            if !self.found.contains(&address) {
                self.found.push(address);
            }
        }
        self.next()
    }

    fn next(mut self) -> Step {
        if self.found.len() < MAX_ADDRESSES
            && let Some((host, port)) = self.targets.pop()
        {
            return Step::Addresses(Self { host, port, ..self });
        }
        if self.found.is_empty() {
            return Step::Failed(DiscoveryError::NoAddress(self.tls_host));
        }
        Step::Done(Route {
            addresses: self.found,
            host_header: self.host_header,
            tls_name: TlsName::Dns(self.tls_host),
        })
    }
}
