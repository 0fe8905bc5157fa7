//! NET-5: the frames of one open stream: a big-endian `u32` length, then that many bytes.
//!
//! Reading waits for the program (its queue is bounded, and so is the window of the sender); writing never makes the
//! driver wait: a queue that is full ends the stream, and the link above sends what was lost on the next one.

use crate::{
    link::FRAME_MAX,
    net::{
        limits::{STREAM_QUEUE_BYTES, STREAM_QUEUE_FRAMES, STREAM_STALL, STREAM_WRITE},
        streams::Said,
    },
    transport::{NetEvent, StreamId},
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, io::BufReader};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

/// The program's end. Dropped: the stream closes after what is queued.
pub struct Writer {
    frames: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

impl Writer {
    /// `false`: it does not fit, and the stream is cut.
    pub fn send(&self, frame: Vec<u8>) -> bool {
        let length = frame.len();
        let queued = self.queued.fetch_add(length, Ordering::Relaxed);
        let fits = length <= FRAME_MAX && queued.saturating_add(length) <= STREAM_QUEUE_BYTES;
        let sent = fits && self.frames.try_send(frame).is_ok();
        if !sent {
            self.cut();
        }
        sent
    }

    /// Ends the stream at once.
    pub fn cut(&self) {
        self.cut.notify_one();
    }
}

/// The task's end.
pub struct Queue {
    frames: mpsc::Receiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

pub fn queue() -> (Writer, Queue) {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE_FRAMES);
    let (queued, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let writer = Writer { frames: sender, queued: queued.clone(), cut: cut.clone() };
    (writer, Queue { frames: receiver, queued, cut })
}

/// Says that the stream is open, then its frames, then that it is gone.
pub async fn run(
    opened: Said,
    id: StreamId,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    queue: Queue,
    events: mpsc::Sender<Said>,
) -> StreamId {
    if events.send(opened).await.is_err() {
        return id;
    }
    let (read, write) = stream.split();
    let Queue { frames, queued, cut } = queue;
    let end = tokio::select! {
        end = read_frames(id, read, &events) => end,
        end = write_frames(write, frames, &queued) => end,
        () = cut.notified() => Err(io::Error::other("cut")),
    };
    tracing::debug!(stream = id, ?end, "stream closed");
    let _ = events.send(NetEvent::StreamClosed { stream: id }.into()).await;
    id
}

async fn read_frames(stream: StreamId, read: impl AsyncRead, events: &mpsc::Sender<Said>) -> io::Result<()> {
    let mut read = std::pin::pin!(BufReader::with_capacity(STREAM_WRITE, read));
    loop {
        let mut prefix = [0; 4];
        read.read_exact(&mut prefix).await?;
        let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if length > FRAME_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame longer than the limit"));
        }
        let mut frame = vec![0; length];
        read.read_exact(&mut frame).await?;
        if events.send(NetEvent::StreamFrame { stream, frame }.into()).await.is_err() {
            return Ok(());
        }
    }
}

async fn write_frames(
    write: impl AsyncWrite,
    mut frames: mpsc::Receiver<Vec<u8>>,
    queued: &AtomicUsize,
) -> io::Result<()> {
    let mut write = std::pin::pin!(write);
    let mut bytes = Vec::with_capacity(STREAM_WRITE);
    while let Some(frame) = frames.recv().await {
        let mut next = Some(frame);
        let mut taken = 0;
        while let Some(frame) = next.take() {
            let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&frame);
            taken += frame.len();
            if bytes.len() < STREAM_WRITE {
                next = frames.try_recv().ok();
            }
        }
        timeout(STREAM_STALL, async {
            write.write_all(&bytes).await?;
            write.flush().await
        })
        .await??;
        queued.fetch_sub(taken, Ordering::Relaxed);
        bytes.clear();
    }
    timeout(STREAM_STALL, write.close()).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    /// How often it was written to, and flushed.
    #[derive(Default)]
    struct Wire {
        writes: usize,
        flushes: usize,
        bytes: usize,
    }

    impl AsyncWrite for &mut Wire {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            self.bytes += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What the program says in one turn is one write, however many frames it is, and each write is one flush.
    #[tokio::test]
    async fn frames_of_one_turn_are_one_write() {
        for (frames, length, writes) in [(1, 900, 1), (50, 900, 1), (100, 1_300, 2)] {
            let (writer, queue) = queue();
            for n in 0..frames {
                assert!(writer.send(vec![n; length]));
            }
            drop(writer);
            let mut wire = Wire::default();
            write_frames(&mut wire, queue.frames, &queue.queued).await.expect("it takes all");
            assert_eq!((wire.writes, wire.flushes), (writes, writes), "{frames} frames of {length} bytes");
            assert_eq!(wire.bytes, usize::from(frames) * (length + 4));
            assert_eq!(queue.queued.load(Ordering::Relaxed), 0, "nothing is left");
        }
    }
}
