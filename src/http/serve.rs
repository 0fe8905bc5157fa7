//! The connections of the API: how many there may be, how long one may take, and who goes when there are too many.
//!
//! A connection costs a descriptor of the table that phones and peers share. So there are few, a request's head must come
//! within seconds, and where all places are taken the oldest connection without a request under way makes room: somebody
//! who opens thousands and says nothing keeps nobody out.

use super::App;
use axum::Router;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    pin,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower_service::Service as _;

/// Connections at once; a hundredth of the descriptors that a peer asks for.
const CONNECTIONS_MAX: usize = 512;
/// For the head of a request, also between two of one connection.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// For a whole request and its answer; an import of the largest size takes a few seconds.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves until `stop` is ready and the requests at work are answered.
pub async fn serve(
    listener: TcpListener,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let metrics = app.metrics.clone();
    let router = super::routes::router(app);
    let graceful = GracefulShutdown::new();
    let mut places = Places::default();
    pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: the kernel keeps the connection until one is free.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        places.sweep();
        if places.len() >= CONNECTIONS_MAX && !places.free_oldest_idle() {
            metrics.count("http_refused");
            continue;
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let connection = connection(stream, router.clone(), is_busy.clone(), graceful.watcher());
        places.take(tokio::spawn(connection).abort_handle(), is_busy);
    }
    graceful.shutdown().await;
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, is_busy: Arc<AtomicBool>, watcher: Watcher) {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (mut router, is_busy) = (router.clone(), is_busy.clone());
        async move {
            let _busy = Busy::new(&is_busy);
            // A body that never ends ends here; the connection goes with it.
            let answer = timeout(REQUEST_WITHIN, router.call(request)).await;
            answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).map(|answer| match answer {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(e) = watcher.watch(served).await {
        tracing::debug!(%e, "an HTTP connection ended");
    }
}

/// A request is under way as long as this lives.
struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    fn new(flag: &'a AtomicBool) -> Busy<'a> {
        flag.store(true, Ordering::Relaxed);
        Busy(flag)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The open connections, oldest first.
#[derive(Default)]
struct Places {
    open: BTreeMap<u64, (AbortHandle, Arc<AtomicBool>)>,
    last: u64,
}

impl Places {
    fn len(&self) -> usize {
        self.open.len()
    }

    fn take(&mut self, task: AbortHandle, is_busy: Arc<AtomicBool>) {
        self.last += 1;
        self.open.insert(self.last, (task, is_busy));
    }

    fn sweep(&mut self) {
        self.open.retain(|_, (task, _)| !task.is_finished());
    }

    /// `false`: every connection has a request under way.
    fn free_oldest_idle(&mut self) -> bool {
        let idle = self.open.iter().find(|(_, (_, is_busy))| !is_busy.load(Ordering::Relaxed));
        let Some(number) = idle.map(|(number, _)| *number) else { return false };
        if let Some((task, _)) = self.open.remove(&number) {
            task.abort();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_without_a_request_makes_room() {
        let mut places = Places::default();
        let busy = [true, false, false].map(|b| Arc::new(AtomicBool::new(b)));
        let tasks = busy.each_ref().map(|flag| {
            let task = tokio::spawn(std::future::pending::<()>());
            places.take(task.abort_handle(), flag.clone());
            task
        });
        assert!(places.free_oldest_idle());
        let [first, second, third] = tasks;
        assert!(second.await.expect_err("aborted").is_cancelled());
        assert!(!first.is_finished() && !third.is_finished());
        busy[2].store(true, Ordering::Relaxed);
        assert!(!places.free_oldest_idle(), "all are at work");
    }
}
