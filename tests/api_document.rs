//! Holds `spec/linkim-api.yaml` to the handlers: it is what the server shows at `/docs/linkim-api.yaml`.
//!
//! After a change of the API, `LINKIM_WRITE_SPEC=1 cargo test --test api_document` writes it anew.

use std::{collections::BTreeSet, path::Path};

use linkim::api::linkim::{docs, errcode, routes};

fn document() -> String {
    docs::yaml(&docs::document(routes().to_openapi())).expect("YAML")
}

#[test]
fn the_document_is_that_of_the_handlers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/linkim-api.yaml");
    let made = document();
    if std::env::var_os("LINKIM_WRITE_SPEC").is_some() {
        std::fs::write(&path, &made).expect("a document that can be written");
        return;
    }
    let kept = std::fs::read_to_string(&path).expect("the document");
    if let Some((at, (kept, made))) = kept.lines().zip(made.lines()).enumerate().find(|(_, (kept, made))| kept != made)
    {
        panic!("line {}: {kept:?} is {made:?} by now; LINKIM_WRITE_SPEC=1 writes the document anew", at + 1);
    }
    assert_eq!(kept.lines().count(), made.lines().count(), "LINKIM_WRITE_SPEC=1 writes the document anew");
}

/// utoipa keeps one of two types of the same name, and lets a description refer to a type that it left out.
#[test]
fn each_type_has_a_name_of_its_own() {
    let mut names = std::collections::BTreeMap::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a source");
        let mut described = false;
        let mut given = None;
        for line in text.lines() {
            described |= line.starts_with("#[derive(") && line.contains("ToSchema");
            given = line.strip_prefix("#[schema(as = ").and_then(|rest| rest.split(')').next()).or(given);
            let mut words = line.split([' ', '<', '(', ';', '{']).filter(|word| !word.is_empty() && *word != "pub");
            if !words.any(|word| word == "struct" || word == "enum") || line.starts_with([' ', '/']) {
                continue;
            }
            let own = words.next().expect("a type has a name");
            if std::mem::take(&mut described) {
                let other = names.insert(given.unwrap_or(own).to_owned(), file.clone());
                assert_eq!(other, None, "{} is also the name of a type in {}", given.unwrap_or(own), file.display());
            }
            given = None;
        }
    }
    assert!(names.contains_key("LoginRequest") && names.len() > 100, "{names:?}");
    let document = document();
    let made: serde_json::Value = yaml_serde::from_str(&document).expect("YAML");
    for name in document.lines().filter_map(|line| line.split("'#/components/schemas/").nth(1)) {
        let name = name.trim_end_matches('\'');
        assert!(made["components"]["schemas"][name].is_object(), "{name} is not described");
    }
}

/// The files of the handlers and of the types that they take from elsewhere.
fn sources() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn the_document_says_what_no_handler_does() {
    let made: serde_json::Value = yaml_serde::from_str(&document()).expect("YAML");
    assert!(made["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", made["openapi"]);
    assert_eq!(
        (&made["info"]["version"], &made["servers"][0]["url"]),
        (&env!("CARGO_PKG_VERSION").into(), &"/".into())
    );
    let description = made["info"]["description"].as_str().expect("a description");
    for (number, meaning) in errcode::ALL {
        assert!(description.contains(&format!("* {number}: {}", meaning.trim())), "{number}");
    }
    assert!(errcode::ALL.is_sorted_by(|one, other| one.0 < other.0), "each number has one meaning");
    assert_eq!(made["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

/// Calls `check` with the name and the schema of each property of an object and of each parameter.
fn each_field<'v>(value: &'v serde_json::Value, check: &mut impl FnMut(&'v str, &'v serde_json::Value)) {
    match value {
        serde_json::Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(serde_json::Value::as_object) {
                properties.iter().for_each(|(name, schema)| check(name, schema));
            }
            if let (Some(name), Some(_), Some(schema)) = (object.get("name"), object.get("in"), object.get("schema")) {
                check(name.as_str().unwrap_or_default(), schema);
            }
            object.values().for_each(|value| each_field(value, check));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| each_field(value, check)),
        _ => {}
    }
}

/// Old names are RFC 3339, new ones milliseconds, and a name tells which (spec/decisions/0014).
#[test]
fn the_name_of_a_time_says_its_form() {
    let made: serde_json::Value = yaml_serde::from_str(&document()).expect("YAML");
    let (mut old, mut new, mut wrong) = (BTreeSet::new(), 0, Vec::new());
    each_field(&made, &mut |name, schema| {
        let types = match &schema["type"] {
            serde_json::Value::Array(types) => types.iter().filter(|kind| **kind != "null").collect(),
            one => vec![one],
        };
        let spelled = name.ends_with("_time") || name.ends_with("Time") || name.ends_with("_at") || name == "time";
        let counted = name == "ts" || name.ends_with("_ts");
        let fits = match (spelled || schema["format"] == "date-time", counted) {
            (true, _) => types == ["string"] && schema["format"] == "date-time",
            (_, true) => types == ["integer"] && schema["format"] == "int64",
            _ => return,
        };
        if counted {
            new += 1;
        } else {
            old.insert(name);
        }
        if !fits {
            wrong.push(format!("{name}: {schema}"));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(old.into_iter().collect::<Vec<_>>(), ["CreateTime", "created_at", "update_time"], "no new ones");
    assert!(new > 5, "the times were not found: {new}");
}
