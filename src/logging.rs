//! The log: lines on standard error, which is where a service manager and a container engine collect them.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::ParseError, util::SubscriberInitExt};

use crate::config::LogFilter;

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one; a [`LogFilter`] that the configuration gave out always is.
    #[error("the log filter is not valid")]
    Filter(#[from] ParseError),
    /// This process has a log already.
    #[error("the log was started before")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the log of this process; to be called once. Colours only on a terminal.
pub fn init(filter: &LogFilter) -> Result<(), LoggingError> {
    // ruma tells every check of every event at level info, 30 lines a message, and every event that a resolution leaves out at
    // level warn. A filter that names it brings them back.
    let filter = EnvFilter::builder().parse(format!("ruma_state_res=error,{}", filter.as_str()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    Ok(subscriber.try_init()?)
}
