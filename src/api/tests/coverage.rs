//! Holds the router to `spec/matrix-coverage.tsv`, the table of the operations that Matrix specifies: what it calls served is
//! served, and what is served it does not call missing.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use ruma::server_name;
use serde_json::Value;
use tower::ServiceExt;

use crate::{app::App, config::Config, ops::data_dir};

/// The checked-in table.
const TABLE: &str = include_str!("../../../spec/matrix-coverage.tsv");

/// An operation's row.
struct Row<'t> {
    method: &'t str,
    path: &'t str,
    operation: &'t str,
    served: bool,
}

/// The rows, or what is wrong with one.
fn rows(table: &str) -> Result<Vec<Row<'_>>, String> {
    let mut rows = Vec::new();
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [method, path, operation, _document, served, remark] = columns[..] else {
            return Err(format!("the row does not have six columns: {row}"));
        };
        let served = match served {
            "no" => false,
            "yes" => true,
            "partial" if !remark.is_empty() => true,
            _ => return Err(format!("served is yes, no, or partial with a remark: {row}")),
        };
        rows.push(Row { method, path, operation, served });
    }
    Ok(rows)
}

/// The path with a value for each parameter.
fn filled(template: &str) -> String {
    let components = template.split('/').map(|component| match component.starts_with('{') {
        true => "x",
        false => component,
    });
    components.collect::<Vec<_>>().join("/")
}

/// Whether the router has a handler for a request: one without a route is answered with `M_UNRECOGNIZED` and 404, or 405 if
/// the path has other methods.
async fn is_served(router: &Router, method: &str, path: &str) -> bool {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))))
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    if !matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
        return true;
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    body["errcode"] != "M_UNRECOGNIZED"
}

#[tokio::test]
async fn the_table_says_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
    let lock = data_dir::hold(&config.data_dir).unwrap();
    let app = App::start(Arc::new(config), lock).await.unwrap();
    let router = app.router();
    let rows = rows(TABLE).unwrap();
    assert!(rows.iter().any(|row| row.served) && rows.iter().any(|row| !row.served), "the table is not the table");
    let mut wrong = Vec::new();
    for Row { method, path, operation, served } in rows {
        if is_served(&router, method, &filled(path)).await != served {
            wrong.push(format!("{operation}: {method} {path} is {}served", if served { "not " } else { "" }));
        }
    }
    app.stop().await;
    assert!(wrong.is_empty(), "the table says otherwise:\n{}", wrong.join("\n"));
}

#[test]
fn a_row_is_complete() {
    assert!(rows("h\nGET\t/a\ta\td\tpartial\t").is_err_and(|error| error.contains("with a remark")));
    assert!(rows("h\nGET\t/a\ta\td\tperhaps\tx").is_err());
    assert!(rows("h\nGET\t/a\ta\td\tyes").is_err_and(|error| error.contains("six columns")));
}
