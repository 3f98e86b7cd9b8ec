//! The keys of other servers' users, for this server's clients.
//!
//! Source: Server-Server API, `POST /user/keys/query`, `POST /user/keys/claim`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use ruma::{CanonicalJsonObject, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    claim::{Claimed, Wanted},
    key_shapes::{check_device_keys, cross_signing_public_key, keep_own_signatures},
    query::{UserKeys, Viewed, user_keys},
    remote_lists::{MAX_DEVICES, RemoteLists, is_fresh},
};
use crate::{
    clock::Clock,
    peers::{
        client::{Call, PeerClient},
        reachability::Reachability,
    },
    store::{
        Store, StoreError,
        device_keys::Usage,
        device_lists,
        ids::{self, UserNid},
    },
};

/// How long other servers may take, where the client does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long they may take at most.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// Servers that are asked at once for one client.
const SERVERS_AT_ONCE: usize = 32;

/// Lists of one server that are fetched at once for one client.
const LISTS_AT_ONCE: usize = 8;

/// Why servers did not answer, by server.
pub type Failures = BTreeMap<OwnedServerName, String>;

/// The devices asked for, by user; none: all.
type Asked = BTreeMap<OwnedUserId, Vec<String>>;

/// Asks other servers.
pub struct RemoteQueries {
    store: Store,
    peers: Arc<PeerClient>,
    reachability: Arc<Reachability>,
    clock: Arc<dyn Clock>,
    lists: Arc<RemoteLists>,
}

/// The users of a query, by what is to be done.
#[derive(Default)]
struct Sorted {
    /// Whose lists we keep: how they stand here is the answer.
    followed: Asked,
    /// Of those: whose list is to be fetched first.
    stale: Vec<OwnedUserId>,
    /// Whose server is asked each time.
    others: Asked,
}

#[derive(Serialize)]
struct QueryBody<'a> {
    device_keys: &'a Asked,
}

#[derive(Deserialize)]
struct QueryAnswer {
    device_keys: BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonObject>>,
    #[serde(default)]
    master_keys: BTreeMap<OwnedUserId, CanonicalJsonObject>,
    #[serde(default)]
    self_signing_keys: BTreeMap<OwnedUserId, CanonicalJsonObject>,
}

#[derive(Serialize)]
struct ClaimBody<'a> {
    one_time_keys: &'a Wanted,
}

#[derive(Deserialize)]
struct ClaimAnswer {
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<String, BTreeMap<String, Box<RawValue>>>>,
}

/// Splits what is asked by the users' servers.
fn by_server<T>(asked: BTreeMap<OwnedUserId, T>) -> BTreeMap<OwnedServerName, BTreeMap<OwnedUserId, T>> {
    let mut out: BTreeMap<OwnedServerName, BTreeMap<OwnedUserId, T>> = BTreeMap::new();
    for (user, what) in asked {
        out.entry(user.server_name().to_owned()).or_default().insert(user, what);
    }
    out
}

impl RemoteQueries {
    /// `lists` keeps the lists of users that we share rooms with.
    pub fn new(
        store: Store,
        peers: Arc<PeerClient>,
        reachability: Arc<Reachability>,
        clock: Arc<dyn Clock>,
        lists: Arc<RemoteLists>,
    ) -> Self {
        Self { store, peers, reachability, clock, lists }
    }

    /// The keys of other servers' users as `viewer` may see them. A list that could not be fetched is answered as it was, and
    /// its server is named among the failures.
    pub async fn query(
        &self,
        viewer: UserNid,
        asked: Asked,
        timeout: Option<Duration>,
    ) -> Result<(BTreeMap<OwnedUserId, UserKeys>, Failures), StoreError> {
        let sorted = self.sorted(asked).await?;
        let mut failures = Failures::new();
        let mut out = BTreeMap::new();
        let stale = by_server(sorted.stale.into_iter().map(|user| (user, ())).collect());
        let others = by_server(sorted.others);
        let timeout = timeout.unwrap_or(TIMEOUT).min(MAX_TIMEOUT);
        let fetching = stream::iter(stale).map(async |(server, users)| {
            let all = stream::iter(users.into_keys()).map(async |user| self.lists.resync(&user).await);
            let all = all.buffer_unordered(LISTS_AT_ONCE).collect::<Vec<_>>();
            let failure = match tokio::time::timeout(timeout, all).await {
                Ok(ended) => ended.into_iter().find_map(Result::err).map(|error| error.to_string()),
                Err(_) => Some(format!("{server} did not answer in time")),
            };
            (server, failure)
        });
        let asking = stream::iter(others).map(async |(server, users)| {
            let answer = self.ask(&server, &users, timeout).await;
            (server, answer)
        });
        let (fetched, answers) = tokio::join!(
            fetching.buffer_unordered(SERVERS_AT_ONCE).collect::<Vec<_>>(),
            asking.buffer_unordered(SERVERS_AT_ONCE).collect::<Vec<_>>(),
        );
        for (server, failure) in fetched {
            failures.extend(failure.map(|failure| (server, failure)));
        }
        for (server, answer) in answers {
            match answer {
                Ok(keys) => out.extend(keys),
                Err(failure) => {
                    failures.insert(server, failure);
                }
            }
        }
        out.extend(self.kept(viewer, sorted.followed).await?);
        Ok((out, failures))
    }

    async fn sorted(&self, asked: Asked) -> Result<Sorted, StoreError> {
        self.store
            .read(move |read| {
                let mut out = Sorted::default();
                for (user_id, devices) in asked {
                    let user = ids::user_nid(read, &user_id)?;
                    let followed = match user {
                        Some(user) => device_lists::is_followed(read, user)?.then_some(user),
                        None => None,
                    };
                    let Some(user) = followed else {
                        out.others.insert(user_id, devices);
                        continue;
                    };
                    let list = device_lists::remote_list(read, user)?;
                    let fresh = match &list {
                        Some(list) => is_fresh(read, user, list)?,
                        None => false,
                    };
                    if !fresh {
                        out.stale.push(user_id.clone());
                    }
                    out.followed.insert(user_id, devices);
                }
                Ok(out)
            })
            .await
    }

    /// What is here of the users whose lists we keep; those of whom nothing was ever fetched are left out.
    async fn kept(&self, viewer: UserNid, asked: Asked) -> Result<BTreeMap<OwnedUserId, UserKeys>, StoreError> {
        self.store
            .read(move |read| {
                let mut out = BTreeMap::new();
                for (user_id, devices) in asked {
                    let Some(user) = ids::user_nid(read, &user_id)? else { continue };
                    if device_lists::remote_list(read, user)?.is_some() {
                        let keys = user_keys(read, Viewed::By(viewer), (user, &user_id), &devices)?;
                        out.insert(user_id, keys);
                    }
                }
                Ok(out)
            })
            .await
    }

    /// Asks a server for the keys of users whose lists we do not keep.
    async fn ask(
        &self,
        server: &ServerName,
        asked: &Asked,
        timeout: Duration,
    ) -> Result<BTreeMap<OwnedUserId, UserKeys>, String> {
        self.may_try(server)?;
        let body = serde_json::to_vec(&QueryBody { device_keys: asked }).map_err(|error| error.to_string())?;
        let call = Call::post("/_matrix/federation/v1/user/keys/query", body).timeout(timeout);
        let answer: QueryAnswer = self.peers.json(server, call).await.map_err(|error| error.to_string())?;
        Ok(accepted(answer, asked))
    }

    /// Takes one-time keys of other servers' devices. What a server does not answer in time is lost: it is not asked twice.
    pub async fn claim(&self, wanted: Wanted, timeout: Option<Duration>) -> (Claimed, Failures) {
        let timeout = timeout.unwrap_or(TIMEOUT).min(MAX_TIMEOUT);
        let asking = stream::iter(by_server(wanted)).map(async |(server, wanted)| {
            let answer = self.ask_claim(&server, &wanted, timeout).await;
            (server, answer)
        });
        let (mut claimed, mut failures) = (Claimed::new(), Failures::new());
        for (server, answer) in asking.buffer_unordered(SERVERS_AT_ONCE).collect::<Vec<_>>().await {
            match answer {
                Ok(keys) => claimed.extend(keys),
                Err(failure) => {
                    failures.insert(server, failure);
                }
            }
        }
        (claimed, failures)
    }

    async fn ask_claim(&self, server: &ServerName, wanted: &Wanted, timeout: Duration) -> Result<Claimed, String> {
        self.may_try(server)?;
        let body = serde_json::to_vec(&ClaimBody { one_time_keys: wanted }).map_err(|error| error.to_string())?;
        let call = Call::post("/_matrix/federation/v1/user/keys/claim", body).timeout(timeout);
        let answer: ClaimAnswer = self.peers.json(server, call).await.map_err(|error| error.to_string())?;
        let mut claimed = answer.one_time_keys;
        // Nothing that was not asked for.
        claimed.retain(|user, _| wanted.contains_key(user));
        for (user, devices) in &mut claimed {
            devices.retain(|device, _| wanted.get(user).is_some_and(|wanted| wanted.contains_key(device)));
        }
        Ok(claimed)
    }

    /// A server that failed of late is not waited for: the client asks for failures again by itself.
    fn may_try(&self, server: &ServerName) -> Result<(), String> {
        let tried = self.reachability.may_try(server, self.clock.now_ms());
        tried.map_err(|_| format!("{server} has not answered of late"))
    }
}

/// What of an answer was asked for and is what the spec says.
fn accepted(answer: QueryAnswer, asked: &Asked) -> BTreeMap<OwnedUserId, UserKeys> {
    let cross = |user: &UserId, usage, key: Option<CanonicalJsonObject>| {
        key.filter(|key| cross_signing_public_key(key, user, usage).is_ok()).map(|key| keep_own_signatures(key, user))
    };
    let (mut masters, mut self_signing) = (answer.master_keys, answer.self_signing_keys);
    let mut out = BTreeMap::new();
    for (user, devices) in answer.device_keys {
        if !asked.contains_key(&user) || devices.len() > MAX_DEVICES {
            continue;
        }
        let mut keys = UserKeys {
            master: cross(&user, Usage::Master, masters.remove(&user)),
            self_signing: cross(&user, Usage::SelfSigning, self_signing.remove(&user)),
            ..UserKeys::default()
        };
        for (device_id, device) in devices {
            let unsigned = device.get("unsigned").cloned();
            let mut device = keep_own_signatures(device, &user);
            if check_device_keys(&device, &user, &device_id).is_ok() {
                device.extend(unsigned.map(|unsigned| ("unsigned".to_owned(), unsigned)));
                keys.devices.insert(device_id, device);
            }
        }
        out.insert(user, keys);
    }
    out
}
