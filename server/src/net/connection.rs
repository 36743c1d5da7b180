//! A client's socket that gives a client only so much time, in either direction.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::framing::Framing;
use super::limits::ConnectionLimits;
use crate::http::Ambiguity;

/// How long a request may still come on an idle connection that the server is about to close: what the kernel has already may
/// not have been noticed yet.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// The same for a connection that has had no request yet: its client has just connected.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// Where a connection is between two requests. Its service sets it, and its socket reads it: hyper tells neither.
#[derive(Clone, Default)]
pub(crate) struct Phase(Arc<Shared>);

#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    closes: AtomicBool,
    /// Of the connection's last request, after which nothing is read.
    last: OnceLock<Ambiguity>,
}

impl Phase {
    /// The next request's head has not come yet, or not all of it.
    const WAITING: u8 = 0;
    /// A request is being answered.
    const HANDLING: u8 = 1;
    /// The answer is there, and is being sent.
    const ANSWERED: u8 = 2;

    pub(crate) fn handling(&self) {
        self.0.phase.store(Self::HANDLING, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.0.phase.store(Self::ANSWERED, Ordering::Relaxed);
    }

    /// Why this request is the last.
    pub(super) fn last(&self) -> Option<Ambiguity> {
        self.0.last.get().copied()
    }

    /// The server stops: from its next read on, the connection ends if no request comes. Whoever holds it has it read.
    pub(super) fn close_when_idle(&self) {
        self.0.closes.store(true, Ordering::Relaxed);
    }

    /// Whether the answer was there, and so is sent now.
    fn sent(&self) -> bool {
        self.0.phase.compare_exchange(Self::ANSWERED, Self::WAITING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_waiting(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == Self::WAITING
    }
}

/// The socket. Reads and writes fail with `TimedOut` when their time is over, and hyper then drops the connection.
///
/// - Between two requests the client may be idle for a time, and has another for the head once its first byte came.
///   hyper has one time for both.
/// - A write that the client does not take holds for a time: hyper would wait for ever.
///
/// hyper is given one request at a time. It would read what stands behind it, and so begin a head that no one times.
pub(crate) struct Connection<IO> {
    io: IO,
    framing: Framing,
    /// What has come, and whose turn it is not.
    held: Vec<u8>,
    phase: Phase,
    limits: ConnectionLimits,
    reading: Timer,
    head_began: bool,
    /// Whether it is closed once it is idle.
    closes: bool,
    /// Whether it has sent an answer.
    used: bool,
    writing: Timer,
}

impl<IO> Connection<IO> {
    pub(crate) fn new(io: IO, phase: Phase, limits: ConnectionLimits) -> Self {
        let (reading, writing) = (Timer::default(), Timer::default());
        let (head_began, closes, used) = (false, false, false);
        let (framing, held) = (Framing::default(), Vec::new());
        Self { io, framing, held, phase, limits, reading, head_began, closes, used, writing }
    }

    /// No byte of the next request is there. Ready: it has no more time, and ends, as if the client had closed it.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.phase.0.closes.load(Ordering::Relaxed) {
            return self.reading.poll(context, self.limits.idle).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if !std::mem::replace(&mut self.closes, true) {
            self.reading.stop();
        }
        self.reading.poll(context, if self.used { LAST_LOOK } else { FIRST_REQUEST }).map(Ok)
    }

    /// What a write came to; time runs while it is pending.
    fn written<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_pending() {
            return self.writing.poll(context, self.limits.write).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.writing.stop();
        poll
    }
}

impl<IO: AsyncRead + Unpin> Connection<IO> {
    /// What is held, and then what comes, up to the end of a request.
    fn poll_request(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.framing.over().is_some() {
            return Poll::Ready(Ok(()));
        }
        if self.framing.must_wait() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if self.held.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        } else {
            let length = self.held.len().min(buffer.remaining());
            buffer.put_slice(self.held.drain(..length).as_slice());
        }
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        let length = self.framing.follow(bytes);
        self.held.splice(..0, bytes.iter().skip(length).copied());
        buffer.set_filled(before + length);
        if let Some(ambiguity) = self.framing.over() {
            let _ = self.phase.0.last.set(ambiguity);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let poll = this.poll_request(context, buffer);
        if !this.phase.is_waiting() || this.framing.must_wait() {
            return poll;
        }
        match poll {
            Poll::Pending if this.head_began => {
                this.reading.poll(context, this.limits.head).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => this.poll_idle(context),
            Poll::Ready(_) => {
                if buffer.filled().len() > before && !this.head_began {
                    this.head_began = true;
                    this.reading.stop();
                }
                poll
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write(context, bytes);
        this.written(context, poll)
    }

    /// hyper flushes when it has nothing more to send.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_flush(context);
        if poll.is_ready() && this.phase.sent() {
            (this.head_began, this.used) = (false, true);
            this.reading.stop();
            if this.framing.answered() {
                context.waker().wake_by_ref();
            }
        }
        this.written(context, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_shutdown(context);
        this.written(context, poll)
    }
}

/// Runs from the first time that it is asked until it is stopped. It is made once a connection: most never need it.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    runs: bool,
}

impl Timer {
    fn poll(&mut self, context: &mut Context<'_>, time: Duration) -> Poll<()> {
        let start = !std::mem::replace(&mut self.runs, true);
        // A time beyond all calendars never ends.
        let Some(deadline) = Instant::now().checked_add(time) else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if start {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context)
    }

    fn stop(&mut self) {
        self.runs = false;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        connections: 1,
        idle: Duration::from_secs(75),
        head: Duration::from_secs(10),
        write: Duration::from_secs(10),
        drain: Duration::ZERO,
    };

    #[tokio::test(start_paused = true)]
    async fn an_idle_client_and_an_unfinished_head_have_times_of_their_own() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Connection::new(server, phase.clone(), LIMITS);
        let started = Instant::now();
        assert!(server.read_u8().await.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(started.elapsed().as_secs(), 75);

        let mut server = Connection::new(server.io, phase.clone(), LIMITS);
        client.write_all(b"GET").await.unwrap();
        server.read_exact(&mut [0; 3]).await.unwrap();
        let began = Instant::now();
        sleep(Duration::from_secs(1)).await;
        assert!(timeout(Duration::from_secs(4), server.read_u8()).await.is_err());
        client.write_all(b" ").await.unwrap();
        server.read_u8().await.unwrap();
        assert!(server.read_u8().await.is_err(), "a byte now and then does not prolong it");
        assert!((10..=12).contains(&began.elapsed().as_secs()));

        let mut server = Connection::new(server.io, phase.clone(), LIMITS);
        phase.handling();
        assert!(timeout(Duration::from_secs(999), server.read_u8()).await.is_err(), "a body's time is not ours");
        phase.answered();
        server.flush().await.unwrap();
        assert!(timeout(Duration::from_secs(74), server.read_u8()).await.is_err());
        assert!(timeout(Duration::from_secs(2), server.read_u8()).await.is_ok(), "idle again");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_behind_another_request_has_the_time_of_a_head_once_it_is_its_turn() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Connection::new(server, phase.clone(), LIMITS);
        client.write_all(b"GET / HTTP/1.1\r\n\r\nGET").await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(server.read(&mut bytes).await.unwrap(), 18, "one request at a time");
        phase.handling();
        assert!(timeout(Duration::from_secs(99), server.read(&mut bytes)).await.is_err(), "its turn has not come");
        phase.answered();
        server.flush().await.unwrap();
        assert_eq!(server.read(&mut bytes).await.unwrap(), 3);
        let began = Instant::now();
        assert!(server.read(&mut bytes).await.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_to_close_still_takes_the_request_that_is_there() {
        let (mut client, server) = duplex(64);
        let phase = Phase::default();
        let mut server = Connection::new(server, phase.clone(), LIMITS);
        assert!(timeout(Duration::from_secs(1), server.read_u8()).await.is_err(), "it waits for its first request");
        phase.close_when_idle();
        client.write_all(b"G").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'G');
        phase.handling();
        phase.answered();
        server.flush().await.unwrap();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0, "it ends without an error");

        let (_client, server) = duplex(64);
        let mut server = Connection::new(server, phase.clone(), LIMITS);
        let began = Instant::now();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), 2, "who has just connected has longer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (mut client, server) = duplex(64);
        let mut server = Connection::new(server, Phase::default(), LIMITS);
        let started = Instant::now();
        let written = async { server.write_all(&[0; 100]).await };
        let reading = async {
            sleep(Duration::from_secs(9)).await;
            client.read_exact(&mut [0; 10]).await.unwrap();
        };
        let (written, ()) = tokio::join!(written, reading);
        assert!(written.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(started.elapsed().as_secs(), 19, "what it takes starts the time again");
    }
}
