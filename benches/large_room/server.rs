//! A server without HTTP: the store, the write path, /sync.

use std::{cell::Cell, ops::Range, sync::Arc};

use linkim::{
    accounts::Session,
    clock::{Clock, SystemClock},
    params,
    random::OsRandom,
    rooms::{
        append::{Appenders, LocalEvent, NewRoom, Signer},
        client_event::Viewer,
        state_hash::StateHashKey,
        typing::{LeaversDontType, Typing, TypingNotes},
    },
    store::{
        Param, Read, Row, Store, StoreError,
        ids::{self, DeviceNid, Ids, RoomKey},
    },
    sync::{
        notifier::Notifier,
        v3::{SyncRequest, V3},
    },
};
use linkim_federation::SigningKey;
use ruma::{CanonicalJsonObject, OwnedUserId, RoomVersionId, UserId, server_name};
use serde_json::{Value, json};

pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) v3: Arc<V3>,
    appenders: Arc<Appenders>,
    sessions: std::sync::Mutex<Vec<Session>>,
    wake: Arc<LeaversDontType>,
    /// Goes with the last server on it.
    _folder: Arc<tempfile::TempDir>,
}

fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

fn user(number: usize) -> OwnedUserId {
    UserId::parse(format!("@person-{number:05}:a.example")).unwrap()
}

/// Who looks.
pub(crate) fn viewer(session: &Session) -> Viewer {
    let device = Some(session.device);
    Viewer { user: session.user, user_id: session.user_id.clone(), device, now_ms: SystemClock.now_ms() }
}

fn appenders(store: &Store, wake: &Arc<LeaversDontType>) -> Arc<Appenders> {
    let signer = Signer {
        server_name: server_name!("a.example").to_owned(),
        key: SigningKey::generate([1; 32], "1").unwrap(),
        random: Arc::new(OsRandom),
    };
    let key = StateHashKey::new([2; 32]);
    Arc::new(Appenders::new(store.clone(), Arc::new(SystemClock), signer, key, wake.clone()))
}

impl Server {
    pub(crate) fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let notifier = Notifier::new(store.visible());
        let notes = Arc::<TypingNotes>::default();
        let wake = Arc::new(LeaversDontType { next: notifier.clone(), wake: notifier.clone(), notes: notes.clone() });
        let clock = Arc::new(SystemClock);
        let appenders = appenders(&store, &wake);
        let typing = Arc::new(Typing::new(store.clone(), appenders.clone(), notifier.clone(), notes));
        Self {
            v3: Arc::new(V3::new(store.clone(), notifier.clone(), typing, Arc::default(), clock)),
            store,
            notifier,
            appenders,
            sessions: std::sync::Mutex::default(),
            wake,
            _folder: folder,
        }
    }

    /// The same server with no appender awake.
    pub(crate) fn with_appenders_asleep(&self) -> Self {
        Self {
            store: self.store.clone(),
            notifier: self.notifier.clone(),
            v3: self.v3.clone(),
            appenders: appenders(&self.store, &self.wake),
            sessions: std::sync::Mutex::default(),
            wake: self.wake.clone(),
            _folder: self._folder.clone(),
        }
    }

    /// Writes accounts, without passwords: hashing them would be all that is measured.
    pub(crate) async fn accounts(&self, count: usize) {
        let sessions = self
            .store
            .write::<_, StoreError, _>(move |tx| {
                (0..count)
                    .map(|number| {
                        let user_id = user(number);
                        let user = ids::intern_user(tx, &user_id)?;
                        tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0)", params![user])?;
                        Ok(Session {
                            user,
                            user_id,
                            device: DeviceNid(user.0),
                            device_id: "DEVICE".into(),
                            token: user.0,
                            guest: false,
                            admin: false,
                            suspended: false,
                        })
                    })
                    .collect()
            })
            .await
            .unwrap();
        *self.sessions.lock().unwrap() = sessions;
    }

    pub(crate) fn session(&self, number: usize) -> Session {
        self.sessions.lock().unwrap()[number].clone()
    }

    /// A public room of person 0's, as the preset makes it.
    pub(crate) async fn room(&self) -> Arc<RoomKey> {
        let by = user(0);
        let state = |kind: &str, key: &str, content| LocalEvent::state(by.clone(), kind, key, object(content));
        let events = vec![
            state("m.room.member", by.as_str(), json!({ "membership": "join", "displayname": "Person 0" })),
            state("m.room.power_levels", "", json!({ "users": {}, "state_default": 50 })),
            state("m.room.join_rules", "", json!({ "join_rule": "public" })),
            state("m.room.history_visibility", "", json!({ "history_visibility": "shared" })),
            state("m.room.guest_access", "", json!({ "guest_access": "can_join" })),
            state("m.room.name", "", json!({ "name": "Everybody" })),
            state("m.room.topic", "", json!({ "topic": "What concerns all" })),
        ];
        let create_content = object(json!({ "room_version": "12" }));
        let new = NewRoom { version: RoomVersionId::V12, creator: by.clone(), create_content };
        self.appenders.create(new, events, None).await.unwrap().0
    }

    /// Joins of these people, in one batch.
    pub(crate) async fn join(&self, room: &RoomKey, who: Range<usize>) {
        let join = |number: usize| {
            let content = json!({ "membership": "join", "displayname": format!("Person {number}") });
            LocalEvent::state(user(number), "m.room.member", user(number), object(content))
        };
        self.appenders.append(room.nid, who.map(join).collect(), None).await.unwrap();
    }

    pub(crate) async fn say(&self, room: &RoomKey, by: usize, body: &str) {
        let content = object(json!({ "msgtype": "m.text", "body": body }));
        let event = LocalEvent::message(user(by), "m.room.message", content);
        self.appenders.append(room.nid, vec![event], None).await.unwrap();
    }

    pub(crate) async fn topic(&self, room: &RoomKey, topic: &str) {
        let event = LocalEvent::state(user(0), "m.room.topic", "", object(json!({ "topic": topic })));
        self.appenders.append(room.nid, vec![event], None).await.unwrap();
    }

    /// Where a client of this person's stands that has everything.
    pub(crate) async fn token(&self, number: usize) -> String {
        let answer = self.v3.sync(&self.session(number), SyncRequest::default()).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["next_batch"].as_str().unwrap().to_owned()
    }
}

/// Counts the statements of look-ups.
pub(crate) struct Counted<'r> {
    read: &'r dyn Read,
    statements: Cell<usize>,
}

impl<'r> Counted<'r> {
    pub(crate) fn new(read: &'r dyn Read) -> Self {
        Self { read, statements: Cell::new(0) }
    }

    pub(crate) fn statements(&self) -> usize {
        self.statements.get()
    }
}

impl Read for Counted<'_> {
    fn position(&self) -> i64 {
        self.read.position()
    }

    fn ids(&self) -> &Ids {
        self.read.ids()
    }

    fn uncommitted(&self) -> bool {
        self.read.uncommitted()
    }

    fn each(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.statements.set(self.statements.get() + 1);
        self.read.each(sql, params, each)
    }
}
