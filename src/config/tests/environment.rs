//! Variables win over the file, secrets may come from files, and only what is meant for LinkIM is looked at.

use std::path::Path;

use super::{lines, loaded, sources, without_file};
use crate::config::{Secret, Sources, keys};

const FILE: &str = "server_name = \"a.example\"\n";

#[test]
fn a_variable_wins_over_the_file() {
    let text =
        format!("{FILE}data_dir = \"/var/a\"\n[listen]\nclient = [\"127.0.0.1:1\"]\n[media]\nmax_upload_bytes = 1");
    let environment = [
        ("LINKIM_SERVER_NAME", "b.example"),
        ("LINKIM_DATA_DIR", "b"),
        ("LINKIM_LISTEN__CLIENT", "127.0.0.1:2, [::1]:3"),
        ("LINKIM_LISTEN__TRUSTED_PROXIES", ""),
        ("LINKIM_MEDIA__MAX_UPLOAD_BYTES", "2"),
        ("LINKIM_RATE_LIMITS__ENABLED", "false"),
        ("LINKIM_WELL_KNOWN__SUPPORT__ADMINS", "@a:b.example,@b:b.example"),
        ("LINKIM_LINKIM__TEXT_LIMIT", "7"),
    ];
    let config = loaded(&sources(&text, &environment)).config;
    assert_eq!(config.server_name, "b.example");
    assert_eq!(config.data_dir, Path::new("/run/linkim/b"));
    assert_eq!(config.listen.client.len(), 2);
    assert_eq!(config.listen.trusted_proxies, []);
    assert_eq!(config.media.max_upload_bytes, 2);
    assert!(!config.rate_limits.enabled);
    assert_eq!(config.well_known.support_admins, ["@a:b.example", "@b:b.example"]);
    assert_eq!(config.linkim.text_limit, 7);
}

#[test]
fn every_key_has_a_variable_of_its_own() {
    let mut variables: Vec<String> = keys::paths().map(|path| keys::variable(&path)).collect();
    let all = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), all);
}

#[test]
fn a_wrong_value_has_the_variable_for_its_place() {
    let report =
        lines(&sources(FILE, &[("LINKIM_REGISTRATION__OPEN", "yes"), ("LINKIM_LISTEN__CLIENT", "127.0.0.1:1,x")]));
    assert!(
        report[0].starts_with("LINKIM_LISTEN__CLIENT: listen.client: found \"x\"; allowed: an IP address"),
        "{report:?}"
    );
    assert_eq!(report[1], "LINKIM_REGISTRATION__OPEN: registration.open: found \"yes\"; allowed: true or false");
    assert_eq!(report.len(), 2);
}

#[test]
fn an_unknown_variable_is_a_mistake() {
    let report = lines(&sources(FILE, &[("LINKIM_LISTEN_CLIENT", "x")]));
    assert_eq!(report, ["LINKIM_LISTEN_CLIENT: unknown variable; did you mean LINKIM_LISTEN__CLIENT?"]);
    let report = lines(&sources(FILE, &[("LINKIM_log__filter", "info")]));
    assert_eq!(report, ["LINKIM_log__filter: unknown variable; did you mean LINKIM_LOG__FILTER?"]);
}

#[test]
fn variables_of_others_are_left_alone() {
    let environment = [
        ("LINKIM_BIN", "x"),
        ("LINKIM_TEST_KEEP", "x"),
        ("LINKIM_SERVICE_HOST", "10.0.0.1"),
        ("LINKIM_PORT", "tcp://10.0.0.1:8008"),
        ("LINKIM_PORT_8008_TCP", "tcp://10.0.0.1:8008"),
        ("PATH", "/bin"),
        ("linkim_server_name", "x"),
    ];
    assert_eq!(loaded(&sources(FILE, &environment)).config.server_name, "a.example");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![0xff]);
    let sources = Sources { environment: vec![("LINKIM_DATA_DIR".into(), value)], ..without_file(&[]) };
    assert_eq!(lines(&sources), ["LINKIM_DATA_DIR: data_dir: found bytes that are not UTF-8; allowed: text"]);
}

#[test]
fn secrets_come_from_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file");
    write("shared", "from a file\n");
    write("tokens", "one\ntwo\n");
    let text = format!("{FILE}[registration]\nshared_secret_file = \"shared\"\ntokens_file = \"tokens\"");
    let mut from_file = sources(&text, &[]);
    if let Some(file) = &mut from_file.file {
        file.directory = directory.path().to_owned();
    }
    let registration = loaded(&from_file).config.registration;
    assert_eq!(registration.shared_secret, Some(Secret::new("from a file".to_owned())));
    assert_eq!(registration.tokens, ["one", "two"].map(|token| Secret::new(token.to_owned())));

    // The variable of a twin wins over the file's key, and starts from the working directory.
    let text = format!("{FILE}registration.shared_secret = \"from the text\"");
    let mut from_variable = sources(&text, &[("LINKIM_REGISTRATION__SHARED_SECRET_FILE", "shared")]);
    from_variable.working_directory = directory.path().to_owned();
    let registration = loaded(&from_variable).config.registration;
    assert_eq!(registration.shared_secret, Some(Secret::new("from a file".to_owned())));

    // And the other way round.
    let text = format!("{FILE}registration.shared_secret_file = \"/nonexistent\"");
    let plain = sources(&text, &[("LINKIM_REGISTRATION__SHARED_SECRET", "plain")]);
    assert_eq!(loaded(&plain).config.registration.shared_secret, Some(Secret::new("plain".to_owned())));
}

#[test]
fn a_secret_has_one_source_that_can_be_read() {
    let both = lines(&sources(&format!("{FILE}linkim = {{ grpc_token = \"a\", grpc_token_file = \"b\" }}"), &[]));
    assert_eq!(
        both,
        [
            "linkim.toml:2:48: linkim.grpc_token_file: found both linkim.grpc_token and linkim.grpc_token_file; allowed: one of them"
        ]
    );
    let missing = lines(&sources(&format!("{FILE}linkim.grpc_token_file = \"/nonexistent\""), &[]));
    assert!(
        missing[0].starts_with("linkim.toml:2:26: linkim.grpc_token_file: found \"/nonexistent\": "),
        "{missing:?}"
    );
    let empty = lines(&sources(&format!("{FILE}linkim.grpc_token_file = \"/dev/null\""), &[]));
    assert_eq!(empty, ["linkim.toml:2:26: linkim.grpc_token: found an empty string; allowed: a string of one line"]);
    // A twin that cannot be read is not a missing key too.
    let turn = lines(&sources(&format!("{FILE}turn = {{ username = \"a\", password_file = \"/nonexistent\" }}"), &[]));
    assert_eq!(turn.len(), 1, "{turn:?}");
}
