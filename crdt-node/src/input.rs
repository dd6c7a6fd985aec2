//! Where lines come from when there is no terminal: standard input, or the command line.

use std::io::{self, BufRead, Read as _};

use tokio::sync::mpsc;

use crate::feed::Read;
use crate::line::{LINE_BYTES_MAX, LineError};

/// Lines that may wait to be carried out.
pub const LINES_WAITING_MAX: usize = 1_024;

/// Reads standard input line by line on a thread of its own.
pub fn read_stdin() -> mpsc::Receiver<Read> {
    let (lines, inbox) = mpsc::channel(LINES_WAITING_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next_line(&mut input) {
            if lines.blocking_send(Read::Line(line, None)).is_err() {
                return;
            }
        }
        // The run may have ended meanwhile.
        let _ended = lines.blocking_send(Read::End);
    });
    inbox
}

/// The next line without its end, or why it cannot be taken; `None` at the end of input.
fn next_line(input: &mut impl BufRead) -> Option<Result<String, LineError>> {
    let mut bytes = Vec::new();
    let max = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    match input.by_ref().take(max).read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => return None,
        Ok(_) => {}
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > LINE_BYTES_MAX {
        // A read error here ends the input at the next line.
        let _rest = input.skip_until(b'\n');
        return Some(Err(LineError::Size));
    }
    Some(String::from_utf8(bytes).map_err(|_| LineError::Utf8))
}

/// Lines given as arguments.
pub fn given(lines: Vec<String>) -> mpsc::Receiver<Read> {
    let (sender, inbox) = mpsc::channel(LINES_WAITING_MAX);
    tokio::spawn(async move {
        for line in lines {
            if sender.send(Read::Line(Ok(line), None)).await.is_err() {
                return;
            }
        }
        // The run may have ended meanwhile.
        let _ended = sender.send(Read::End).await;
    });
    inbox
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_anywhere_and_bad_ones_do_not_take_others_along() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let text = format!("one\r\n\n{long}\n{long}x\nthree\n\u{fffd}");
        let mut bytes = text.into_bytes();
        bytes.extend([b'\n', 0xff, b'\n']);
        bytes.extend(b"last");
        let mut input = io::Cursor::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input) {
            lines.push(line);
        }
        let good = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines,
            [
                good("one\r"),
                good(""),
                good(&long),
                Err(LineError::Size),
                good("three"),
                good("\u{fffd}"),
                Err(LineError::Utf8),
                good("last"),
            ]
        );
    }
}
