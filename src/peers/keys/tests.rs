//! What tests of identity share, a network of servers that can lie, and the tests of remote keys.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Body;
use bytes::Bytes;
use linkim_federation::{
    SigningKey, rules,
    server_keys::{KeyDocument, KeyQuery, OldVerifyKey, build_key_document, notary_response, parse_notary_response},
};
use ruma::{OwnedServerName, RoomVersionId, ServerName, owned_server_name, server_name};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    accounts::tests::FakeClock,
    peers::transport::{Sending, Transport, TransportError},
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

type Answer = dyn Fn(&http::Request<Bytes>) -> String + Send + Sync;

/// Servers that answer for keys.
pub(crate) struct Network {
    servers: Mutex<HashMap<OwnedServerName, Arc<Answer>>>,
    asked: Mutex<Vec<OwnedServerName>>,
    /// server_a() permit for each answer.
    pub(crate) gate: Semaphore,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Network {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            servers: Mutex::default(),
            asked: Mutex::default(),
            gate: Semaphore::new(1_000_000),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    pub(crate) fn put(
        &self,
        server: &ServerName,
        answer: impl Fn(&http::Request<Bytes>) -> String + Send + Sync + 'static,
    ) {
        self.servers.lock().unwrap().insert(server.to_owned(), Arc::new(answer));
    }

    /// The server publishes this from now on.
    pub(crate) fn publish(&self, document: KeyDocument) {
        let server = document.server_name().to_owned();
        self.put(&server, move |request| {
            assert_eq!(request.uri(), "/_matrix/key/v2/server");
            assert!(request.headers().get("authorization").is_none());
            document.json().to_owned()
        });
    }

    pub(crate) fn down(&self, server: &ServerName) {
        self.servers.lock().unwrap().remove(server);
    }

    /// How often a server was asked.
    pub(crate) fn asked(&self, server: &ServerName) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == server).count()
    }
}

impl Transport for Network {
    fn send<'a>(&'a self, destination: &'a ServerName, request: http::Request<Bytes>) -> Sending<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(destination.to_owned());
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let answer = self.servers.lock().unwrap().get(destination).cloned();
            let answer = answer.ok_or_else(|| TransportError::Connect("down".into()))?;
            Ok(http::Response::new(Body::from(answer(&request))))
        })
    }
}

/// One of our servers, `a.example`, and the others.
pub(crate) struct World {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) network: Arc<Network>,
    pub(crate) own: Arc<OwnKeys>,
    pub(crate) keys: Arc<RemoteKeys>,
    store: Store,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(owned_server_name!("a.example"), folder.path().to_owned());
        change(&mut config);
        let config = Arc::new(config);
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let (clock, network) = (Arc::new(FakeClock::default()), Network::new());
        let own = OwnKeys::load(&store, config.server_name.clone(), vec![key(9, "own")], clock.clone()).await.unwrap();
        let own = Arc::new(own);
        let keys = start(&config, &own, &store, &network, &clock);
        Self { config, clock, network, own, keys, store, _folder: folder }
    }

    /// The same server after a restart.
    fn restarted(&self) -> Arc<RemoteKeys> {
        start(&self.config, &self.own, &self.store, &self.network, &self.clock)
    }

    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.clock.now_ms()).unwrap()
    }

    /// server_a() document of a server whose keys are these, valid for a day.
    pub(crate) fn document(&self, server: &ServerName, keys: &[SigningKey], old: &[(&SigningKey, u64)]) -> KeyDocument {
        let old = old.iter().map(|(key, expired_ts)| {
            let old = OldVerifyKey { key: key.public_key_base64(), expired_ts: *expired_ts };
            (key.key_id().to_owned(), old)
        });
        build_key_document(server, keys, &old.collect::<BTreeMap<_, _>>(), self.now() + DAY.unsigned_abs())
    }

    async fn request(&self, server: &ServerName, key_id: &str) -> Result<PublicKeyMap, KeyError> {
        self.keys.for_request(server, &[key_id.to_owned()]).await
    }

    /// Whether an event of this time verifies with this key.
    async fn event(&self, server: &ServerName, key_id: &str, at: u64) -> bool {
        let wanted = Wanted { server: server.to_owned(), key_ids: vec![key_id.to_owned()], origin_server_ts: at };
        let rules = rules(&RoomVersionId::V10).unwrap();
        let map = self.keys.for_events(vec![wanted], rules).await;
        map.get(server.as_str()).is_some_and(|keys| keys.contains_key(key_id))
    }
}

fn start(
    config: &Arc<Config>,
    own: &Arc<OwnKeys>,
    store: &Store,
    network: &Arc<Network>,
    clock: &Arc<FakeClock>,
) -> Arc<RemoteKeys> {
    let peers = PeerClient::new(config.clone(), own.signing_key().clone(), network.clone());
    Arc::new(RemoteKeys::new(config.clone(), own.clone(), store.clone(), Arc::new(peers), clock.clone()))
}

pub(crate) fn key(seed: u8, version: &str) -> SigningKey {
    SigningKey::generate([seed; 32], version).unwrap()
}

fn server_b() -> &'static ServerName {
    server_name!("b.example")
}

fn notary_name() -> &'static ServerName {
    server_name!("notary.example")
}

#[tokio::test]
async fn a_key_is_fetched_once_and_outlives_a_restart() {
    let world = World::new().await;
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let keys = world.keys.clone();
            tokio::spawn(async move { keys.for_request(server_b(), &["ed25519:b".to_owned()]).await })
        })
        .collect();
    for answer in asking {
        let map = answer.await.unwrap().unwrap();
        assert_eq!(map["b.example"]["ed25519:b"], key(1, "b").public_key_base64());
    }
    assert_eq!(world.network.asked(server_b()), 1);
    world.network.down(server_b());
    let keys = world.restarted();
    assert!(keys.for_request(server_b(), &["ed25519:b".to_owned()]).await.is_ok());
    assert_eq!(world.network.asked(server_b()), 1);
}

#[tokio::test]
async fn an_old_key_verifies_old_events_and_no_new_requests() {
    let world = World::new().await;
    world.network.publish(world.document(server_b(), &[key(1, "one")], &[]));
    assert!(world.request(server_b(), "ed25519:one").await.is_ok());
    world.clock.advance(2 * 60_000);
    let replaced_at = world.now();
    world.network.publish(world.document(server_b(), &[key(2, "two")], &[(&key(1, "one"), replaced_at)]));
    assert!(world.request(server_b(), "ed25519:two").await.is_ok());
    assert!(matches!(world.request(server_b(), "ed25519:one").await, Err(KeyError::NoKey(_))));
    assert!(world.event(server_b(), "ed25519:one", replaced_at).await);
    assert!(!world.event(server_b(), "ed25519:one", replaced_at + 1).await);
    assert!(world.event(server_b(), "ed25519:two", replaced_at + 1).await);
    assert_eq!(world.network.asked(server_b()), 2);
}

#[tokio::test]
async fn an_expired_key_verifies_old_events_alone() {
    let world = World::new().await;
    let made_at = world.now();
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
    world.network.down(server_b());
    world.clock.advance(DAY + 1);
    assert!(matches!(world.request(server_b(), "ed25519:b").await, Err(KeyError::NoKey(_))));
    assert!(world.event(server_b(), "ed25519:b", made_at).await);
    assert!(!world.event(server_b(), "ed25519:b", world.now()).await);
    // Versions 1 to 4 don't look at the time.
    let wanted =
        Wanted { server: server_b().to_owned(), key_ids: vec!["ed25519:b".into()], origin_server_ts: world.now() };
    let map = world.keys.for_events(vec![wanted], rules(&RoomVersionId::V4).unwrap()).await;
    assert!(map["b.example"].contains_key("ed25519:b"));
}

#[tokio::test]
async fn a_document_is_believed_for_seven_days_at_most() {
    let world = World::new().await;
    let forever = build_key_document(server_b(), &[key(1, "b")], &BTreeMap::new(), u64::MAX >> 11);
    world.network.publish(forever);
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
    world.network.down(server_b());
    world.clock.advance(7 * DAY + 1);
    assert!(world.request(server_b(), "ed25519:b").await.is_err());
}

#[tokio::test]
async fn keys_in_use_are_fetched_again_before_they_expire() {
    let world = World::new().await;
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
    world.clock.advance(13 * HOUR);
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
    let refreshed = async {
        while world.network.asked(server_b()) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refreshed).await.unwrap();
    world.network.down(server_b());
    let learned = async {
        while world.keys.inner.memory.get(server_b(), 0).await.unwrap().refresh_ts < world.now() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), learned).await.unwrap();
    world.clock.advance(20 * HOUR);
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
}

#[tokio::test]
async fn unknown_keys_cost_one_request_a_minute() {
    let world = World::new().await;
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    for at in 0..50 {
        assert!(world.request(server_b(), &format!("ed25519:{at}")).await.is_err());
        assert!(!world.event(server_b(), &format!("ed25519:{at}"), world.now()).await);
    }
    assert_eq!(world.network.asked(server_b()), 1);
    world.clock.advance(60_000);
    assert!(world.request(server_b(), "ed25519:x").await.is_err());
    assert_eq!(world.network.asked(server_b()), 2);
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_ever_less_often() {
    let world = World::new().await;
    for _ in 0..3600 {
        assert!(world.request(server_b(), "ed25519:b").await.is_err());
        world.clock.advance(1_000);
    }
    // 1, 2, 4 … 512 seconds, then every 600.
    assert_eq!(world.network.asked(server_b()), 10 + (3600 - 1023) / 600 + 1);
}

#[tokio::test]
async fn nonsense_and_other_servers_documents_are_no_keys() {
    let world = World::new().await;
    let of_c = world.document(server_name!("c.example"), &[key(1, "b")], &[]);
    let mut forged: serde_json::Value =
        serde_json::from_str(world.document(server_b(), &[key(1, "b")], &[]).json()).unwrap();
    forged["verify_keys"]["ed25519:b"]["key"] = key(2, "b").public_key().into();
    for json in ["[]".to_owned(), "{}".to_owned(), of_c.json().to_owned(), forged.to_string(), "x".repeat(70_000)] {
        world.network.put(server_b(), move |_| json.clone());
        assert!(world.request(server_b(), "ed25519:b").await.is_err());
        world.clock.advance(HOUR);
    }
    assert_eq!(world.network.asked(server_b()), 5);
}

#[tokio::test]
async fn servers_that_are_denied_are_never_asked() {
    let world = World::with(|config| {
        config.federation.deny = vec![crate::config::ServerPattern::parse("b.example").unwrap()];
    })
    .await;
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    assert!(matches!(world.request(server_b(), "ed25519:b").await, Err(KeyError::Refused(_))));
    assert!(!world.event(server_b(), "ed25519:b", world.now()).await);
    let query = KeyQuery { server_keys: BTreeMap::from([(server_b().to_owned(), BTreeMap::new())]) };
    assert_eq!(Notary::new(world.keys.clone()).answer(&query, || true).await.unwrap(), r#"{"server_keys":[]}"#);
    assert!(matches!(world.request(&world.config.server_name, "ed25519:own").await, Err(KeyError::Refused(_))));
    assert_eq!(world.network.asked(server_b()), 0);
}

#[tokio::test]
async fn our_own_events_verify_without_a_request() {
    let world = World::new().await;
    assert!(world.event(&world.config.server_name, "ed25519:own", world.now()).await);
    assert_eq!(world.network.asked(&world.config.server_name), 0);
}

async fn with_notary() -> World {
    let world = World::with(|config| config.federation.trusted_key_servers = vec![notary_name().to_owned()]).await;
    world.network.down(server_b());
    world
}

/// The notary answers for its own keys, and to queries with this.
fn notary(world: &World, answer: impl Fn(&KeyQuery) -> String + Send + Sync + 'static) {
    let own = world.document(notary_name(), &[key(7, "n")], &[]);
    world.network.put(notary_name(), move |request| match request.uri().path() {
        "/_matrix/key/v2/query" => answer(&KeyQuery::parse(request.body()).unwrap()),
        _ => own.json().to_owned(),
    });
}

#[tokio::test]
async fn a_notary_speaks_for_a_server_that_is_down() {
    let world = with_notary().await;
    let document = world.document(server_b(), &[key(1, "b")], &[(&key(2, "old"), 1_000)]);
    notary(&world, move |query| {
        assert!(query.server_keys.contains_key(server_b()));
        notary_response([&document], notary_name(), &key(7, "n"))
    });
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
    assert!(world.event(server_b(), "ed25519:old", 1_000).await);
    assert_eq!(world.network.asked(server_b()), 1, "the server itself comes first");
    assert_eq!(world.network.asked(notary_name()), 2, "its keys and one query");
}

#[tokio::test]
async fn a_notary_knows_old_keys_that_the_server_forgot() {
    let world = with_notary().await;
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[]));
    let before = world.document(server_b(), &[key(2, "old")], &[]);
    notary(&world, move |_| notary_response([&before], notary_name(), &key(7, "n")));
    assert!(world.event(server_b(), "ed25519:old", world.now()).await);
    assert!(matches!(world.request(server_b(), "ed25519:none").await, Err(KeyError::NoKey(_))));
    assert_eq!(world.network.asked(notary_name()), 2, "what the server says of the present nobody knows better");
}

#[tokio::test]
async fn a_notary_that_lies_is_not_believed() {
    let world = with_notary().await;
    let right = world.document(server_b(), &[key(1, "b")], &[]);
    let mut changed: serde_json::Value = serde_json::from_str(right.json()).unwrap();
    changed["verify_keys"]["ed25519:b"]["key"] = key(3, "b").public_key().into();
    let of_c = world.document(server_name!("c.example"), &[key(1, "b")], &[]);
    let lies = [
        // Not signed by the notary, or with a key that it does not publish.
        format!(r#"{{"server_keys":[{}]}}"#, right.json()),
        notary_response([&right], notary_name(), &key(8, "n")),
        notary_response([&right], server_name!("other.example"), &key(7, "n")),
        // Not signed by the server.
        format!(r#"{{"server_keys":[{changed}]}}"#),
        // Not asked for.
        notary_response([&of_c], notary_name(), &key(7, "n")),
        "nonsense".to_owned(),
    ];
    for lie in lies {
        notary(&world, move |_| lie.clone());
        assert!(world.request(server_b(), "ed25519:b").await.is_err());
        let of_c = world.keys.inner.memory.get(server_name!("c.example"), 0).await.unwrap();
        assert_eq!(of_c.keys.iter().count(), 0);
        world.clock.advance(HOUR);
    }
    notary(&world, move |_| notary_response([&right], notary_name(), &key(7, "n")));
    assert!(world.request(server_b(), "ed25519:b").await.is_ok());
}

#[tokio::test]
async fn many_servers_are_asked_side_by_side_within_bounds() {
    let world = with_notary().await;
    let servers: Vec<OwnedServerName> = (0..150).map(|at| format!("s{at}.example").try_into().unwrap()).collect();
    let gone: Vec<_> = servers[100..].iter().map(|server| world.document(server, &[key(1, "k")], &[])).collect();
    for server in &servers[..100] {
        world.network.publish(world.document(server, &[key(1, "k")], &[]));
    }
    notary(&world, move |_| notary_response(&gone, notary_name(), &key(7, "n")));
    let wanted: Vec<_> = servers
        .iter()
        .map(|server| Wanted {
            server: server.clone(),
            key_ids: vec!["ed25519:k".into()],
            origin_server_ts: world.now(),
        })
        .collect();
    let ring = world.keys.ring(&wanted, rules(&RoomVersionId::V12).unwrap()).await;
    for server in &servers {
        let keys = ring.keys_at(server, world.now(), rules(&RoomVersionId::V12).unwrap());
        assert!(keys.contains_key("ed25519:k"), "{server}");
    }
    assert!(world.network.most_at_once.load(Ordering::SeqCst) <= AT_ONCE);
    assert_eq!(world.network.asked(notary_name()), 2, "one query for all fifty");
}

#[tokio::test]
async fn as_a_notary_we_pass_on_what_we_have_and_ask_for_what_is_too_old() {
    let world = World::new().await;
    let service = Notary::new(world.keys.clone());
    let first = world.document(server_b(), &[key(1, "one")], &[]);
    world.network.publish(first.clone());
    let query = |minimum: Option<u64>| {
        let any = BTreeMap::from([(String::new(), minimum)]);
        let all = [server_b(), server_name!("gone.example"), server_name!("a.example")];
        KeyQuery { server_keys: all.map(|server| (server.to_owned(), any.clone())).into() }
    };
    let own_keys = world.own.document().verify_keys().clone();
    let our_keys = PublicKeyMap::from([("a.example".to_owned(), own_keys)]);
    let read = |json: String| {
        let documents = parse_notary_response(json.as_bytes(), server_name!("a.example"), &our_keys, |_| true).unwrap();
        let documents = documents.into_iter().map(|document| document.unwrap());
        documents.map(|document| (document.server_name().to_owned(), document)).collect::<BTreeMap<_, _>>()
    };
    let answer = read(service.answer(&query(None), || true).await.unwrap());
    assert_eq!(answer.keys().collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!(answer[server_b()].verify_keys(), first.verify_keys());
    // In memory, and valid long enough.
    let asks = AtomicUsize::new(0);
    let count = || asks.fetch_add(1, Ordering::SeqCst) > 10;
    service.answer(&query(None), count).await.unwrap();
    assert_eq!(asks.into_inner(), 1, "the server that is gone alone");
    assert_eq!(world.network.asked(server_b()), 1);
    world.clock.advance(HOUR);
    let second = world.document(server_b(), &[key(2, "two")], &[]);
    world.network.publish(second.clone());
    let later = Some(first.valid_until_ts() + 1);
    let refused = read(service.answer(&query(later), || false).await.unwrap());
    assert_eq!(refused[server_b()].verify_keys(), first.verify_keys(), "beyond the budget what we have is the answer");
    let answer = read(service.answer(&query(later), || true).await.unwrap());
    assert_eq!(answer[server_b()].verify_keys(), second.verify_keys());
    world.network.down(server_b());
    world.clock.advance(3 * DAY);
    let answer = read(service.answer(&query(None), || true).await.unwrap());
    assert_eq!(answer[server_b()].verify_keys(), second.verify_keys(), "the last response is still given");
}
