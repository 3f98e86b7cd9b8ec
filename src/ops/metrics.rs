//! Metrics in Prometheus' format, on listeners of their own.

use std::time::Instant;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
    routing::get,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the latency buckets, in seconds.
const SECONDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Upper bounds of the size buckets.
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];

/// Installs the recorder. To be called once a process, before anything is measured.
///
/// # Errors
/// If there is a recorder already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_jobs".into()), SIZES)?
        .set_buckets_for_metric(Matcher::Suffix("_events".into()), SIZES)?
        .install_recorder()
}

/// `GET /metrics`. `refresh` is called before each answer, to bring gauges up to date.
pub fn routes(handle: PrometheusHandle, refresh: impl Fn() + Clone + Send + Sync + 'static) -> Router {
    Router::new().route(
        "/metrics",
        get(move || {
            refresh();
            handle.run_upkeep();
            std::future::ready(handle.render())
        }),
    )
}

/// Counts and times requests by endpoint.
pub async fn count(request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_owned();
    let endpoint =
        request.extensions().get::<MatchedPath>().map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let started = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    let labels = [("method", method), ("endpoint", endpoint), ("status", status)];
    metrics::counter!("linkim_http_requests_total", &labels).increment(1);
    metrics::histogram!("linkim_http_request_seconds", &labels[..2]).record(started.elapsed().as_secs_f64());
    response
}
