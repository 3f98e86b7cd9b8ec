//! Opens the listeners, serves on them and stops at a signal.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use super::{App, StartError};
use crate::{
    config::Config,
    listen,
    listen::tls::{Certificates, TlsError},
    ops::{
        admin::{AdminSocket, SOCKET},
        data_dir, metrics,
    },
};

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub async fn serve(config: Config) -> Result<(), StartError> {
    let handle = metrics::install().map_err(|error| StartError::Metrics(error.to_string()))?;
    let config = Arc::new(config);
    let certificates = certificates(&config)?;
    let lock = data_dir::hold(&config.data_dir)?;
    let app = App::start(config.clone(), lock).await?;
    let (stop, stopping) = watch::channel(false);
    let mut tasks = Vec::new();
    let mut line = String::from("listening");
    let router = app.router();
    for address in &config.listen.client {
        let (listener, real) = bind(*address).await?;
        line.push_str(&format!(" client http://{real}"));
        tasks.push(tokio::spawn(listen::serve(listener, router.clone(), stopping.clone())));
    }
    if let Some(certificates) = certificates {
        for address in &config.listen.federation {
            let (listener, real) = bind(*address).await?;
            line.push_str(&format!(" federation https://{real}"));
            let (router, certificates) = (router.clone(), certificates.clone());
            tasks.push(tokio::spawn(listen::serve_tls(listener, router, stopping.clone(), certificates)));
        }
        tasks.push(tokio::spawn(certificates.keep_fresh(stopping.clone())));
    }
    for address in &config.listen.metrics {
        let (listener, real) = bind(*address).await?;
        line.push_str(&format!(" metrics http://{real}"));
        let routes = metrics_routes(&app, handle.clone());
        tasks.push(tokio::spawn(listen::serve(listener, routes, stopping.clone())));
    }
    if let Some(token) = &config.linkim.grpc_token {
        for address in &config.listen.grpc {
            let (listener, real) = bind(*address).await?;
            line.push_str(&format!(" grpc http://{real}"));
            tasks.push(tokio::spawn(listen::serve(listener, app.grpc(token.clone()), stopping.clone())));
        }
    }
    tasks.extend(admin_socket(&config, &app, &stopping));
    if config.federation.enabled {
        app.peers.sender.start().await?;
        app.state.filling.resume().await?;
    }
    // Before anybody can know that we serve: from then on a signal must find its handler.
    let stopped = StopSignal::listen();
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(StartError::Output)?;
    }
    tracing::info!(server_name = %config.server_name, "{line}");
    stopped.wait().await;
    tracing::info!("stopping");
    stop.send_replace(true);
    app.notifier.stop();
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "a listener failed");
        }
    }
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// `/metrics`, its gauges read at each request.
fn metrics_routes(app: &App, handle: PrometheusHandle) -> Router {
    let (notifier, store, appenders) = (app.notifier.clone(), app.store.clone(), app.appenders.clone());
    let (reachability, sender) = (app.peers.reachability.clone(), app.peers.sender.clone());
    let presence = app.state.presence.clone();
    let inbox = app.federation.as_ref().map(|federation| federation.inbox.clone());
    metrics::routes(handle, move || {
        ::metrics::gauge!("linkim_waiting_users").set(notifier.waiting() as f64);
        ::metrics::gauge!("linkim_write_queue_length").set(store.write_queue_length() as f64);
        ::metrics::gauge!("linkim_append_queue_length").set(appenders.queue_length() as f64);
        ::metrics::gauge!("linkim_appenders_awake").set(appenders.awake() as f64);
        ::metrics::gauge!("linkim_failing_destinations").set(reachability.failing() as f64);
        if let Some(inbox) = &inbox {
            inbox.refresh_metrics();
        }
        sender.refresh_gauges();
        presence.refresh_gauges();
    })
}

/// What `linkim admin` reaches this process by. Without it the server serves all the same.
fn admin_socket(config: &Config, app: &App, stopping: &watch::Receiver<bool>) -> Option<JoinHandle<()>> {
    let serving = match AdminSocket::bind(&config.data_dir) {
        Ok(socket) => socket.serve(Arc::new(app.admin()), stopping.clone()),
        Err(error) => {
            tracing::error!(%error, "linkim admin can't reach this server: no {SOCKET} in data_dir");
            return None;
        }
    };
    Some(tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::warn!(%error, "{SOCKET} stays behind");
        }
    }))
}

/// What the HTTPS listeners show, if there are any.
fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, TlsError> {
    let files = config.tls.as_ref().filter(|_| !config.listen.federation.is_empty());
    files.map(|files| Certificates::load(files).map(Arc::new)).transpose()
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let real = listener.local_addr().map_err(failed)?;
    Ok((listener, real))
}

/// SIGTERM and SIGINT. Without a handler they end the process at once, which the store survives too.
struct StopSignal {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl StopSignal {
    fn listen() -> Self {
        let handle = |kind| match signal(kind) {
            Ok(signal) => Some(signal),
            Err(error) => {
                tracing::warn!(%error, "no handler for a stop signal");
                None
            }
        };
        Self { terminate: handle(SignalKind::terminate()), interrupt: handle(SignalKind::interrupt()) }
    }

    async fn wait(mut self) {
        async fn received(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = received(&mut self.terminate) => {}
            () = received(&mut self.interrupt) => {}
        }
    }
}
