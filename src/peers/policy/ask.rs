//! One question to a policy server: at most once at a time for an event, and its answer remembered.
//!
//! Source: Server-Server API, `POST /_matrix/policy/v1/sign`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use linkim_federation::{Pdu, RoomVersionRules, with_signature};
use moka::sync::Cache;
use ruma::OwnedEventId;
use serde_json::{Map, Value};

use crate::{
    peers::{
        client::{Call, PeerClient, PeerError},
        slots::Slots,
    },
    rooms::policy::{KEY_ID, PolicyRefusal, PolicyServer},
};

/// How long a policy server may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest pause that it may ask for and that is waited for.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 64 * 1024;

/// Questions under way at once: to one server, and altogether.
const EACH: usize = 16;
const ALL: usize = 256;

/// Answers that are remembered, and for how long: an event is judged again while it waits for others. About 400 bytes each.
const REMEMBERED: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Questions under way above which those that have ended are forgotten.
const PRUNE_ABOVE: usize = 512;

/// The statuses and codes that the endpoint may answer with. Others are not handed on to a client: they might log it out.
const REFUSALS: [(u16, &[&str]); 4] = [
    (400, &["M_BAD_JSON", "M_NOT_JSON", "M_FORBIDDEN"]),
    (403, &["M_FORBIDDEN"]),
    (404, &["M_NOT_FOUND", "M_UNRECOGNIZED"]),
    (429, &["M_LIMIT_EXCEEDED"]),
];

/// An event and the policy server with the key that the room has for it.
type Question = (OwnedEventId, PolicyServer);

#[derive(Clone)]
enum Answer {
    Signature(Arc<str>),
    Refusal(Arc<PolicyRefusal>),
}

impl Answer {
    /// Whether the same question may be answered otherwise soon: too many were asked.
    fn is_of_the_moment(&self) -> bool {
        matches!(self, Self::Refusal(refusal) if matches!(**refusal, PolicyRefusal::Refused { status: 429, .. }))
    }
}

/// Who is asked what, and what was answered.
pub(super) struct Asking {
    client: Arc<PeerClient>,
    slots: Slots,
    answers: Cache<Question, Answer>,
    under_way: Mutex<HashMap<Question, Weak<tokio::sync::Mutex<()>>>>,
}

impl Asking {
    pub(super) fn new(client: Arc<PeerClient>) -> Self {
        let answers = Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Self { client, slots: Slots::new(EACH, ALL), answers, under_way: Mutex::default() }
    }

    /// The event with the policy server's signature.
    pub(super) async fn signed(
        &self,
        policy: &PolicyServer,
        rules: &RoomVersionRules,
        pdu: &Arc<Pdu>,
    ) -> Result<Arc<Pdu>, PolicyRefusal> {
        let question = (pdu.owned_event_id().clone(), policy.clone());
        let turn = self.turn(&question);
        let _turn = turn.lock().await;
        let answer = match self.answers.get(&question) {
            Some(answer) => answer,
            None => self.ask(policy, pdu, &question).await?,
        };
        let signature = match answer {
            Answer::Signature(signature) => signature,
            Answer::Refusal(refusal) => return Err((*refusal).clone()),
        };
        let none = |reason: String| PolicyRefusal::None { server: policy.server.clone(), reason };
        let signed = with_signature(pdu, rules, &policy.server, KEY_ID, &signature);
        let signed = signed.map_err(|error| none(error.to_string()))?;
        policy.check(&signed, rules).map_err(|error| none(error.to_string()))?;
        Ok(Arc::new(signed))
    }

    /// The right to ask this: one at a time.
    fn turn(&self, question: &Question) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = under_way.get(question).and_then(Weak::upgrade) {
            return turn;
        }
        if under_way.len() >= PRUNE_ABOVE {
            under_way.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        under_way.insert(question.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Asks; what is an answer to this event is remembered.
    async fn ask(&self, policy: &PolicyServer, pdu: &Pdu, question: &Question) -> Result<Answer, PolicyRefusal> {
        let none = |reason: String| PolicyRefusal::None { server: policy.server.clone(), reason };
        let _slot = self.slots.take(&policy.server).await;
        let mut result = self.post(policy, pdu).await;
        if let Err(PeerError::Status { status, retry_after_ms: Some(pause), .. }) = &result
            && status.as_u16() == 429
            && Duration::from_millis(*pause) <= MAX_PAUSE
        {
            tokio::time::sleep(Duration::from_millis(*pause)).await;
            result = self.post(policy, pdu).await;
        }
        let answer = match result {
            Ok(answer) => match answer.get(policy.server.as_str()).and_then(|keys| keys.get(KEY_ID)) {
                Some(Value::String(signature)) => Answer::Signature(signature.as_str().into()),
                _ => return Err(none("it answered without a signature".into())),
            },
            Err(error) => match refusal(policy, &error) {
                Some(refusal) => Answer::Refusal(Arc::new(refusal)),
                None => return Err(none(error.to_string())),
            },
        };
        if !answer.is_of_the_moment() {
            self.answers.insert(question.clone(), answer.clone());
        }
        Ok(answer)
    }

    async fn post(&self, policy: &PolicyServer, pdu: &Pdu) -> Result<Value, PeerError> {
        let body = Bytes::from(pdu.json().to_owned());
        let call = Call::post("/_matrix/policy/v1/sign", body).timeout(TIMEOUT).limit(MAX_ANSWER);
        self.client.json(&policy.server, call).await
    }
}

/// A refusal that the endpoint may answer with.
fn refusal(policy: &PolicyServer, error: &PeerError) -> Option<PolicyRefusal> {
    let PeerError::Status { status, errcode, error, body, .. } = error else { return None };
    let codes = REFUSALS.iter().find(|(code, _)| *code == status.as_u16());
    if !codes.is_some_and(|(_, codes)| codes.contains(&errcode.as_str())) {
        return None;
    }
    let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    Some(PolicyRefusal::Refused {
        server: policy.server.clone(),
        status: status.as_u16(),
        errcode: errcode.clone(),
        error: error.clone(),
        body: Value::Object(body).to_string(),
    })
}
