//! The way from an HTTP handler to the peer and back, through one bounded queue.

use super::reply::problem;
use crate::peer::api::{Reply, Request};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for the peer; more are answered 503.
pub const ASKED_MAX: usize = 256;
/// A lookup may ask homes and the DHT; nothing takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct ApiHandle {
    pub tx: mpsc::Sender<(Request, oneshot::Sender<Reply>)>,
}

impl ApiHandle {
    /// The receiver is the runtime's: it feeds `Input::Api` and sends what `Output::Api` of that id says.
    pub fn channel() -> (ApiHandle, mpsc::Receiver<(Request, oneshot::Sender<Reply>)>) {
        let (tx, rx) = mpsc::channel(ASKED_MAX);
        (ApiHandle { tx }, rx)
    }

    pub async fn ask(&self, request: Request) -> Reply {
        let (answer, answered) = oneshot::channel();
        if self.tx.try_send((request, answer)).is_err() {
            return problem(503, "the peer is busy or stopping: try again in a moment");
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(reply)) => reply,
            _ => problem(503, "the peer did not answer in time"),
        }
    }
}
