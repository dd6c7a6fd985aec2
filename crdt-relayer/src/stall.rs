//! A connection that takes nothing any more, or next to nothing, ends: what is ready for a client
//! that does not read would otherwise wait, and hold its place, for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that the other side takes at least in each such time while more waits for it. In 30 s, a
/// page of ops is given within 8 minutes or not at all.
const BYTES_MIN: usize = 64 * 1024;

/// Why a write failed: the other side took too little. The system has a time of its own in which the
/// other side must answer at all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too little was taken")]
pub(crate) struct TookTooLittle;

/// So many bytes in that time.
#[derive(Clone, Copy, Debug)]
struct Least {
    bytes: usize,
    time: Duration,
}

/// A stream whose writes fail once the other side takes too little.
#[derive(Debug)]
pub(crate) struct Stalling<S> {
    stream: S,
    least: Least,
    /// Since a write had to wait, until the time is over.
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    until: Pin<Box<Sleep>>,
    /// Bytes taken since.
    taken: usize,
    /// Whether a write waits now.
    waits: bool,
}

impl<S> Stalling<S> {
    pub(crate) fn new(stream: S, time: Duration) -> Self {
        Self { stream, least: Least { bytes: BYTES_MIN, time }, watched: None }
    }

    /// The outcome of a write, unless too little is taken. `taken` says how many bytes it is.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        taken: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = &written {
            if let (Some(watched), Ok(outcome)) = (&mut self.watched, outcome) {
                watched.taken = watched.taken.saturating_add(taken(outcome));
                watched.waits = false;
            }
            return written;
        }
        let least = self.least;
        // Time that is over and in which nothing waited at the end says nothing about who is slow.
        let now = Instant::now();
        self.watched.take_if(|watched| !watched.waits && watched.until.deadline() <= now);
        let watched = self.watched.get_or_insert_with(|| Watched {
            until: Box::pin(sleep_until(now + least.time)),
            taken: 0,
            waits: true,
        });
        watched.waits = true;
        while watched.until.as_mut().poll(context).is_ready() {
            if watched.taken < least.bytes {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TookTooLittle)));
            }
            watched.taken = 0;
            watched.until.as_mut().reset(Instant::now() + least.time);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written, |taken| *taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written, |taken| *taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed, |()| 0)
    }

    /// Where it is encrypted, the end is written like everything else.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn demanding<S>(stream: S, bytes: usize) -> Stalling<S> {
        Stalling { stream, least: Least { bytes, time: 50 * MS }, watched: None }
    }

    #[tokio::test]
    async fn a_write_that_nobody_takes_fails_and_one_that_is_taken_does_not() {
        let (near, mut far) = duplex(8);
        let mut near = demanding(near, 1);
        let (written, read) = tokio::join!(near.write_all(&[1; 64]), async {
            let mut taken = [0; 64];
            far.read_exact(&mut taken).await
        });
        assert!(written.is_ok() && read.is_ok());
        let stalled = near.write_all(&[1; 64]).await;
        assert_eq!(stalled.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_a_byte_now_and_then_is_given_up() {
        let (near, mut far) = duplex(8);
        let mut near = demanding(near, 16);
        let mut taken = [0; 1];
        let write = near.write_all(&[1; 1_024]);
        tokio::pin!(write);
        let given_up = loop {
            tokio::select! {
                written = &mut write => break written,
                () = sleep(10 * MS) => drop(far.read_exact(&mut taken).await),
            }
        };
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn time_in_which_nothing_waited_is_not_held_against_anybody() {
        let (near, mut far) = duplex(8);
        let mut near = demanding(near, 16);
        let long_ago = Box::pin(sleep_until(Instant::now() - 50 * MS));
        near.watched = Some(Watched { until: long_ago, taken: 4, waits: false });
        let mut taken = [0; 12];
        let (written, read) = tokio::join!(near.write_all(&[1; 12]), far.read_exact(&mut taken));
        assert!(written.is_ok() && read.is_ok());
    }

    /// Never ends, like an encrypted stream whose last words nobody takes.
    struct Unending;

    impl AsyncWrite for Unending {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn an_end_that_nobody_takes_fails_too() {
        let mut near = demanding(Unending, 16);
        let ended = near.shutdown().await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
