//! Reads a stream in large pieces without a large buffer for each of many: a piece is read into one
//! of the thread's, and only what is not taken at once is kept, for as long.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at one time, and so kept at most for whoever takes them bit by bit.
const PIECE_BYTES: usize = 8 * 1024;

thread_local! {
    static PIECE: RefCell<[u8; PIECE_BYTES]> = const { RefCell::new([0; PIECE_BYTES]) };
}

/// Such a stream.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    stream: S,
    /// What was read and not taken yet.
    rest: Bytes,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, rest: Bytes::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let mut stream = Pin::new(&mut this.stream);
            // Whoever wants as much has a place for it, and whoever wants nothing gets no more.
            if buffer.remaining() >= PIECE_BYTES || buffer.remaining() == 0 {
                return stream.poll_read(context, buffer);
            }
            return PIECE.with_borrow_mut(|piece| {
                let mut piece = ReadBuf::new(piece);
                ready!(stream.as_mut().poll_read(context, &mut piece))?;
                let read = piece.filled();
                let (taken, rest) = read.split_at(read.len().min(buffer.remaining()));
                buffer.put_slice(taken);
                this.rest = Bytes::copy_from_slice(rest);
                Poll::Ready(Ok(()))
            });
        }
        let taken = this.rest.len().min(buffer.remaining());
        buffer.put_slice(&this.rest[..taken]);
        this.rest.advance(taken);
        if this.rest.is_empty() {
            this.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives as much as is asked for, and counts how often it is asked.
    struct Counted<'a> {
        left: &'a [u8],
        reads: usize,
    }

    impl AsyncRead for Counted<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            Pin::new(&mut self.left).poll_read(context, buffer)
        }
    }

    #[tokio::test]
    async fn what_is_taken_bit_by_bit_is_read_at_once_in_order_and_not_kept() {
        let all: Vec<u8> = (0..=250).cycle().take(3 * PIECE_BYTES).collect();
        let mut stream = ReadAhead::new(Counted { left: &all, reads: 0 });
        let (mut taken, mut sizes) =
            (Vec::<u8>::new(), [1, 14, 600, PIECE_BYTES - 1].into_iter().cycle());
        while taken.len() < all.len() {
            let mut bit = vec![0; sizes.next().unwrap()];
            let read = stream.read(&mut bit).await.unwrap();
            assert!(read > 0, "{} bytes are missing", all.len() - taken.len());
            taken.extend(&bit[..read]);
        }
        assert!(taken == all, "other bytes came");
        assert_eq!(stream.stream.reads, 3);
        assert!(stream.rest.is_empty());
        assert_eq!(stream.read(&mut [0; 14]).await.unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn what_is_wanted_in_larger_pieces_is_read_into_its_place() {
        let all = vec![7; 4 * PIECE_BYTES];
        let mut stream = ReadAhead::new(Counted { left: &all, reads: 0 });
        let mut large = vec![0; 3 * PIECE_BYTES];
        assert_eq!(stream.read(&mut large).await.unwrap(), large.len());
        assert_eq!(stream.stream.reads, 1);
        assert!(stream.rest.is_empty());
    }
}
