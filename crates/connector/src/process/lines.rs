//! Lines of a child's output, each bounded in bytes.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Read at once from the pipe.
const BUFFER: usize = 256 << 10;
/// A line buffer that grew beyond this is given back after its line.
const KEPT: usize = 4 << 20;
/// What is kept of a line that is too long.
const SHOWN: usize = 512;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its line end.
    Whole(&'a [u8]),
    TooLong {
        start: &'a [u8],
        bytes: u64,
    },
}

pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// Bytes of the line so far, also those that were let go.
    bytes: u64,
    most: usize,
    /// The line was handed out; the next call begins another one.
    is_out: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(reader: R, most: usize) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, reader), line: Vec::new(), bytes: 0, most, is_out: false }
    }

    /// The next line; `None` at the end. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.is_out {
            self.is_out = false;
            self.bytes = 0;
            self.line.clear();
            if self.line.capacity() > KEPT {
                self.line = Vec::new();
            }
        }
        loop {
            let buffer = self.reader.fill_buf().await?;
            if buffer.is_empty() {
                if self.bytes == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            self.bytes += piece.len() as u64;
            if self.bytes <= self.most as u64 {
                self.line.extend_from_slice(piece);
            } else if self.line.len() > SHOWN {
                self.line.truncate(SHOWN);
                self.line.shrink_to_fit();
            } else {
                let room = SHOWN - self.line.len();
                self.line.extend_from_slice(&piece[..room.min(piece.len())]);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.is_out = true;
        if self.bytes > self.most as u64 {
            return Ok(Some(Line::TooLong { start: &self.line, bytes: self.bytes }));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(Some(Line::Whole(&self.line)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_every_length() {
        let long = "x".repeat(2000);
        let text = format!("one\r\n\ntwo\n{long}\n12345678\n123456789\nlast");
        // A reader that gives seven bytes at a time, so that lines lie across reads.
        let mut lines = Lines::new(text.as_bytes(), 8);
        lines.reader = BufReader::with_capacity(7, text.as_bytes());
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push(match line {
                Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                Line::TooLong { start, bytes } => format!("{} of {bytes}", start.len()),
            });
        }
        assert_eq!(seen, ["one", "", "two", "512 of 2000", "12345678", "9 of 9", "last"]);
    }
}
