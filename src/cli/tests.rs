//! Tests of the command line.

use std::path::{Path, PathBuf};

use super::{
    AdminCommand, Command, FederationCommand, PasswordError, PasswordSource, check_config, parse, password::first_line,
};

fn command(line: &str) -> Result<Command, clap::Error> {
    parse(line.split(' ').map(Into::into))
}

#[test]
fn the_verbs() {
    let config = Some(PathBuf::from("f"));
    let expected = [
        ("linkim", Command::Serve { config: None }),
        ("linkim serve", Command::Serve { config: None }),
        ("linkim serve --config f", Command::Serve { config: config.clone() }),
        ("linkim check-config --config f", Command::CheckConfig { config: config.clone() }),
        ("linkim check-data --config=f", Command::CheckData { config: config.clone() }),
        ("linkim admin list-rooms --config f", admin(config.clone(), AdminCommand::ListRooms)),
        ("linkim backup --config f --to b", Command::Backup { config: config.clone(), to: PathBuf::from("b") }),
        (
            "linkim restore --from b --config f",
            Command::Restore { config: config.clone(), from: PathBuf::from("b"), replace: false },
        ),
        (
            "linkim restore --replace --from b",
            Command::Restore { config: None, from: PathBuf::from("b"), replace: true },
        ),
        (
            "linkim test-certificates c localhost b.test",
            Command::TestCertificates { folder: PathBuf::from("c"), names: vec!["localhost".into(), "b.test".into()] },
        ),
        ("linkim admin --config f list-rooms", admin(config.clone(), AdminCommand::ListRooms)),
        ("linkim admin invite-code", admin(None, AdminCommand::InviteCode { uses: 1 })),
        ("linkim admin invite-code --uses 20", admin(None, AdminCommand::InviteCode { uses: 20 })),
    ];
    for (line, expected) in expected {
        assert_eq!(command(line).expect(line), expected);
    }
}

fn admin(config: Option<PathBuf>, command: AdminCommand) -> Command {
    Command::Admin { config, command }
}

#[test]
fn users_are_administered() {
    let stdin = PasswordSource { password_file: None };
    let file = PasswordSource { password_file: Some("p".into()) };
    let create = AdminCommand::CreateUser { localpart: "alice".to_owned(), admin: true, password: file };
    assert_eq!(
        command("linkim admin create-user alice --admin --password-file p").expect("right"),
        admin(None, create)
    );
    let reset = AdminCommand::ResetPassword { localpart: "alice".to_owned(), password: stdin };
    assert_eq!(command("linkim admin reset-password alice").expect("right"), admin(None, reset));
    let deactivate = AdminCommand::Deactivate { localpart: "alice".to_owned() };
    assert_eq!(command("linkim admin deactivate alice").expect("right"), admin(None, deactivate));
}

#[test]
fn federation_is_administered() {
    let table = AdminCommand::Federation { command: None };
    assert_eq!(command("linkim admin federation").expect("right"), admin(None, table));
    let retry = FederationCommand::Retry { server: "b.example".to_owned() };
    let retry = AdminCommand::Federation { command: Some(retry) };
    assert_eq!(command("linkim admin federation retry b.example").expect("right"), admin(None, retry));
}

#[test]
fn wrong_lines_are_refused() {
    for line in [
        "linkim frob",
        "linkim serve f",
        "linkim --config",
        "linkim admin",
        "linkim admin create-user",
        "linkim admin create-user Alice",
        "linkim admin deactivate @alice:a.example",
        "linkim admin list-rooms x",
        "linkim admin invite-code --uses 0",
        "linkim backup",
        "linkim restore",
        "linkim admin federation retry",
        "linkim admin federation b.example",
    ] {
        let error = command(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_password_is_the_first_line() {
    let read = |text: &str| first_line(text.as_bytes(), "here".to_owned());
    assert_eq!(read(" secret \r\nmore").expect("a password").expose(), " secret ");
    assert_eq!(read("secret").expect("a password").expose(), "secret");
    assert!(matches!(read(""), Err(PasswordError::Empty(_))));
    assert!(matches!(read("\nsecret"), Err(PasswordError::Empty(_))));
    assert!(matches!(read(&"x".repeat(4097)), Err(PasswordError::TooLong(_))));
    assert!(read(&"x".repeat(4096)).is_ok());
}

fn check(path: &Path) -> (bool, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let right = check_config(Some(path), Vec::new(), &mut out, &mut err).expect("written");
    (right, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

#[test]
fn check_config_reads_the_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("linkim.toml");
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(directory.path().join("c.pem"), made.cert.pem()).expect("a file");
    let text = "server_name = \"a.example\"\n[listen]\nfederation = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"";
    std::fs::write(&path, text).expect("a file");
    for (key, right, said) in [
        (None, false, "k.pem: No such file"),
        (Some(other.serialize_pem()), false, "k.pem: not the key of the certificate in "),
        (Some(made.signing_key.serialize_pem()), true, ""),
    ] {
        if let Some(key) = key {
            std::fs::write(directory.path().join("k.pem"), key).expect("a file");
        }
        let (was_right, _, err) = check(&path);
        assert!(was_right == right && err.contains(said), "{err}");
    }
}

#[test]
fn check_config_answers_with_one_line_or_with_every_mistake() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("linkim.toml");
    let shown = path.display();

    std::fs::write(&path, "server_name = \"a.example\"").expect("a file");
    assert_eq!(check(&path), (true, format!("{shown}: the configuration of a.example is right\n"), String::new()));

    std::fs::write(&path, "server_name = 1\ndata_dir = 2\nx = 3").expect("a file");
    let (right, out, err) = check(&path);
    assert_eq!((right, out.as_str(), err.lines().count()), (false, "", 3));
    assert!(err.starts_with(&format!("{shown}:1:15: server_name: ")), "{err}");

    std::fs::write(&path, b"# \xc3\xbc\n\xff").expect("a file");
    assert_eq!(check(&path).2, format!("{shown}:2:1: found a byte that is not UTF-8; allowed: UTF-8 text\n"));

    std::fs::remove_file(&path).expect("removed");
    assert!(check(&path).2.starts_with(&format!("{shown}: cannot be read: ")));
}
