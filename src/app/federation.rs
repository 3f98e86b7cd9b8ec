//! Wires what reaches other servers and what answers them.

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit};
use linkim_federation::SigningKey;

use super::{Base, StartError, encryption::Encryption, memberships::Memberships};
use crate::{
    api::{
        client::state::ClientState,
        federation,
        federation::{
            authentication::Authenticator,
            state::{FederationServices, FederationState},
        },
    },
    crypto::{DeviceListUpdates, DirectToDevice, OwedKeys, SigningKeyUpdates},
    peers::{
        backfill::{self, Backfill},
        budgets::Budgets,
        client::PeerClient,
        events::EventChecker,
        https::{self, AddressRules, Https, Outgoing, Resolver, SystemResolver},
        inbox::{
            self, Bounds, Inbox,
            acl::RoomPolicy,
            edus::{Edus, receipts::ReceiptEdus, typing::TypingEdus},
        },
        joining::Filling,
        keys::{Notary, OwnKeys, RemoteKeys},
        missing::Missing,
        policy::PolicyServers,
        presence::{PresenceEdus, PresenceOnArrival, PresenceToServers},
        reachability::Reachability,
        sender::{self, Sender},
        serving::Serving,
        transport::Transport,
    },
    rooms::{remote_receipts::RemoteReceipts, server_acl::ServerAcls, typing::Typing},
    store::StoreError,
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
    /// Fetches what others have and we lack.
    pub missing: Arc<Missing>,
    /// What rooms' policy servers say.
    pub policy: Arc<PolicyServers>,
    /// Which servers may take part in a room.
    pub acls: Arc<ServerAcls>,
    /// What they are owed.
    pub sender: Arc<Sender>,
    /// How far their users have read.
    pub receipts: Arc<RemoteReceipts>,
}

impl Peers {
    /// Makes them, with the keys of the signing key file. Looks at the system's certificates, resolver and hosts file.
    /// Without a `transport`, other servers are reached over HTTPS.
    pub(super) async fn new(
        base: &Base,
        keys: Vec<SigningKey>,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Self, StartError> {
        let Base { config, store, clock, random, appenders, .. } = base;
        let tls = https::client_config(&config.outgoing)?;
        let rules = Arc::new(AddressRules::new(&config.outgoing));
        let resolver = SystemResolver::new().map_err(|error| StartError::Outgoing(error.to_string()))?;
        let resolver: Arc<dyn Resolver> = Arc::new(resolver);
        let outgoing = Outgoing::new(resolver.clone(), rules.clone(), tls.clone());
        let outgoing = Arc::new(outgoing.map_err(|error| StartError::Outgoing(error.to_string()))?);
        let https = Https::new(https::Parts {
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
        let client = PeerClient::new(
            config.clone(),
            own_keys.signing_key().clone(),
            transport.unwrap_or_else(|| Arc::new(https)),
        );
        let client = Arc::new(client.telling(reachability.clone(), clock.clone()));
        let keys = RemoteKeys::new(config.clone(), own_keys.clone(), store.clone(), client.clone(), clock.clone());
        let keys = Arc::new(keys);
        let events = Arc::new(EventChecker::new(keys.clone()));
        let missing = Arc::new(Missing::new(store.clone(), appenders.clone(), events.clone(), client.clone()));
        let policy = PolicyServers::new(store.clone(), client.clone(), reachability.clone(), clock.clone());
        let policy = Arc::new(policy.with_rules(vec![base.group_rules.clone()]));
        appenders.countersign_with(policy.clone());
        let acls = Arc::<ServerAcls>::default();
        let sender = Sender::load(sender::Parts {
            config: config.clone(),
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            client: client.clone(),
            reachability: reachability.clone(),
            notes: base.sender_notes.clone(),
            edus: Arc::new(OwedKeys),
        });
        let sender = Arc::new(sender.await?);
        let receipts = Arc::new(RemoteReceipts::new(store.clone(), appenders.clone(), base.notifier.clone()));
        Ok(Self { client, reachability, outgoing, own_keys, keys, events, missing, policy, acls, sender, receipts })
    }

    /// Takes up what other servers sent.
    async fn inbox(&self, base: &Base, typing: &Arc<Typing>, encryption: &Encryption) -> Result<Inbox, StoreError> {
        let Base { config, store, clock, notifier, appenders, .. } = base;
        let receipts = self.receipts.clone();
        let policy = Arc::new(RoomPolicy::new(store.clone(), self.acls.clone()));
        let Encryption { lists, remote_lists, .. } = encryption;
        let name = config.server_name.clone();
        let direct = DirectToDevice::new(store.clone(), clock.clone(), notifier.clone(), name);
        let updates = DeviceListUpdates::new(store.clone(), lists.clone(), remote_lists.clone());
        let presence = PresenceEdus::new(store.clone(), base.presence.clone());
        let edus = Edus::default()
            .with("m.direct_to_device", Arc::new(direct))
            .with("m.device_list_update", Arc::new(updates))
            .with("m.signing_key_update", Arc::new(SigningKeyUpdates::new(store.clone(), lists.clone())))
            .with("m.presence", Arc::new(presence))
            .with("m.typing", Arc::new(TypingEdus::new(typing.clone(), policy.clone())))
            .with("m.receipt", Arc::new(ReceiptEdus::new(receipts.clone(), policy)));
        Inbox::start(inbox::Parts {
            server_name: config.server_name.clone(),
            store: store.clone(),
            appenders: appenders.clone(),
            checker: self.events.clone(),
            missing: self.missing.clone(),
            reachability: self.reachability.clone(),
            receipts,
            acls: self.acls.clone(),
            policy: self.policy.clone(),
            edus,
            bounds: Bounds::default(),
            clock: clock.clone(),
        })
        .await
    }

    /// Has other servers told who of ours is online.
    fn tell_presence(&self, base: &Base) {
        base.presence.tell_servers(Arc::new(PresenceToServers::new(self.sender.clone())));
        self.sender.tell_arrivals(Arc::new(PresenceOnArrival(base.presence.clone())));
    }

    /// What fetches history.
    pub(super) fn backfill(&self, base: &Base, filling: Arc<Filling>) -> Backfill {
        Backfill::new(backfill::Parts {
            own: base.config.server_name.clone(),
            store: base.store.clone(),
            appenders: base.appenders.clone(),
            peers: self.client.clone(),
            checker: self.events.clone(),
            missing: self.missing.clone(),
            reachability: self.reachability.clone(),
            receipts: self.receipts.clone(),
            filling,
            clock: base.clock.clone(),
        })
    }

    /// What the handlers of the server-server API call.
    pub(super) async fn state(
        &self,
        base: &Base,
        client: &ClientState,
        encryption: &Encryption,
        memberships: &Memberships,
    ) -> Result<FederationState, StoreError> {
        self.tell_presence(base);
        let inbox = Arc::new(self.inbox(base, &client.typing, encryption).await?);
        memberships.joining.keeping_in(inbox.clone());
        let serving =
            Serving::new(base.config.server_name.clone(), base.clock.clone(), base.store.clone(), self.acls.clone());
        Ok(FederationState::new(FederationServices {
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
            hosting: memberships.hosting.clone(),
            authenticator: Arc::new(Authenticator::new(
                base.config.clone(),
                self.keys.clone(),
                self.reachability.clone(),
            )),
            inbox,
            missing: self.missing.clone(),
            acls: self.acls.clone(),
        }))
    }
}

/// The server-server API; nothing where federation is off. The extractor of signed requests bounds bodies: transactions
/// may be larger than what clients send.
pub(super) fn routes(state: Option<&FederationState>) -> Router {
    let Some(state) = state else { return Router::new() };
    federation::routes().layer(DefaultBodyLimit::disable()).with_state(state.clone())
}
