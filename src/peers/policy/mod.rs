//! Asks rooms' policy servers what they think of events: of those that come, as the last of the checks on receipt, and of ours,
//! before they are sent. What this server's own rules do not take of those that come is judged in the same place.
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
        receive_rules::ReceiveRule,
    },
    store::{Snapshot, Store, StoreError, ids, ids::RoomKey, inbox},
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
    rules: Vec<Arc<dyn ReceiveRule>>,
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
        Self { store, asking: Asking::new(client), reachability, clock, rules: Vec::new() }
    }

    /// With rules of this server's own.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<Arc<dyn ReceiveRule>>) -> Self {
        self.rules = rules;
        self
    }

    /// What the room's policy server and this server's own rules say of events that came from other servers, in order, by the
    /// room's current state: one that is not recommended is to be soft-failed, one that the policy server signs now has its
    /// signature. Answers for as many of the first as the current state decides: at least one, and no more once one of them may
    /// change which policy server the room uses, or by what the rules decide.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn judge(&self, room: &RoomKey, events: &[Arc<Pdu>]) -> Result<Vec<Incoming>, StoreError> {
        let rules = self.rules_of(room);
        let events = &events[..first_apart(&rules, events)];
        let judged = self.recommended(room, events).await?;
        self.by_own_rules(room, rules, judged).await
    }

    /// As [`Self::judge`], in a room that names no policy server: nobody is asked.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn judge_unasked(&self, room: &RoomKey, events: &[Arc<Pdu>]) -> Result<Vec<Incoming>, StoreError> {
        let rules = self.rules_of(room);
        let events = &events[..first_apart(&rules, events)];
        self.by_own_rules(room, rules, events.iter().cloned().map(Incoming::new).collect()).await
    }

    fn rules_of(&self, room: &RoomKey) -> Vec<Arc<dyn ReceiveRule>> {
        self.rules.iter().filter(|rule| rule.concerns(room)).cloned().collect()
    }

    async fn by_own_rules(
        &self,
        room: &RoomKey,
        rules: Vec<Arc<dyn ReceiveRule>>,
        mut judged: Vec<Incoming>,
    ) -> Result<Vec<Incoming>, StoreError> {
        if rules.is_empty() {
            return Ok(judged);
        }
        let (nid, given) = (room.nid, judged.iter().map(|incoming| incoming.pdu.clone()).collect::<Vec<_>>());
        let refused = move |read: &Snapshot<'_>| {
            let of = ids::room_by_nid(read, nid)?;
            let refused = |pdu: &Arc<Pdu>| -> Result<Option<String>, StoreError> {
                for rule in &rules {
                    if let Some(reason) = rule.check(read, &of, pdu)? {
                        return Ok(Some(reason));
                    }
                }
                Ok(None)
            };
            given.iter().map(refused).collect::<Result<Vec<_>, StoreError>>()
        };
        let refused =
            if judged.len() <= FEW { self.store.read_short(refused).await? } else { self.store.read(refused).await? };
        for (incoming, reason) in judged.iter_mut().zip(refused) {
            incoming.soft_fail = incoming.soft_fail.take().or(reason);
        }
        Ok(judged)
    }

    /// What the room's policy server says.
    async fn recommended(&self, room: &RoomKey, events: &[Arc<Pdu>]) -> Result<Vec<Incoming>, StoreError> {
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

/// How many of the first of these events can be judged at once.
fn first_apart(rules: &[Arc<dyn ReceiveRule>], events: &[Arc<Pdu>]) -> usize {
    let apart = events.iter().position(|pdu| rules.iter().any(|rule| rule.stands_apart(pdu)));
    apart.map_or(events.len(), |at| at.max(1))
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
