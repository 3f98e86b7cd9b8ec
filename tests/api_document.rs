//! Holds `spec/linkim-api.yaml` to the handlers: it is what the server shows at `/docs/linkim-api.yaml`.
//!
//! After a change of the API, `LINKIM_WRITE_SPEC=1 cargo test --test api_document` writes it anew.

use std::path::Path;

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
