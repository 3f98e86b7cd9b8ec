//! `linkim admin`: the same commands with a running server, which does them itself, and without one.

use conformance_tests::{Client, Options, Registration, Server, v3};
use serde_json::json;

/// Runs an admin command with this password in a file.
fn admin(server: &Server, arguments: &[&str], password: Option<&str>) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    let mut arguments: Vec<&str> = std::iter::once("admin").chain(arguments.iter().copied()).collect();
    let path = file.to_string_lossy().into_owned();
    if let Some(password) = password {
        std::fs::write(&file, format!("{password}\n")).expect("a file can be written");
        arguments.extend(["--password-file", &path]);
    }
    server.run(&arguments)
}

fn done(server: &Server, arguments: &[&str], password: Option<&str>) -> String {
    let (code, text) = admin(server, arguments, password);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

fn refused(server: &Server, arguments: &[&str], password: Option<&str>) -> String {
    let (code, text) = admin(server, arguments, password);
    assert_eq!(code, 1, "{arguments:?}: {text}");
    text
}

async fn login_status(base: &str, user: &str, password: &str) -> u16 {
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    });
    Client::anonymous(base).post(&v3!("/login"), body).await.status
}

#[tokio::test]
async fn an_operator_makes_and_ends_users_with_and_without_a_running_server() {
    let registration = Registration { open: false, ..Registration::default() };
    let mut server = Server::start(Options { registration, ..Options::default() });
    for (name, running) in [("anna", true), ("otto", false)] {
        if !running {
            server.terminate();
        }
        assert!(done(&server, &["create-user", name, "--admin"], Some("one")).contains(&format!("@{name}:a.example")));
        assert!(refused(&server, &["create-user", name], Some("one")).contains("taken"));
        if !running {
            server.restart();
        }
        let user = Client::login(&server.base, name, "one").await;
        let room = user.create_room(json!({ "name": format!("Room of {name}") })).await;
        if !running {
            server.terminate();
        }
        let list = done(&server, &["list-rooms"], None);
        assert!(list.contains(&room) && list.contains(&format!("Room of {name}")), "{list}");
        done(&server, &["reset-password", name], Some("two"));
        assert!(refused(&server, &["reset-password", "nobody"], Some("two")).contains("no account"));
        if !running {
            server.restart();
        }
        let user = user.at(&server.base);
        let whoami = user.get(&v3!("/account/whoami")).await;
        assert_eq!(
            (whoami.status, &whoami.json["errcode"]),
            (401, &json!("M_UNKNOWN_TOKEN")),
            "old sessions are ended"
        );
        assert_eq!(login_status(&server.base, name, "one").await, 403);
        let user = Client::login(&server.base, name, "two").await;
        if !running {
            server.terminate();
        }
        done(&server, &["deactivate", name], None);
        assert!(refused(&server, &["deactivate", name], None).contains("deactivated"));
        if !running {
            server.restart();
        }
        let user = user.at(&server.base);
        assert_eq!(user.get(&v3!("/account/whoami")).await.status, 401, "the sessions of {name} are ended");
        assert_eq!(login_status(&server.base, name, "two").await, 403);
    }
    let (code, text) = server.run(&["check-data"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the server runs"), "{text}");
    server.terminate();
    let (code, text) = server.run(&["check-data"]);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn a_killed_servers_socket_is_replaced() {
    let mut server = Server::start(Options::default());
    server.kill9();
    assert!(server.data_dir().join("admin.sock").exists());
    done(&server, &["create-user", "emma"], Some("one"));
    server.restart();
    done(&server, &["create-user", "emil"], Some("one"));
    Client::login(&server.base, "emma", "one").await;
    Client::login(&server.base, "emil", "one").await;
}

#[tokio::test]
async fn an_operator_sees_other_servers_with_and_without_a_running_server() {
    let mut server = Server::start(Options::default());
    for running in [true, false] {
        if !running {
            server.terminate();
        }
        assert_eq!(done(&server, &["federation"], None), "", "it shares no room with any");
        assert!(refused(&server, &["federation", "retry", "b.example"], None).contains("b.example"));
    }
}
