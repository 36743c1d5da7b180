//! `midsession-server`: see the README beside it.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use midsession_server::{App, Config, LegacyStore as Store, router, serve};
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
    let shutdown = async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    };

    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    let store =
        Store::open(&config.database_url).await.map_err(|error| format!("cannot open the database: {error}"))?;
    let app = App { store, policy: config.policy, token: config.token, clock: Arc::new(OffsetDateTime::now_utc) };

    // Whoever started it may not care to read on.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    serve(listener, router(app), shutdown).await;
    Ok(())
}
