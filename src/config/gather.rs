//! From a file's text and the environment to one value for each key: what is set, and where.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use toml_edit::{Item, TableLike, Value};

use super::{
    keys,
    mistakes::{Mistake, Place},
    suggest::{unknown_key, unknown_variable},
    syntax,
};

/// A file that holds a configuration.
// Without `Debug`: the text may hold secrets, and so may the environment.
#[derive(Clone)]
pub struct SourceFile {
    /// Its name as the operator wrote it, for the report.
    pub name: String,
    /// Its content.
    pub text: String,
    /// Its directory, absolute: what relative paths in it start from.
    pub directory: PathBuf,
}

/// Everything that a configuration is read from.
#[derive(Clone)]
pub struct Sources {
    /// The file; without one, the server has its zero-configuration.
    pub file: Option<SourceFile>,
    /// Absolute: what relative paths in the environment start from, and without a file, everything.
    pub working_directory: PathBuf,
    /// The environment, of which only `LINKIM_*` is looked at.
    pub environment: Vec<(OsString, OsString)>,
}

/// What a key is set to.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) raw: Raw,
    /// Where the value stands.
    pub(super) place: Place,
    /// Where each item stands, if the value is a TOML array.
    pub(super) item_places: Vec<Place>,
    /// Where the key stands.
    pub(super) key_place: Place,
    /// What a relative path in the value starts from.
    pub(super) directory: PathBuf,
}

/// A value before its key's type is known.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// From a TOML file, with spans into its text.
    Toml(Value),
    /// From the environment, or from the file that a `_file` twin names; a list's items stand between separators.
    Text { text: String, separator: char },
}

/// What was found in all sources.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What is set, by the key's path; the environment has already won over the file, and twins have been read.
    pub(super) entries: BTreeMap<String, Entry>,
    /// Keys that were meant to be set, by a misspelt name or by a `_file` twin that cannot be read, with the place of the attempt.
    /// They are not reported as missing too.
    pub(super) meant: Vec<(String, Place)>,
    pub(super) mistakes: Vec<Mistake>,
    /// Whether lines of the file were left out because they are not TOML, so that a key may only seem to be missing.
    pub(super) incomplete: bool,
}

/// The longest secret that a `_file` twin may name, in bytes.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Gathers what the sources set. Never stops at a mistake.
pub(super) fn gather(sources: &Sources) -> Gathered {
    let mut gathered = Gathered::default();
    if let Some(file) = &sources.file {
        read_file(file, &mut gathered);
    }
    read_environment(sources, &mut gathered);
    read_twins(&mut gathered);
    gathered
}

fn read_file(file: &SourceFile, gathered: &mut Gathered) {
    let parsed = syntax::parse(file);
    gathered.incomplete = !parsed.mistakes.is_empty();
    gathered.mistakes.extend(parsed.mistakes);
    if let Some(document) = parsed.document {
        Walk { file, gathered }.table("", document.as_table());
    }
}

/// A walk over the tables of a file.
struct Walk<'a> {
    file: &'a SourceFile,
    gathered: &'a mut Gathered,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            let key_place = self.place(table.key(name).and_then(toml_edit::Key::span));
            match item {
                _ if keys::is_section(&path) => self.section(&path, item, key_place),
                Item::Value(value) if keys::find(&path).is_some() => {
                    let place = self.place(value.span());
                    let directory = self.file.directory.clone();
                    let items = value.as_array().into_iter().flatten();
                    let item_places = items.map(|item| self.place(item.span())).collect();
                    let entry = Entry { raw: Raw::Toml(value.clone()), place, item_places, key_place, directory };
                    self.gathered.entries.insert(path, entry);
                }
                // `[server_name]` where a value is expected.
                _ if keys::find(&path).is_some() => {
                    self.mistake(key_place, &path, "found a table; allowed: a value, not a section");
                }
                _ => {
                    let unknown = unknown_key(section, name);
                    let meant = unknown.meant.map(|path| (path, key_place.clone()));
                    self.gathered.meant.extend(meant);
                    self.mistake(key_place, &path, &unknown.message);
                }
            }
        }
    }

    fn section(&mut self, path: &str, item: &Item, key_place: Place) {
        match item.as_table_like() {
            Some(table) => self.table(path, table),
            None => {
                let found = match item {
                    Item::ArrayOfTables(_) => "a list of tables",
                    _ => "a value",
                };
                self.mistake(key_place, path, &format!("found {found}; allowed: a section, [{path}]"));
            }
        }
    }

    fn mistake(&mut self, place: Place, path: &str, message: &str) {
        self.gathered.mistakes.push(Mistake::new(place, path, message));
    }

    fn place(&self, span: Option<std::ops::Range<usize>>) -> Place {
        match span {
            Some(span) => Place::of_byte(&self.file.name, &self.file.text, span.start),
            None => Place::File(self.file.name.clone()),
        }
    }
}

/// Whether a variable that begins with `LINKIM_` is meant for something else: the project's tests, or, where a Kubernetes service is
/// named `linkim`, what Kubernetes sets in every container beside it.
fn is_foreign(variable: &str) -> bool {
    let rest = variable.strip_prefix("LINKIM_").unwrap_or(variable);
    matches!(rest, "BIN" | "PORT") || ["TEST_", "SERVICE_", "PORT_"].iter().any(|prefix| rest.starts_with(prefix))
}

fn read_environment(sources: &Sources, gathered: &mut Gathered) {
    let mut from_environment = BTreeMap::new();
    for (name, value) in &sources.environment {
        let shown = name.to_string_lossy().into_owned();
        if !shown.starts_with("LINKIM_") || is_foreign(&shown) {
            continue;
        }
        let place = Place::Variable(shown.clone());
        let Some(path) = keys::paths().find(|path| OsStr::new(&keys::variable(path)) == name) else {
            let unknown = unknown_variable(&shown);
            gathered.meant.extend(unknown.meant.map(|path| (path, place.clone())));
            gathered.mistakes.push(Mistake::new(place, "", unknown.message));
            continue;
        };
        let Some(value) = value.to_str() else {
            gathered.mistakes.push(Mistake::value(place, &path, "bytes that are not UTF-8", "text"));
            continue;
        };
        let raw = Raw::Text { text: value.to_owned(), separator: ',' };
        let directory = sources.working_directory.clone();
        from_environment
            .insert(path, Entry { raw, key_place: place.clone(), place, item_places: Vec::new(), directory });
    }
    for path in from_environment.keys() {
        if let Some(key) = keys::find(path) {
            gathered.entries.remove(key.path);
            gathered.entries.remove(&twin(key.path));
        }
    }
    gathered.entries.extend(from_environment);
}

fn twin(path: &str) -> String {
    format!("{path}{}", keys::TWIN)
}

/// Puts in the place of each `_file` twin the value from the file that it names.
fn read_twins(gathered: &mut Gathered) {
    for key in keys::KEYS.iter().filter(|key| key.secret) {
        let twin = twin(key.path);
        let Some(entry) = gathered.entries.remove(&twin) else {
            continue;
        };
        if gathered.entries.contains_key(key.path) {
            let message = format!("found both {} and {twin}; allowed: one of them", key.path);
            gathered.mistakes.push(Mistake::new(entry.place, &twin, message));
            continue;
        }
        let named = match &entry.raw {
            Raw::Text { text, .. } => Some(text.as_str()),
            Raw::Toml(value) => value.as_str(),
        };
        let read = match named {
            Some(name) if !name.is_empty() => {
                read_secret(&entry.directory.join(name)).map_err(|error| format!("{name:?}: {error}"))
            }
            _ => Err("no file name".to_owned()),
        };
        match read {
            Ok(text) => {
                let raw = Raw::Text { text, separator: '\n' };
                gathered.entries.insert(key.path.to_owned(), Entry { raw, ..entry });
            }
            Err(found) => {
                let allowed = format!("the name of a readable text file of at most {MAX_SECRET_FILE} bytes");
                gathered.mistakes.push(Mistake::value(entry.place.clone(), &twin, &found, &allowed));
                gathered.meant.push((key.path.to_owned(), entry.key_place));
            }
        }
    }
}

/// The content of a file without the white space at its end, which editors and `echo` put there.
fn read_secret(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_SECRET_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_FILE {
        return Err(Error::new(ErrorKind::FileTooLarge, "the file is too large"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}
