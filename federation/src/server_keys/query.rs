//! What is asked of a notary: the keys of which servers, and until when they should be valid.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query>

use std::borrow::Cow;
use std::collections::BTreeMap;

use ruma::{OwnedServerName, ServerName};
use thiserror::Error;

use super::timestamp;
use crate::canonical::CanonicalError;
use crate::server_name::{ParsedServerName, ServerNameError};
use crate::value::{MAX_INTEGER, Numbers, Object, Value, get, into_text, parse_object, write_object};

/// The longest query that is read, in bytes.
pub const MAX_QUERY_LENGTH: usize = 65_536;

/// How many servers one query may ask for: each may cost the notary a request.
pub const MAX_QUERY_SERVERS: usize = 100;

/// Why a key query is refused: with 400, and `M_NOT_JSON` for [`Json`](Self::Json), `M_TOO_LARGE` for the two bounds,
/// otherwise `M_BAD_JSON`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyQueryError {
    /// It is longer than [`MAX_QUERY_LENGTH`].
    #[error("the query has more than {MAX_QUERY_LENGTH} bytes")]
    TooLong,
    /// It asks for more than [`MAX_QUERY_SERVERS`] servers.
    #[error("the query asks for more than {MAX_QUERY_SERVERS} servers")]
    TooManyServers,
    /// It is not a JSON object.
    #[error("the query is not a JSON object: {0}")]
    Json(#[from] CanonicalError),
    /// A field is missing, or of another type than it must be.
    #[error("`{0}` is missing or malformed")]
    Field(&'static str),
    /// It asks for the keys of something that is no server name.
    #[error("{0:?} is not a server name: {1}")]
    ServerName(String, #[source] ServerNameError),
}

/// A query for the keys of several servers: for each, key identifiers and `minimum_valid_until_ts` where it is given. No
/// identifiers ask for all keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyQuery {
    /// What is asked, by server name and key identifier. Identifiers are not checked; one that is none is one that nobody
    /// has.
    pub server_keys: BTreeMap<OwnedServerName, BTreeMap<String, Option<u64>>>,
}

impl KeyQuery {
    /// Reads the body of a query.
    ///
    /// # Errors
    /// [`KeyQueryError`], for the first thing that is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, KeyQueryError> {
        if json.len() > MAX_QUERY_LENGTH {
            return Err(KeyQueryError::TooLong);
        }
        let object = parse_object(json, Numbers::Loose)?;
        let servers = get(&object, "server_keys").and_then(Value::as_object);
        let servers = servers.ok_or(KeyQueryError::Field("server_keys"))?;
        if servers.len() > MAX_QUERY_SERVERS {
            return Err(KeyQueryError::TooManyServers);
        }
        let mut server_keys = BTreeMap::new();
        for (name, criteria) in servers {
            let parsed = ParsedServerName::parse(name);
            let parsed = parsed.map_err(|reason| KeyQueryError::ServerName(name.clone().into_owned(), reason))?;
            let criteria = criteria.as_object().ok_or(KeyQueryError::Field("server_keys"))?;
            let criteria = criteria.iter().map(|(key_id, criterion)| {
                let criterion = criterion.as_object().ok_or(KeyQueryError::Field("server_keys"))?;
                Ok((key_id.clone().into_owned(), minimum_valid_until_ts(criterion)?))
            });
            server_keys.insert(parsed.name().to_owned(), criteria.collect::<Result<_, KeyQueryError>>()?);
        }
        Ok(Self { server_keys })
    }

    /// The body of the query.
    pub fn to_json(&self) -> String {
        let criterion = |minimum: Option<u64>| {
            let minimum = minimum.map(|minimum| i64::try_from(minimum).map_or(MAX_INTEGER, |ts| ts.min(MAX_INTEGER)));
            let minimum = minimum.map(|minimum| (Cow::Borrowed("minimum_valid_until_ts"), Value::Integer(minimum)));
            Value::Object(minimum.into_iter().collect())
        };
        let servers = self.server_keys.iter().map(|(server, criteria)| {
            let criteria =
                criteria.iter().map(|(key_id, minimum)| (Cow::Borrowed(key_id.as_str()), criterion(*minimum)));
            (Cow::Borrowed(server.as_str()), Value::Object(criteria.collect()))
        });
        let query: Object<'_> = vec![(Cow::Borrowed("server_keys"), Value::Object(servers.collect()))];
        let mut out = Vec::with_capacity(256);
        write_object(&mut out, &query);
        into_text(out)
    }

    /// Until when a document of the server must be valid at least to be an answer from memory: the latest time that is
    /// asked for, and `now` where none is. A notary whose document is not tries to fetch another, and if that fails
    /// answers with what it has.
    pub fn minimum_valid_until_ts(&self, server: &ServerName, now: u64) -> u64 {
        let criteria = self.server_keys.get(server);
        let asked = criteria.into_iter().flatten().map(|(_, minimum)| minimum.unwrap_or(now));
        asked.max().unwrap_or(now)
    }
}

fn minimum_valid_until_ts(criterion: &Object<'_>) -> Result<Option<u64>, KeyQueryError> {
    let field = "minimum_valid_until_ts";
    match (get(criterion, field), timestamp(criterion, field)) {
        (None, _) => Ok(None),
        (Some(_), Some(minimum)) => Ok(Some(minimum)),
        (Some(_), None) => Err(KeyQueryError::Field(field)),
    }
}
