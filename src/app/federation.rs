//! Wires what reaches other servers and what answers them.

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit};
use linkim_federation::SigningKey;

use super::{Base, StartError};
use crate::{
    api::{
        client::state::ClientState,
        federation,
        federation::{
            authentication::Authenticator,
            state::{FederationServices, FederationState},
        },
    },
    peers::{
        budgets::Budgets,
        client::PeerClient,
        events::EventChecker,
        https::{self, AddressRules, Https, Outgoing, Resolver, SystemResolver},
        keys::{Notary, OwnKeys, RemoteKeys},
        reachability::Reachability,
        serving::Serving,
    },
    rooms::server_acl::ServerAcls,
};

/// The services that reach other servers.
pub struct Peers {
    /// Requests of the server-server API. It refuses all where federation is off.
    pub client: Arc<PeerClient>,
    /// Which servers fail.
    pub reachability: Arc<Reachability>,
    /// Requests to any host, under the rules of `[outgoing]`.
    pub outgoing: Arc<Outgoing>,
    /// This server's keys.
    pub own_keys: Arc<OwnKeys>,
    /// Those of other servers.
    pub keys: Arc<RemoteKeys>,
    /// The first checks on events of other servers.
    pub events: Arc<EventChecker>,
}

impl Peers {
    /// Makes them, with the keys of the signing key file. Looks at the system's certificates, resolver and hosts file.
    pub(super) async fn new(base: &Base, keys: Vec<SigningKey>) -> Result<Self, StartError> {
        let Base { config, store, clock, random, .. } = base;
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
        let own_keys = OwnKeys::load(store, config.server_name.clone(), keys, clock.clone()).await?;
        let own_keys = Arc::new(own_keys);
        let client = PeerClient::new(config.clone(), own_keys.signing_key().clone(), Arc::new(transport));
        let client = Arc::new(client.telling(reachability.clone(), clock.clone()));
        let keys = RemoteKeys::new(config.clone(), own_keys.clone(), store.clone(), client.clone(), clock.clone());
        let keys = Arc::new(keys);
        let events = Arc::new(EventChecker::new(keys.clone()));
        Ok(Self { client, reachability, outgoing, own_keys, keys, events })
    }

    /// What the handlers of the server-server API call.
    pub(super) fn state(&self, base: &Base, client: &ClientState) -> FederationState {
        let serving = Serving::new(
            base.config.server_name.clone(),
            base.clock.clone(),
            base.store.clone(),
            Arc::new(ServerAcls::default()),
        );
        FederationState::new(FederationServices {
            config: base.config.clone(),
            random: base.random.clone(),
            media: client.media.clone(),
            sessions: client.sessions.clone(),
            profiles: client.profiles.clone(),
            aliases: client.aliases.clone(),
            directory: client.directory.clone(),
            hierarchy: client.hierarchy.clone(),
            serving: Arc::new(serving),
            key_queries: client.key_queries.clone(),
            key_claims: client.key_claims.clone(),
            peers: self.client.clone(),
            own_keys: self.own_keys.clone(),
            keys: self.keys.clone(),
            notary: Arc::new(Notary::new(self.keys.clone())),
            events: self.events.clone(),
            budgets: Arc::new(Budgets::new(base.config.rate_limits.enabled)),
            authenticator: Arc::new(Authenticator::new(
                base.config.clone(),
                self.keys.clone(),
                self.reachability.clone(),
            )),
        })
    }
}

/// The server-server API; nothing where federation is off. The extractor of signed requests bounds bodies: transactions
/// may be larger than what clients send.
pub(super) fn routes(state: Option<&FederationState>) -> Router {
    let Some(state) = state else { return Router::new() };
    federation::routes().layer(DefaultBodyLimit::disable()).with_state(state.clone())
}
