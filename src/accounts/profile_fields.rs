//! Which fields a profile can have, and what they can hold.
//!
//! Source: Client-Server API, `PUT /profile/{userId}/{keyName}`; appendices, "Common Namespaced Identifier Grammar".

use ruma::MxcUri;
use serde_json::Value;

/// Longest name of a field, in bytes.
const MAX_NAME: usize = 255;

/// Longest display name, in characters: it is copied into member events, which have to fit into 64 KiB with all else.
const MAX_DISPLAYNAME: usize = 256;

/// Longest avatar address, in bytes.
const MAX_AVATAR_URL: usize = 1000;

/// The name of a profile field, of the right grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(String);

/// Why a field is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldRefused {
    /// The name is longer than 255 bytes (`M_KEY_TOO_LARGE`).
    #[error("The name of a profile field has at most {MAX_NAME} bytes")]
    NameTooLong,
    /// The name is neither a defined one nor a namespaced one (`M_INVALID_PARAM`).
    #[error("Invalid profile key")]
    Name,
    /// The value is not of the type of this field (`M_BAD_JSON`).
    #[error("The value of this profile field is a string")]
    Type,
    /// The value is a string that this field cannot have (`M_INVALID_PARAM`).
    #[error("The avatar is an MXC URI of at most {MAX_AVATAR_URL} bytes")]
    Avatar,
    /// The display name is too long (`M_INVALID_PARAM`).
    #[error("The display name is longer than {MAX_DISPLAYNAME} characters")]
    DisplaynameTooLong,
}

impl FieldName {
    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self, FieldRefused> {
        if name.len() > MAX_NAME {
            return Err(FieldRefused::NameTooLong);
        }
        let defined = matches!(name, "displayname" | "avatar_url" | "m.tz");
        if !defined && !is_namespaced(name) {
            return Err(FieldRefused::Name);
        }
        Ok(Self(name.to_owned()))
    }

    /// The field that goes when this one is set: there is one avatar, an uploaded file or, set by LinkIM's clients, a web address.
    pub(super) fn takes_place_of(&self) -> Option<Self> {
        let other = match self.as_str() {
            "avatar_url" => "org.linkim.avatar_url",
            "org.linkim.avatar_url" => "avatar_url",
            _ => return None,
        };
        Some(Self(other.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What to store for `value`. None: the field is to be deleted, as clients mean it that send an empty display name or
    /// avatar from the time when there was no DELETE.
    pub fn accept(&self, value: &Value) -> Result<Option<String>, FieldRefused> {
        let text = || value.as_str().ok_or(FieldRefused::Type);
        match self.as_str() {
            "displayname" => {
                let name = text()?;
                if name.chars().count() > MAX_DISPLAYNAME {
                    return Err(FieldRefused::DisplaynameTooLong);
                }
                Ok((!name.is_empty()).then(|| value.to_string()))
            }
            "avatar_url" => {
                let url = text()?;
                if url.is_empty() {
                    return Ok(None);
                }
                if url.len() > MAX_AVATAR_URL || <&MxcUri>::from(url).validate().is_err() {
                    return Err(FieldRefused::Avatar);
                }
                Ok(Some(value.to_string()))
            }
            "m.tz" => text().map(|_| Some(value.to_string())),
            _ => Ok(Some(value.to_string())),
        }
    }
}

/// `a.b`, `a.b.c` …: each part begins with a letter and has letters, digits and underscores.
fn is_namespaced(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    name.contains('.') && name.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let good = ["displayname", "avatar_url", "m.tz", "org.example.job_title", "m.example_field"];
        for name in good {
            assert!(FieldName::parse(name).is_ok(), "{name}");
        }
        let bad = ["", "custom", "Org.example", "org..x", "org.", ".x", "org.1x", "org.a-b", "m.é"];
        for name in bad {
            assert_eq!(FieldName::parse(name), Err(FieldRefused::Name), "{name}");
        }
        let long = format!("a.{}", "b".repeat(254));
        assert_eq!(FieldName::parse(&long), Err(FieldRefused::NameTooLong));
        assert!(FieldName::parse(&long[..255]).is_ok());
    }

    #[test]
    fn values_follow_the_field() {
        let accept = |name: &str, value| FieldName::parse(name).unwrap().accept(&value);
        assert_eq!(accept("displayname", json!("Al")), Ok(Some("\"Al\"".into())));
        assert_eq!(accept("displayname", json!("")), Ok(None));
        assert_eq!(accept("displayname", json!(null)), Err(FieldRefused::Type));
        assert_eq!(accept("displayname", json!("é".repeat(257))), Err(FieldRefused::DisplaynameTooLong));
        assert!(accept("displayname", json!("é".repeat(256))).is_ok());
        assert!(accept("avatar_url", json!("mxc://a.example/abc")).is_ok());
        assert_eq!(accept("avatar_url", json!("https://x/y")), Err(FieldRefused::Avatar));
        assert_eq!(accept("m.tz", json!(1)), Err(FieldRefused::Type));
        assert_eq!(accept("org.x", json!(null)), Ok(Some("null".into())));
        assert_eq!(accept("org.x", json!({"a": [1]})), Ok(Some("{\"a\":[1]}".into())));
    }
}
