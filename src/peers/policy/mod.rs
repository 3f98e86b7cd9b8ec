//! Asks rooms' policy servers what they think of events: of those that come, as the last of the checks on receipt, and of ours,
//! before they are sent.
//!
//! Source: Server-Server API, "Policy Servers".

mod ask;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use linkim_federation::{Pdu, RoomVersionRules, rules};

use self::ask::Asking;
use super::{client::PeerClient, events::FEW, reachability::Reachability};
use crate::{
    clock::Clock,
    rooms::{
        append::Incoming,
        policy::{Countersigning, Countersigns, PolicyRefusal, PolicyServer, is_policy},
    },
    store::{Snapshot, Store, StoreError, ids::RoomKey, inbox},
};

/// Events of a batch about which a policy server is asked at once.
const AT_ONCE: usize = 8;

/// How long somebody waits for a signature, a repetition included.
const PATIENCE: Duration = Duration::from_secs(15);

/// Characters of the reason that is kept with an event at most.
const MAX_REASON: usize = 300;

/// Asks policy servers. Bounds: `ask` has them.
pub struct PolicyServers {
    store: Store,
    asking: Asking,
    reachability: Arc<Reachability>,
    clock: Arc<dyn Clock>,
}

/// What the current state says of some events, without anybody being asked.
enum Sifted {
    /// The room uses no policy server.
    NoPolicy(usize),
    /// This one: which of the events need a signature of it.
    Policy(PolicyServer, Vec<bool>),
}

impl PolicyServers {
    /// Asks through `client`.
    pub fn new(store: Store, client: Arc<PeerClient>, reachability: Arc<Reachability>, clock: Arc<dyn Clock>) -> Self {
        Self { store, asking: Asking::new(client), reachability, clock }
    }

    /// What the room's policy server says of events that came from other servers, in order, by the room's current state: one
    /// that it does not recommend is to be soft-failed, one that it signs now has its signature. Answers for as many of the
    /// first as the current state decides: at least one, and no more once one of them may change which policy server the room
    /// uses.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn judge(&self, room: &RoomKey, events: &[Arc<Pdu>]) -> Result<Vec<Incoming>, StoreError> {
        let Some(rules) = rules(&room.version) else {
            return Err(StoreError::Damaged(format!("room version {}", room.version)));
        };
        let (nid, given) = (room.nid, events.to_vec());
        let few = given.len() <= FEW;
        let sift = move |read: &Snapshot<'_>| {
            let named = PolicyServer::named_in(read, nid)?;
            let changes = given.iter().position(|pdu| PolicyServer::is_changed_by(named.as_ref(), pdu));
            let count = changes.map_or(given.len(), |at| at + 1);
            let policy = match named {
                Some(policy) if policy.is_in_use(read, nid)? => policy,
                _ => return Ok(Sifted::NoPolicy(count)),
            };
            let mut needed = Vec::with_capacity(count);
            for pdu in &given[..count] {
                let exempt = is_policy(pdu)
                    || inbox::known(read, pdu.event_id())?.is_some_and(|known| known.is_placed())
                    || policy.check(pdu, rules).is_ok();
                needed.push(!exempt);
            }
            Ok::<_, StoreError>(Sifted::Policy(policy, needed))
        };
        let sifted = if few { self.store.read_short(sift).await? } else { self.store.read(sift).await? };
        match sifted {
            Sifted::NoPolicy(count) => Ok(events[..count].iter().cloned().map(Incoming::new).collect()),
            Sifted::Policy(policy, needed) => {
                let policy = &policy;
                let judged = events.iter().cloned().zip(needed).map(|(pdu, needed)| async move {
                    match needed {
                        true => self.judge_one(policy, rules, pdu).await,
                        false => Incoming::new(pdu),
                    }
                });
                Ok(stream::iter(judged).buffered(AT_ONCE).collect().await)
            }
        }
    }

    /// "If the event still does not have a valid Policy Server signature, the event is *not* recommended": also where the
    /// policy server can't be reached.
    async fn judge_one(&self, policy: &PolicyServer, rules: &'static RoomVersionRules, pdu: Arc<Pdu>) -> Incoming {
        let signed = match self.reachability.may_try(&policy.server, self.clock.now_ms()) {
            Ok(()) => self.signed(policy, rules, &pdu).await,
            Err(_) => Err(PolicyRefusal::None {
                server: policy.server.clone(),
                reason: "it could not be reached of late".to_owned(),
            }),
        };
        match signed {
            Ok(signed) => Incoming::new(signed),
            Err(refusal) => {
                // It is stored with the event, and the policy server has a say in it.
                let reason: String = refusal.to_string().chars().take(MAX_REASON).collect();
                Incoming { soft_fail: Some(reason), ..Incoming::new(pdu) }
            }
        }
    }

    async fn signed(
        &self,
        policy: &PolicyServer,
        rules: &'static RoomVersionRules,
        pdu: &Arc<Pdu>,
    ) -> Result<Arc<Pdu>, PolicyRefusal> {
        let asked = tokio::time::timeout(PATIENCE, self.asking.signed(policy, rules, pdu)).await;
        let result = asked.unwrap_or_else(|_| {
            let reason = "it did not answer in time".to_owned();
            Err(PolicyRefusal::None { server: policy.server.clone(), reason })
        });
        let label = match &result {
            Ok(_) => "signed",
            Err(PolicyRefusal::Refused { .. }) => "refused",
            Err(PolicyRefusal::None { .. }) => "none",
        };
        metrics::counter!("linkim_policy_server_answers_total", "result" => label).increment(1);
        result
    }
}

impl Countersigns for PolicyServers {
    /// Whoever waits for this is not told that the policy server was down a while ago: it is asked anyway.
    fn countersign<'a>(
        &'a self,
        policy: &'a PolicyServer,
        rules: &'static RoomVersionRules,
        pdu: Arc<Pdu>,
    ) -> Countersigning<'a> {
        Box::pin(async move { self.signed(policy, rules, &pdu).await })
    }
}

#[cfg(test)]
mod tests;
