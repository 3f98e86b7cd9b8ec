//! Which texts are a server name, a network, a localpart and so on.

use std::net::IpAddr;

use ipnet::IpNet;
use ruma::{OwnedServerName, ServerName};

/// A server name whose port, if it has one, can be connected to.
pub(super) fn parse_server(text: &str) -> Option<OwnedServerName> {
    let name = ServerName::parse(text).ok()?;
    (name.port() != Some(0)).then_some(name)
}

/// An address stands for the network of itself alone. A network must not have bits set behind its prefix: such a line was
/// meant to say something else.
pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().ok().map(IpNet::from);
    address.or_else(|| text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network))
}

/// Whether a text can be the localpart of a new user (Matrix appendices, "User Identifiers").
pub(crate) fn is_localpart(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.=_/+".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(allowed)
}

/// Whether a text has the outer form of a mail address with or without a name. Whether the address exists, sending will tell.
pub(super) fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>'),
        None => Some(text),
    };
    let parts = address.and_then(|address| address.rsplit_once('@'));
    let fits = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "<>@,".contains(c));
    is_line(text) && parts.is_some_and(|(local, domain)| fits(local) && fits(domain))
}

/// Whether a text is one line and not empty.
pub(super) fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Whether a text can be a registration token (Matrix appendices, "Opaque Identifiers"; Client-Server API, "Token-authenticated
/// registration").
pub(super) fn is_registration_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}
