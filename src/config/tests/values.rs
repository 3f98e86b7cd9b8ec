//! The types of single values.

use ruma::ServerName;

use super::config;
use crate::config::{HttpUrl, LogFilter, ServerPattern, StorageUrl, grammar::is_mailbox, suggest::distance};

fn server(name: &str) -> &ServerName {
    name.try_into().expect("a server name")
}

#[test]
fn patterns_fit_names_with_and_without_port() {
    let pattern = ServerPattern::parse("*.Example").expect("a pattern");
    assert!(pattern.matches(server("a.example")));
    assert!(pattern.matches(server("A.EXAMPLE:8448")));
    assert!(!pattern.matches(server("a.example.org")));
    let pattern = ServerPattern::parse("a?.example:84*").expect("a pattern");
    assert!(pattern.matches(server("ab.example:8448")));
    assert!(!pattern.matches(server("ab.example")));
    assert!(ServerPattern::parse("").is_none());
}

#[test]
fn deny_wins_over_allow() {
    let federation = |keys: &str| config(&format!("server_name = \"a.example\"\n[federation]\n{keys}")).federation;
    let both = federation("allow = [\"*.example\"]\ndeny = [\"bad.example\"]");
    assert!(both.permits(server("good.example")));
    assert!(!both.permits(server("bad.example")));
    assert!(!both.permits(server("bad.example:1")));
    assert!(!both.permits(server("good.org")));
    assert!(federation("").permits(server("good.org")));
    assert!(!federation("enabled = false").permits(server("good.org")));
}

#[test]
fn addresses_have_no_slash_at_their_end() {
    let url = |text: &str| HttpUrl::parse(text).map(|url| url.to_string());
    assert_eq!(url("https://a.example/matrix/").as_deref(), Some("https://a.example/matrix"));
    assert_eq!(url("http://[::1]:8008").as_deref(), Some("http://[::1]:8008"));
    for wrong in
        ["a.example", "https://", "https://a.example/?q", "https://a.example/#f", "https://u@a.example", "file:///a"]
    {
        assert_eq!(url(wrong), None, "{wrong}");
    }
}

#[test]
fn a_filter_alone_is_a_level() {
    for right in ["info", "WARN", "off", "warn,linkim::rooms=debug", "linkim[span{name=x}]=trace", " info , hyper=warn"]
    {
        assert!(LogFilter::parse(right).is_ok(), "{right}");
    }
    for wrong in ["", "linkim", "verbose", "linkim=loud", "info,debgu"] {
        assert!(LogFilter::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_database_lies_in_the_data_directory_or_where_an_absolute_path_says() {
    let url = |url: &str| {
        config(&format!("server_name = \"a.example\"\ndata_dir = \"/d\"\nstorage.url = \"{url}\"")).storage.url
    };
    assert_eq!(url("sqlite:x.db"), StorageUrl::Sqlite("/d/x.db".into()));
    assert_eq!(url("sqlite://x.db"), StorageUrl::Sqlite("/d/x.db".into()));
    assert_eq!(url("sqlite:/x.db"), StorageUrl::Sqlite("/x.db".into()));
    assert_eq!(url("sqlite:///x.db"), StorageUrl::Sqlite("/x.db".into()));
}

#[test]
fn mail_addresses() {
    assert!(is_mailbox("a@b.example") && is_mailbox("A B <a@b.example>"));
    for wrong in ["a", "@b", "a@", "A <a@b", "a b@c", "A <a@b>x", "a@b\n"] {
        assert!(!is_mailbox(wrong), "{wrong}");
    }
}

#[test]
fn distances() {
    for (from, to, expected) in
        [("", "abc", 3), ("client", "cleint", 1), ("kitten", "sitting", 3), ("a", "a", 0), ("ca", "abc", 3)]
    {
        assert_eq!(distance(from, to), expected, "{from} {to}");
    }
}
