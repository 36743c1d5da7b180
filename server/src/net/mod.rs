//! The socket: who is let in, how long a client may take, and requests that are finished without their client.

mod connection;
mod limits;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics::Gauge;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use self::connection::{Connection, Phase};
pub use self::limits::ConnectionLimits;
use crate::detach::DetachOnDrop;
use crate::metrics::CONNECTIONS;

/// The largest head that is read, with its request line.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// How long requests in flight are waited for.
const GRACE: Duration = Duration::from_secs(15);
/// A pause for the descriptors or the memory that accepting ran out of.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then finishes what is in flight: 15 s at most.
///
/// A request is handled in a task of its own. So it is finished, and its line is written to the log, whether or not its
/// client waits for the answer. A client that closes its sending half is answered.
///
/// `axum::serve` would do, but for clients that take forever, or too much.
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
    let mut shutdown = pin!(shutdown);
    let connections = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    // Each request in flight holds a sender: when all are gone, the receiver is told.
    let (in_flight, mut finished) = mpsc::channel::<()>(1);
    let mut http = http1::Builder::new();
    // Heads are timed by `Connection`.
    http.header_read_timeout(None).max_buf_size(HEAD_MAX_BYTES).half_close(true);
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // hyper writes dates, and panics on such a clock.
        if OffsetDateTime::now_utc().unix_timestamp() < 0 {
            tracing::error!("the machine's clock is before 1970: no client is served");
            continue;
        }
        // Answers are small and whole: to wait for more of them only delays.
        let _ = stream.set_nodelay(true);
        let phase = Phase::default();
        let io = TokioIo::new(Connection::new(stream, phase.clone(), limits));
        let router = TowerToHyperService::new(router.clone());
        let in_flight = InFlight { _permit: Arc::new(permit), _sender: in_flight.clone() };
        let held = in_flight.clone();
        let service = service_fn(move |request| handle(router.clone(), request, phase.clone(), in_flight.clone()));
        let connection = connections.watch(http.serve_connection(io, service));
        let open = OpenConnection::one_more(&open);
        tokio::spawn(async move {
            // A connection that ends badly is the client's affair.
            let _ = connection.await;
            drop((open, held));
        });
    }
    drop((listener, in_flight));
    let all = async {
        connections.shutdown().await;
        finished.recv().await;
    };
    if timeout(GRACE, all).await.is_err() {
        tracing::warn!("gave up on requests in flight");
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
    request: Request<Incoming>,
    phase: Phase,
    in_flight: InFlight,
) -> Result<Response<axum::body::Body>, Infallible> {
    phase.handling();
    let handled = DetachOnDrop::new(async move {
        let response = router.call(request).await;
        drop(in_flight);
        response
    });
    let response = handled.await;
    phase.answered();
    response
}
