//! Who may withdraw whose messages in a group.

pub(super) use crate::groups::{Role, may_withdraw, role};
