//! The lines of an exported file: bounded, so that a line's number is right whatever stands before
//! it, and read as ops. Source: `docs/PROTOCOL.md`, "Exported files".

use std::io::{self, BufRead, Read};

use crdt_core::op::{HashedOp, RawOp};

/// Bytes of a line with its end. The largest envelope is smaller.
const LINE_BYTES_MAX: usize = 128 * 1024;

/// Reads the next line into `line`, of a longer one only as much as shows that it is; `false` at
/// the end.
///
/// # Errors
/// The input cannot be read.
pub(crate) fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let max = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    input.by_ref().take(max).read_until(b'\n', line)?;
    if line.len() > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

/// The op on a line that [`next_line`] read, if its hashes are right.
///
/// # Errors
/// The code and the reason.
pub(crate) fn op(line: &[u8]) -> Result<HashedOp, (&'static str, String)> {
    if line.len() > LINE_BYTES_MAX {
        return Err(("size", format!("a line has at most {LINE_BYTES_MAX} bytes")));
    }
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let op = RawOp::parse(text).and_then(|raw| Ok(raw.check_hash()?));
    op.map_err(|error| (error.code(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_a_long_one_does_not_take_the_next_along() {
        let fits = "x".repeat(LINE_BYTES_MAX - 1);
        let text = format!("one\n\n{fits}\n{fits}y\nthree\n{fits}yyyyyy\nlast");
        let mut input = io::Cursor::new(text);
        let (mut line, mut seen) = (Vec::new(), Vec::new());
        while next_line(&mut input, &mut line).unwrap() {
            seen.push((line.len() <= LINE_BYTES_MAX, line.first().copied().unwrap()));
        }
        let expected = [
            (true, b'o'),
            (true, b'\n'),
            (true, b'x'),
            (false, b'x'),
            (true, b't'),
            (false, b'x'),
            (true, b'l'),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_no_op_is_refused_with_its_code() {
        let long = " ".repeat(LINE_BYTES_MAX + 1);
        for (line, code) in
            [("", "json"), ("{\"a\":1", "json"), ("{}", "field"), ("[1]", "field"), (&long, "size")]
        {
            assert_eq!(op(line.as_bytes()).map(drop).map_err(|(code, _)| code), Err(code));
        }
    }
}
