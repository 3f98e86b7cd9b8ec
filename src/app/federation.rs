//! Wires what reaches other servers and what answers them.

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit};
use linkim_federation::SigningKey;

use super::{Base, StartError};
use crate::{
    api::{
        federation,
        federation::state::{FederationServices, FederationState},
    },
    peers::{
        client::PeerClient,
        https::{self, AddressRules, Https, Outgoing, Resolver, SystemResolver},
        reachability::Reachability,
    },
};

/// The services that reach other servers.
pub struct Peers {
    /// Requests of the server-server API. It refuses all where federation is off.
    pub client: Arc<PeerClient>,
    /// Which servers fail.
    pub reachability: Arc<Reachability>,
    /// Requests to any host, under the rules of `[outgoing]`.
    pub outgoing: Arc<Outgoing>,
}

impl Peers {
    /// Makes them. Looks at the system's certificates, resolver and hosts file.
    pub(super) fn new(base: &Base, key: SigningKey) -> Result<Self, StartError> {
        let Base { config, clock, random, .. } = base;
        let tls = https::client_config(&config.outgoing)?;
        let rules = Arc::new(AddressRules::new(&config.outgoing));
        let resolver = SystemResolver::new().map_err(|error| StartError::Outgoing(error.to_string()))?;
        let resolver: Arc<dyn Resolver> = Arc::new(resolver);
        let outgoing = Outgoing::new(resolver.clone(), rules.clone(), tls.clone());
        let outgoing = Arc::new(outgoing.map_err(|error| StartError::Outgoing(error.to_string()))?);
        let transport = Https::new(https::Parts {
            resolver,
            outgoing: outgoing.clone(),
            rules,
            tls,
            clock: clock.clone(),
            random: random.clone(),
        });
        let reachability = Arc::new(Reachability::new(config.federation.backoff_max, random.clone()));
        let client = PeerClient::new(config.clone(), key, Arc::new(transport));
        let client = Arc::new(client.telling(reachability.clone(), clock.clone()));
        Ok(Self { client, reachability, outgoing })
    }

    /// What the handlers of the server-server API call.
    pub(super) fn state(&self, base: &Base) -> FederationState {
        FederationState::new(FederationServices { config: base.config.clone(), peers: self.client.clone() })
    }
}

/// The server-server API; nothing where federation is off. The extractor of signed requests bounds bodies: transactions
/// may be larger than what clients send.
pub(super) fn routes(state: Option<&FederationState>) -> Router {
    let Some(state) = state else { return Router::new() };
    federation::routes().layer(DefaultBodyLimit::disable()).with_state(state.clone())
}
