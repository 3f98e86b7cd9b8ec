//! Wires verification codes and what is proved by them.

use std::sync::Arc;

use super::{Base, Peers, StartError};
use crate::accounts::{Codes, Delivery, InvitationCodes, ThirdPartyIds, TokenRequests};

/// What proves who somebody is, beside passwords.
pub(super) struct Verification {
    pub(super) codes: Arc<Codes>,
    pub(super) third_party_ids: Arc<ThirdPartyIds>,
    pub(super) token_requests: Arc<TokenRequests>,
    pub(super) invitations: Arc<InvitationCodes>,
}

impl Verification {
    /// Makes the services.
    pub(super) async fn new(base: &Base, peers: &Peers) -> Result<Self, StartError> {
        let Base { config, store, clock, random, .. } = base;
        let delivery = Arc::new(Delivery::new(config, peers.outgoing.clone(), clock.clone())?);
        let limited = config.rate_limits.enabled;
        let codes = Codes::load(store.clone(), clock.clone(), random.clone(), delivery, limited);
        let codes = Arc::new(codes.await?);
        Ok(Self {
            third_party_ids: Arc::new(ThirdPartyIds::new(store.clone(), clock.clone(), codes.clone())),
            token_requests: Arc::new(TokenRequests::new(store.clone(), clock.clone(), random.clone(), codes.clone())),
            invitations: Arc::new(InvitationCodes::new(store.clone(), clock.clone(), random.clone())),
            codes,
        })
    }
}
