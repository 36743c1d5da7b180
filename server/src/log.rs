//! The log of the binary: lines of JSON on standard error, which no request ever waits for.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::thread;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::metrics::DROPPED_LOG_LINES;

/// How many lines may wait for a slow reader. Those beyond it are dropped, and counted.
const LINES_MAX: usize = 16_384;
/// How much is written at once when lines queue faster than they are written.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long a line may wait for others.
const PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked for dropped lines.
const CHECK: Duration = Duration::from_secs(1);

/// The process's log. When it is dropped, the lines that wait are written, for a second at most.
pub struct Log {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// Starts it, and has panics logged by their place alone: a panic's text may hold what a request said.
    ///
    /// # Panics
    /// If the process has another log already.
    pub fn start() -> Self {
        let writer = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
        let (writer, guard) = writer.finish(Paced(BufWriter::with_capacity(BUFFER_BYTES, io::stderr())));
        let dropped = writer.error_counter();
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false);
        let lines = lines.with_timer(Timestamp(OffsetDateTime::now_utc)).with_writer(writer);
        // The libraries' own lines may repeat what a database said of a value.
        let ours = Targets::new().with_target("midsession_server", Level::INFO);
        tracing_subscriber::registry().with(lines.with_filter(ours)).init();
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!(at = panic.location().map(tracing::field::display), "panicked");
        }));
        Self { dropped, _writer: guard }
    }

    /// Counts the dropped lines, and says so in the log once lines come through again. It never ends.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let dropped = self.dropped.clone();
        async move {
            let mut look = interval(CHECK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut told = 0;
            loop {
                look.tick().await;
                let lines = dropped.dropped_lines();
                metrics::counter!(DROPPED_LOG_LINES).absolute(u64::try_from(lines).unwrap_or(u64::MAX));
                if lines > told {
                    tracing::warn!(lines, "log lines were dropped: their reader is too slow");
                    told = lines;
                }
            }
        }
    }
}

/// Its thread flushes it when no line waits, and rests before it looks for more. Under load most lines come while it rests, so
/// that their requests need not wake it.
struct Paced<W>(W);

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        thread::sleep(PAUSE);
        flushed
    }
}

/// A line's time in RFC 3339. The default panics on a clock before 1970.
struct Timestamp(fn() -> OffsetDateTime);

impl FormatTime for Timestamp {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        match (self.0)().format(&Rfc3339) {
            Ok(now) => line.write_str(&now),
            // A year beyond 9999.
            Err(_) => line.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_or_after_9999_is_written_without_a_panic() {
        let shown = |clock| {
            let mut line = String::new();
            Timestamp(clock).format_time(&mut Writer::new(&mut line)).unwrap();
            line
        };
        assert_eq!(shown(|| OffsetDateTime::from_unix_timestamp(-1).unwrap()), "1969-12-31T23:59:59Z");
        assert_eq!(shown(|| OffsetDateTime::from_unix_timestamp(-62_135_596_801).unwrap()), "0000-12-31T23:59:59Z");
    }
}
