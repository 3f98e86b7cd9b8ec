//! Marking a conversation as read: a receipt at its newest event, or at one that is named.

use std::sync::Arc;

use serde::Deserialize;

use super::settings::{SettingError, Settings};
use crate::{
    accounts::Session,
    numbers::{self, MessageRef},
    rooms::receipts::{Mark, ReceiptError, ReceiptKind, ReceiptThread, Receipts},
    store::{Store, StoreError, account_data, events, ids::RoomKey, messages},
};

/// The global account data in which users say how LinkIM treats them.
const USER_SETTINGS: &str = "org.linkim.settings";

/// Why a conversation was not marked.
#[derive(Debug, thiserror::Error)]
pub enum ReadMarkError {
    /// The conversation has no such message.
    #[error("no such message in this conversation")]
    NoMessage,
    /// The receipt is refused.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The mark as unread was not taken away.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Marks conversations as read.
pub struct MarkRead {
    store: Store,
    receipts: Arc<Receipts>,
    settings: Arc<Settings>,
}

impl MarkRead {
    /// By these.
    pub fn new(store: Store, receipts: Arc<Receipts>, settings: Arc<Settings>) -> Self {
        Self { store, receipts, settings }
    }

    /// Marks everything up to the newest event, or up to `message`, as read: for all of the user's devices. The others are told
    /// (`m.read`), unless the user wants to read unseen.
    ///
    /// # Errors
    /// [`ReadMarkError`].
    pub async fn mark(
        &self,
        by: &Session,
        room: &Arc<RoomKey>,
        message: Option<MessageRef>,
    ) -> Result<(), ReadMarkError> {
        let (user, key) = (by.user, room.clone());
        let (event_id, unseen) = self
            .store
            .read_short::<_, ReadMarkError, _>(move |read| {
                let event = match message {
                    Some(message) => Some(numbers::message(read, key.nid, &message)?.ok_or(ReadMarkError::NoMessage)?),
                    None => messages::newest(read, key.nid, i64::MAX)?,
                };
                let event_id = event.map(|event| events::id(read, event)).transpose()?;
                let settings = account_data::get(read, user, None, USER_SETTINGS)?;
                Ok((event_id, settings.is_some_and(|settings| reads_unseen(&settings))))
            })
            .await?;
        let event_id = event_id.ok_or(ReadMarkError::NoMessage)?;
        let kind = if unseen { ReceiptKind::ReadPrivate } else { ReceiptKind::Read };
        let mark = Mark { kind, event_id, thread: ReceiptThread::Unthreaded };
        self.receipts.set(user, room.room_id.clone(), vec![mark]).await?;
        Ok(self.settings.mark_unread(user, room.nid, false).await?)
    }
}

/// Whether `org.linkim.settings` says that others are not to see what the user has read.
fn reads_unseen(settings: &str) -> bool {
    #[derive(Deserialize)]
    struct UserSettings {
        #[serde(default)]
        private_receipts: bool,
    }
    serde_json::from_str::<UserSettings>(settings).is_ok_and(|settings| settings.private_receipts)
}
