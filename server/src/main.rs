//! `midsession-server`: see the README beside it.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use midsession_server::Sqlite;
use midsession_server::{App, Config, LegacyStore, Limits, Sessions, Store, router, serve};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[tokio::main]
async fn main() -> ExitCode {
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false).with_writer(std::io::stderr);
    // The libraries' own lines may repeat what a database said of a value.
    let ours = Targets::new().with_target("midsession_server", Level::INFO);
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
    // A panic's text may hold what a request said: its place is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(at = panic.location().map(tracing::field::display), "panicked");
    }));
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midsession-server: {}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let config = Config::from_process()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut shutdown = pin!(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    });
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;

    let url = &config.database_url;
    match url.split_once(':') {
        #[cfg(feature = "sqlite")]
        Some(("sqlite", _)) => {
            // Less than half of a request's patience, which is what a call of the store may take.
            let busy = Limits::default().patience * 2 / 5;
            let Some(store) = opened(Sqlite::open(url, busy), &mut shutdown).await? else { return Ok(()) };
            // SQLite writes one batch at a time.
            serve_from(store.clone(), 1, config, listener, shutdown).await?;
            store.close().await;
        }
        Some(("postgres" | "postgresql", _)) => {
            let Some(store) = opened(LegacyStore::open(url), &mut shutdown).await? else { return Ok(()) };
            serve_from(store, 8, config, listener, shutdown).await?;
        }
        _ => return Err("cannot open the database: its URL must begin with sqlite:// or postgres://".into()),
    }
    Ok(())
}

/// None if the server is told to stop meanwhile.
async fn opened<S, E: Display>(
    opening: impl Future<Output = Result<S, E>>,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<S>, String> {
    tokio::select! {
        opened = opening => opened.map(Some).map_err(|error| format!("cannot open the database: {error}")),
        () = shutdown => Ok(None),
    }
}

async fn serve_from<S: Store>(
    store: S,
    lanes: usize,
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let address = listener.local_addr()?;
    let limits = Limits { lanes, ..Limits::default() };
    let sessions = Sessions::start(store, config.policy, Arc::new(OffsetDateTime::now_utc), limits);
    let app = App { sessions: sessions.clone(), token: config.token };

    // Whoever started it may not care to read on.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    serve(listener, router(app), shutdown).await;
    sessions.stop().await;
    Ok(())
}
