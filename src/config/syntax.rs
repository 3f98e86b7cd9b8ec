//! TOML, with every broken line reported rather than the first alone.

use toml_edit::Document;

use super::{
    gather::SourceFile,
    mistakes::{Mistake, Place},
};

/// A file's tables and what is wrong with its TOML.
pub(super) struct Parsed {
    /// The tables; without the broken lines, if leaving them out makes the rest TOML. Spans fit the original text.
    pub(super) document: Option<Document<String>>,
    pub(super) mistakes: Vec<Mistake>,
}

/// How many broken lines are looked for.
const MAX_BROKEN_LINES: usize = 100;

/// Parses a file.
///
/// The parser stops at the first error. A broken line that looks like `key = …` is then blanked (same length, so that spans
/// keep their meaning) and the rest parsed again. If that ends in a whole document, all its errors are reported, and the keys
/// of the rest are checked too. If it does not, later errors may be mere consequences, so the first is reported alone.
pub(super) fn parse(file: &SourceFile) -> Parsed {
    let mut text = file.text.clone();
    let mut mistakes = Vec::new();
    loop {
        let error = match Document::parse(text.clone()) {
            Ok(document) => {
                return Parsed {
                    document: Some(document),
                    mistakes,
                };
            }
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let message = format!("not TOML: {}", error.message());
        mistakes.push(Mistake::new(
            Place::of_byte(&file.name, &file.text, at),
            "",
            message,
        ));
        match line_to_leave_out(&text, at) {
            Some(line) if mistakes.len() < MAX_BROKEN_LINES => {
                let blank = " ".repeat(line.len());
                text.replace_range(line, &blank);
            }
            _ => {
                mistakes.truncate(1);
                return Parsed {
                    document: None,
                    mistakes,
                };
            }
        }
    }
}

/// The line around a byte, without its end, if it looks like `key = …`.
fn line_to_leave_out(text: &str, at: usize) -> Option<std::ops::Range<usize>> {
    let before = text.get(..at)?;
    // An error at the end of a line is reported at its newline, or just after it.
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[start..]
        .find('\n')
        .map_or(text.len(), |length| start + length);
    let key = text[start..end].split_once('=')?.0.trim();
    let looks_like_key = |c: char| c.is_alphanumeric() || "._-\"' ".contains(c);
    (!key.is_empty() && key.chars().all(looks_like_key)).then_some(start..end)
}
