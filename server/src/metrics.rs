//! What the server counts, by the facade `metrics`. The binary has them exported in Prometheus' form; who embeds the
//! library installs a recorder of their own, or none.

use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics::{Gauge, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::time::interval;

use crate::ConnectionLimits;
use crate::server::serve_counted;

macro_rules! names {
    ($($(#[doc = $description:literal])+ $name:ident = $kind:ident $unit:ident $text:literal;)*) => {
        $($(#[doc = $description])+ pub const $name: &str = $text;)*

        /// Every name there is.
        pub const NAMES: &[&str] = &[$($text),*];

        fn describe() {
            $(metrics::$kind!($name, Unit::$unit, concat!($($description),+).trim());)*
        }
    };
}

names! {
    /// Requests answered, by route, method, status and outcome: the word that the log has.
    REQUESTS = describe_counter Count "midsession_requests_total";
    /// Seconds from a request's head to its answer, by route.
    REQUEST_SECONDS = describe_histogram Seconds "midsession_request_duration_seconds";
    /// Connections that are open.
    CONNECTIONS = describe_gauge Count "midsession_connections";
    /// Connections that may be open at once.
    CONNECTIONS_MAX = describe_gauge Count "midsession_connections_max";
    /// Commands that wait to be decided.
    QUEUE_LENGTH = describe_gauge Count "midsession_queue_length";
    /// Commands decided together.
    BATCH_SIZE = describe_histogram Count "midsession_batch_size";
    /// Commands decided again because another server had changed their session.
    LOST_RACES = describe_counter Count "midsession_lost_races_total";
    /// Writes of an unknown fate that were found to have been made.
    RESOLVED_OUTCOMES = describe_counter Count "midsession_resolved_outcomes_total";
    /// Calls of the database that failed.
    STORE_ERRORS = describe_counter Count "midsession_store_errors_total";
    /// Log lines that were dropped because their reader was too slow.
    DROPPED_LOG_LINES = describe_counter Count "midsession_dropped_log_lines_total";
    /// Whether the last probe of the database could write: 1, or 0.
    READY = describe_gauge Count "midsession_ready";
    /// 1, with the server's version and its engine as labels.
    BUILD_INFO = describe_gauge Count "midsession_build_info";
}

/// Bounds of the latency's buckets, in seconds. 5 s is the patience of a request.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Connections to the metrics, at most.
const CONNECTIONS_KEPT: usize = 16;
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Histograms are emptied into their buckets this often.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics in Prometheus' form.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Has the process's metrics recorded.
    ///
    /// # Errors
    /// - The process has another recorder already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.into()), SECONDS)?
            .set_buckets_for_metric(Matcher::Full(BATCH_SIZE.into()), BATCHES)?
            .install_recorder()?;
        describe();
        // A rate needs a zero to start from, and an alert a number to look at.
        for counter in [LOST_RACES, RESOLVED_OUTCOMES, STORE_ERRORS, DROPPED_LOG_LINES] {
            metrics::counter!(counter).absolute(0);
        }
        for gauge in [CONNECTIONS, QUEUE_LENGTH] {
            metrics::gauge!(gauge).set(0);
        }
        Ok(Self(handle))
    }

    /// Answers `GET /metrics`, without a token, on a listener of its own. It never ends.
    pub async fn serve(self, listener: TcpListener) {
        let text = move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], self.0.render()) };
        let router = Router::new().route("/metrics", get(text));
        let limits = ConnectionLimits { connections: CONNECTIONS_KEPT, ..ConnectionLimits::default() };
        // Its connections are not the clients'.
        serve_counted(listener, router, limits, Gauge::noop(), pending()).await;
    }

    /// Keeps what is recorded small between two looks at it. It never ends.
    pub async fn upkeep(self) {
        let mut upkeep = interval(UPKEEP);
        loop {
            upkeep.tick().await;
            self.0.run_upkeep();
        }
    }
}
