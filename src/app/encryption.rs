//! Wires what end-to-end encryption needs of a server.

use std::sync::Arc;

use super::{Base, federation::Peers};
use crate::crypto::{
    CrossSigning, DeviceLists, KeyBackups, KeyClaims, KeyCounts, KeyQueries, KeyUploads, RemoteLists, RemoteQueries,
    Signatures, ToDevice,
};

/// The services.
pub(super) struct Encryption {
    pub(super) lists: Arc<DeviceLists>,
    pub(super) counts: Arc<KeyCounts>,
    pub(super) uploads: Arc<KeyUploads>,
    pub(super) queries: Arc<KeyQueries>,
    pub(super) claims: Arc<KeyClaims>,
    pub(super) cross_signing: Arc<CrossSigning>,
    pub(super) signatures: Arc<Signatures>,
    pub(super) to_device: Arc<ToDevice>,
    pub(super) backups: Arc<KeyBackups>,
    pub(super) remote_lists: Arc<RemoteLists>,
    pub(super) remote_queries: Arc<RemoteQueries>,
}

impl Encryption {
    pub(super) fn new(base: &Base, peers: &Peers) -> Self {
        let Base { config, store, clock, random, notifier, .. } = base;
        let (client, reachability) = (&peers.client, &peers.reachability);
        let lists = Arc::new(DeviceLists::new(notifier.clone()));
        lists.tell_peers(base.sender_notes.clone());
        let counts = Arc::<KeyCounts>::default();
        let remote_lists = Arc::new(RemoteLists::new(
            store.clone(),
            client.clone(),
            reachability.clone(),
            clock.clone(),
            lists.clone(),
        ));
        Self {
            uploads: Arc::new(KeyUploads::new(store.clone(), lists.clone(), counts.clone())),
            queries: Arc::new(KeyQueries::new(store.clone())),
            claims: Arc::new(KeyClaims::new(store.clone(), counts.clone())),
            cross_signing: Arc::new(CrossSigning::new(store.clone(), lists.clone())),
            signatures: Arc::new(Signatures::new(store.clone(), lists.clone())),
            to_device: Arc::new(ToDevice::new(
                store.clone(),
                clock.clone(),
                random.clone(),
                notifier.clone(),
                peers.sender.clone(),
                config.server_name.clone(),
            )),
            backups: Arc::new(KeyBackups::new(store.clone())),
            remote_queries: Arc::new(RemoteQueries::new(
                store.clone(),
                client.clone(),
                reachability.clone(),
                clock.clone(),
                remote_lists.clone(),
            )),
            remote_lists,
            lists,
            counts,
        }
    }
}
