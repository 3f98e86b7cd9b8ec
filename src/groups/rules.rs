//! What the rules of groups forbid beyond what power levels express: to users of this server, whichever API they use, and of what
//! users of other servers send, what has no effect here.

use std::sync::Arc;

use linkim_federation::{Pdu, rules};
use moka::sync::Cache;
use ruma::{CanonicalJsonObject, UserId, events::TimelineEventType};

use super::{
    JoinMode, Role, Roles, is_group, levels, may_withdraw, mutes, outranks, role,
    settings::{MUTE, SETTINGS, STATUS, is_dissolved},
};
use crate::{
    accounts::Session,
    clock::Clock,
    rooms::{
        group_calls::{CONFIRM, REQUEST},
        membership::{Change, MembershipState},
        power::Level,
        receive_rules::ReceiveRule,
        send_rules::{MembershipRule, Refused, SendRule, Wanted, WantedMembership},
        state,
    },
    store::{
        Read, StoreError, events, ids,
        ids::{EventNid, RoomKey},
    },
};

/// Power-level events of which it is remembered whether they mute their group.
const CACHED: u64 = 10_000;

/// The rules of groups.
pub struct GroupRules {
    clock: Arc<dyn Clock>,
    /// What `events_default` is in a power-level event. Bound: [`CACHED`] entries of 16 bytes.
    events_default: Cache<EventNid, i64>,
}

impl GroupRules {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, events_default: Cache::new(CACHED) }
    }

    fn is_muted(&self, read: &dyn Read, room: &RoomKey) -> Result<bool, StoreError> {
        let Some(nid) = state::current_nid(read, room.nid, "m.room.power_levels", "")? else { return Ok(false) };
        if let Some(level) = self.events_default.get(&nid) {
            return Ok(level > 0);
        }
        let pdu = state::load_pdu(read, nid)?;
        let content: CanonicalJsonObject = serde_json::from_str(pdu.content().get()).unwrap_or_default();
        let level = levels::named(&content, "events_default");
        self.events_default.insert(nid, level);
        Ok(level > 0)
    }

    /// Of what is no state: mutes, and who may withdraw whose message.
    fn message(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: Wanted<'_>,
    ) -> Result<Option<Refused>, StoreError> {
        if wanted.kind != CONFIRM && self.is_muted(read, room)? {
            let roles = Roles::of(read, room)?;
            let level = Level::Number(levels::OF_TALK);
            let named = roles.power().to_send(wanted.kind, false) < level;
            if roles.of_user(read, &by.user_id)? == Role::Member && !named {
                return Ok(Some(Refused::GroupMuted));
            }
        }
        let Some(target) = wanted.redacts else { return Ok(None) };
        let Some(row) = events::by_id(read, target)?.filter(|row| row.room == room.nid) else { return Ok(None) };
        if row.sender == by.user || by.admin {
            return Ok(None);
        }
        let Some(caller) = role(read, room, by.user)? else { return Ok(None) };
        if may_withdraw(caller, role(read, room, row.sender)?) {
            return Ok(None);
        }
        Ok(Some(not_permitted("your role does not let you withdraw this message")))
    }

    /// Of state: what is set through LinkIM's API alone, what is the owner's, and what would end the group without a status.
    fn state(read: &dyn Read, by: &Session, room: &RoomKey, kind: &str) -> Result<Option<Refused>, StoreError> {
        match kind {
            SETTINGS | STATUS | MUTE => Ok(Some(not_permitted("this is set through LinkIM's own API"))),
            "m.room.tombstone" => Ok(Some(not_permitted("a group has no other room in its place"))),
            "m.room.power_levels" if role(read, room, by.user)? < Some(Role::Owner) => {
                Ok(Some(not_permitted("only the owner of the group may do this")))
            }
            _ => Ok(None),
        }
    }
}

fn not_permitted(text: &str) -> Refused {
    Refused::NotPermitted(text.to_owned())
}

impl SendRule for GroupRules {
    fn concerns(&self, room: &RoomKey) -> bool {
        is_group(room)
    }

    fn check(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: Wanted<'_>,
    ) -> Result<Option<Refused>, StoreError> {
        if room.service == Some(by.user) {
            return Ok(None);
        }
        if is_dissolved(read, room.nid)? {
            return Ok(Some(Refused::Dissolved));
        }
        if wanted.kind != CONFIRM
            && let Some(mute) = mutes::of_user(read, room.nid, &by.user_id)?
            && mute.holds(self.clock.now_ms())
            && role(read, room, by.user)? < Some(Role::Owner)
        {
            return Ok(Some(Refused::Muted { until_ts: Some(mute.until_ts) }));
        }
        match wanted.state_key {
            Some(_) => Self::state(read, by, room, wanted.kind),
            None => self.message(read, by, room, wanted),
        }
    }
}

impl MembershipRule for GroupRules {
    fn check(
        &self,
        read: &dyn Read,
        by: &Session,
        room: &RoomKey,
        wanted: WantedMembership<'_>,
    ) -> Result<Option<Refused>, StoreError> {
        if !is_group(room) || room.service == Some(by.user) {
            return Ok(None);
        }
        let own = *wanted.target == *by.user_id;
        let goes = matches!(wanted.change, Change::Leave | Change::Remove) && own;
        if goes {
            return Ok(None);
        }
        if is_dissolved(read, room.nid)? {
            return Ok(Some(Refused::Dissolved));
        }
        let Some(caller) = role(read, room, by.user)? else { return Ok(None) };
        Ok(match wanted.change {
            Change::Kick | Change::Remove | Change::Ban if !own => {
                let other = of(read, room, wanted.target)?;
                let may = outranks(caller, other.unwrap_or(Role::Member));
                (!may).then(|| not_permitted("your role does not let you remove this member"))
            }
            Change::Unban => (caller < Role::Admin).then(|| not_permitted("only the owner and the admins may do this")),
            Change::Invite => {
                let levels: Option<CanonicalJsonObject> =
                    state::current_content(read, room.nid, "m.room.power_levels", "")?;
                let invite = levels.map_or(0, |content| levels::named(&content, "invite"));
                let mode = JoinMode::of_room(read, room.nid, invite)?;
                // Inviting one who knocks lets them in.
                let approves = wanted.before == Some(MembershipState::Knock);
                let asks = mode == JoinMode::Invitation || approves;
                (asks && caller < Role::Admin).then(|| not_permitted("the owner or an admin must approve"))
            }
            _ => None,
        })
    }
}

impl ReceiveRule for GroupRules {
    fn concerns(&self, room: &RoomKey) -> bool {
        is_group(room)
    }

    fn stands_apart(&self, pdu: &Pdu) -> bool {
        // What is redacted may have come just before.
        matches!(pdu.event_type(), TimelineEventType::RoomRedaction | TimelineEventType::RoomPowerLevels)
            || pdu.is_state() && matches!(&*pdu.event_type().to_string(), SETTINGS | MUTE)
    }

    fn check(&self, read: &dyn Read, room: &RoomKey, pdu: &Pdu) -> Result<Option<String>, StoreError> {
        if pdu.is_state() {
            return Ok(None);
        }
        let kind = pdu.event_type().to_string();
        if *pdu.event_type() == TimelineEventType::RoomRedaction && self.withdraws_too_much(read, room, pdu)? {
            return Ok(Some("the sender's role does not let them withdraw this message".into()));
        }
        // Whom the power levels have no place for.
        let muted = match mutes::of_user(read, room.nid, pdu.sender())? {
            Some(mute) => mute.holds(self.clock.now_ms()),
            None => false,
        };
        let spared = matches!(&*kind, CONFIRM | REQUEST);
        if muted && !spared && Roles::of(read, room)?.of_user(read, pdu.sender())? < Role::Owner {
            return Ok(Some("the sender is muted in this group".into()));
        }
        Ok(None)
    }
}

impl GroupRules {
    /// Whether a redaction by a user of another server takes what their role does not let them. What users of their own server
    /// said is for that server to judge, as the rules for redactions have it.
    fn withdraws_too_much(&self, read: &dyn Read, room: &RoomKey, redaction: &Pdu) -> Result<bool, StoreError> {
        let Some(target) = rules(&room.version).and_then(|rules| redaction.redacts_by(rules)) else { return Ok(false) };
        let Some(row) = events::by_id(read, &target)?.filter(|row| row.room == room.nid) else { return Ok(false) };
        let sender = ids::user_id(read, row.sender)?;
        if sender.server_name() == redaction.sender().server_name() {
            return Ok(false);
        }
        let by = of(read, room, redaction.sender())?.unwrap_or(Role::Member);
        let creator = room.service.map(|service| ids::user_id(read, service)).transpose()?;
        let own = creator.is_some_and(|creator| *creator == *redaction.sender());
        Ok(!own && !may_withdraw(by, role(read, room, row.sender)?))
    }
}

fn of(read: &dyn Read, room: &RoomKey, user: &UserId) -> Result<Option<Role>, StoreError> {
    match ids::user_nid(read, user)? {
        Some(user) => role(read, room, user),
        None => Ok(None),
    }
}
