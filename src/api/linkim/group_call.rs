//! What a call about a group begins with: which group it is, who asks, and whether they may ask so often.

use std::sync::Arc;

use axum::extract::FromRef;

use super::{extract::is_caller, groups::group, refusal::Refusal, state::LinkImState};
use crate::{
    accounts::{Rate, RateLimits, Session},
    groups::{Actor, Groups},
    numbers::{GroupRef, Numbers, UserRef},
    store::{
        Store,
        ids::{RoomKey, UserNid},
    },
};

/// What handlers about groups call.
#[derive(Clone)]
pub(super) struct GroupCalls {
    pub(super) numbers: Arc<Numbers>,
    pub(super) groups: Arc<Groups>,
    pub(super) store: Store,
    limits: Arc<RateLimits>,
}

impl FromRef<LinkImState> for GroupCalls {
    fn from_ref(state: &LinkImState) -> Self {
        Self {
            numbers: FromRef::from_ref(state),
            groups: FromRef::from_ref(state),
            store: FromRef::from_ref(state),
            limits: FromRef::from_ref(state),
        }
    }
}

/// A group, and who asks for something in it. Whether they are a member, and what their role lets them, the service says.
pub(super) struct Call {
    pub(super) room: Arc<RoomKey>,
    pub(super) by: Actor,
}

impl GroupCalls {
    /// A call that looks.
    pub(super) async fn look(&self, session: &Session, name: &GroupRef) -> Result<Call, Refusal> {
        Ok(Call { room: group(&self.numbers, name).await?, by: Actor::from(session) })
    }

    /// A call that changes something, which users do at most at this rate; `named` is whom the request says to ask.
    pub(super) async fn change(
        &self,
        session: &Session,
        named: Option<&UserRef>,
        rate: Rate,
        name: &GroupRef,
    ) -> Result<Call, Refusal> {
        is_caller(session, named)?;
        self.limits.check(rate, session.user)?;
        self.look(session, name).await
    }

    /// The user after whom a page begins.
    pub(super) async fn cursor(&self, last: Option<&UserRef>) -> Result<Option<UserNid>, Refusal> {
        let Some(last) = last else { return Ok(None) };
        let user = self.numbers.user(last).await?;
        Ok(Some(user.ok_or_else(Refusal::no_cursor)?.nid))
    }
}
