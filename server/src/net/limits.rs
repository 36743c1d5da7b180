use std::time::Duration;

/// What clients may take of the server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How many connections are open at once. Those beyond it wait in the kernel's queue until another closes.
    pub connections: usize,
    /// How long a connection may be idle between two requests. It is best longer than that of a proxy before the server,
    /// so that it is the proxy that closes, and no request meets a closed connection.
    pub idle: Duration,
    /// How long a client may take over a request's head, from its first byte on.
    pub head: Duration,
    /// How long a client may leave an answer unread. Of a long one it must then have taken 8 KiB a second, on the average.
    pub write: Duration,
    /// How long a server that is told to stop still takes connections, and tells clients to go elsewhere. It is best longer
    /// than it takes who balances the load to notice.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    /// 512 connections, 75 s idle, 10 s for a head, 10 s for an answer, and no drain.
    fn default() -> Self {
        let (idle, head, write) = (Duration::from_secs(75), Duration::from_secs(10), Duration::from_secs(10));
        Self { connections: 512, idle, head, write, drain: Duration::ZERO }
    }
}
