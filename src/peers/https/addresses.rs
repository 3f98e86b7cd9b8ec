//! Which addresses requests of this server may go to.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linkim_federation::private_address::{destination_address, is_private_address};

use crate::config::Outgoing;

/// What `[outgoing]` says about addresses. It is held against the address that is connected to, not against a name.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allow_private: bool,
    networks: Vec<IpNet>,
}

impl AddressRules {
    /// The rules of this configuration.
    pub fn new(config: &Outgoing) -> Self {
        Self { allow_private: config.allow_private_addresses, networks: config.allow_networks.clone() }
    }

    /// Whether the address may be connected to.
    pub fn permit(&self, address: IpAddr) -> bool {
        if self.allow_private || !is_private_address(address) {
            return true;
        }
        let destination = destination_address(address);
        self.networks.iter().any(|network| network.contains(&destination) || network.contains(&address))
    }

    /// Those of the addresses that may be connected to, in their order.
    pub fn permitted<'a>(&'a self, addresses: &'a [SocketAddr]) -> impl Iterator<Item = SocketAddr> + 'a {
        addresses.iter().copied().filter(|address| self.permit(address.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(config: &Outgoing, address: &str) -> bool {
        AddressRules::new(config).permit(address.parse().unwrap())
    }

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        let config = Outgoing::default();
        for address in
            ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "fe80::1"]
        {
            assert!(!permits(&config, address), "{address}");
        }
        assert!(permits(&config, "8.8.8.8") && permits(&config, "2606:4700::1111"));
    }

    #[test]
    fn the_configuration_opens_networks_or_all() {
        let some = Outgoing { allow_networks: vec!["10.1.0.0/16".parse().unwrap()], ..Outgoing::default() };
        assert!(permits(&some, "10.1.2.3") && permits(&some, "::ffff:10.1.2.3"));
        assert!(!permits(&some, "10.2.0.1") && !permits(&some, "127.0.0.1"));
        let all = Outgoing { allow_private_addresses: true, ..Outgoing::default() };
        assert!(permits(&all, "127.0.0.1") && permits(&all, "fe80::1"));
    }
}
