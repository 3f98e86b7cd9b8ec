//! Holds the direction of imports: api → domain → store, and the small foundations below all of them. Tests may wire what
//! they test.

use std::path::{Path, PathBuf};

/// Modules by layer, the lowest first. A module imports from its own layer and those before it.
const LAYERS: &[&[&str]] = &[
    &["clock", "json", "random"],
    &["config", "store"],
    &["accounts", "rooms", "sync", "peers", "crypto", "media", "presence", "search", "ops", "logging", "numbers"],
    // LinkIM's meaning over rooms and accounts.
    &["contacts", "groups", "conversations"],
    &["api", "cli", "listen"],
    &["app"],
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The top-level modules that a source names behind `crate::`, grouped imports included.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(word(std::mem::take(&mut item).trim())),
                    _ => {}
                }
                if depth == 0 && c != ',' && c != '}' {
                    item.push(c);
                }
            }
            found.push(word(item.trim()));
        } else {
            found.push(word(rest));
        }
    }
    found
}

#[test]
fn nothing_imports_upward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in files {
        let relative = path.strip_prefix(&root).expect("a path below src");
        if relative.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        let first = relative.iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs");
        let Some(own) = layer(module) else {
            assert!(matches!(module, "lib" | "main"), "{module} has no layer: add it to LAYERS");
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("a source");
        for import in named(&text) {
            if let Some(other) = layer(&import) {
                seen += 1;
                if other > own {
                    wrong.push(format!("{}: crate::{import}", relative.display()));
                }
            }
        }
    }
    assert!(seen > 100, "the imports were not found");
    assert!(wrong.is_empty(), "upward imports:\n{}", wrong.join("\n"));
}
