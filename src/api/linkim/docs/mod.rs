//! `GET /docs` and `GET /docs/linkim-api.yaml`: the description of LinkIM's API, for people and for programs.
//!
//! Both come from the handlers' own types. `spec/linkim-api.yaml` is the same document; a test holds it to the handlers.

mod conditions;
mod page;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
    routing::get,
};
use utoipa::openapi::{
    OpenApi,
    security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::errcode;

/// The document of these paths, with what no handler says: how a request proves who it is from, and what the numbers of failures
/// mean.
pub fn document(mut paths: OpenApi) -> OpenApi {
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The access token of a login, on this API or on Matrix's: they are the same."))
        .build();
    conditions::add(&mut paths);
    let components = paths.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let numbers = errcode::ALL.iter().map(|(number, meaning)| format!("* {number}: {}", meaning.trim()));
    let numbers = numbers.collect::<Vec<_>>().join("\n");
    let description = paths.info.description.get_or_insert_default();
    description.push_str(&format!("\n\n`errcode` is one of\n\n{numbers}"));
    paths
}

/// The document as YAML.
///
/// # Errors
/// A type describes itself in a way that YAML cannot say.
pub fn yaml(document: &OpenApi) -> Result<String, String> {
    document.to_yaml().map_err(|error| error.to_string())
}

/// The routes of the page and of the document. A document that cannot be written is not served, and the log says so.
pub fn routes(document: &OpenApi) -> Router {
    let serve = |kind: &'static str, text: String| {
        let text: Arc<str> = text.into();
        get(move || async move {
            let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
                (HeaderName::from_static("content-security-policy"), policy),
            ];
            (headers, text.to_string()).into_response()
        })
    };
    let mut routes = Router::new();
    match yaml(document) {
        Ok(yaml) => routes = routes.route("/docs/linkim-api.yaml", serve("application/yaml", yaml)),
        Err(error) => tracing::error!(error, "the description of LinkIM's API can't be written as YAML"),
    }
    match serde_json::to_value(document) {
        Ok(value) => routes = routes.route("/docs", serve("text/html; charset=utf-8", page::html(&value))),
        Err(error) => tracing::error!(%error, "the description of LinkIM's API can't be written as JSON"),
    }
    routes
}
