//! The configuration: what `linkim.toml` and the environment say, checked once and turned into types.
//!
//! It is read in three steps. `gather` finds what is set and where: the file's TOML, then the environment over it, then the files
//! that `_file` twins name. `build` gives each value its type. `checks` looks at what keys mean together. No step stops at a
//! mistake: all of them end in one report, [`Mistakes`], and then nothing starts.
//!
//! Relative paths in a file start from the directory of that file, so that they mean the same wherever the server is started;
//! those in environment variables start from the working directory; `signing_key` and `storage.url` start from `data_dir`.

mod build;
mod checks;
mod gather;
mod grammar;
mod keys;
mod mistakes;
mod read;
mod sections;
mod suggest;
mod syntax;
mod values;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{ErrorKind, Read},
    path::Path,
};

pub use gather::{SourceFile, Sources};
pub(crate) use grammar::is_localpart;
pub use mistakes::{Mistake, Mistakes, Place, Warning};
pub use sections::*;
pub use values::{HttpUrl, LogFilter, MultiDevicePolicy, Secret, ServerPattern, StorageUrl};

/// The file that is read if none is named.
const DEFAULT_FILE: &str = "linkim.toml";

/// The largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A configuration that may be used, and what the operator should hear about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One for each key that is set and has no effect yet; to be logged.
    pub warnings: Vec<Warning>,
    /// The name of the file that was read; `None` if there was none.
    pub file: Option<String>,
}

/// Loads the configuration for a command: from `file`, or if none is named from `./linkim.toml` if there is one, else the
/// zero-configuration; in each case with the environment over it.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Mistakes> {
    let sources = find_sources(file, environment).map_err(Mistakes::from)?;
    read(&sources)
}

/// Reads a configuration. Looks at nothing outside `sources`, except the files that `_file` twins name.
pub fn read(sources: &Sources) -> Result<Loaded, Mistakes> {
    let file = sources.file.as_ref();
    let directory = file.map_or(&sources.working_directory, |file| &file.directory);
    let mut reader = read::Reader::new(gather::gather(sources));
    let config = build::build(&mut reader, directory, file.map(|file| file.name.as_str()));
    checks::check(&mut reader, &config);
    let warnings = checks::warnings(&reader);
    let (mistakes, unread) = reader.finish();
    debug_assert!(unread.is_empty(), "keys that nothing reads: {unread:?}");
    match Mistakes::sorted(mistakes) {
        Some(mistakes) => Err(mistakes),
        None => Ok(Loaded { config, warnings, file: file.map(|file| file.name.clone()) }),
    }
}

fn find_sources(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Sources, Mistake> {
    let name = file.unwrap_or(Path::new(DEFAULT_FILE));
    let unreadable = |error: &dyn std::fmt::Display| {
        Mistake::new(Place::File(name.display().to_string()), "", format!("cannot be read: {error}"))
    };
    let working_directory = std::env::current_dir().map_err(|error| unreadable(&error))?;
    let environment = environment.into_iter().collect();
    // Only a file that is not there at all is no file: one that cannot be read must not turn into an open server.
    let absent = file.is_none() && name.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if absent {
        return Ok(Sources { file: None, working_directory, environment });
    }
    let text = read_text(name)?;
    let path = working_directory.join(name);
    let directory = path.parent().unwrap_or(&working_directory).components().collect();
    let source = SourceFile { name: name.display().to_string(), text, directory };
    Ok(Sources { file: Some(source), working_directory, environment })
}

/// The text of a file; the mistake names the first byte that is not UTF-8.
fn read_text(name: &Path) -> Result<String, Mistake> {
    let shown = name.display().to_string();
    let whole = |message: String| Mistake::new(Place::File(shown.clone()), "", message);
    let mut bytes = Vec::new();
    std::fs::File::open(name)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(whole(format!("too large; allowed: at most {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        Mistake::new(Place::of_byte(&shown, &text, valid), "", "found a byte that is not UTF-8; allowed: UTF-8 text")
    })
}
