//! The `linkim` command.

use std::{
    io::{stderr, stdout},
    process::ExitCode,
};

use linkim::cli::{self, Command};

fn main() -> ExitCode {
    let command = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match command {
        Command::CheckConfig { config } => {
            match cli::check_config(config.as_deref(), std::env::vars_os(), stdout(), stderr()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) | Err(_) => ExitCode::FAILURE,
            }
        }
        Command::Serve { .. } | Command::CheckData { .. } | Command::Admin { .. } => {
            eprintln!("linkim: this build has check-config alone");
            ExitCode::FAILURE
        }
    }
}
