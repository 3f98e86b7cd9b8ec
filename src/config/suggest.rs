//! What an unknown key was probably meant to be.

use super::keys;

/// What is said about a name that nothing has.
pub(super) struct Unknown {
    /// The sentence for the report.
    pub(super) message: String,
    /// The path of the key that was meant, where one is near.
    pub(super) meant: Option<String>,
}

impl Unknown {
    fn meant(kind: &str, path: String, shown: &str) -> Self {
        Self { message: format!("unknown {kind}; did you mean {shown}?"), meant: Some(path) }
    }
}

/// About a name that no key of its section has.
pub(super) fn unknown_key(section: &str, name: &str) -> Unknown {
    let siblings = keys::names_in(section);
    let join = |name: &str| {
        if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
    };
    if let Some(near) = nearest(name, &siblings) {
        return Unknown::meant("key", join(near), &join(near));
    }
    // The right name in the wrong section, as when a line is added at the end of a file.
    let all: Vec<String> = keys::paths().collect();
    let has_name = |path: &&String| path.rsplit('.').next().is_some_and(|last| last == name);
    let elsewhere: Vec<&str> = all.iter().filter(has_name).map(String::as_str).collect();
    if let [first, ..] = elsewhere.as_slice() {
        return Unknown::meant("key", (*first).to_owned(), &elsewhere.join(" or "));
    }
    if let Some(near) = nearest(&join(name), &all) {
        return Unknown::meant("key", near.to_owned(), near);
    }
    let message = match siblings.is_empty() {
        true => format!("unknown key; allowed: nothing in [{section}] yet"),
        false => format!("unknown key; allowed: {}", siblings.join(", ")),
    };
    Unknown { message, meant: None }
}

/// About a variable that begins with `LINKIM_` and sets nothing.
pub(super) fn unknown_variable(name: &str) -> Unknown {
    let all: Vec<String> = keys::paths().map(|path| keys::variable(&path)).collect();
    if let Some(near) = nearest(&name.to_ascii_uppercase(), &all) {
        let path = keys::paths().find(|path| keys::variable(path) == near);
        return Unknown::meant("variable", path.unwrap_or_default(), near);
    }
    let message = "unknown variable; allowed: LINKIM_<KEY> or LINKIM_<SECTION>__<KEY> for a key of the configuration";
    Unknown { message: message.to_owned(), meant: None }
}

/// The candidate that is fewest slips of the pen away, if that is near enough to be meant: a third of the letters, at most 3.
fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| (distance(name, candidate), candidate.as_str()))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance: how many letters must be inserted, left out, replaced, or swapped with their neighbour.
pub(super) fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(256).collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}
