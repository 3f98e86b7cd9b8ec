//! Which servers may take part in a room: its server ACL.
//!
//! Source: Client-Server API, "Server Access Control Lists (ACLs) for rooms", `m.room.server_acl`; Server-Server API, "Server
//! Access Control Lists (ACLs)", for what it protects.

use moka::sync::Cache;
use ruma::{OwnedServerName, ServerName};
use serde_json::Value;
use wildmatch::WildMatch;

use super::state;
use crate::store::{
    Read, StoreError, events,
    ids::{EventNid, RoomNid},
};

/// Verdicts that are remembered.
const REMEMBERED: u64 = 20_000;

/// A server name has at most 255 bytes, so a longer pattern is one of wildcards alone, or fits nothing.
const MAX_PATTERN: usize = 1_024;

/// What the ACLs of rooms say about servers. An ACL event changes by its redaction alone, so a verdict is kept by its number
/// and whether it is redacted. Bound: 20,000 verdicts.
pub struct ServerAcls {
    verdicts: Cache<(EventNid, bool, OwnedServerName), bool>,
}

impl Default for ServerAcls {
    fn default() -> Self {
        Self { verdicts: Cache::new(REMEMBERED) }
    }
}

impl ServerAcls {
    /// Whether a server may take part in a room, by the room's current state.
    pub fn permits(&self, read: &dyn Read, room: RoomNid, server: &ServerName) -> Result<bool, StoreError> {
        let Some(nid) = state::current_nid(read, room, "m.room.server_acl", "")? else { return Ok(true) };
        let key = (nid, events::by_nid(read, nid)?.redacted_by.is_some(), server.to_owned());
        if let Some(verdict) = self.verdicts.get(&key) {
            return Ok(verdict);
        }
        let pdu = state::load_pdu(read, nid)?;
        let content: Value = serde_json::from_str(pdu.content().get()).unwrap_or_default();
        let verdict = allows(&content, server);
        self.verdicts.insert(key, verdict);
        Ok(verdict)
    }
}

/// Steps 2 to 5 of the spec's order, on the content of an ACL event.
fn allows(content: &Value, server: &ServerName) -> bool {
    if server.is_ip_literal() && content["allow_ip_literals"] == Value::Bool(false) {
        return false;
    }
    let host = server.host();
    !names(&content["deny"], host) && names(&content["allow"], host)
}

/// Whether a list has a pattern that fits. What is no pattern fits nothing.
fn names(list: &Value, host: &str) -> bool {
    let patterns = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    patterns
        .filter(|pattern| pattern.len() <= MAX_PATTERN)
        .any(|pattern| WildMatch::new_case_insensitive(pattern).matches(host))
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_is_the_specs() {
        let acl = json!({
            "allow": ["*"], "deny": ["*.evil.com", "evil.com", "h?st.example"], "allow_ip_literals": false,
        });
        for (server, allowed) in [
            (server_name!("good.com"), true),
            (server_name!("evil.com"), false),
            // «the suspect server's port number must not be considered»
            (server_name!("evil.com:8448"), false),
            (server_name!("a.b.evil.com:1234"), false),
            (server_name!("notevil.com"), true),
            (server_name!("EVIL.com"), false),
            (server_name!("host.example"), false),
            (server_name!("hoost.example"), true),
            (server_name!("1.2.3.4"), false),
            (server_name!("1.2.3.4:8448"), false),
            (server_name!("[::1]:8448"), false),
        ] {
            assert_eq!(allows(&acl, server), allowed, "{server}");
        }
    }

    #[test]
    fn a_missing_allow_list_denies_all_and_odd_values_count_as_missing() {
        let server = server_name!("a.example");
        assert!(!allows(&json!({}), server));
        assert!(!allows(&json!({ "allow": "*" }), server));
        assert!(allows(&json!({ "allow": [1, null, "*"], "deny": [{}, 7] }), server));
        // «Defaults to true if missing or otherwise not a boolean.»
        assert!(allows(&json!({ "allow": ["*"], "allow_ip_literals": "no" }), server_name!("1.2.3.4")));
    }

    #[test]
    fn an_ip_literal_can_be_named() {
        let acl = json!({ "allow": ["*"], "deny": ["10.*"] });
        assert!(!allows(&acl, server_name!("10.1.2.3:8448")));
        assert!(allows(&acl, server_name!("11.1.2.3:8448")));
    }
}
