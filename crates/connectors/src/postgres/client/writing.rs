//! The writing half of a session: statements that say how many rows they touched, and `COPY … FROM STDIN`. Start with
//! [`Session::execute`] and [`Session::copy_in`].

use connector::{Error, Result};
use tokio::io::AsyncWriteExt;

use super::{Session, fault, fault::ServerError};

/// Bytes that [`CopyBuffer`] keeps free for the head of the message.
const HEAD: usize = 5;
/// One message of a COPY; also what lies in memory before it is sent.
const FULL: usize = 256 * 1024;

/// Rows on their way: the body of one message, with room for its head.
#[derive(Debug)]
pub struct CopyBuffer {
    pub bytes: Vec<u8>,
}

impl CopyBuffer {
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(FULL + FULL / 4);
        bytes.resize(HEAD, 0);
        Self { bytes }
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }
}

impl Session {
    /// Runs one or more statements and returns how many rows the last of them touched, as the server says.
    pub async fn execute(&mut self, sql: &str) -> Result<i64> {
        self.ask(sql).await?;
        let mut rows = 0;
        let mut refusal = None;
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'C' => rows = affected(self.inbox.bytes(body)),
                b'E' => refusal = Some(ServerError::parse(self.inbox.bytes(body))),
                b'G' | b'H' => return Err(self.nonsense("a COPY that nobody asked for")),
                b'Z' => break,
                _ => {}
            }
        }
        match refusal {
            Some(refusal) => Err(fault::of_server(&self.server, refusal)),
            None => Ok(rows),
        }
    }

    /// Starts `COPY … FROM STDIN`; then [`Session::copy_rows`], and [`Session::copy_end`].
    pub async fn copy_in(&mut self, sql: &str) -> Result<()> {
        self.ask(sql).await?;
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'G' => return Ok(()),
                b'E' => {
                    let refusal = ServerError::parse(self.inbox.bytes(body));
                    return Err(self.refused(refusal).await);
                }
                b'Z' => return Err(self.nonsense("no place for the rows of a COPY")),
                _ => {}
            }
        }
    }

    /// Sends what is in the buffer and empties it. What the server has against it is heard at the end.
    pub async fn copy_rows(&mut self, buffer: &mut CopyBuffer) -> Result<()> {
        let body = buffer.bytes.len() - HEAD;
        if body == 0 {
            return Ok(());
        }
        let length = u32::try_from(body + 4).map_err(|_| Error::system("A row is too large to be sent"))?;
        buffer.bytes[0] = b'd';
        buffer.bytes[1..HEAD].copy_from_slice(&length.to_be_bytes());
        self.transmit(&buffer.bytes).await?;
        buffer.bytes.truncate(HEAD);
        Ok(())
    }

    /// Ends the COPY: the rows that the server counted.
    pub async fn copy_end(&mut self) -> Result<i64> {
        self.transmit(&[b'c', 0, 0, 0, 4]).await?;
        self.stream.flush().await.map_err(|error| fault::of_io(&self.server, error))?;
        let mut rows = None;
        let mut refusal = None;
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'C' => rows = super::copy_tag(self.inbox.bytes(body)),
                b'E' => refusal = Some(ServerError::parse(self.inbox.bytes(body))),
                b'Z' => break,
                _ => {}
            }
        }
        match refusal {
            Some(refusal) => Err(fault::of_server(&self.server, refusal)),
            None => rows.ok_or_else(|| self.nonsense("a COPY without a count")),
        }
    }

    /// Invariant 12: ends with the attempt.
    async fn transmit(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Error::cancelled()),
            sent = self.stream.write_all(bytes) => sent,
        };
        sent.map_err(|error| fault::of_io(&self.server, error))
    }
}

/// Rows in a tag: `INSERT 0 5`, `DELETE 3`, `SELECT 2`; none in `BEGIN`.
fn affected(tag: &[u8]) -> i64 {
    let text = std::str::from_utf8(tag).unwrap_or_default().trim_end_matches('\0');
    text.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_say_how_many_rows() {
        for (tag, rows) in [("INSERT 0 5\0", 5), ("DELETE 3\0", 3), ("BEGIN\0", 0), ("SELECT 2\0", 2), ("\u{fffd}", 0)]
        {
            assert_eq!(affected(tag.as_bytes()), rows);
        }
    }
}
