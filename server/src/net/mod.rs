//! The socket: who is let in, how long a client may take, and requests that are finished without their client.

mod backlog;
mod connection;
mod framing;
mod limits;
mod phase;
mod timer;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{ALLOW, CONNECTION};
use axum::http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use metrics::Gauge;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use self::connection::Connection;
pub use self::limits::ConnectionLimits;
use self::phase::Phase;
use crate::detach::DetachOnDrop;
use crate::metrics::CONNECTIONS;
use crate::stopping::Stopping;

/// The largest head that is read, with its request line.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// How long requests in flight are waited for.
const GRACE: Duration = Duration::from_secs(15);
/// How long it is waited for connections that were begun before the server took no more of them.
const HANDSHAKE: Duration = Duration::from_millis(500);
/// A pause for the descriptors or the memory that accepting ran out of.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, and then stops without losing a client:
///
/// 1. For [`ConnectionLimits::drain`] it goes on. Each request carries [`Stopping`], by which it is no longer ready, and each
///    answer says `Connection: close`. So who balances the load sends new requests elsewhere.
/// 2. The connections that the kernel has taken are served, and then the listener is closed.
/// 3. Idle connections are closed, and requests in flight are finished: 15 s at most.
///
/// A request is handled in a task of its own. So it is finished, and its line is written to the log, whether or not its
/// client waits for the answer. A client that closes its sending half is answered.
///
/// `axum::serve` knows none of [`ConnectionLimits`], and sets no option of hyper's: neither the largest head nor what becomes
/// of a client that closes its sending half.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    serve_counted(listener, router, limits, metrics::gauge!(CONNECTIONS), shutdown).await;
}

/// [`serve`], which counts the open connections in `open`.
pub(crate) async fn serve_counted(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    open: Gauge,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    // Each request in flight holds a sender: when all are gone, the receiver is told.
    let (in_flight, mut finished) = mpsc::channel::<()>(1);
    let (stage, _) = watch::channel(Stage::Serving);
    let mut http = http1::Builder::new();
    // Heads are timed by `Connection`.
    http.header_read_timeout(None).max_buf_size(HEAD_MAX_BYTES).half_close(true);
    let front = Front { listener, router, limits, open, permits, in_flight, stage, http };
    tokio::select! {
        () = front.accept_all() => {}
        () = shutdown => {}
    }
    front.stage.send_replace(Stage::Draining);
    let _ = timeout(limits.drain, front.accept_all()).await;
    let last = async {
        front.accept_rest().await;
        front.stage.send_replace(Stage::Closing);
        drop(front);
        finished.recv().await;
    };
    if timeout(GRACE, last).await.is_err() {
        tracing::warn!("gave up on requests in flight");
    }
}

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is none.
    Serving,
    /// Clients are told to go elsewhere.
    Draining,
    /// Nothing more is accepted.
    Closing,
}

/// Lets clients in.
struct Front {
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    open: Gauge,
    permits: Arc<Semaphore>,
    in_flight: mpsc::Sender<()>,
    stage: watch::Sender<Stage>,
    http: http1::Builder,
}

impl Front {
    /// It never ends.
    async fn accept_all(&self) {
        loop {
            let permit = self.permits.clone().acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => self.connect(stream, permit),
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    /// Accepts what the kernel has taken, until nothing comes any more.
    async fn accept_rest(&self) {
        backlog::take_no_more(&self.listener);
        loop {
            let permit = self.permits.clone().acquire_owned().await;
            match timeout(HANDSHAKE, self.listener.accept()).await {
                Ok(Ok((stream, _))) => self.connect(stream, permit),
                Ok(Err(_)) => sleep(ACCEPT_AGAIN).await,
                Err(_) => return,
            }
        }
    }

    fn connect(&self, stream: TcpStream, permit: Result<OwnedSemaphorePermit, AcquireError>) {
        // hyper writes dates, and panics on such a clock.
        if OffsetDateTime::now_utc().unix_timestamp() < 0 {
            tracing::error!("the machine's clock is before 1970: no client is served");
            return;
        }
        // Answers are small and whole: to wait for more of them only delays.
        let _ = stream.set_nodelay(true);
        let phase = Phase::default();
        let io = TokioIo::new(Connection::new(stream, phase.clone(), self.limits));
        let router = TowerToHyperService::new(self.router.clone());
        let in_flight = InFlight { _permit: Arc::new(permit), _sender: self.in_flight.clone() };
        let held = in_flight.clone();
        let (stage, mut stages) = (self.stage.subscribe(), self.stage.subscribe());
        let closing = async move { drop(stages.wait_for(|stage| *stage == Stage::Closing).await) };
        let handled = phase.clone();
        let service = service_fn(move |request| {
            handle(router.clone(), request, handled.clone(), in_flight.clone(), stage.clone())
        });
        let connection = self.http.serve_connection(io, service);
        let open = OpenConnection::one_more(&self.open);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                // A connection that ends badly is the client's affair.
                _ = connection.as_mut() => {}
                () = closing => {
                    phase.close_when_idle();
                    let _ = connection.await;
                }
            }
            drop((open, held));
        });
    }
}

/// One connection in the count of those that are open, even if its task panics.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn one_more(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// What a connection holds, and each of its requests until it is finished. So a request whose client has gone still counts
/// as a connection: clients that come and go do not pile up work beyond that bound.
#[derive(Clone)]
struct InFlight {
    _permit: Arc<Result<OwnedSemaphorePermit, AcquireError>>,
    _sender: mpsc::Sender<()>,
}

/// It goes on when hyper drops this future because the client has gone.
async fn handle(
    router: TowerToHyperService<Router>,
    mut request: Request<Incoming>,
    phase: Phase,
    in_flight: InFlight,
    stage: watch::Receiver<Stage>,
) -> Result<Response<axum::body::Body>, Infallible> {
    phase.handling();
    if *stage.borrow() != Stage::Serving {
        request.extensions_mut().insert(Stopping);
    }
    let last = phase.last();
    if let Some(ambiguity) = last {
        request.extensions_mut().insert(ambiguity);
    }
    let handled = DetachOnDrop::new(async move {
        let response = router.call(request).await;
        drop(in_flight);
        response
    });
    let mut response = handled.await;
    if let Ok(response) = &mut response {
        // axum names the methods of a path in whatever is answered to another method: who shows no token is not told them.
        if response.status() != StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().remove(ALLOW);
        }
        // Asked once more: it may have begun meanwhile.
        if *stage.borrow() != Stage::Serving || last.is_some() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    phase.answered();
    response
}
