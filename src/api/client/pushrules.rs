//! `/pushrules/…`.

use axum::{Router, extract::State, routing::get};
use ruma::{
    OwnedRoomId, OwnedUserId,
    push::{
        Action, AnyPushRule, InsertPushRuleError, NewConditionalPushRule, NewPatternedPushRule, NewPushRule,
        NewSimplePushRule, PushCondition, RuleKind, Ruleset,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Limited, PushRuleError, Rate, Session},
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    store::StoreError,
};

/// The ways in which a request about push rules fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("The kind of push rule is none of override, underride, sender, room and content")]
    UnknownKind,
    #[error("The id of a {0} rule is a {0} id")]
    RuleId(&'static str),
    #[error("A content rule has a pattern")]
    NoPattern,
    #[error(transparent)]
    Rules(#[from] PushRuleError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Rules(error.into())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::UnknownKind | Error::RuleId(_) => Self::invalid_param(text),
            Error::NoPattern => Self::bad_request("M_MISSING_PARAM", text),
            Error::Limited(limited) => limited.into(),
            Error::Rules(PushRuleError::NotFound) => Self::not_found(text),
            Error::Rules(PushRuleError::Insert(InsertPushRuleError::UnknownRuleId)) => {
                Self::bad_request("M_UNKNOWN", "before/after rule not found")
            }
            Error::Rules(PushRuleError::Insert(_) | PushRuleError::RelativeToItself | PushRuleError::ServerDefault) => {
                Self::invalid_param(text)
            }
            Error::Rules(PushRuleError::AccountData(error)) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`. Clients leave out the last slash, too.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/pushrules", get(all))
        .route("/pushrules/", get(all))
        .route("/pushrules/global", get(global))
        .route("/pushrules/global/", get(global))
        .route("/pushrules/global/{kind}/{rule_id}", get(one).put(put).delete(remove))
        .route("/pushrules/global/{kind}/{rule_id}/enabled", get(enabled).put(set_enabled))
        .route("/pushrules/global/{kind}/{rule_id}/actions", get(actions).put(set_actions))
}

fn parse_kind(kind: &str) -> Result<RuleKind, Error> {
    match kind {
        "override" => Ok(RuleKind::Override),
        "underride" => Ok(RuleKind::Underride),
        "sender" => Ok(RuleKind::Sender),
        "room" => Ok(RuleKind::Room),
        "content" => Ok(RuleKind::Content),
        _ => Err(Error::UnknownKind),
    }
}

/// `GET /pushrules/`
async fn all(State(state): State<ClientState>, session: Session) -> Result<Json<Value>, ApiError> {
    let rules = state.push_rules.all(&session).await?;
    Ok(Json(json!({ "global": rules })))
}

/// `GET /pushrules/global/`
async fn global(State(state): State<ClientState>, session: Session) -> Result<Json<Ruleset>, ApiError> {
    Ok(Json(state.push_rules.all(&session).await?))
}

async fn find(state: &ClientState, session: &Session, kind: &str, rule_id: &str) -> Result<AnyPushRule, Error> {
    let found = state.push_rules.get(session, parse_kind(kind)?, rule_id).await?;
    Ok(found.ok_or(PushRuleError::NotFound)?)
}

/// `GET /pushrules/global/{kind}/{ruleId}`
async fn one(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let rule = find(&state, &session, &kind, &rule_id).await?;
    Ok(Json(match rule {
        AnyPushRule::Override(rule) | AnyPushRule::Underride(rule) => json!(rule),
        AnyPushRule::Content(rule) => json!(rule),
        AnyPushRule::Room(rule) => json!(rule),
        AnyPushRule::Sender(rule) => json!(rule),
        _ => return Err(Error::UnknownKind.into()),
    }))
}

#[derive(Deserialize)]
struct Place {
    before: Option<String>,
    after: Option<String>,
}

#[derive(Deserialize)]
struct NewRule {
    actions: Vec<Action>,
    #[serde(default)]
    conditions: Vec<PushCondition>,
    pattern: Option<String>,
}

impl NewRule {
    fn named(self, kind: &RuleKind, rule_id: String) -> Result<NewPushRule, Error> {
        let actions = self.actions;
        Ok(match kind {
            RuleKind::Content => {
                let pattern = self.pattern.ok_or(Error::NoPattern)?;
                NewPushRule::Content(NewPatternedPushRule::new(rule_id, pattern, actions))
            }
            RuleKind::Room => {
                let room_id = OwnedRoomId::try_from(rule_id).map_err(|_| Error::RuleId("room"))?;
                NewPushRule::Room(NewSimplePushRule::new(room_id, actions))
            }
            RuleKind::Sender => {
                let user_id = OwnedUserId::try_from(rule_id).map_err(|_| Error::RuleId("user"))?;
                NewPushRule::Sender(NewSimplePushRule::new(user_id, actions))
            }
            RuleKind::Override => NewPushRule::Override(NewConditionalPushRule::new(rule_id, self.conditions, actions)),
            RuleKind::Underride => {
                NewPushRule::Underride(NewConditionalPushRule::new(rule_id, self.conditions, actions))
            }
            _ => return Err(Error::UnknownKind),
        })
    }
}

/// `PUT /pushrules/global/{kind}/{ruleId}`
async fn put(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
    Query(place): Query<Place>,
    Json(body): Json<NewRule>,
) -> Result<Json<Value>, ApiError> {
    state.limits.check(Rate::Settings, session.user)?;
    let rule = body.named(&parse_kind(&kind)?, rule_id)?;
    let done = state.push_rules.put(&session, rule, place.after, place.before).await;
    done.map_err(Error::from)?;
    Ok(Json(json!({})))
}

/// `DELETE /pushrules/global/{kind}/{ruleId}`
async fn remove(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    state.limits.check(Rate::Settings, session.user)?;
    let done = state.push_rules.remove(&session, parse_kind(&kind)?, rule_id).await;
    done.map_err(Error::from)?;
    Ok(Json(json!({})))
}

/// `GET /pushrules/global/{kind}/{ruleId}/enabled`
async fn enabled(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let rule = find(&state, &session, &kind, &rule_id).await?;
    Ok(Json(json!({ "enabled": rule.enabled() })))
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

/// `PUT /pushrules/global/{kind}/{ruleId}/enabled`
async fn set_enabled(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
    Json(body): Json<Enabled>,
) -> Result<Json<Value>, ApiError> {
    state.limits.check(Rate::Settings, session.user)?;
    let kind = parse_kind(&kind)?;
    let done = state.push_rules.set_enabled(&session, kind, rule_id, body.enabled).await;
    done.map_err(Error::from)?;
    Ok(Json(json!({})))
}

/// `GET /pushrules/global/{kind}/{ruleId}/actions`
async fn actions(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let rule = find(&state, &session, &kind, &rule_id).await?;
    Ok(Json(json!({ "actions": rule.actions() })))
}

#[derive(Deserialize)]
struct Actions {
    actions: Vec<Action>,
}

/// `PUT /pushrules/global/{kind}/{ruleId}/actions`
async fn set_actions(
    State(state): State<ClientState>,
    session: Session,
    Path((kind, rule_id)): Path<(String, String)>,
    Json(body): Json<Actions>,
) -> Result<Json<Value>, ApiError> {
    state.limits.check(Rate::Settings, session.user)?;
    let kind = parse_kind(&kind)?;
    let done = state.push_rules.set_actions(&session, kind, rule_id, body.actions).await;
    done.map_err(Error::from)?;
    Ok(Json(json!({})))
}
