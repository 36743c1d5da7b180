//! What the server counts, by the facade `metrics`. The binary has them exported in Prometheus' form; who embeds the
//! library installs a recorder of their own, or none.

macro_rules! names {
    ($($(#[doc = $description:literal])+ $name:ident = $kind:ident $unit:ident $text:literal;)*) => {
        $($(#[doc = $description])+ pub const $name: &str = $text;)*

        /// Every name there is.
        pub const NAMES: &[&str] = &[$($text),*];

        #[cfg(feature = "exporter")]
        /// Tells the recorder what each of them means.
        pub(crate) fn describe() {
            $(metrics::$kind!($name, metrics::Unit::$unit, concat!($($description),+).trim());)*
        }
    };
}

names! {
    /// Requests answered, by route, method, status, outcome (the word that the log has), and the client's name if its token
    /// has one.
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
    WRITE_CONFLICTS = describe_counter Count "midsession_write_conflicts_total";
    /// Writes of an unknown fate that were found to have been made.
    RESOLVED_OUTCOMES = describe_counter Count "midsession_resolved_outcomes_total";
    /// Calls of the database that failed.
    STORE_ERRORS = describe_counter Count "midsession_store_errors_total";
    /// Bytes of SQLite's write-ahead log.
    DATABASE_LOG_BYTES = describe_gauge Bytes "midsession_database_log_bytes";
    /// Log lines that were dropped because their reader was too slow.
    DROPPED_LOG_LINES = describe_counter Count "midsession_dropped_log_lines_total";
    /// Whether the last probe of the database could write: 1, or 0.
    READY = describe_gauge Count "midsession_ready";
    /// 1, with the server's version, the commit it was built from, and its engine as labels.
    BUILD_INFO = describe_gauge Count "midsession_build_info";
}
