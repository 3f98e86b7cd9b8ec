//! Look-ups in the DNS.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
};

use hickory_resolver::{
    Hosts, ResolverBuilder, TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, RecordType},
    },
};
use linkim_federation::discovery::{SrvAnswer, SrvRecord};

/// The answer to a look-up.
pub type Looking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Addresses and SRV records of names. Answers come in bounded time.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a host, in the order to try them in; none if it has none or the look-up failed.
    fn addresses<'a>(&'a self, host: &'a str) -> Looking<'a, Vec<IpAddr>>;

    /// The SRV records of a name.
    fn srv<'a>(&'a self, name: &'a str) -> Looking<'a, SrvAnswer>;
}

/// The system's resolver: `/etc/resolv.conf` and `/etc/hosts`.
pub struct SystemResolver {
    dns: TokioResolver,
    hosts: Hosts,
}

impl SystemResolver {
    /// Reads the system's configuration. Where that can't be read, the name server of this machine is asked, as
    /// resolv.conf(5) says.
    ///
    /// # Errors
    /// If the resolver can't be made.
    pub fn new() -> Result<Self, NetError> {
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder(provider.clone()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's DNS configuration can't be read; asking the name server at 127.0.0.1");
            let here = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), vec![here]), provider)
        });
        Self::with(builder, Hosts::from_system().unwrap_or_default())
    }

    fn with(mut builder: ResolverBuilder<TokioRuntimeProvider>, hosts: Hosts) -> Result<Self, NetError> {
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // The hosts file is asked here: the library asks the DNS for the family that the file does not name.
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self { dns: builder.build()?, hosts })
    }

    fn in_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|lookup| addresses_of(&lookup))
            .collect()
    }
}

/// A name as it stands: search domains of the system have no say in who another server is.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name.to_ascii_lowercase()).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn addresses_of(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

/// RFC 6761, section 6.3: `localhost` and what is below it is this machine, whatever the DNS says.
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

impl Resolver for SystemResolver {
    fn addresses<'a>(&'a self, host: &'a str) -> Looking<'a, Vec<IpAddr>> {
        Box::pin(async move {
            if is_localhost(host) {
                return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            }
            let Some(name) = absolute(host) else { return Vec::new() };
            let found = self.in_hosts_file(&name);
            if !found.is_empty() {
                return found;
            }
            match self.dns.lookup_ip(name).await {
                Ok(lookup) => {
                    let mut found: Vec<IpAddr> = lookup.iter().collect();
                    // A host with both is reachable by IPv4; IPv6 that leads nowhere costs a time-out.
                    found.sort_by_key(IpAddr::is_ipv6);
                    found
                }
                Err(error) => {
                    tracing::debug!(host, %error, "no address");
                    Vec::new()
                }
            }
        })
    }

    fn srv<'a>(&'a self, name: &'a str) -> Looking<'a, SrvAnswer> {
        Box::pin(async move {
            if is_localhost(name) {
                return SrvAnswer::Records(Vec::new());
            }
            let Some(absolute) = absolute(name) else { return SrvAnswer::Records(Vec::new()) };
            match self.dns.lookup(absolute, RecordType::SRV).await {
                Ok(lookup) => {
                    SrvAnswer::Records(lookup.answers().iter().filter_map(|record| srv_of(&record.data)).collect())
                }
                Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                    if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
                {
                    SrvAnswer::Records(Vec::new())
                }
                Err(error) => {
                    tracing::debug!(name, %error, "a SRV look-up failed");
                    SrvAnswer::Failed
                }
            }
        })
    }
}

fn srv_of(data: &RData) -> Option<SrvRecord> {
    let RData::SRV(record) = data else { return None };
    Some(SrvRecord {
        priority: record.priority,
        weight: record.weight,
        port: record.port,
        target: record.target.to_ascii(),
    })
}

#[cfg(test)]
mod tests;
