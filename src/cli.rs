//! The command line: what it says, as one typed [`Command`].

mod backup;
mod check_config;
mod check_data;
mod password;
mod test_certificates;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};

pub use backup::{backup, restore};
pub use check_config::check_config;
pub use check_data::check_data;
pub use password::{PasswordError, PasswordSource};
pub use test_certificates::test_certificates;

use crate::config::{self, Loaded, is_localpart};

/// What the command line asks for. `config` is the file that it names, for [`crate::config::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Report every mistake of the configuration.
    CheckConfig {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Recompute what is derived from the events and compare.
    CheckData {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Administer the server of that configuration.
    Admin {
        /// The configuration file.
        config: Option<PathBuf>,
        /// What to do.
        command: AdminCommand,
    },
    /// Take a backup.
    Backup {
        /// The configuration file.
        config: Option<PathBuf>,
        /// The folder to be made.
        to: PathBuf,
    },
    /// Make certificates for trying out federation.
    TestCertificates {
        /// Where they go.
        folder: PathBuf,
        /// Hosts that they are for.
        names: Vec<String>,
    },
    /// Put a backup in the place of the data.
    Restore {
        /// The configuration file.
        config: Option<PathBuf>,
        /// The backup's folder.
        from: PathBuf,
        /// Whether data that is there is moved aside.
        replace: bool,
    },
}

/// What `linkim admin` can do. Localparts are checked: they can be those of a new user.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AdminCommand {
    /// Create a user. The password is read from the first line of standard input, or from a file
    CreateUser {
        /// The user's localpart: `alice` for `@alice:a.example`
        #[arg(value_parser = localpart)]
        localpart: String,
        /// Make the user an administrator of the server
        #[arg(long)]
        admin: bool,
        /// Where the password comes from
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set a user's password. It is read from the first line of standard input, or from a file
    ResetPassword {
        /// The user's localpart
        #[arg(value_parser = localpart)]
        localpart: String,
        /// Where the password comes from
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Deactivate a user, for ever: log out all devices, leave all rooms, refuse every login
    Deactivate {
        /// The user's localpart
        #[arg(value_parser = localpart)]
        localpart: String,
    },
    /// Make an invitation code for registration and print it
    InviteCode {
        /// For how many registrations it is good
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: u32,
    },
    /// List the rooms that this server knows
    ListRooms,
    /// Show how things stand with each of the other servers: what it is owed, when it was last reached, its last error and
    /// when it is tried again
    #[command(args_conflicts_with_subcommands = true)]
    Federation {
        /// What to do instead
        #[command(subcommand)]
        command: Option<FederationCommand>,
    },
}

/// What `linkim admin federation` can do beside its table.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum FederationCommand {
    /// Try a server now, however often it failed
    Retry {
        /// The server's name: `b.example`
        server: String,
    },
}

#[derive(Parser)]
#[command(name = "linkim", version, about = "A Matrix homeserver that an organisation runs for itself")]
#[command(
    after_help = "Without a command linkim serves, with ./linkim.toml if there is one, else a server for trying out on this machine alone."
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Args)]
struct ConfigArgument {
    /// The configuration file [default: ./linkim.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT
    Serve(ConfigArgument),
    /// Report every mistake of the configuration with its place and what is allowed
    CheckConfig(ConfigArgument),
    /// Recompute what is derived from the events and compare it with what is stored
    CheckData(ConfigArgument),
    /// Administer the server: create-user, reset-password, deactivate, invite-code, list-rooms, federation
    Admin {
        /// The configuration file [default: ./linkim.toml, if there is one]
        // Global, so that it may stand before the name of the command and after it.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Copy the database and the signing key into a new folder, whether the server runs or not
    Backup {
        #[command(flatten)]
        config: ConfigArgument,
        /// The folder to be made for the backup
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Make an authority and certificates for trying out federation on one machine; deploy/two-organisations uses it
    TestCertificates {
        /// The folder for them
        folder: PathBuf,
        /// Host names and addresses; one certificate each
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Put a backup in the place of the data of a server that does not run
    Restore {
        #[command(flatten)]
        config: ConfigArgument,
        /// The folder that `linkim backup` made
        #[arg(long, value_name = "FOLDER")]
        from: PathBuf,
        /// Move data that is there aside instead of refusing
        #[arg(long)]
        replace: bool,
    },
}

/// Reads a command line, program name included. The error is also how `--help` and `--version` are answered: `exit()` prints it
/// to the right stream with the right status (2 for a wrong command line).
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let line = CommandLine::try_parse_from(arguments)?;
    Ok(match line.verb {
        None => Command::Serve { config: None },
        Some(Verb::Serve(ConfigArgument { config })) => Command::Serve { config },
        Some(Verb::CheckConfig(ConfigArgument { config })) => Command::CheckConfig { config },
        Some(Verb::CheckData(ConfigArgument { config })) => Command::CheckData { config },
        Some(Verb::Admin { config, command }) => Command::Admin { config, command },
        Some(Verb::Backup { config: ConfigArgument { config }, to }) => Command::Backup { config, to },
        Some(Verb::TestCertificates { folder, names }) => Command::TestCertificates { folder, names },
        Some(Verb::Restore { config: ConfigArgument { config }, from, replace }) => {
            Command::Restore { config, from, replace }
        }
    })
}

/// The configuration; None if it has mistakes: they are then on `err`.
///
/// # Errors
/// What `err` says.
pub fn load(
    config: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    err: &mut impl Write,
) -> io::Result<Option<Loaded>> {
    match config::load(config, environment) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(mistakes) => {
            writeln!(err, "{mistakes}")?;
            Ok(None)
        }
    }
}

fn localpart(text: &str) -> Result<String, &'static str> {
    is_localpart(text)
        .then(|| text.to_owned())
        .ok_or("a localpart has the characters a-z 0-9 - . = _ / + alone; for @alice:a.example it is alice")
}
