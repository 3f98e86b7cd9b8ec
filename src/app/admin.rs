//! `linkim admin`: in the running server, or on its data where none runs.

use std::{io::Write, path::Path, sync::Arc};

use super::{App, StartError};
use crate::{
    cli::{AdminCommand, FederationCommand, PasswordError},
    config::Config,
    ops::{
        admin::{self, Admin, CallError, Reply, Request},
        data_dir,
    },
    peers::sender::DestinationLine,
    store::StoreError,
};

/// Why an admin command could not be tried.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Whom to ask.
enum Server {
    /// Another process, by its socket.
    Running,
    /// Nobody else has the data.
    Here(Box<Here>),
}

struct Here {
    app: App,
    admin: Admin,
    runtime: tokio::runtime::Runtime,
}

/// Does an admin command. What was done goes to `out`, what went wrong to `err`. Returns whether it was done.
///
/// # Errors
/// What `err` says.
pub fn admin(config: Config, command: AdminCommand, out: impl Write, mut err: impl Write) -> std::io::Result<bool> {
    match run(config, command, out) {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => {
            writeln!(err, "linkim: {error}")?;
            Ok(false)
        }
        Err(error) => {
            writeln!(err, "linkim: {error}")?;
            Ok(false)
        }
    }
}

fn run(config: Config, command: AdminCommand, out: impl Write) -> Result<Result<(), String>, TryError> {
    // The password first: the data are not held while somebody still types.
    let request = request(command)?;
    let data_dir = config.data_dir.clone();
    let server = find(config)?;
    let done = exchange(&server, &data_dir, request, out);
    if let Server::Here(here) = server {
        here.runtime.block_on(here.app.stop());
    }
    done
}

fn request(command: AdminCommand) -> Result<Request, PasswordError> {
    Ok(match command {
        AdminCommand::CreateUser { localpart, admin, password } => {
            Request::CreateUser { localpart, password: password.read()?.expose().to_owned(), admin }
        }
        AdminCommand::ResetPassword { localpart, password } => {
            Request::ResetPassword { localpart, password: password.read()?.expose().to_owned() }
        }
        AdminCommand::Deactivate { localpart } => Request::Deactivate { localpart },
        AdminCommand::InviteCode { uses } => Request::InviteCode { uses },
        AdminCommand::ListRooms => Request::ListRooms { after: 0 },
        AdminCommand::Federation { command: None } => Request::Federation { after: String::new() },
        AdminCommand::Federation { command: Some(FederationCommand::Retry { server }) } => {
            Request::FederationRetry { server }
        }
    })
}

/// The running server, or one of our own that listens nowhere.
fn find(config: Config) -> Result<Server, TryError> {
    let lock = match data_dir::hold(&config.data_dir) {
        Ok(lock) => lock,
        Err(StoreError::Locked { .. }) => return Ok(Server::Running),
        Err(error) => return Err(StartError::Store(error).into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let app = runtime.block_on(App::start(Arc::new(config), lock))?;
    let admin = app.admin();
    Ok(Server::Here(Box::new(Here { app, admin, runtime })))
}

/// Asks, and for a list as often as it has pages.
fn exchange(
    server: &Server,
    data_dir: &Path,
    mut request: Request,
    mut out: impl Write,
) -> Result<Result<(), String>, TryError> {
    loop {
        let reply = match server {
            Server::Running => admin::call(data_dir, &request)?,
            Server::Here(here) => here.runtime.block_on(here.admin.answer(request)),
        };
        match reply {
            Reply::Done { text } => {
                writeln!(out, "{text}")?;
                return Ok(Ok(()));
            }
            Reply::Failed { error } => return Ok(Err(error)),
            Reply::Rooms { rooms, next } => {
                for room in rooms {
                    let name = room.name.unwrap_or_default();
                    let known = if room.partial { " known, the rest still to be fetched" } else { "" };
                    let members = format!("{} members{known}, {} of ours", room.joined, room.local_joined);
                    writeln!(out, "{}\tversion {}\t{members}\t{name}", room.room_id, room.version)?;
                }
                let Some(after) = next else { return Ok(Ok(())) };
                request = Request::ListRooms { after };
            }
            Reply::Federation { servers, next, now_ms } => {
                for server in servers {
                    writeln!(out, "{}", destination(&server, now_ms))?;
                }
                let Some(after) = next else { return Ok(Ok(())) };
                request = Request::Federation { after };
            }
        }
    }
}

/// A server in words: name, what it is owed, when it was reached, what failed and when it is tried again.
fn destination(line: &DestinationLine, now_ms: i64) -> String {
    let owed = match (line.events, line.to_device) {
        (0, 0) => "owed nothing".to_owned(),
        (events, 0) => format!("owed {events} events, {} positions behind", line.positions),
        (events, to_device) => {
            format!("owed {events} events, {} positions behind, {to_device} to-device messages", line.positions)
        }
    };
    let reached =
        line.last_success_ms.map_or_else(|| "never reached".into(), |at| format!("reached {} ago", span(now_ms - at)));
    let mut parts = vec![line.server.clone(), owed, reached];
    if line.failures > 0 {
        let since = line.failing_since_ms.map_or_else(String::new, |at| format!(" for {}", span(now_ms - at)));
        let next = line.next_try_ms.map_or(0, |at| at - now_ms);
        let next =
            if next > 0 { format!("next try in {}", span(next)) } else { "next try when there is something".into() };
        parts.push(format!("failed {} times{since}, {next}", line.failures));
        parts.push(line.last_error.as_deref().unwrap_or_default().chars().filter(|c| !c.is_control()).collect());
    }
    if line.dropped > 0 {
        parts.push(format!("{} PDUs and EDUs dropped that it does not take", line.dropped));
    }
    parts.join("\t")
}

/// A span of time in its largest unit.
fn span(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
