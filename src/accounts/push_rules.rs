//! Push rules, which are the account data `m.push_rules`.
//!
//! Source: Client-Server API, "Push Rules".

use std::sync::Arc;

use ruma::{
    OwnedUserId, UserId,
    push::{Action, AnyPushRule, InsertPushRuleError, NewPushRule, RemovePushRuleError, RuleKind, Ruleset},
};
use serde::{Deserialize, Serialize};

use super::{
    account_data::{AccountData, AccountDataError},
    session::Session,
};
use crate::store::{Read, Store, StoreError, account_data, ids::UserNid};

/// The type that holds the rules.
const TYPE: &str = "m.push_rules";

/// Why push rules are not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRuleError {
    /// There is no such rule.
    #[error("The push rule was not found")]
    NotFound,
    /// The rule cannot be made, or not there.
    #[error(transparent)]
    Insert(#[from] InsertPushRuleError),
    /// `before` or `after` is the rule itself.
    #[error("A rule cannot be placed relative to itself")]
    RelativeToItself,
    /// Default rules stay.
    #[error("Server-default rules cannot be removed")]
    ServerDefault,
    /// The account data is not taken.
    #[error(transparent)]
    AccountData(#[from] AccountDataError),
}

impl From<StoreError> for PushRuleError {
    fn from(error: StoreError) -> Self {
        Self::AccountData(error.into())
    }
}

/// The content of `m.push_rules`.
#[derive(Serialize, Deserialize)]
struct Content {
    global: Ruleset,
}

/// The push rules of this server's users.
pub struct PushRules {
    store: Store,
    account_data: Arc<AccountData>,
}

impl PushRules {
    /// Changes go through `account_data`.
    pub fn new(store: Store, account_data: Arc<AccountData>) -> Self {
        Self { store, account_data }
    }

    /// A user's rules in a running look-up; the default ones where none are stored.
    pub fn load(read: &dyn Read, user: UserNid, user_id: &UserId) -> Result<Ruleset, StoreError> {
        let Some(stored) = account_data::get(read, user, None, TYPE)? else {
            return Ok(Ruleset::server_default(user_id));
        };
        let content: Content =
            serde_json::from_str(&stored).map_err(|error| StoreError::Damaged(format!("push rules: {error}")))?;
        Ok(content.global)
    }

    /// The rules of a session's user.
    pub async fn all(&self, session: &Session) -> Result<Ruleset, StoreError> {
        let (user, user_id) = (session.user, session.user_id.clone());
        self.store.read(move |read| Self::load(read, user, &user_id)).await
    }

    /// One rule.
    pub async fn get(
        &self,
        session: &Session,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<Option<AnyPushRule>, StoreError> {
        let rules = self.all(session).await?;
        Ok(rules.get(kind, rule_id).map(|rule| rule.to_owned()))
    }

    /// Makes or replaces a rule, next to `after` or `before` if they are given.
    pub async fn put(
        &self,
        session: &Session,
        rule: NewPushRule,
        after: Option<String>,
        before: Option<String>,
    ) -> Result<(), PushRuleError> {
        self.change(session, move |rules| insert(rules, rule, after.as_deref(), before.as_deref())).await
    }

    /// Removes a rule.
    pub async fn remove(&self, session: &Session, kind: RuleKind, rule_id: String) -> Result<(), PushRuleError> {
        self.change(session, move |rules| {
            rules.remove(kind, rule_id).map_err(|error| match error {
                RemovePushRuleError::ServerDefault => PushRuleError::ServerDefault,
                _ => PushRuleError::NotFound,
            })
        })
        .await
    }

    /// Enables or disables a rule.
    pub async fn set_enabled(
        &self,
        session: &Session,
        kind: RuleKind,
        rule_id: String,
        enabled: bool,
    ) -> Result<(), PushRuleError> {
        self.change(session, move |rules| {
            let done = rules.set_enabled(kind, rule_id, enabled);
            done.map_err(|_| PushRuleError::NotFound)
        })
        .await
    }

    /// Replaces a rule's actions.
    pub async fn set_actions(
        &self,
        session: &Session,
        kind: RuleKind,
        rule_id: String,
        actions: Vec<Action>,
    ) -> Result<(), PushRuleError> {
        self.change(session, move |rules| {
            let done = rules.set_actions(kind, rule_id, actions);
            done.map_err(|_| PushRuleError::NotFound)
        })
        .await
    }

    /// Stores what `change` makes of the rules.
    async fn change(
        &self,
        session: &Session,
        change: impl FnOnce(&mut Ruleset) -> Result<(), PushRuleError> + Send + 'static,
    ) -> Result<(), PushRuleError> {
        let account_data = self.account_data.clone();
        let user = session.user;
        let user_id: OwnedUserId = session.user_id.clone();
        self.store
            .write(move |tx| {
                let mut rules = Self::load(tx, user, &user_id)?;
                change(&mut rules)?;
                let content = serde_json::json!(Content { global: rules }).to_string();
                Ok(account_data.put(tx, user, None, TYPE, &content)?)
            })
            .await
    }
}

/// Inserts a rule at its place. A known rule that is given a new place is taken out first and keeps whether it is enabled:
/// ruma's `insert` moves it past the end of the list where it goes behind the last rule, and panics.
fn insert(
    rules: &mut Ruleset,
    rule: NewPushRule,
    after: Option<&str>,
    before: Option<&str>,
) -> Result<(), PushRuleError> {
    let (kind, rule_id) = (rule.kind(), rule.rule_id().to_owned());
    if [after, before].contains(&Some(rule_id.as_str())) {
        return Err(PushRuleError::RelativeToItself);
    }
    let known = rules.get(kind.clone(), &rule_id).map(|rule| rule.enabled());
    let known = known.filter(|_| after.is_some() || before.is_some());
    if known.is_some() && !rule_id.starts_with('.') {
        rules.remove(kind.clone(), &rule_id).map_err(|_| PushRuleError::NotFound)?;
    }
    rules.insert(rule, after, before)?;
    if let Some(enabled) = known {
        rules.set_enabled(kind, rule_id, enabled).map_err(|_| PushRuleError::NotFound)?;
    }
    Ok(())
}
