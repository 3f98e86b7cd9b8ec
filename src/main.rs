//! The `linkim` command.

use std::{
    io::{stderr, stdout},
    process::ExitCode,
};

use linkim::{
    app,
    cli::{self, Command},
    config, logging,
};

fn main() -> ExitCode {
    let command = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match command {
        Command::CheckConfig { config } => {
            match cli::check_config(config.as_deref(), std::env::vars_os(), stdout(), stderr()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) | Err(_) => ExitCode::FAILURE,
            }
        }
        Command::Serve { config: file } => {
            let loaded = match config::load(file.as_deref(), std::env::vars_os()) {
                Ok(loaded) => loaded,
                Err(mistakes) => {
                    eprint!("{mistakes}");
                    return ExitCode::FAILURE;
                }
            };
            serve(loaded)
        }
        Command::CheckData { config } => {
            match cli::check_data(config.as_deref(), std::env::vars_os(), stdout(), stderr()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) | Err(_) => ExitCode::FAILURE,
            }
        }
        Command::Admin { config: file, command } => {
            let loaded = match config::load(file.as_deref(), std::env::vars_os()) {
                Ok(loaded) => loaded,
                Err(mistakes) => {
                    eprint!("{mistakes}");
                    return ExitCode::FAILURE;
                }
            };
            match app::admin(loaded.config, command, stdout(), stderr()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) | Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn serve(loaded: config::Loaded) -> ExitCode {
    if let Err(error) = logging::init(&loaded.config.log.filter) {
        eprintln!("linkim: {error}");
        return ExitCode::FAILURE;
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("linkim: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(app::serve(loaded.config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "can't start");
            eprintln!("linkim: {error}");
            ExitCode::FAILURE
        }
    }
}
