//! Typed reading of single values, which collects mistakes instead of stopping at them.

use std::path::{Path, PathBuf};

use toml_edit::Value;

use super::{
    gather::{Gathered, Raw},
    keys,
    mistakes::{Mistake, Place},
    values::Secret,
};

/// Hands out the values of keys, each once, and remembers what was wrong with them.
pub(super) struct Reader {
    gathered: Gathered,
    /// Where each key that is set has its value, and where the key itself stands.
    set: Vec<(String, Place, Place)>,
}

/// One value, or one item of a list.
#[derive(Clone, Copy)]
pub(super) enum Scalar<'a> {
    Toml(&'a Value),
    Text(&'a str),
}

/// Why a value is not taken.
enum Refusal {
    /// The value is none of what is allowed.
    Value,
    /// For the reason in the message, which must not quote a secret.
    Because(String),
}

impl<'a> Scalar<'a> {
    /// The value as a string; numbers and the like are not strings.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Toml(value) => value.as_str(),
            Self::Text(text) => Some(text),
        }
    }

    fn boolean(self) -> Option<bool> {
        match self {
            Self::Toml(value) => value.as_bool(),
            Self::Text(text) => text.parse().ok(),
        }
    }

    fn integer(self) -> Option<i64> {
        match self {
            Self::Toml(value) => value.as_integer(),
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// What the report says was found; a secret is only named by its type.
    fn found(self, secret: bool) -> String {
        let kind = match self {
            Self::Toml(Value::Array(_)) => return "a list".to_owned(),
            Self::Toml(Value::InlineTable(_)) => return "a table".to_owned(),
            Self::Toml(Value::String(text)) => return shown(text.value(), secret),
            Self::Text(text) => return shown(text, secret),
            Self::Toml(Value::Integer(number)) => ("an integer", number.value().to_string()),
            Self::Toml(Value::Float(number)) => ("a float", number.value().to_string()),
            Self::Toml(Value::Boolean(truth)) => ("a boolean", truth.value().to_string()),
            Self::Toml(Value::Datetime(time)) => ("a date", time.value().to_string()),
        };
        if secret { kind.0.to_owned() } else { format!("{} ({})", kind.1, kind.0) }
    }
}

/// A string for the report, in quotes and of bounded length.
fn shown(text: &str, secret: bool) -> String {
    match (text.is_empty(), secret) {
        (true, _) => "an empty string".to_owned(),
        (false, true) => "a string (hidden)".to_owned(),
        (false, false) if text.chars().count() > 80 => {
            format!("{:?}…", text.chars().take(80).collect::<String>())
        }
        (false, false) => format!("{text:?}"),
    }
}

impl Reader {
    pub(super) fn new(gathered: Gathered) -> Self {
        let set = gathered.entries.iter();
        let set = set.map(|(path, entry)| (path.clone(), entry.place.clone(), entry.key_place.clone()));
        let meant = gathered.meant.iter().map(|(path, place)| (path.clone(), place.clone(), place.clone()));
        Self { set: set.chain(meant).collect(), gathered }
    }

    /// Where the value of a key stands, if it is set, also after it was read and if it was wrong.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        self.set.iter().find(|(known, ..)| known == path).map(|(_, value, _)| value.clone())
    }

    /// Every key that is set, with the key's own place.
    pub(super) fn set(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.set.iter().map(|(path, _, key)| (path.as_str(), key))
    }

    /// Whether lines of the file could not be read, so that a key may only seem to be missing.
    pub(super) fn incomplete(&self) -> bool {
        self.gathered.incomplete
    }

    pub(super) fn mistake(&mut self, mistake: Mistake) {
        self.gathered.mistakes.push(mistake);
    }

    /// All mistakes, and the keys that are set but were never asked for: none, unless the table of keys and the reading disagree.
    pub(super) fn finish(self) -> (Vec<Mistake>, Vec<String>) {
        (self.gathered.mistakes, self.gathered.entries.into_keys().collect())
    }

    /// The value of a key, if it is set and `parse` takes it; otherwise the mistake quotes `allowed`.
    pub(super) fn one<T>(&mut self, path: &str, allowed: &str, parse: impl Fn(Scalar<'_>) -> Option<T>) -> Option<T> {
        self.take(path, allowed, |scalar, _| parse(scalar).ok_or(Refusal::Value))
    }

    /// Takes the value of a key, if it is set, and remembers the mistake if `parse` refuses it. `parse` also gets the directory
    /// that relative paths start from.
    fn take<T>(
        &mut self,
        path: &str,
        allowed: &str,
        parse: impl Fn(Scalar<'_>, &Path) -> Result<T, Refusal>,
    ) -> Option<T> {
        let entry = self.gathered.entries.remove(path)?;
        let scalar = match &entry.raw {
            Raw::Toml(value) => Scalar::Toml(value),
            Raw::Text { text, .. } => Scalar::Text(text),
        };
        let mistake = match parse(scalar, &entry.directory) {
            Ok(parsed) => return Some(parsed),
            Err(Refusal::Value) => Mistake::value(entry.place, path, &scalar.found(is_secret(path)), allowed),
            Err(Refusal::Because(message)) => Mistake::new(entry.place, path, message),
        };
        self.mistake(mistake);
        None
    }

    /// The items of a list, if the key is set and `parse` takes every one; `allowed` describes one item.
    pub(super) fn list<T>(
        &mut self,
        path: &str,
        allowed: &str,
        parse: impl Fn(Scalar<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.list_in(path, allowed, |scalar, _| parse(scalar))
    }

    fn list_in<T>(
        &mut self,
        path: &str,
        allowed: &str,
        parse: impl Fn(Scalar<'_>, &Path) -> Option<T>,
    ) -> Option<Vec<T>> {
        let entry = self.gathered.entries.remove(path)?;
        let items = match &entry.raw {
            Raw::Text { text, .. } if text.trim().is_empty() => Vec::new(),
            Raw::Text { text, separator } => {
                text.split(*separator).map(|item| (Scalar::Text(item.trim()), entry.place.clone())).collect()
            }
            Raw::Toml(Value::Array(array)) => {
                array.iter().map(Scalar::Toml).zip(entry.item_places.iter().cloned()).collect()
            }
            Raw::Toml(other) => {
                let found = Scalar::Toml(other).found(is_secret(path));
                self.mistake(Mistake::value(
                    entry.place.clone(),
                    path,
                    &found,
                    &format!("a list, each item {allowed}"),
                ));
                return None;
            }
        };
        let before = self.gathered.mistakes.len();
        let mut parsed = Vec::with_capacity(items.len());
        for (scalar, place) in items {
            match parse(scalar, &entry.directory) {
                Some(item) => parsed.push(item),
                None => {
                    let found = scalar.found(is_secret(path));
                    self.mistake(Mistake::value(place, path, &found, allowed));
                }
            }
        }
        (self.gathered.mistakes.len() == before).then_some(parsed)
    }

    pub(super) fn boolean(&mut self, path: &str) -> Option<bool> {
        self.one(path, "true or false", |scalar| scalar.boolean())
    }

    /// A whole number within bounds, both included.
    pub(super) fn integer(&mut self, path: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let allowed = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.one(path, &allowed, |scalar| {
            u64::try_from(scalar.integer()?).ok().filter(|number| bounds.contains(number))
        })
    }

    /// A number that stands for something.
    pub(super) fn number<T>(&mut self, path: &str, allowed: &str, parse: impl Fn(i64) -> Option<T>) -> Option<T> {
        self.one(path, allowed, |scalar| parse(scalar.integer()?))
    }

    /// A string that `parse` takes.
    pub(super) fn string<T>(&mut self, path: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.one(path, allowed, |scalar| parse(scalar.text()?))
    }

    /// A string that `parse` takes or refuses with a message of its own, which must not quote a secret.
    pub(super) fn checked<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.take(path, "a string", |scalar, _| parse(scalar.text().ok_or(Refusal::Value)?).map_err(Refusal::Because))
    }

    /// A list of strings that `parse` takes.
    pub(super) fn strings<T>(
        &mut self,
        path: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.list(path, allowed, |scalar| parse(scalar.text()?))
    }

    /// A secret that `fits`.
    pub(super) fn secret(&mut self, path: &str, allowed: &str, fits: impl Fn(&str) -> bool) -> Option<Secret> {
        self.string(path, allowed, |text| fits(text).then(|| Secret::new(text.to_owned())))
    }

    /// A path; a relative one starts from the directory of the file, or from the working directory if the environment sets it.
    pub(super) fn path(&mut self, path: &str) -> Option<PathBuf> {
        self.take(path, "a path", |scalar, directory| {
            scalar.text().and_then(|text| resolve(directory, text)).ok_or(Refusal::Value)
        })
    }

    /// A list of paths; relative ones like [`Reader::path`].
    pub(super) fn paths(&mut self, path: &str) -> Option<Vec<PathBuf>> {
        self.list_in(path, "a path", |scalar, directory| resolve(directory, scalar.text()?))
    }
}

/// A path as seen from a directory, without the `.` in it; `None` if it is empty or could not be a path.
pub(super) fn resolve(directory: &Path, path: &str) -> Option<PathBuf> {
    let names_something = !path.is_empty() && !path.contains('\0');
    names_something.then(|| directory.join(path).components().collect())
}

fn is_secret(path: &str) -> bool {
    keys::find(path).is_some_and(|key| key.secret)
}
