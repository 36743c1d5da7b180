use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// How long a client may take over a request's head, or leave a connection idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests in flight are waited for.
const GRACE: Duration = Duration::from_secs(15);
/// A pause for the descriptors or the memory that accepting ran out of.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then finishes what is in flight.
///
/// `axum::serve` would do, but for clients that take forever over a request's head.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // Answers are small and whole: to wait for more of them only delays.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        // A connection that ends badly is the client's affair.
        tokio::spawn(connections.watch(http.serve_connection(TokioIo::new(stream), service)));
    }
    drop(listener);
    if timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("gave up on requests in flight");
    }
}
