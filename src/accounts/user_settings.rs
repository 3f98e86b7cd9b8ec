//! What a user lets others do: find them by an address, see their addresses, add them as strangers. It is account data of the
//! type `org.linkim.settings` (spec/events/org.linkim.settings.yaml), so that every client of the user sees and sets it.

use serde::{Deserialize, Serialize};

use crate::store::{Read, StoreError, account_data, ids::UserNid};

/// The settings of a user. What the user never set, or set to something else than true or false, has its default.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct UserSettings {
    /// Whether who knows the phone number finds the user by it.
    #[serde(default)]
    pub find_by_phone: bool,
    /// Whether who knows the e-mail address finds the user by it.
    #[serde(default)]
    pub find_by_email: bool,
    /// Whether friends see phone number and e-mail address.
    #[serde(default)]
    pub friends_see_addresses: bool,
    /// Whether people who are no friends may send a friend request.
    #[serde(default = "yes")]
    pub strangers_may_add: bool,
}

fn yes() -> bool {
    true
}

impl Default for UserSettings {
    fn default() -> Self {
        Self { find_by_phone: false, find_by_email: false, friends_see_addresses: false, strangers_may_add: true }
    }
}

impl UserSettings {
    /// The type of account data.
    pub const TYPE: &'static str = "org.linkim.settings";

    /// A user's settings.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn of(read: &dyn Read, user: UserNid) -> Result<Self, StoreError> {
        let content = account_data::get(read, user, None, Self::TYPE)?;
        Ok(content.map_or_else(Self::default, |json| Self::from_content(&json)))
    }

    /// Reads account data that any client may have written: each setting for itself.
    pub fn from_content(json: &str) -> Self {
        let content: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
        let default = Self::default();
        let get = |name: &str, or: bool| content.get(name).and_then(serde_json::Value::as_bool).unwrap_or(or);
        Self {
            find_by_phone: get("find_by_phone", default.find_by_phone),
            find_by_email: get("find_by_email", default.find_by_email),
            friends_see_addresses: get("friends_see_addresses", default.friends_see_addresses),
            strangers_may_add: get("strangers_may_add", default.strangers_may_add),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_fits_the_schema() {
        let schema = include_str!("../../spec/events/org.linkim.settings.yaml");
        // A YAML reader is no dependency: the properties are read line by line.
        let content = serde_json::to_value(UserSettings::default()).unwrap();
        let properties: Vec<&str> = schema
            .lines()
            .filter_map(|line| line.strip_prefix("      ")?.strip_suffix(':'))
            .filter(|name| !name.starts_with(' '))
            .collect();
        let written: Vec<&String> = content.as_object().unwrap().keys().collect();
        assert!(!properties.is_empty() && written.iter().all(|name| properties.contains(&name.as_str())));
        assert!(properties.iter().all(|name| content[name].is_boolean()), "{properties:?}");
    }

    #[test]
    fn what_a_client_wrote_wrong_has_its_default() {
        let all = UserSettings::from_content("{\"find_by_phone\":true,\"strangers_may_add\":\"no\",\"x\":1}");
        assert_eq!(all, UserSettings { find_by_phone: true, ..UserSettings::default() });
        assert_eq!(UserSettings::from_content("[]"), UserSettings::default());
    }
}
