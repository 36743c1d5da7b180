//! The metrics in Prometheus' form, for the binary.

use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics::Gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::time::interval;

use crate::metrics::{
    BATCH_SIZE, CONNECTIONS, DROPPED_LOG_LINES, QUEUE_LENGTH, READY, REQUEST_SECONDS, RESOLVED_OUTCOMES, STORE_ERRORS,
    WRITE_CONFLICTS, describe,
};
use crate::net::{ConnectionLimits, serve_counted};

/// Bounds of the latency's buckets, in seconds. 5 s is the time-out of a request.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Connections to the metrics, at most.
const CONNECTIONS_KEPT: usize = 64;
/// How long each may be idle, or take over a head: whoever can reach the metrics must not keep Prometheus out.
const IDLE: Duration = Duration::from_secs(2);
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
        for counter in [WRITE_CONFLICTS, RESOLVED_OUTCOMES, STORE_ERRORS, DROPPED_LOG_LINES] {
            metrics::counter!(counter).absolute(0);
        }
        for gauge in [CONNECTIONS, QUEUE_LENGTH, READY] {
            metrics::gauge!(gauge).set(0);
        }
        Ok(Self(handle))
    }

    /// Answers `GET /metrics`, without a token, on a listener of its own. It never ends.
    pub async fn serve(self, listener: TcpListener) {
        let text = move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], self.0.render()) };
        let router = Router::new().route("/metrics", get(text));
        let limits = ConnectionLimits { connections: CONNECTIONS_KEPT, idle: IDLE, head: IDLE, ..Default::default() };
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
