//! The page that people read: one section a family, one entry an endpoint, without scripts.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
h2{border-bottom:1px solid #ccc;margin-top:3rem;text-transform:capitalize}\
details{border:1px solid #ddd;border-radius:6px;margin:.5rem 0;padding:.5rem 1rem}summary{cursor:pointer}\
code,pre{font:14px/1.4 ui-monospace,monospace;background:#f4f4f4;border-radius:4px;padding:.1em .3em}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;border-bottom:1px solid #eee;padding:.25rem .5rem}\
.verb{display:inline-block;min-width:4.5em;font-weight:600}nav a{margin-right:1em}";

/// How deep a type's fields are shown; deeper ones are named by their type alone.
const MAX_DEPTH: usize = 4;

/// The page of a document.
pub(super) fn html(document: &Value) -> String {
    let mut families: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, item) in entries(&document["paths"]) {
        for (verb, operation) in entries(item).filter(|(_, operation)| operation.is_object()) {
            let family = operation["tags"][0].as_str().unwrap_or("other");
            families.entry(family).or_default().push((path, verb, operation));
        }
    }
    let title = escape(document["info"]["title"].as_str().unwrap_or_default());
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>{}<nav>",
        paragraphs(&document["info"]["description"])
    );
    for family in families.keys() {
        let _ = write!(page, "<a href=\"#{0}\">{0}</a>", escape(family));
    }
    page.push_str("<a href=\"/docs/linkim-api.yaml\">linkim-api.yaml</a></nav>");
    for (family, operations) in &families {
        let _ = write!(page, "<h2 id=\"{0}\">{0}</h2>", escape(family));
        for (path, verb, operation) in operations {
            endpoint(&mut page, document, path, verb, operation);
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn endpoint(page: &mut String, document: &Value, path: &str, verb: &str, operation: &Value) {
    let summary = operation["summary"].as_str().unwrap_or_default();
    let _ = write!(
        page,
        "<details><summary><span class=\"verb\">{}</span> <code>{}</code> {}</summary>{}",
        verb.to_uppercase(),
        escape(path),
        escape(summary),
        paragraphs(&operation["description"])
    );
    if operation["security"].as_array().is_none_or(Vec::is_empty) {
        page.push_str("<p>Needs no token.</p>");
    }
    let parameters = operation["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|list| !list.is_empty()) {
        page.push_str("<h4>Parameters</h4><table>");
        for parameter in parameters {
            let required = parameter["required"] == true;
            let name = parameter["name"].as_str().unwrap_or_default();
            row(page, document, name, &parameter["schema"], &parameter["description"], required, 0);
        }
        page.push_str("</table>");
    }
    for (kind, media) in entries(&operation["requestBody"]["content"]) {
        let _ = write!(page, "<h4>Body, <code>{}</code></h4>", escape(kind));
        schema(page, document, &media["schema"], 0);
    }
    for (status, response) in entries(&operation["responses"]) {
        let described = escape(response["description"].as_str().unwrap_or_default());
        let _ = write!(page, "<h4>{} {described}</h4>", escape(status));
        for (_, media) in entries(&response["content"]) {
            schema(page, document, &media["schema"], 0);
        }
    }
    page.push_str("</details>");
}

/// A schema as the table of its fields, or its type's name.
fn schema(page: &mut String, document: &Value, of: &Value, depth: usize) {
    let mut fields = Vec::new();
    collect(document, of, &mut fields, 0);
    if fields.is_empty() {
        let _ = write!(page, "<p>{}</p>", kind(of));
        return;
    }
    page.push_str("<table>");
    for (name, field, required) in fields {
        row(page, document, name, field, &field["description"], required, depth);
    }
    page.push_str("</table>");
}

fn row(page: &mut String, document: &Value, name: &str, of: &Value, description: &Value, required: bool, depth: usize) {
    let optional = if required { "" } else { " (optional)" };
    let _ = write!(page, "<tr><td><code>{}</code>{optional}</td><td>{}</td><td>", escape(name), kind(of));
    page.push_str(&paragraphs(description));
    let inner = if of["items"].is_object() { &of["items"] } else { of };
    let mut fields = Vec::new();
    collect(document, inner, &mut fields, 0);
    if !fields.is_empty() && depth < MAX_DEPTH {
        schema(page, document, inner, depth + 1);
    }
    page.push_str("</td></tr>");
}

/// The fields of an object, those of the parts that it is made of included: (name, schema, required).
fn collect<'a>(document: &'a Value, of: &'a Value, out: &mut Vec<(&'a str, &'a Value, bool)>, depth: usize) {
    let of = resolve(document, of);
    if depth > MAX_DEPTH {
        return;
    }
    for part in of["allOf"].as_array().into_iter().flatten() {
        collect(document, part, out, depth + 1);
    }
    let required = of["required"].as_array();
    for (name, field) in entries(&of["properties"]) {
        let required = required.is_some_and(|list| list.iter().any(|item| item == name));
        out.push((name, field, required));
    }
}

fn resolve<'a>(document: &'a Value, of: &'a Value) -> &'a Value {
    let name = of["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.map_or(of, |name| &document["components"]["schemas"][name])
}

/// What a value is, in a word or two.
fn kind(of: &Value) -> String {
    if let Some(name) = of["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return escape(name);
    }
    if of["items"].is_object() {
        return format!("list of {}", kind(&of["items"]));
    }
    if let Some(choices) = of["oneOf"].as_array() {
        let choices: Vec<_> = choices.iter().map(kind).collect();
        return choices.join(" or ");
    }
    match &of["type"] {
        Value::String(name) => escape(name),
        Value::Array(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).map(escape).collect();
            names.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn paragraphs(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    let filled = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    let shown = filled.map(|paragraph| {
        let items: Option<Vec<_>> = paragraph.lines().map(|line| line.strip_prefix("* ")).collect();
        match items {
            Some(items) => format!(
                "<ul>{}</ul>",
                items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect::<String>()
            ),
            None => format!("<p>{}</p>", escape(paragraph)),
        }
    });
    shown.collect()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_shows_its_fields_and_nothing_is_markup() {
        let page = html(&json!({
            "info": { "title": "A & B", "description": "Begin.\n\n* one\n* <two>" },
            "paths": { "/x": { "post": {
                "tags": ["things"], "summary": "Makes <x>", "security": [{ "token": [] }],
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/X" } } } },
                "responses": { "200": { "description": "ok" } },
            } } },
            "components": { "schemas": { "X": { "allOf": [
                { "type": "object", "required": ["a"], "properties": { "a": { "type": "string", "description": "first" } } },
                { "type": "object", "properties": { "b": { "items": { "type": "integer" } } } },
            ] } } },
        }));
        for wanted in [
            "A &amp; B",
            "<p>Begin.</p><ul><li>one</li><li>&lt;two&gt;</li></ul>",
            "Makes &lt;x&gt;",
            "<code>a</code></td>",
            "first",
            "<code>b</code> (optional)",
            "list of integer",
        ] {
            assert!(page.contains(wanted), "{wanted} is not in {page}");
        }
        assert!(!page.contains("<x>"));
        assert!(!page.contains("Needs no token"));
    }
}
