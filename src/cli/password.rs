//! Where `linkim admin` gets a password from. Never from an argument: other users of the machine can read those.

use std::{
    io::{BufRead, IsTerminal, Read},
    path::PathBuf,
};

use clap::Args;

use crate::config::Secret;

/// Where the password of an `admin` command comes from.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PasswordSource {
    /// Read the password from the first line of this file instead of standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Standard input is a terminal, which would show what is typed.
    #[error("give the password with --password-file, or on standard input through a pipe: a terminal would show it")]
    Terminal,
    /// The source cannot be read as text.
    #[error("{from}: {error}")]
    Unreadable {
        /// The source.
        from: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The first line is empty.
    #[error("{0}: the first line, which is the password, is empty")]
    Empty(String),
    /// The first line is too long.
    #[error("{0}: the password is longer than {MAX_PASSWORD} bytes")]
    TooLong(String),
}

/// The longest password that is read, in bytes.
const MAX_PASSWORD: u64 = 4096;

impl PasswordSource {
    /// Reads the password: the first line without its end, other white space included.
    pub fn read(&self) -> Result<Secret, PasswordError> {
        match &self.password_file {
            Some(path) => {
                let from = path.display().to_string();
                match std::fs::File::open(path) {
                    Ok(file) => first_line(file, from),
                    Err(error) => Err(PasswordError::Unreadable { from, error }),
                }
            }
            None if std::io::stdin().is_terminal() => Err(PasswordError::Terminal),
            None => first_line(std::io::stdin().lock(), "standard input".to_owned()),
        }
    }
}

pub(super) fn first_line(source: impl Read, from: String) -> Result<Secret, PasswordError> {
    let mut line = String::new();
    // Two bytes more: the line's end.
    let read = std::io::BufReader::new(source.take(MAX_PASSWORD + 2)).read_line(&mut line);
    if let Err(error) = read {
        return Err(PasswordError::Unreadable { from, error });
    }
    let password = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match password.len() as u64 {
        0 => Err(PasswordError::Empty(from)),
        1..=MAX_PASSWORD => Ok(Secret::new(password.to_owned())),
        _ => Err(PasswordError::TooLong(from)),
    }
}
