//! NET-4: bodies on the wire of a request/response protocol: a big-endian `u32` length, then that many bytes.

use super::limits::RESPONSE_MAX;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use std::io;

#[derive(Clone, Copy)]
pub struct Codec {
    pub request_max: usize,
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.request_max).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, RESPONSE_MAX).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, body: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &body, self.request_max).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, body: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &body, RESPONSE_MAX).await
    }
}

/// Memory is taken as bytes arrive, not as they are announced.
async fn read<T: AsyncRead + Unpin>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    io.read_exact(&mut prefix).await?;
    let length = u32::from_be_bytes(prefix);
    if usize::try_from(length).map_or(true, |l| l > max) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a body longer than the limit"));
    }
    let mut body = Vec::new();
    io.take(u64::from(length)).read_to_end(&mut body).await?;
    if body.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

async fn write<T: AsyncWrite + Unpin>(io: &mut T, body: &[u8], max: usize) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= max);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a body beyond the limit"))?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(body).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::limits::REQUEST_MAX;
    use futures::{executor::block_on, io::Cursor};

    #[test]
    fn what_is_written_is_read() {
        for body in [vec![], vec![7; REQUEST_MAX]] {
            let mut wire = Vec::new();
            block_on(write(&mut wire, &body, REQUEST_MAX)).expect("fits");
            assert_eq!(block_on(read(&mut Cursor::new(wire), REQUEST_MAX)).ok(), Some(body));
        }
    }

    #[test]
    fn lies_about_the_length_are_errors() {
        for wire in [&[0, 0][..], &[0, 0, 0, 2, 7], &[0xff; 16], &[0, 1, 0, 1]] {
            assert!(block_on(read(&mut Cursor::new(wire), REQUEST_MAX)).is_err(), "{wire:?}");
        }
        assert!(block_on(write(&mut Vec::new(), &[0; REQUEST_MAX + 1], REQUEST_MAX)).is_err());
    }
}
