//! TOML, with every broken line reported rather than the first alone.

use std::ops::Range;

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

/// How often a broken line is looked for.
const MAX_ATTEMPTS: usize = 100;

/// A line that is left out because of what is wrong with it.
struct Broken {
    line: Range<usize>,
    mistake: Mistake,
}

/// Parses a file.
///
/// The parser stops at the first error. A broken line that looks like `key = …` is then blanked (same length, so that spans
/// keep their meaning) and the rest parsed again. An error before the lines left out so far shows that they broke because of
/// it, as when a list is not closed: they are put back. If this ends in a whole document, all its errors are reported, and the
/// keys of the rest are checked too. If it does not, later errors may be mere consequences, so the first is reported alone.
pub(super) fn parse(file: &SourceFile) -> Parsed {
    let mut text = file.text.clone();
    let mut broken: Vec<Broken> = Vec::new();
    for _ in 0..MAX_ATTEMPTS {
        let error = match Document::parse(text.clone()) {
            Ok(document) => {
                let mistakes = broken.into_iter().map(|broken| broken.mistake).collect();
                return Parsed { document: Some(document), mistakes };
            }
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let place = Place::of_byte(&file.name, &file.text, at);
        let mistake = Mistake::new(place, "", format!("not TOML: {}", error.message()));
        while let Some(later) = broken.pop_if(|broken| broken.line.start > at) {
            text.replace_range(later.line.clone(), &file.text[later.line]);
        }
        let Some(line) = line_to_leave_out(&text, at) else {
            broken.push(Broken { line: at..at, mistake });
            break;
        };
        text.replace_range(line.clone(), &" ".repeat(line.len()));
        broken.push(Broken { line, mistake });
    }
    Parsed { document: None, mistakes: broken.into_iter().map(|broken| broken.mistake).take(1).collect() }
}

/// The line around a byte, without its end, if it looks like `key = …`.
fn line_to_leave_out(text: &str, at: usize) -> Option<Range<usize>> {
    let before = text.get(..at)?;
    // An error at the end of a line is reported at its newline, or just after it.
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let key = text[start..end].split_once('=')?.0.trim();
    let looks_like_key = |c: char| c.is_alphanumeric() || "._-\"' ".contains(c);
    (!key.is_empty() && key.chars().all(looks_like_key)).then_some(start..end)
}
