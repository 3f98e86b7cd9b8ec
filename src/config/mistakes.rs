//! What is reported about a configuration: mistakes, which keep the server from starting, and warnings.

use std::fmt;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole, by the name it was asked for with.
    File(String),
    /// A character of a file; lines and columns count from 1, columns in characters.
    At {
        /// The file's name, as it was asked for.
        file: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An environment variable, by its name.
    Variable(String),
    /// Nowhere: it is missing, and there is no file in which it could stand.
    Nowhere,
}

impl Place {
    /// The place of a byte of a file's text.
    pub(super) fn of_byte(file: &str, text: &str, byte: usize) -> Self {
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self::At {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => formatter.write_str(file),
            Self::At { file, line, column } => write!(formatter, "{file}:{line}:{column}"),
            Self::Variable(name) => formatter.write_str(name),
            Self::Nowhere => formatter.write_str("configuration"),
        }
    }
}

/// One mistake; its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// The full path of the key (`listen.client`); empty where no key is concerned.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl Mistake {
    /// A mistake in one's own words.
    pub(super) fn new(place: Place, key: &str, message: impl Into<String>) -> Self {
        Self { place, key: key.to_owned(), message: one_line(&message.into()) }
    }

    /// A value that a key cannot have.
    pub(super) fn value(place: Place, key: &str, found: &str, allowed: &str) -> Self {
        Self::new(place, key, format!("found {found}; allowed: {allowed}"))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(formatter, "{}: {}", self.place, self.message)
        } else {
            write!(formatter, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

/// Every mistake of a configuration, at least one, in the order of their places; one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Sorts mistakes; `None` if there are none.
    pub(super) fn sorted(mut mistakes: Vec<Mistake>) -> Option<Self> {
        mistakes.sort_by(|a, b| a.place.cmp(&b.place));
        (!mistakes.is_empty()).then_some(Self(mistakes))
    }

    /// The mistakes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

/// A key that is set and has no effect yet; its `Display` is one line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the key is set.
    pub place: Place,
    /// The full path of the key.
    pub key: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: this setting has no effect yet", self.place, self.key)
    }
}

/// A text as one line: whatever would end it becomes a space.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
