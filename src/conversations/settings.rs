//! What a user decides about a conversation for themselves: pinned, muted, hidden, cleared, a draft, marked as unread.
//!
//! All of it is room account data, room tags and push rules, so that other clients have it too, and what they set counts here.

use std::sync::Arc;

use ruma::push::{NewPushRule, NewSimplePushRule, RuleKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{receiving, receiving::ReceiveNothing};
use crate::{
    accounts::{AccountData, AccountDataError, PushRuleError, PushRules, Session},
    clock::Clock,
    rooms::history_floor,
    store::{
        Store, StoreError, WriteTx, account_data,
        ids::{RoomKey, RoomNid, UserNid},
        members, rooms, unread,
    },
};

/// Room tags.
pub(super) const TAGS: &str = "m.tag";
/// The tag of pinned conversations.
pub(super) const PINNED: &str = "m.favourite";
/// Whether the user marked a room as unread.
pub(super) const MARKED_UNREAD: &str = "m.marked_unread";
/// A text that the user has begun.
pub(super) const DRAFT: &str = "org.linkim.draft";
/// Up to where the conversation is hidden.
pub(super) const HIDDEN: &str = "org.linkim.hidden";

/// A text that a user has begun (`org.linkim.draft`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// When it was last changed, in milliseconds.
    pub updated_ts: i64,
}

impl Draft {
    /// What the account data says; none if it is empty or has another shape.
    pub(super) fn of_content(content: &str) -> Option<Self> {
        serde_json::from_str::<Self>(content).ok().filter(|draft| !draft.text.is_empty())
    }
}

/// The position up to which `org.linkim.hidden` hides a conversation.
pub(super) fn hidden_until(content: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Hidden {
        until_seq: i64,
    }
    serde_json::from_str::<Hidden>(content).ok().map(|hidden| hidden.until_seq)
}

/// Why a setting was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The draft has more characters than a message may have.
    #[error("the draft has more than {0} characters")]
    TooLong(usize),
    /// The account data is not taken.
    #[error(transparent)]
    AccountData(#[from] AccountDataError),
    /// The push rule is not taken.
    #[error(transparent)]
    PushRule(#[from] PushRuleError),
}

impl From<StoreError> for SettingError {
    fn from(error: StoreError) -> Self {
        Self::AccountData(error.into())
    }
}

/// Changes users' settings of conversations. That the user is in the room is the caller's to check.
pub struct Settings {
    store: Store,
    clock: Arc<dyn Clock>,
    account_data: Arc<AccountData>,
    push_rules: Arc<PushRules>,
    nothing: Arc<ReceiveNothing>,
    text_limit: usize,
}

impl Settings {
    /// Drafts have `text_limit` characters at most; `nothing` is told who wants to receive nothing.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        account_data: Arc<AccountData>,
        push_rules: Arc<PushRules>,
        nothing: Arc<ReceiveNothing>,
        text_limit: usize,
    ) -> Self {
        Self { store, clock, account_data, push_rules, nothing, text_limit }
    }

    /// Puts a conversation before the others, or back among them.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn pin(&self, user: UserNid, room: RoomNid, pinned: bool) -> Result<(), SettingError> {
        self.change(move |tx, data| set_pinned(tx, data, user, room, pinned)).await
    }

    /// Lets a conversation notify or not: a push rule of kind `room` without actions.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn mute(&self, by: &Session, room: &RoomKey, muted: bool) -> Result<(), SettingError> {
        if muted {
            let rule = NewPushRule::Room(NewSimplePushRule::new(room.room_id.clone(), Vec::new()));
            self.push_rules.put(by, rule, None, None).await?;
            // A rule that was there keeps being disabled.
            return Ok(self.push_rules.set_enabled(by, RuleKind::Room, room.room_id.to_string(), true).await?);
        }
        for kind in [RuleKind::Room, RuleKind::Override] {
            match self.push_rules.remove(by, kind, room.room_id.to_string()).await {
                Ok(()) | Err(PushRuleError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether nothing at all is received.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn receive_nothing(&self, user: UserNid, room: RoomNid, nothing: bool) -> Result<(), SettingError> {
        self.nothing.note(room);
        let content = json!(receiving::Content { recv_opt: i64::from(nothing) }).to_string();
        self.change(move |tx, data| Ok(data.put(tx, user, Some(room), receiving::TYPE, &content)?)).await
    }

    /// Keeps a text that the user has begun; an empty one takes it away.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn draft(&self, user: UserNid, room: RoomNid, text: String) -> Result<(), SettingError> {
        if text.chars().count() > self.text_limit {
            return Err(SettingError::TooLong(self.text_limit));
        }
        let content = match text.is_empty() {
            true => "{}".to_owned(),
            false => json!(Draft { text, updated_ts: self.clock.now_ms() }).to_string(),
        };
        self.change(move |tx, data| Ok(data.put(tx, user, Some(room), DRAFT, &content)?)).await
    }

    /// Marks a conversation as unread, or takes the mark away.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn mark_unread(&self, user: UserNid, room: RoomNid, unread: bool) -> Result<(), SettingError> {
        self.change(move |tx, data| set_marked_unread(tx, data, user, room, unread)).await
    }

    /// Takes a conversation out of the list until its next message, or puts it back.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn hide(&self, user: UserNid, room: RoomNid, hidden: bool) -> Result<(), SettingError> {
        self.change(move |tx, data| set_hidden(tx, data, user, room, hidden)).await
    }

    /// Clears a conversation for the user alone: what has come up to now is not shown to them any more, nor counted.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn clear(&self, user: UserNid, room: RoomNid) -> Result<(), SettingError> {
        self.change(move |tx, data| clear(tx, data, user, room)).await
    }

    /// Deletes a conversation for the user alone: hides and clears it, with its draft, its pin and its mark. They stay a member.
    ///
    /// # Errors
    /// [`SettingError`].
    pub async fn delete(&self, user: UserNid, room: RoomNid) -> Result<(), SettingError> {
        self.change(move |tx, data| {
            clear(tx, data, user, room)?;
            set_hidden(tx, data, user, room, true)?;
            set_pinned(tx, data, user, room, false)?;
            set_marked_unread(tx, data, user, room, false)?;
            if account_data::get(tx, user, Some(room), DRAFT)?.is_some() {
                data.put(tx, user, Some(room), DRAFT, "{}")?;
            }
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        change: impl FnOnce(&WriteTx<'_>, &AccountData) -> Result<(), SettingError> + Send + 'static,
    ) -> Result<(), SettingError> {
        let account_data = self.account_data.clone();
        self.store.write(move |tx| change(tx, &account_data)).await
    }
}

fn set_pinned(
    tx: &WriteTx<'_>,
    data: &AccountData,
    user: UserNid,
    room: RoomNid,
    pinned: bool,
) -> Result<(), SettingError> {
    let stored = account_data::get(tx, user, Some(room), TAGS)?;
    let stored = stored.and_then(|content| serde_json::from_str::<Value>(&content).ok());
    let mut tags = match stored {
        Some(Value::Object(mut content)) => match content.remove("tags") {
            Some(Value::Object(tags)) => tags,
            _ => serde_json::Map::new(),
        },
        _ => serde_json::Map::new(),
    };
    if tags.contains_key(PINNED) == pinned {
        return Ok(());
    }
    if pinned {
        tags.insert(PINNED.into(), json!({}));
    } else {
        tags.remove(PINNED);
    }
    Ok(data.put(tx, user, Some(room), TAGS, &json!({ "tags": tags }).to_string())?)
}

fn set_marked_unread(
    tx: &WriteTx<'_>,
    data: &AccountData,
    user: UserNid,
    room: RoomNid,
    marked: bool,
) -> Result<(), SettingError> {
    if !marked && account_data::get(tx, user, Some(room), MARKED_UNREAD)?.is_none() {
        return Ok(());
    }
    Ok(data.put(tx, user, Some(room), MARKED_UNREAD, &json!({ "unread": marked }).to_string())?)
}

fn set_hidden(
    tx: &WriteTx<'_>,
    data: &AccountData,
    user: UserNid,
    room: RoomNid,
    hidden: bool,
) -> Result<(), SettingError> {
    if !hidden && account_data::get(tx, user, Some(room), HIDDEN)?.is_none() {
        return Ok(());
    }
    let content = match hidden {
        true => {
            let since = members::of(tx, user, room)?.map_or(0, |member| member.since);
            json!({ "until_seq": rooms::head(tx, room)?.message_position.max(since) })
        }
        false => json!({}),
    };
    Ok(data.put(tx, user, Some(room), HIDDEN, &content.to_string())?)
}

fn clear(tx: &WriteTx<'_>, data: &AccountData, user: UserNid, room: RoomNid) -> Result<(), SettingError> {
    let until_seq = rooms::head(tx, room)?.last_position;
    let content = json!(history_floor::Content { until_seq }).to_string();
    data.put(tx, user, Some(room), history_floor::TYPE, &content)?;
    // What is cleared counts as read; so counts need not ask for the floor.
    unread::move_read_to(tx, user, room, unread::WHOLE_ROOM, until_seq)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_may_have_any_shape() {
        assert_eq!(hidden_until(r#"{"until_seq":7}"#), Some(7));
        assert_eq!(Draft::of_content(r#"{"text":"a","updated_ts":1}"#).map(|draft| draft.text), Some("a".into()));
        for other in ["{}", "[]", r#"{"until_seq":"7"}"#, r#"{"text":"","updated_ts":1}"#, r#"{"text":1}"#] {
            assert_eq!((hidden_until(other), Draft::of_content(other)), (None, None), "{other}");
        }
    }
}
