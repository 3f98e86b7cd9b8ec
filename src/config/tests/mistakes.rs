//! Every kind of mistake, with its place, the key, what was found and what is allowed.

use super::{lines, report, sources, without_file};

/// The report on a file whose first line is right and whose second is the mistake; its place and key, then the message.
fn second_line(line: &str) -> String {
    let report = report(&format!("server_name = \"a.example\"\n{line}\n"));
    assert_eq!(report.len(), 1, "{report:?}");
    report[0].clone()
}

/// That a line at the top is refused at a column of it, with words of the message.
fn assert_refused(line: &str, column: usize, key: &str, words: &[&str]) {
    let report = second_line(line);
    let start = format!("linkim.toml:2:{column}: {key}: ");
    assert!(report.starts_with(&start), "{report:?} does not start with {start:?}");
    for word in words {
        assert!(report.contains(word), "{word:?} is not in {report:?}");
    }
}

#[test]
fn ten_mistakes_are_ten_lines_in_the_order_of_the_file() {
    let text = r#"server_name = "a b"
public_base_url = "a.example"
[listen]
client = ["127.0.0.1:8008", "localhost"]
cleint = []
federation = ["0.0.0.0:8448"]
[registration]
open = "yes"
[media]
max_upload_bytes = 0
[rooms]
default_version = "13"
[storage]
url = "postgres://user:hidden@db/linkim"
[log]
filter = "inof"
"#;
    let report = report(text);
    let places: Vec<&str> = report.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let expected = ["1:15", "2:19", "4:29", "5:1", "6:14", "8:8", "10:20", "12:19", "14:7", "16:10"];
    assert_eq!(places, expected.map(|place| format!("linkim.toml:{place}:")));
}

#[test]
fn an_unknown_key_names_the_one_that_was_meant() {
    let unknown = |line: &str, message: &str| assert_eq!(second_line(line), format!("linkim.toml:2:{message}"));
    unknown("data_dri = \"x\"", "1: data_dri: unknown key; did you mean data_dir?");
    unknown("listen.cleint = []", "8: listen.cleint: unknown key; did you mean listen.client?");
    unknown("text_limit = 1", "1: text_limit: unknown key; did you mean linkim.text_limit?");
    unknown("regstration.open = true", "1: regstration: unknown key; did you mean registration?");
    unknown("retention.days = 3", "11: retention.days: unknown key; allowed: nothing in [retention] yet");
    unknown("tls.zzz = 3", "5: tls.zzz: unknown key; allowed: certificate, key");
    unknown(
        "well_known = { support = { admin = [] } }",
        "28: well_known.support.admin: unknown key; did you mean well_known.support.admins?",
    );
    unknown(
        "linkim.grpc_token_fiel = \"x\"",
        "8: linkim.grpc_token_fiel: unknown key; did you mean linkim.grpc_token_file?",
    );
    // A key that is not secret has no twin.
    assert!(second_line("log.filter_file = \"x\"").contains("unknown key"));
}

#[test]
fn a_misspelt_key_is_not_reported_as_missing_too() {
    assert_eq!(report("server_nam = \"a.example\"").len(), 1);
    let tls = "server_name = \"a.example\"\n[tls]\ncertificate = \"a\"\nkye = \"b\"";
    assert_eq!(report(tls), ["linkim.toml:4:1: tls.kye: unknown key; did you mean tls.key?"]);
}

#[test]
fn server_name_is_required() {
    let message = "server_name: missing; allowed: a server name, such as \"a.example\" or \"a.example:8448\"";
    assert_eq!(report(""), [format!("linkim.toml:1:1: {message}")]);
    assert_eq!(report("[log]\nfilter = \"info\""), [format!("linkim.toml:1:1: {message}")]);
}

#[test]
fn a_section_is_no_value_and_a_value_no_section() {
    assert_refused("listen = 5", 1, "listen", &["found a value", "allowed: a section, [listen]"]);
    assert_refused("[[listen]]", 3, "listen", &["found a list of tables"]);
    assert_refused("[data_dir]", 2, "data_dir", &["found a table", "allowed: a value"]);
    assert_refused("data_dir = { a = 1 }", 12, "data_dir", &["found a table", "allowed: a path"]);
}

#[test]
fn wrong_types_name_what_was_found() {
    assert_refused("data_dir = 5", 12, "data_dir", &["found 5 (an integer)", "allowed: a path"]);
    assert_refused("data_dir = 5.5", 12, "data_dir", &["found 5.5 (a float)"]);
    assert_refused("data_dir = true", 12, "data_dir", &["found true (a boolean)"]);
    assert_refused("data_dir = 2020-01-01", 12, "data_dir", &["found 2020-01-01 (a date)"]);
    assert_refused("data_dir = []", 12, "data_dir", &["found a list"]);
    assert_refused("data_dir = \"\"", 12, "data_dir", &["found an empty string"]);
    assert_refused(
        "listen.client = \"127.0.0.1:1\"",
        17,
        "listen.client",
        &["allowed: a list, each item an IP address"],
    );
}

#[test]
fn places_count_characters_and_items() {
    let text = "server_name = \"a.example\"\nlisten.metrics = [\n  # ü\n  \"[::1]:1\", 'ü', 7,\n]";
    let report = report(text);
    assert!(
        report[0].starts_with("linkim.toml:4:14: listen.metrics: found \"ü\"; allowed: an IP address"),
        "{report:?}"
    );
    assert!(report[1].starts_with("linkim.toml:4:19: listen.metrics: found 7 (an integer)"), "{report:?}");
}

#[test]
fn values_have_bounds() {
    for (line, column, key) in [
        ("listen.client = [\"127.0.0.1:65536\"]", 18, "listen.client"),
        ("listen.trusted_proxies = [\"10.0.0.0/33\"]", 27, "listen.trusted_proxies"),
        ("outgoing.allow_networks = [\"10.1.2.3/16\"]", 28, "outgoing.allow_networks"),
        ("well_known.server = \"a.example:0\"", 21, "well_known.server"),
        ("well_known.client = \"ftp://a.example\"", 21, "well_known.client"),
        ("public_base_url = \"https://u:p@a.example\"", 19, "public_base_url"),
        ("well_known.support.admins = [\"admin\"]", 30, "well_known.support.admins"),
        ("registration.reserved_names = [\"Admin\"]", 32, "registration.reserved_names"),
        ("federation.deny = [\"a b\"]", 20, "federation.deny"),
        ("federation.backoff_max_seconds = 0", 34, "federation.backoff_max_seconds"),
        ("media.max_upload_bytes = -1", 26, "media.max_upload_bytes"),
        ("linkim.withdraw_seconds = 31536001", 27, "linkim.withdraw_seconds"),
        ("linkim.text_limit = 0", 21, "linkim.text_limit"),
        ("linkim.multi_device_policy = 2", 30, "linkim.multi_device_policy"),
        ("rooms.default_version = \"0\"", 25, "rooms.default_version"),
        ("rooms.default_version = \"13\"", 25, "rooms.default_version"),
        ("rooms.default_version = 12", 25, "rooms.default_version"),
        ("turn.uris = [\"https://a.example\"]", 14, "turn.uris"),
    ] {
        assert_refused(line, column, key, &["found ", "; allowed: "]);
    }
}

#[test]
fn an_engine_that_is_not_built_is_refused() {
    assert_refused("storage.url = \"postgres://db/linkim\"", 15, "storage.url", &["PostgreSQL is not built"]);
    assert_refused("storage.url = \"mysql://db/linkim\"", 15, "storage.url", &["allowed: \"sqlite:<file>\""]);
    assert_refused("storage.url = \"sqlite::memory:\"", 15, "storage.url", &["allowed: \"sqlite:<file>\""]);
    assert_refused("redis.url = \"redis://cache\"", 13, "redis.url", &["Redis is not built"]);
}

#[test]
fn keys_that_belong_together_are_asked_for_together() {
    assert_refused("tls.certificate = \"a\"", 19, "tls.certificate", &["found without tls.key"]);
    assert_refused("tls.key = \"a\"", 11, "tls.key", &["found without tls.certificate"]);
    assert_refused("email.from = \"a@b\"", 14, "email.from", &["found without email.smtp_url"]);
    assert_refused("turn.password = \"a\"", 17, "turn.password", &["found without turn.username"]);
    assert_refused("listen.federation = [\"[::]:8448\"]", 21, "listen.federation", &["together with [tls]"]);
    assert_refused("listen.grpc = [\"[::1]:9091\"]", 15, "listen.grpc", &["together with [linkim] grpc_token"]);
    assert_refused("listen.client = []", 17, "listen.client", &["found no listener at all"]);
    assert_refused("listen.metrics = [\"127.0.0.1:8008\"]", 18, "listen.metrics", &["found 127.0.0.1:8008 twice"]);
    let turn = "turn = { shared_secret = \"a\", username = \"b\", password = \"c\" }";
    assert_eq!(report(&format!("server_name = \"a.example\"\n{turn}")).len(), 2);
}

#[test]
fn a_wrong_value_is_not_reported_as_a_missing_one() {
    assert_refused("tls = { certificate = 1, key = \"b\" }", 23, "tls.certificate", &["found 1 (an integer)"]);
}

#[test]
fn a_wrong_log_filter_is_a_mistake() {
    assert_refused(
        "log.filter = \"inof\"",
        14,
        "log.filter",
        &["found \"inof\", which is not a level", "allowed: a level"],
    );
    assert_refused("log.filter = \"linkim=loud\"", 14, "log.filter", &["allowed: a level"]);
    assert_refused("log.filter = \" , \"", 14, "log.filter", &["an empty filter"]);
}

#[test]
fn secrets_are_not_shown_in_the_report() {
    let text = "registration = { shared_secret = \"hid\\nden\", tokens = [\"hidden!\"] }\nlinkim.grpc_token = 4711\nstorage.url = \"hidden:\"\n\
                email.smtp_url = \"hidden\"\nemail.from = \"a@b\"\nverification.sms_webhook = \"hidden\"";
    let report = report(text);
    // The seventh is the missing server_name.
    assert_eq!(report.len(), 7, "{report:?}");
    assert!(report.iter().all(|line| !line.contains("\"hid") && !line.contains("4711")), "{report:?}");
}

#[test]
fn mistakes_of_the_environment_come_after_those_of_the_file() {
    let environment = [("LINKIM_ZZZZZZZ", "1"), ("LINKIM_DATA_DIR", "")];
    let report = lines(&sources("server_name = 5", &environment));
    let places: Vec<&str> = report.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(places, ["linkim.toml:1:15", "LINKIM_DATA_DIR", "LINKIM_ZZZZZZZ"]);
}

#[test]
fn a_mistake_without_a_file_has_a_place_too() {
    let report = lines(&without_file(&[("LINKIM_SERVER_NAM", "a.example")]));
    assert_eq!(report, ["LINKIM_SERVER_NAM: unknown variable; did you mean LINKIM_SERVER_NAME?"]);
}
