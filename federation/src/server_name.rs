//! The name of a homeserver: a hostname and an optional port.
//!
//! <https://spec.matrix.org/v1.19/appendices/#server-name>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ruma::ServerName;
use thiserror::Error;

/// The longest DNS name that the grammar allows, in bytes.
pub const MAX_DNS_NAME_LENGTH: usize = 255;

/// The longest server name that the grammar allows, in bytes: a DNS name, a colon and five digits.
pub const MAX_SERVER_NAME_LENGTH: usize = MAX_DNS_NAME_LENGTH + 1 + 5;

/// The length that a server name should not exceed, in bytes. A recommendation for who chooses a name; longer names are
/// valid.
pub const RECOMMENDED_SERVER_NAME_LENGTH: usize = 230;

/// Why a text is not a server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ServerNameError {
    /// There is no hostname.
    #[error("the hostname is empty")]
    EmptyHostname,
    /// The hostname has more bytes than the grammar allows.
    #[error("the hostname has more than {MAX_DNS_NAME_LENGTH} bytes")]
    TooLong,
    /// The hostname has a character that is neither a letter, a digit, `-` nor `.`.
    #[error("a hostname may have letters, digits, `-` and `.` only")]
    Character,
    /// Four groups of digits, of which one is more than 255.
    #[error("a part of the IPv4 address is more than 255")]
    Ipv4,
    /// A `[`, but no IPv6 address and `]` after it.
    #[error("not an IPv6 address in square brackets")]
    Ipv6,
    /// After the hostname comes something other than a colon and one to five digits, or the number is more than 65535.
    #[error("the port is not a number of one to five digits, at most 65535")]
    Port,
}

/// The hostname of a server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// An IP literal. The text may write an address in more than one way (`01.2.3.4`, any IPv6 address).
    Ip(IpAddr),
    /// A DNS name. Labels are not checked: the conventions for internet hostnames are a recommendation, and a name that
    /// breaks them resolves to nothing. Some names that are no IP literals by the grammar (`127.1`, `2130706433`) are
    /// taken for addresses by system resolvers, so what a lookup gives must be judged, not the name.
    Dns(&'a str),
}

/// A server name and its parts.
///
/// Two names are the same server only when every byte is equal: names are case-sensitive, and `a.example` and
/// `a.example:8448` are two servers. Compare [`name`](Self::name).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParsedServerName<'a> {
    name: &'a ServerName,
    hostname: &'a str,
    host: Host<'a>,
    port: Option<u16>,
}

impl<'a> ParsedServerName<'a> {
    /// Reads a server name.
    ///
    /// Stricter than `ruma::ServerName`, which takes `a.example:+1`, `1.2.3.256` and a DNS name of 261 bytes.
    ///
    /// # Errors
    /// [`ServerNameError`] for the first rule of the grammar that the text breaks.
    pub fn parse(text: &'a str) -> Result<Self, ServerNameError> {
        let (hostname, host, rest) = match text.strip_prefix('[') {
            Some(after) => {
                let (address, rest) = after.split_once(']').ok_or(ServerNameError::Ipv6)?;
                let host = Host::Ip(ipv6(address)?.into());
                (&text[..address.len() + 2], host, rest)
            }
            None => {
                let (hostname, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                (hostname, ipv4_or_dns(hostname)?, rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return Err(ServerNameError::Port),
        };
        // ruma accepts all that this grammar does; the test of that is a property over the grammar.
        let name = <&ServerName>::try_from(text).map_err(|_| ServerNameError::Character)?;
        Ok(Self { name, hostname, host, port })
    }

    /// The whole name, as it was written.
    pub fn name(&self) -> &'a ServerName {
        self.name
    }

    /// The text before the port, an IPv6 address with its brackets.
    pub fn hostname(&self) -> &'a str {
        self.hostname
    }

    /// What the hostname is.
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port, if one is written. 0 is one by the grammar; nothing can be reached there.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the hostname is an IPv4 or IPv6 address.
    pub fn is_ip_literal(&self) -> bool {
        matches!(self.host, Host::Ip(_))
    }
}

fn ipv6(address: &str) -> Result<Ipv6Addr, ServerNameError> {
    // The parser takes no scope, so its language is that of RFC 3513, and 45 characters at most.
    address.parse().map_err(|_| ServerNameError::Ipv6)
}

fn ipv4_or_dns(hostname: &str) -> Result<Host<'_>, ServerNameError> {
    if hostname.is_empty() {
        return Err(ServerNameError::EmptyHostname);
    }
    if hostname.len() > MAX_DNS_NAME_LENGTH {
        return Err(ServerNameError::TooLong);
    }
    if !hostname.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err(ServerNameError::Character);
    }
    Ok(match ipv4(hostname)? {
        Some(address) => Host::Ip(address.into()),
        None => Host::Dns(hostname),
    })
}

/// Four groups of one to three digits are an address; its parts are decimal, whatever zeros they begin with.
fn ipv4(hostname: &str) -> Result<Option<Ipv4Addr>, ServerNameError> {
    let mut parts = [0; 4];
    let mut count = 0;
    for group in hostname.split('.') {
        let digits = (1..=3).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit());
        let Some(part) = parts.get_mut(count).filter(|_| digits) else {
            return Ok(None);
        };
        *part = group.parse::<u16>().map_err(|_| ServerNameError::Ipv4)?;
        count += 1;
    }
    if count < parts.len() {
        return Ok(None);
    }
    let mut octets = [0; 4];
    for (octet, part) in octets.iter_mut().zip(parts) {
        *octet = u8::try_from(part).map_err(|_| ServerNameError::Ipv4)?;
    }
    Ok(Some(octets.into()))
}

fn port(digits: &str) -> Result<u16, ServerNameError> {
    if !(1..=5).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ServerNameError::Port);
    }
    digits.parse().map_err(|_| ServerNameError::Port)
}
