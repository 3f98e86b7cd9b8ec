//! Local events of a room with a policy server: built on what is committed, signed by the policy server outside the appender,
//! which waits for nobody, then appended with the prev_events that they were built with, even if newer events came.
//!
//! Source: Server-Server API, "Asking for a Policy Server signature on an event".

use std::sync::Arc;

use linkim_federation::{Pdu, RoomVersionRules};

use super::{
    Along, AppendError, Appended, Appenders, Incoming, LocalEvent, Transaction, Work,
    actor::{Appender, Call, Done, answers, prepare},
    forks::{Judgement, NotJudged},
    head::{Known, read_state},
    plan::{Batch, Outcome},
    run,
};
use crate::{
    rooms::policy::{Countersigns, POLICY_TYPE, PolicyServer, is_policy},
    store::{
        StoreError, events,
        ids::{EventNid, RoomNid},
    },
};

/// How often several events that are to be appended together are built anew because others came in between.
const ATTEMPTS: usize = 4;

/// Events that are built and need the signature of the room's policy server.
pub(super) struct Unsigned {
    pub(super) policy: PolicyServer,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) drafts: Vec<Draft>,
    outcomes: Vec<Outcome>,
    /// What they were built from.
    pub(super) events: Vec<LocalEvent>,
    pub(super) along: Option<Along>,
}

/// An event that is built.
pub(super) struct Draft {
    pdu: Arc<Pdu>,
    transaction: Option<Transaction>,
}

/// Events that have all their signatures.
pub(super) struct Signed {
    drafts: Vec<Draft>,
    outcomes: Vec<Outcome>,
    along: Option<Along>,
}

/// What became of signed events.
pub(super) enum SignedDone {
    /// They are durable.
    Appended(Vec<Appended>),
    /// Others came in between, and these can't be appended together any more.
    Overtaken(Option<Along>),
}

impl Appenders {
    /// Appends events of a room, each built upon the one before it: all of them or none. In a room with a policy server, that
    /// is asked to sign them first.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn append(
        &self,
        room: RoomNid,
        events: Vec<LocalEvent>,
        along: Option<Along>,
    ) -> Result<Vec<Appended>, AppendError> {
        let countersigns = self.countersigns.get();
        let (mut events, mut along) = (events, along);
        for _ in 0..ATTEMPTS {
            let call = |reply| Work::Append(Call { events, along, sign: countersigns.is_some(), reply });
            let unsigned = match (self.ask(room, call).await?, countersigns) {
                (Done::Appended(appended), _) => return Ok(appended),
                (Done::Unsigned(unsigned), Some(countersigns)) => countersign(&**countersigns, *unsigned).await?,
                (Done::Unsigned(_), None) => return Err(StoreError::Engine("nobody is there to sign".into()).into()),
            };
            let (signed, from) = unsigned;
            match self.ask(room, |reply| Work::Signed(Box::new(signed), reply)).await? {
                SignedDone::Appended(appended) => return Ok(appended),
                SignedDone::Overtaken(left) => (events, along) = (from, left),
            }
        }
        Err(AppendError::Busy)
    }
}

/// Has all events signed that need it, one after the other: there is nearly always one.
async fn countersign(
    countersigns: &dyn Countersigns,
    unsigned: Unsigned,
) -> Result<(Signed, Vec<LocalEvent>), AppendError> {
    let Unsigned { policy, rules, mut drafts, outcomes, events, along } = unsigned;
    for draft in &mut drafts {
        if !is_policy(&draft.pdu) {
            draft.pdu = countersigns.countersign(&policy, rules, draft.pdu.clone()).await?;
        }
    }
    Ok((Signed { drafts, outcomes, along }, events))
}

impl Appender {
    /// The policy server that the room uses.
    pub(super) async fn policy(&mut self) -> Result<Option<PolicyServer>, StoreError> {
        let (store, room) = (self.shared.store.clone(), self.room);
        let head = self.load().await?;
        if matches!(head.known(POLICY_TYPE, ""), Known::No) {
            let keys = vec![(POLICY_TYPE.to_owned(), String::new())];
            for (kind, key, entry) in store.read_short(move |read| read_state(read, room, keys)).await? {
                head.put(&kind, &key, entry);
            }
        }
        let named = head.get(POLICY_TYPE, "").and_then(|entry| PolicyServer::named_by(entry.pdu.content()));
        let Some(named) = named else { return Ok(None) };
        store.read_short::<_, StoreError, _>(move |read| Ok(named.is_in_use(read, room)?.then_some(named))).await
    }

    /// Builds the events of a call, for the policy server to sign them. Gives the call back if it needs no signature.
    pub(super) async fn draft(&mut self, call: Call, policy: &PolicyServer) -> Result<Option<Call>, StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let (shared, room) = (self.shared.clone(), self.room);
        let head = self.load().await?;
        let repeats = prepare(&shared, room, head, std::slice::from_ref(&call.events)).await?;
        let mut batch = Batch::default();
        let planned: Result<Vec<Outcome>, AppendError> =
            call.events.iter().map(|event| batch.plan(head, event.clone(), &repeats, &shared.signer, now_ms)).collect();
        let outcomes = match planned {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let _ = call.reply.send(Err(error));
                return Ok(None);
            }
        };
        if batch.planned.iter().all(|planned| is_policy(&planned.pdu)) {
            return Ok(Some(call));
        }
        let drafts =
            batch.planned.into_iter().map(|planned| Draft { pdu: planned.pdu, transaction: planned.transaction });
        let unsigned = Unsigned {
            policy: policy.clone(),
            rules: head.rules,
            drafts: drafts.collect(),
            outcomes,
            events: call.events,
            along: call.along,
        };
        let _ = call.reply.send(Ok(Done::Unsigned(Box::new(unsigned))));
        Ok(None)
    }

    /// Appends events that were signed: together if they still follow the room's end, else the one where it stands.
    pub(super) async fn append_signed(&mut self, signed: Signed) -> Result<SignedDone, AppendError> {
        let Signed { mut drafts, outcomes, mut along } = signed;
        if let Some(found) = self.sent_meanwhile(&drafts).await? {
            return Ok(SignedDone::Appended(vec![found]));
        }
        let incoming: Vec<Incoming> =
            drafts.iter().map(|draft| Incoming { relay: true, ..Incoming::new(draft.pdu.clone()) }).collect();
        let transactions: Vec<_> = drafts.iter().map(|draft| draft.transaction.clone()).collect();
        if self.is_run(&incoming).await? {
            let appended = self.append_run(&incoming, transactions, &mut along).await?;
            if let Some(appended) = appended {
                return Ok(SignedDone::Appended(answers(outcomes, &appended)));
            }
        }
        let (Some(draft), true) = (drafts.pop(), drafts.is_empty()) else { return Ok(SignedDone::Overtaken(along)) };
        let incoming = Incoming { relay: true, ..Incoming::new(draft.pdu) };
        let verdict = match self.judge_live(&incoming).await? {
            Ok(verdict) => verdict,
            // Others had it of the policy server, and sent it to us.
            Err(NotJudged::Known(nid)) => return Ok(SignedDone::Appended(vec![self.known(nid).await?])),
            Err(NotJudged::Store(error)) => return Err(error.into()),
            Err(other) => return Err(AppendError::Malformed(format!("{other:?}"))),
        };
        match &verdict.judgement {
            Judgement::Accepted => {}
            Judgement::SoftFailed(reason) | Judgement::Rejected(reason) => {
                return Err(AppendError::Denied(reason.clone()));
            }
        }
        let appended = self.write_judged(incoming, verdict, draft.transaction, along).await?;
        Ok(SignedDone::Appended(answers(outcomes, &[appended])))
    }

    /// The event that the same request made while the policy server was asked. `&mut`, as an appender is not shared.
    async fn sent_meanwhile(&mut self, drafts: &[Draft]) -> Result<Option<Appended>, StoreError> {
        let [Draft { transaction: Some(transaction), .. }] = drafts else { return Ok(None) };
        let (device, key) = (transaction.device, transaction.key);
        self.shared
            .store
            .read_short(move |read| {
                let Some(event_id) = events::of_transaction(read, device, &key)? else { return Ok(None) };
                let row = events::by_id(read, &event_id)?;
                Ok(row.map(|row| Appended {
                    nid: row.nid,
                    event_id,
                    position: row.position.unwrap_or_default(),
                    repeated: true,
                }))
            })
            .await
    }

    async fn known(&mut self, nid: EventNid) -> Result<Appended, StoreError> {
        let row = self.shared.store.read_short::<_, StoreError, _>(move |read| events::by_nid(read, nid)).await?;
        Ok(Appended { nid, event_id: row.event_id, position: row.position.unwrap_or_default(), repeated: true })
    }

    /// Whether all of these follow the room's end.
    async fn is_run(&mut self, events: &[Incoming]) -> Result<bool, StoreError> {
        let head = self.load().await?;
        Ok(run::length(head, events) == events.len())
    }
}
