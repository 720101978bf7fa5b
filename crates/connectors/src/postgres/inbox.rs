//! Messages of the server in one buffer, where they are read in place. Start with [`Inbox::message`].

use std::{io, ops::Range};

use tokio::io::AsyncReadExt;

use super::tls::Stream;

/// One read of the socket.
const BUFFER: usize = 256 * 1024;
/// The server's own limit of one message is 1 GiB.
const LARGEST_MESSAGE: usize = (1 << 30) + 64;

/// What was received and not taken yet. Grows to the largest message that was met.
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn new() -> Self {
        Self { bytes: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// The body of a message that was taken.
    #[inline]
    pub fn bytes(&self, body: Range<usize>) -> &[u8] {
        &self.bytes[body]
    }

    /// Takes the next whole message: its tag and the place of its body, which stays there until the next `fill`.
    #[inline]
    pub fn message(&mut self) -> io::Result<Option<(u8, Range<usize>)>> {
        let Some(length) = self.expected()? else { return Ok(None) };
        if self.end - self.start < length {
            return Ok(None);
        }
        let tag = self.bytes[self.start];
        let body = self.start + 5..self.start + length;
        self.start += length;
        Ok(Some((tag, body)))
    }

    /// Bytes of the next message with its tag, once its head is there.
    #[inline]
    fn expected(&self) -> io::Result<Option<usize>> {
        let have = &self.bytes[self.start..self.end];
        let Some(head) = have.first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=LARGEST_MESSAGE).contains(&length) {
            return Err(io::Error::other(format!(
                "a message claims to have {length} bytes; this is no PostgreSQL server"
            )));
        }
        Ok(Some(length + 1))
    }

    pub async fn fill(&mut self, stream: &mut Stream) -> io::Result<()> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let wanted = self.expected()?.unwrap_or(BUFFER).max(BUFFER);
        if self.bytes.len() < wanted {
            // By steps: what was announced need not come.
            let step = (self.end * 2).clamp(BUFFER, wanted);
            self.bytes.resize(self.bytes.len().max(step), 0);
        }
        let read = stream.read(&mut self.bytes[self.end..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_are_taken_whole_or_not_at_all() {
        let mut inbox = Inbox::new();
        let put = |inbox: &mut Inbox, bytes: &[u8]| {
            inbox.bytes[inbox.end..inbox.end + bytes.len()].copy_from_slice(bytes);
            inbox.end += bytes.len();
        };
        put(&mut inbox, &[b'd', 0, 0, 0]);
        assert_eq!(inbox.message().unwrap(), None);
        put(&mut inbox, &[6, 1]);
        assert_eq!(inbox.message().unwrap(), None);
        put(&mut inbox, &[2, b'Z', 0, 0, 0, 4]);
        assert_eq!(inbox.message().unwrap(), Some((b'd', 5..7)));
        assert_eq!(inbox.message().unwrap(), Some((b'Z', 12..12)));
        for bad in [[b'd', 0, 0, 0, 3], [b'd', 0xff, 0xff, 0xff, 0xff]] {
            put(&mut inbox, &bad);
            inbox.message().unwrap_err();
            inbox.start = inbox.end;
        }
    }
}
