//! Wires who is in which room: here, and across servers.

use std::sync::Arc;

use super::{Base, Peers};
use crate::{
    peers::{
        directory::RemoteDirectory,
        drafts::Signatory,
        handshake::Handshake,
        hosting::Hosting,
        inviting::Inviting,
        joining::{Filling, FillingParts, Joining},
        knocking::Knocking,
        leaving::Leaving,
        whereabouts::Whereabouts,
    },
    rooms::membership::Membership,
};

/// The services that change memberships.
pub(super) struct Memberships {
    pub(super) membership: Arc<Membership>,
    pub(super) joining: Arc<Joining>,
    pub(super) filling: Arc<Filling>,
    pub(super) knocking: Arc<Knocking>,
    pub(super) leaving: Arc<Leaving>,
    pub(super) hosting: Arc<Hosting>,
    /// Aliases of other servers.
    pub(super) directory: Arc<RemoteDirectory>,
}

impl Memberships {
    /// Makes them.
    pub(super) fn new(base: &Base, peers: &Peers) -> Self {
        let Base { config, store, clock, random, appenders, group_rules, .. } = base;
        let own = &config.server_name;
        let signatory = Signatory {
            server_name: own.clone(),
            key: peers.own_keys.signing_key().clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let (client, checker) = (&peers.client, &peers.events);
        let inviting = Arc::new(Inviting::new(
            store.clone(),
            appenders.clone(),
            client.clone(),
            peers.keys.clone(),
            peers.policy.clone(),
            signatory.clone(),
        ));
        let mut membership = Membership::new(store.clone(), appenders.clone(), own.clone())
            .with_rules(vec![group_rules.clone()])
            .inviting_by(base.contact_rules.clone());
        if config.federation.enabled {
            membership = membership.inviting_elsewhere(inviting.clone()).telling_elsewhere(peers.sender.clone());
        }
        let membership = Arc::new(membership);
        let directory = Arc::new(RemoteDirectory::new(client.clone()));
        let handshake = Arc::new(Handshake::new(client.clone(), signatory.clone()));
        let whereabouts = Arc::new(Whereabouts::new(store.clone(), membership.clone(), directory.clone(), own.clone()));
        let filling = Arc::new(Filling::new(FillingParts {
            store: store.clone(),
            appenders: appenders.clone(),
            missing: peers.missing.clone(),
            reachability: peers.reachability.clone(),
            clock: clock.clone(),
        }));
        Self {
            joining: Arc::new(Joining::new(
                membership.clone(),
                appenders.clone(),
                handshake.clone(),
                whereabouts.clone(),
                checker.clone(),
                filling.clone(),
            )),
            filling,
            knocking: Arc::new(Knocking::new(
                store.clone(),
                membership.clone(),
                appenders.clone(),
                handshake.clone(),
                whereabouts.clone(),
                checker.clone(),
            )),
            leaving: Arc::new(Leaving::new(
                store.clone(),
                membership.clone(),
                appenders.clone(),
                handshake,
                whereabouts,
            )),
            hosting: Arc::new(
                Hosting::new(
                    store.clone(),
                    appenders.clone(),
                    checker.clone(),
                    peers.acls.clone(),
                    peers.policy.clone(),
                    inviting,
                    signatory,
                )
                .inviting_by(base.contact_rules.clone()),
            ),
            membership,
            directory,
        }
    }
}
