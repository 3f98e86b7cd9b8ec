//! The `linkim` command.

use std::{
    io::{stderr, stdout},
    path::Path,
    process::ExitCode,
};

use linkim::{
    app,
    cli::{self, Command},
    clock::SystemClock,
    config::Loaded,
    logging,
};

fn main() -> ExitCode {
    let command = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match command {
        Command::CheckConfig { config } => {
            status(cli::check_config(config.as_deref(), std::env::vars_os(), stdout(), stderr()))
        }
        Command::Backup { config, to } => {
            let environment = std::env::vars_os();
            status(cli::backup(config.as_deref(), environment, &to, &SystemClock, stdout(), stderr()))
        }
        Command::Restore { config, from, replace } => {
            let environment = std::env::vars_os();
            let what = (from.as_path(), replace);
            status(cli::restore(config.as_deref(), environment, what, &SystemClock, stdout(), stderr()))
        }
        Command::TestCertificates { folder, names } => {
            status(cli::test_certificates(&folder, &names, stdout(), stderr()))
        }
        Command::Serve { config } => match loaded(config.as_deref()) {
            Some(loaded) => serve(loaded),
            None => ExitCode::FAILURE,
        },
        Command::CheckData { config } => {
            status(cli::check_data(config.as_deref(), std::env::vars_os(), stdout(), stderr()))
        }
        Command::Admin { config, command } => match loaded(config.as_deref()) {
            Some(loaded) => status(app::admin(loaded.config, command, stdout(), stderr())),
            None => ExitCode::FAILURE,
        },
    }
}

fn loaded(config: Option<&Path>) -> Option<Loaded> {
    cli::load(config, std::env::vars_os(), &mut stderr()).ok().flatten()
}

/// Success only where the command could say that all is well.
fn status(done: std::io::Result<bool>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn serve(loaded: Loaded) -> ExitCode {
    if let Err(error) = logging::init(&loaded.config.log.filter) {
        eprintln!("linkim: {error}");
        return ExitCode::FAILURE;
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    // Short look-ups run on them: the pool of readers counts as many (store/mod.rs).
    let workers = std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
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
