//! A client's socket that gives a client only so much time, in either direction.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::framing::Framing;
use super::limits::ConnectionLimits;
use super::phase::Phase;
use super::timer::Timer;

/// What a client takes of an answer in a second, on the average, once [`ConnectionLimits::write`] is over; or it is given up.
const LEAST_BYTES_A_SECOND: u32 = 8 * 1024;

/// How long a request may still come on an idle connection that the server is about to close: what the kernel has already may
/// not have been noticed yet.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// The same for a connection that has had no request yet: its client has just connected.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// The socket. Reads and writes fail with `TimedOut` when their time is over, and hyper then drops the connection.
///
/// - Between two requests the client may be idle for a time, and has another for the head once its first byte came.
///   hyper has one time for both.
/// - A write that the client does not take holds for a time: hyper would wait for ever. Nor may it take a little now and then.
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
    /// Since when the client has not taken all that there was to send, and how much it has taken of it.
    sending: (Option<Instant>, u32),
}

impl<IO> Connection<IO> {
    pub(crate) fn new(io: IO, phase: Phase, limits: ConnectionLimits) -> Self {
        let (reading, writing) = (Timer::default(), Timer::default());
        let (head_began, closes, used) = (false, false, false);
        let (framing, held) = (Framing::default(), Vec::new());
        Self { io, framing, held, phase, limits, reading, head_began, closes, used, writing, sending: (None, 0) }
    }

    /// No byte of the next request is there. Ready: it has no more time, and ends, as if the client had closed it.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.phase.closes() {
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
            let (since, taken) = &mut self.sending;
            let elapsed = since.get_or_insert_with(Instant::now).elapsed();
            let allowed = self.limits.write.saturating_add(Duration::from_secs(1) * *taken / LEAST_BYTES_A_SECOND);
            let time = self.limits.write.min(allowed.saturating_sub(elapsed));
            return self.writing.poll(context, time).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.writing.stop();
        poll
    }

    fn taken(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = &poll {
            self.sending.1 = self.sending.1.saturating_add(u32::try_from(*length).unwrap_or(u32::MAX));
        }
        self.written(context, poll)
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
            self.phase.set_last(ambiguity);
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
        this.taken(context, poll)
    }

    /// Without it, hyper copies each body behind its head.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.taken(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes when it has nothing more to send.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_flush(context);
        if poll.is_ready() {
            this.sending = (None, 0);
        }
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

    /// Of 200 KB that a client takes in steps, one a second, until it has them or is given up: how many, and when.
    async fn taken_in_steps(step: usize) -> (usize, u64) {
        let (mut client, server) = duplex(64);
        let mut server = Connection::new(server, Phase::default(), LIMITS);
        let started = Instant::now();
        let writing = async {
            let written = server.write_all(&vec![0; 200_000]).await;
            drop(server);
            assert!(written.is_ok() || started.elapsed().as_secs() >= 10);
            started.elapsed().as_secs()
        };
        let reading = async {
            let mut taken = 0;
            loop {
                sleep(Duration::from_secs(1)).await;
                let mut bytes = vec![0; step];
                match client.read_exact(&mut bytes).await {
                    Ok(length) => taken += length,
                    Err(_) => return taken,
                }
            }
        };
        let (seconds, taken) = tokio::join!(writing, reading);
        (taken, seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_too_little_of_an_answer_is_given_up_and_one_that_takes_enough_is_not() {
        let (_client, server) = duplex(64);
        let mut server = Connection::new(server, Phase::default(), LIMITS);
        let started = Instant::now();
        let written = server.write_all(&[0; 100]).await;
        assert!(written.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(started.elapsed().as_secs(), 10);

        let (taken, seconds) = taken_in_steps(2000).await;
        assert!(taken < 40_000 && (12..=15).contains(&seconds), "{taken} bytes in {seconds} s");
        let (taken, seconds) = taken_in_steps(10_000).await;
        assert!(taken == 200_000 && seconds > 15, "{taken} bytes in {seconds} s");
    }
}
