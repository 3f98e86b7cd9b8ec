//! The first checks on events that other servers send: what can be said of an event by itself.
//!
//! Source: Server-Server API, "Checks performed on receipt of a PDU", steps 1 to 3.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use linkim_federation::{
    Pdu, PublicKeyMap, RoomVersionRules, Verified, VerifyError, redact, required_servers, verify_event,
};
use ruma::OwnedServerName;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::keys::{Keyring, RemoteKeys, Wanted};

/// Events that one thread verifies before it makes room for another batch: about 20 ms.
const CHUNK: usize = 64;

/// So few events are checked where they are wanted: two times 0.1 ms, where handing them to other threads and back costs more.
pub const FEW: usize = 4;

/// Key identifiers of one server that an event's signatures may claim; the rest is passed over. Servers have one or two.
const MAX_KEY_IDS: usize = 16;

/// Why an event is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventProblem {
    /// It is not an event of its room's version, or is too large.
    #[error("{0}")]
    Malformed(String),
    /// It may be right, but the keys of this server could not be had.
    #[error("no key of {0} to verify it with")]
    NoKey(OwnedServerName),
    /// A server that must have signed it has not.
    #[error("{0}")]
    BadSignature(String),
}

/// Checks events by themselves.
pub struct EventChecker {
    keys: Arc<RemoteKeys>,
    /// As many as there are cores: a join of a large room is not to take all threads for itself.
    cores: Arc<Semaphore>,
}

/// An event, and whose signatures on it are to be verified.
struct Unverified {
    pdu: Pdu,
    wanted: Vec<Wanted>,
}

impl Unverified {
    /// The keys that its signatures may be made with.
    fn keys(&self, ring: &Keyring, rules: &RoomVersionRules) -> PublicKeyMap {
        let keys_of = |wanted: &Wanted| {
            let keys = ring.keys_at(&wanted.server, wanted.origin_server_ts, rules);
            (wanted.server.to_string(), keys)
        };
        self.wanted.iter().map(keys_of).collect()
    }
}

impl EventChecker {
    /// Verifies with these keys.
    pub fn new(keys: Arc<RemoteKeys>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { keys, cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Checks size and format, the signatures of all servers that must have signed, and the content hash; an event whose hash
    /// does not hold is answered redacted. One answer an event, in order. Keys that are not known are asked for, for a minute
    /// at most.
    pub async fn check(
        &self,
        rules: &'static RoomVersionRules,
        events: Vec<Box<RawValue>>,
    ) -> Vec<Result<Arc<Pdu>, EventProblem>> {
        let read = self.spread(events, Arc::new(move |event: Box<RawValue>| read(&event, rules))).await;
        let wanted: Vec<Wanted> = read.iter().flatten().flat_map(|event| event.wanted.iter().cloned()).collect();
        let ring = Arc::new(self.keys.ring(&wanted, rules).await);
        let verify = move |event: Result<Unverified, EventProblem>| event.and_then(|event| verify(event, &ring, rules));
        self.spread(read, Arc::new(verify)).await
    }

    /// As [`Self::check`] for a few events that were read before, with the keys that are known: None where one does not pass
    /// whole, or a server would have to be asked for its keys.
    pub async fn check_at_once(&self, rules: &RoomVersionRules, events: Vec<Pdu>) -> Option<Vec<Arc<Pdu>>> {
        let read: Option<Vec<Unverified>> = events.into_iter().map(|pdu| unverified(pdu, rules).ok()).collect();
        let read = read?;
        let wanted: Vec<Wanted> = read.iter().flat_map(|event| event.wanted.iter().cloned()).collect();
        let ring = self.keys.ring_at_hand(&wanted, rules).await?;
        let verify = |event: Unverified| match verify_event(&event.pdu, &event.keys(&ring, rules), rules) {
            Ok(Verified::All) => Some(Arc::new(event.pdu)),
            Ok(Verified::SignaturesOnly) | Err(_) => None,
        };
        read.into_iter().map(verify).collect()
    }

    /// Does something with each item; the answers are in order. Where they are many, off the async threads and on all cores.
    async fn spread<T, O>(&self, items: Vec<T>, each: Arc<dyn Fn(T) -> O + Send + Sync>) -> Vec<O>
    where
        T: Send + 'static,
        O: Send + 'static,
    {
        if items.len() <= FEW {
            return items.into_iter().map(|item| each(item)).collect();
        }
        let mut items = items.into_iter();
        let mut chunks = Vec::new();
        loop {
            let chunk: Vec<T> = items.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let (each, cores) = (each.clone(), self.cores.clone());
            chunks.push(tokio::spawn(async move {
                let _core = cores.acquire_owned().await;
                tokio::task::spawn_blocking(move || chunk.into_iter().map(|item| each(item)).collect::<Vec<O>>()).await
            }));
        }
        let mut out = Vec::new();
        for chunk in chunks {
            match chunk.await.and_then(|done| done) {
                Ok(done) => out.extend(done),
                Err(error) => match error.try_into_panic() {
                    // A panic fails who asked, nobody else.
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is ending.
                    Err(_) => std::future::pending().await,
                },
            }
        }
        out
    }
}

fn read(event: &RawValue, rules: &RoomVersionRules) -> Result<Unverified, EventProblem> {
    let pdu = Pdu::from_peer(event.get().as_bytes(), rules);
    unverified(pdu.map_err(|error| EventProblem::Malformed(error.to_string()))?, rules)
}

fn unverified(pdu: Pdu, rules: &RoomVersionRules) -> Result<Unverified, EventProblem> {
    let servers = required_servers(&pdu, rules).map_err(|error| EventProblem::Malformed(error.to_string()))?;
    let wanted = wanted(&pdu, servers);
    Ok(Unverified { pdu, wanted })
}

#[derive(Deserialize)]
struct Signed<'e> {
    #[serde(borrow, default)]
    signatures: BTreeMap<Cow<'e, str>, &'e RawValue>,
}

/// The signatures that an event must have. What of them is malformed is left out; verifying it will fail.
fn wanted(pdu: &Pdu, servers: BTreeSet<OwnedServerName>) -> Vec<Wanted> {
    let signed: Option<Signed<'_>> = serde_json::from_str(pdu.json()).ok();
    let key_ids = |server: &OwnedServerName| {
        let of_server = signed.as_ref()?.signatures.get(server.as_str())?;
        let of_server: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(of_server.get()).ok()?;
        Some(of_server.into_keys().take(MAX_KEY_IDS).map(Cow::into_owned).collect())
    };
    let wanted = |server: OwnedServerName| Wanted {
        key_ids: key_ids(&server).unwrap_or_default(),
        server,
        origin_server_ts: pdu.origin_server_ts(),
    };
    servers.into_iter().map(wanted).collect()
}

fn verify(event: Unverified, ring: &Keyring, rules: &RoomVersionRules) -> Result<Arc<Pdu>, EventProblem> {
    let keys = event.keys(ring, rules);
    let Unverified { pdu, wanted } = event;
    match verify_event(&pdu, &keys, rules) {
        Ok(Verified::All) => Ok(Arc::new(pdu)),
        Ok(Verified::SignaturesOnly) => Ok(Arc::new(redact(&pdu, rules))),
        Err(error) => Err(problem(error, &wanted, ring)),
    }
}

fn problem(error: VerifyError, wanted: &[Wanted], ring: &Keyring) -> EventProblem {
    let VerifyError::UnknownKey(server) = &error else {
        return match error {
            VerifyError::Malformed(what) => EventProblem::Malformed(what.to_owned()),
            error => EventProblem::BadSignature(error.to_string()),
        };
    };
    match wanted.iter().find(|wanted| wanted.server == server.as_str()) {
        Some(wanted) if ring.had_expired(&wanted.server, &wanted.key_ids, wanted.origin_server_ts) => {
            EventProblem::BadSignature(format!("{server} had stopped using the key before"))
        }
        Some(wanted) => EventProblem::NoKey(wanted.server.clone()),
        None => EventProblem::BadSignature(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
