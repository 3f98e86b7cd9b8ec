//! Admin commands over a socket, as an operator gives them.

use std::{os::unix::fs::PermissionsExt, path::Path};

use ruma::server_name;
use tokio::sync::watch;

use super::*;
use crate::{app::App, config::Config, ops::data_dir};

/// A server that answers on its socket.
struct Running {
    app: App,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
        let lock = data_dir::hold(folder.path()).unwrap();
        let app = App::start(Arc::new(config), lock).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let socket = AdminSocket::bind(folder.path()).unwrap();
        let served = tokio::spawn(socket.serve(Arc::new(app.admin()), stopping));
        Self { app, stop, served, folder }
    }

    async fn ask(&self, request: Request) -> Reply {
        let path = self.folder.path().to_owned();
        tokio::task::spawn_blocking(move || call(&path, &request)).await.unwrap().unwrap()
    }

    async fn create(&self, localpart: &str, password: &str) -> Reply {
        let (localpart, password) = (localpart.to_owned(), password.to_owned());
        self.ask(Request::CreateUser { localpart, password, admin: true }).await
    }
}

fn failure(reply: Reply) -> String {
    match reply {
        Reply::Failed { error } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn users_are_made_and_ended() {
    let server = Running::start().await;
    let mode = std::fs::metadata(server.folder.path().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.create("alice", "first").await, Reply::Done { text: "created @alice:a.example".into() });
    assert!(failure(server.create("alice", "first").await).contains("taken"));
    assert!(failure(server.create("bob", "").await).contains("empty"));
    assert!(failure(server.create("b b", "x").await).contains("characters"));

    let reset = |localpart: &str| Request::ResetPassword { localpart: localpart.into(), password: "second".into() };
    assert!(matches!(server.ask(reset("alice")).await, Reply::Done { .. }));
    assert!(failure(server.ask(reset("nobody")).await).contains("no account"));
    let deactivate = || Request::Deactivate { localpart: "alice".into() };
    assert!(matches!(server.ask(deactivate()).await, Reply::Done { .. }));
    assert!(failure(server.ask(deactivate()).await).contains("deactivated"));
    assert!(failure(server.ask(reset("alice")).await).contains("deactivated"));
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_bounded() {
    let server = Running::start().await;
    for line in ["nonsense\n".to_owned(), "{}\n".to_owned(), "x".repeat(100_000)] {
        let path = server.folder.path().join(SOCKET);
        let answer = tokio::task::spawn_blocking(move || send(&path, &line)).await.unwrap();
        assert!(answer.is_empty() || answer.contains("no request"), "{answer}");
    }
    assert_eq!(server.ask(Request::ListRooms { after: 0 }).await, Reply::Rooms { rooms: Vec::new(), next: None });
}

fn send(path: &Path, line: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    // The server may have had enough before the end of the line.
    let _ = stream.write_all(line.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_socket_goes_with_the_server() {
    let server = Running::start().await;
    server.stop.send_replace(true);
    server.served.await.unwrap().unwrap();
    let path = server.folder.path().to_owned();
    assert!(!path.join(SOCKET).exists());
    let unanswered = tokio::task::spawn_blocking(move || call(&path, &Request::ListRooms { after: 0 }));
    assert!(matches!(unanswered.await.unwrap(), Err(CallError::Socket { .. })));
    server.app.stop().await;
}

#[tokio::test]
async fn other_servers_are_listed_and_tried_again() {
    let server = Running::start().await;
    let federation = || Request::Federation { after: String::new() };
    let Reply::Federation { servers, next: None, .. } = server.ask(federation()).await else { panic!("no list") };
    assert!(servers.is_empty());
    server
        .app
        .store()
        .write::<_, StoreError, _>(|tx| {
            let number = ids::intern_server(tx, "b.example")?;
            tx.execute(
                "INSERT INTO room_servers (room, server, from_position) VALUES (1, ?1, 1)",
                crate::params![number],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    server.app.peers().reachability.failed(server_name!("b.example"), "no such host", 0);
    let Reply::Federation { servers, next: None, .. } = server.ask(federation()).await else { panic!("no list") };
    assert_eq!((servers.len(), servers[0].server.as_str()), (1, "b.example"));
    assert_eq!((servers[0].failures, servers[0].last_error.as_deref()), (1, Some("no such host")));
    let retry = |name: &str| Request::FederationRetry { server: name.into() };
    assert!(failure(server.ask(retry("c.example")).await).contains("c.example"));
    assert!(failure(server.ask(retry("not a name")).await).contains("not a name"));
    assert!(matches!(server.ask(retry("b.example")).await, Reply::Done { .. }));
    assert!(!server.app.peers().reachability.has_failed(server_name!("b.example")));
}
