//! Text that is not TOML.

use super::{accepted::WHOLE, report, sources};
use crate::config::{Place, read};

#[test]
fn broken_toml_is_reported_with_its_place_and_the_rest_is_still_checked() {
    let text =
        "server_name = \"a.example\ndata_dir = 5\n[listen]\nclient = [\"127.0.0.1:1\"]\nclient = []\nmetrics = 5 6\n";
    let report = report(text);
    let starts = [
        "linkim.toml:1:25: not TOML: ",
        "linkim.toml:2:12: data_dir: found 5",
        "linkim.toml:5:1: not TOML: duplicate key",
        "linkim.toml:6:11: not TOML: ",
    ];
    assert_eq!(report.len(), starts.len(), "{report:?}");
    for (line, start) in report.iter().zip(starts) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}");
    }
}

#[test]
fn broken_toml_that_may_have_consequences_is_reported_alone() {
    let header = report("data_dir = 5\n[listen\nclient = 1\n");
    assert_eq!(header.len(), 1);
    assert!(header[0].starts_with("linkim.toml:2:8: not TOML: "), "{header:?}");
    let list = report("server_name = \"a.example\"\nlisten.client = [\n  \"a\",\nlog.filter = \"info\"\n");
    assert_eq!(list.len(), 1, "{list:?}");
    assert!(list[0].starts_with("linkim.toml:3:7: not TOML: unclosed"), "{list:?}");
}

#[test]
fn a_list_that_is_not_closed_does_not_break_the_lines_after_it() {
    let report = report("server_name = \"a.example\"\nlisten.client = [\ndata_dir = 5\nlog.filter = \"info\"\n");
    assert_eq!(report.len(), 2, "{report:?}");
    assert!(report[0].starts_with("linkim.toml:2:18: not TOML: unclosed"), "{report:?}");
    assert!(report[1].starts_with("linkim.toml:3:12: data_dir: found 5"), "{report:?}");
}

/// Reads a text, which must not panic, and asserts that every mistake has a place that the text has.
fn assert_answered(text: &str) {
    let Err(mistakes) = read(&sources(text, &[])) else {
        return;
    };
    for mistake in mistakes.iter() {
        let Place::At { line, column, .. } = mistake.place else { panic!("{mistake} in {text:?}") };
        let found = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("{mistake} in {text:?}"));
        assert!(column <= found.chars().count() + 1, "{mistake} in {text:?}");
        assert_eq!(mistake.to_string().lines().count(), 1, "{mistake}");
    }
}

#[test]
fn any_text_is_answered() {
    for text in [
        "",
        "\u{feff}",
        "=",
        "a",
        "a=",
        "\"",
        "'''",
        "[",
        "[]",
        "[[",
        "[a",
        "a.b.c = 1",
        "\0",
        "é = [",
        "=\n=\n=",
        "a={b=[{",
    ] {
        assert!(!report(text).is_empty(), "{text:?}");
        assert_answered(text);
    }
}

#[test]
fn the_whole_example_with_any_character_left_out_or_cut_short_is_answered() {
    for (at, c) in WHOLE.char_indices() {
        assert_answered(&WHOLE[..at]);
        assert_answered(&[&WHOLE[..at], &WHOLE[at + c.len_utf8()..]].concat());
    }
}
