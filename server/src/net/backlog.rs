//! The connections that the kernel took for a listener, and that were not accepted yet.

use tokio::net::TcpListener;

/// From now on the kernel takes no more connections for `listener`, and keeps those that it has. A client whose connection was
/// begun before can finish it. One that begins later has no answer; it tries again by itself after a second, and is then
/// refused, or meets the next server.
///
/// To close a listener resets what its backlog holds, and something may come between the last look at it and the close.
/// Linux has no call that stops one without the other, but drops each packet that a filter of the socket's refuses.
#[cfg(target_os = "linux")]
pub(super) fn take_no_more(listener: &TcpListener) {
    use socket2::{SockFilter, SockRef};

    /// Load the byte of a TCP header that has its flags.
    const LOAD_FLAGS: SockFilter = SockFilter::new(0x30, 0, 0, 13);
    /// Keep SYN and ACK of them.
    const SYN_AND_ACK: SockFilter = SockFilter::new(0x54, 0, 0, 0x12);
    /// Is it SYN alone? Then the next instruction, or else the one after it.
    const IS_SYN: SockFilter = SockFilter::new(0x15, 0, 1, 0x02);
    const DROP: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    const PASS: SockFilter = SockFilter::new(0x06, 0, 0, u32::MAX);

    if let Err(error) = SockRef::from(listener).attach_filter(&[LOAD_FLAGS, SYN_AND_ACK, IS_SYN, DROP, PASS]) {
        tracing::warn!(cause = %error.kind(), "a client that connects in the last moment may be reset");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn take_no_more(_: &TcpListener) {}
