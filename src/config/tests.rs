//! Tests of the configuration: what is accepted, what is refused and where, and what the environment changes.

mod accepted;
mod environment;
mod mistakes;
mod syntax;
mod values;

use std::path::PathBuf;

use super::{Config, Loaded, Mistakes, SourceFile, Sources, read};

/// A file `linkim.toml` in `/etc/linkim`, read by a process that works in `/run/linkim`.
fn sources(text: &str, environment: &[(&str, &str)]) -> Sources {
    let file =
        SourceFile { name: "linkim.toml".to_owned(), text: text.to_owned(), directory: PathBuf::from("/etc/linkim") };
    Sources { file: Some(file), ..without_file(environment) }
}

/// No file, and a process that works in `/run/linkim`.
fn without_file(environment: &[(&str, &str)]) -> Sources {
    Sources {
        file: None,
        working_directory: PathBuf::from("/run/linkim"),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

fn loaded(sources: &Sources) -> Loaded {
    read(sources).unwrap_or_else(|mistakes| panic!("refused:\n{mistakes}"))
}

fn config(text: &str) -> Config {
    loaded(&sources(text, &[])).config
}

fn refused(sources: &Sources) -> Mistakes {
    read(sources).err().unwrap_or_else(|| panic!("accepted: {:?}", sources.file.as_ref().map(|file| &file.text)))
}

/// The report on a file, line by line.
fn report(text: &str) -> Vec<String> {
    lines(&sources(text, &[]))
}

fn lines(sources: &Sources) -> Vec<String> {
    refused(sources).to_string().lines().map(str::to_owned).collect()
}
