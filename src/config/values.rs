//! The types of single values, which exist only if they are valid.

use std::{fmt, path::PathBuf};

use ruma::ServerName;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use url::Url;
use wildmatch::WildMatch;

/// A value that must not reach a log: its `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself. Compare it in constant time.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// An `http` or `https` address without query, fragment, user or password, and without a slash at its end, so that a path can be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// Reads an address; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let url = http_url(text)?;
        let bare =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        bare.then(|| Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An `http` or `https` address with a host.
pub(super) fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A pattern for server names: `*` stands for any characters, `?` for one. Case makes no difference.
#[derive(Clone, Debug)]
pub struct ServerPattern(WildMatch);

impl ServerPattern {
    /// Reads a pattern; `None` if it holds a character that no server name holds.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-.:[]*?".contains(c);
        (!text.is_empty() && text.len() <= 255 && text.chars().all(fits))
            .then(|| Self(WildMatch::new(&text.to_ascii_lowercase())))
    }

    /// Whether the pattern fits the name, with its port or without it.
    pub fn matches(&self, server: &ServerName) -> bool {
        let whole = server.as_str().to_ascii_lowercase();
        self.0.matches(&whole) || self.0.matches(&server.host().to_ascii_lowercase())
    }
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageUrl {
    /// A file of SQLite's.
    Sqlite(PathBuf),
}

/// Which older sessions of a user a login ends (`linkim.multi_device_policy`, with OpenIM's numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiDevicePolicy {
    /// 0: none.
    KeepAll,
    /// 1: those of the same platform.
    OnePerPlatform,
    /// 4: those of the same class of device (computer, phone, tablet, web, mini program).
    OnePerClass,
    /// 5: of those that are not computers, all others; computers neither end a session nor are ended.
    OneBesideComputers,
}

impl MultiDevicePolicy {
    /// Reads OpenIM's number.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::KeepAll),
            1 => Some(Self::OnePerPlatform),
            4 => Some(Self::OnePerClass),
            5 => Some(Self::OneBesideComputers),
            _ => None,
        }
    }
}

/// What is logged, in the syntax of `tracing-subscriber`'s `EnvFilter`: `info`, or `warn,linkim::rooms=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Reads a filter; the error says what is wrong with it, in a few words.
    ///
    /// Stricter than `EnvFilter` in one point: a word alone must be a level, because `EnvFilter` takes `inof` for the name of a
    /// module and then logs nothing else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
        if directives.is_empty() {
            return Err("an empty filter".to_owned());
        }
        for directive in &directives {
            let alone = !directive.contains(['=', '[', ']', '{', '}']);
            if alone && directive.parse::<LevelFilter>().is_err() {
                return Err(format!("{directive:?}, which is not a level"));
            }
        }
        let text = directives.join(",");
        match EnvFilter::builder().parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("{text:?} ({error})")),
        }
    }

    /// The filter, without white space around its directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}
