//! One session with a PostgreSQL server. Start with [`Session::connect`]; then [`Session::query`] for statements and
//! [`Session::copy_out`] for rows.
//!
//! Why not a ready client: the read path wants the count of the COPY tag (Invariant 2: what the wire says) and rows
//! decoded in place out of one buffer; tokio-postgres hides the first and hands each row over through two channels.
//! Messages, SCRAM and MD5 come from its own lower half, `postgres-protocol`. Statements use the simple protocol: values
//! go in as [`literal`]s, answers come as text. A session that returned an error of the connection is not used again.

mod writing;

pub use writing::CopyBuffer;

use std::{fmt, io, ops::Range, sync::Arc, time::Duration};

use bytes::BytesMut;
use connector::{Error, ErrorKind, Result};
use postgres_protocol::{
    authentication::{md5_hash, sasl},
    message::frontend,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    fault::{self, ServerError},
    inbox::Inbox,
    tls::{Policy, Stream, Tls},
};

/// How long the request to cancel a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that is gone is noticed after about this much silence, and some probes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const PROBE: Duration = Duration::from_secs(10);

/// Text forms that do not depend on the settings of the server, the database or the role.
const SETTINGS: &str = "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
    SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET standard_conforming_strings = on; \
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// The oldest server that is spoken to.
const OLDEST: u32 = 10;

/// Where a server is and who we are there. Not printable: it holds the password.
#[derive(Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<String>,
    pub tls: Tls,
    pub connect_timeout: Duration,
    pub application: String,
}

impl Server {
    /// For messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A row of text values.
pub type Row = Vec<Option<String>>;

pub struct Session {
    stream: Stream,
    inbox: Inbox,
    server: Arc<Server>,
    cancel: CancellationToken,
    /// Process and secret, for a request to cancel.
    key: Option<(i32, i32)>,
    /// Major version.
    version: u32,
    /// The database's encoding is SQL_ASCII.
    unencoded: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("server", &self.server.place()).field("version", &self.version).finish()
    }
}

/// What comes next of a COPY.
#[derive(Debug, PartialEq, Eq)]
pub enum Copied<'a> {
    /// The content of one message: by the protocol whole rows, before the first of them the header.
    Rows(&'a [u8]),
    /// All was received. `rows`: as the server counted them in its tag.
    End { rows: i64 },
}

impl Session {
    /// Connects, authenticates and settles the text forms. `cancel` ends every later wait too, and interrupts the
    /// statement that runs.
    pub async fn connect(server: &Arc<Server>, cancel: &CancellationToken) -> Result<Self> {
        let encrypted: &[bool] = match server.tls.policy {
            Policy::Never => &[false],
            Policy::Allow => &[false, true],
            Policy::Prefer => &[true, false],
            Policy::Must => &[true],
        };
        let mut refusal = None;
        for encrypted in encrypted {
            let opened = timeout(server.connect_timeout, Self::open(server, *encrypted, cancel));
            let opened = tokio::select! {
                opened = opened => opened,
                () = cancel.cancelled() => return Err(Error::cancelled()),
            };
            let opened = opened.unwrap_or_else(|_| Err(fault::of_io(server, io::ErrorKind::TimedOut.into())));
            match opened {
                Ok(session) => return Ok(session),
                // Only what the other way of connecting may change is worth a second try.
                Err(error) if fault::code(&error) == Some("28000") || is_tls(&error) => {
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::system("No way to connect was tried")))
    }

    async fn open(server: &Arc<Server>, encrypted: bool, cancel: &CancellationToken) -> Result<Self> {
        let stream = dial(server, encrypted).await.map_err(|error| fault::of_io(server, error))?;
        let mut session = Self {
            stream,
            inbox: Inbox::new(),
            server: server.clone(),
            cancel: cancel.clone(),
            key: None,
            version: 0,
            unencoded: false,
        };
        session.start().await?;
        if session.version < OLDEST {
            return Err(Error::config(format!("The server at {} runs PostgreSQL {}", server.place(), session.version))
                .with_hint(format!("PostgreSQL {OLDEST} or newer is needed")));
        }
        session.query(SETTINGS).await?;
        // A database without an encoding may hold any bytes; asked for UTF-8 it ends the statement at the first wrong one.
        if session.unencoded {
            session.query("SET client_encoding = 'SQL_ASCII'").await?;
        }
        Ok(session)
    }

    async fn start(&mut self) -> Result<()> {
        let server = self.server.clone();
        let mut out = BytesMut::new();
        let parameters = [
            ("user", server.user.as_str()),
            ("database", &server.database),
            ("application_name", &server.application),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut out).map_err(|error| fault::of_io(&server, error))?;
        self.send(&mut out).await?;
        let mut scram: Option<sasl::ScramSha256> = None;
        loop {
            let (tag, body) = self.receive().await?;
            let body = self.inbox.bytes(body).to_vec();
            match tag {
                b'R' => {
                    self.authenticate(&body, &mut scram, &mut out)?;
                    self.send(&mut out).await?;
                }
                b'S' => {
                    let mut parts = body.split(|byte| *byte == 0);
                    match (parts.next(), parts.next()) {
                        (Some(b"server_version"), Some(text)) => {
                            self.version = leading_number(&String::from_utf8_lossy(text));
                        }
                        (Some(b"server_encoding"), Some(text)) => self.unencoded = text == b"SQL_ASCII",
                        _ => {}
                    }
                }
                b'K' => {
                    let number = |at: usize| body.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes);
                    self.key = number(0).zip(number(4));
                }
                b'E' => return Err(fault::of_server(&server, ServerError::parse(&body))),
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    /// Answers one request of the server to prove who we are.
    fn authenticate(&self, body: &[u8], scram: &mut Option<sasl::ScramSha256>, out: &mut BytesMut) -> Result<()> {
        let server = &self.server;
        let kind = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_be_bytes);
        let rest = body.get(4..).unwrap_or_default();
        let password = || {
            server.password.as_deref().map(str::as_bytes).ok_or_else(|| {
                Error::config(format!("The server at {} wants a password", server.place()))
                    .with_hint("Set `password`, or let this user in without one in pg_hba.conf")
            })
        };
        let failed = |error| fault::of_io(server, error);
        match kind {
            0 => Ok(()),
            3 => frontend::password_message(password()?, out).map_err(failed),
            5 => {
                let salt: [u8; 4] = rest.try_into().map_err(|_| self.nonsense("an MD5 request without salt"))?;
                let hash = md5_hash(server.user.as_bytes(), password()?, salt);
                frontend::password_message(hash.as_bytes(), out).map_err(failed)
            }
            10 => {
                let offers = rest.split(|byte| *byte == 0).any(|name| name == sasl::SCRAM_SHA_256.as_bytes());
                if !offers {
                    return Err(self.unknown_method());
                }
                let state = sasl::ScramSha256::new(password()?, sasl::ChannelBinding::unsupported());
                frontend::sasl_initial_response(sasl::SCRAM_SHA_256, state.message(), out).map_err(failed)?;
                *scram = Some(state);
                Ok(())
            }
            11 => {
                let state = scram.as_mut().ok_or_else(|| self.nonsense("a SCRAM answer nobody asked for"))?;
                state.update(rest).map_err(|error| self.nonsense("a wrong SCRAM challenge").with_source(error))?;
                frontend::sasl_response(state.message(), out).map_err(failed)
            }
            12 => {
                let state = scram.as_mut().ok_or_else(|| self.nonsense("a SCRAM answer nobody asked for"))?;
                state.finish(rest).map_err(|error| self.nonsense("a wrong SCRAM signature").with_source(error))
            }
            _ => Err(self.unknown_method()),
        }
    }

    fn unknown_method(&self) -> Error {
        Error::config(format!("The server at {} wants an authentication that is not implemented", self.server.place()))
            .with_hint("Use scram-sha-256, md5, password, cert or trust in pg_hba.conf for this user")
    }

    /// The other side does not follow the protocol.
    pub fn nonsense(&self, what: &str) -> Error {
        Error::system(format!("The server at {} sent {what}", self.server.place()))
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Major version of the server.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Runs one or more statements; the rows of all of them.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.ask(sql).await?;
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'D' => {
                    let row = text_row(self.inbox.bytes(body));
                    rows.push(row.ok_or_else(|| self.nonsense("a row that is cut short"))?);
                }
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

    /// The only value of a statement that has one row of one column.
    pub async fn value(&mut self, sql: &str) -> Result<Option<String>> {
        Ok(self.query(sql).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Starts `COPY … TO STDOUT`; [`Session::copied`] gives what it sends.
    pub async fn copy_out(&mut self, sql: &str) -> Result<()> {
        self.ask(sql).await?;
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'H' => return Ok(()),
                b'E' => {
                    let refusal = ServerError::parse(self.inbox.bytes(body));
                    return Err(self.refused(refusal).await);
                }
                b'Z' => return Err(self.nonsense("no rows for a COPY")),
                _ => {}
            }
        }
    }

    /// The next rows of the COPY that runs.
    pub async fn copied(&mut self) -> Result<Copied<'_>> {
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'd' => return Ok(Copied::Rows(self.inbox.bytes(body))),
                b'C' => {
                    let rows =
                        copy_tag(self.inbox.bytes(body)).ok_or_else(|| self.nonsense("a COPY without a count"))?;
                    while self.receive().await?.0 != b'Z' {}
                    return Ok(Copied::End { rows });
                }
                b'E' => {
                    let refusal = ServerError::parse(self.inbox.bytes(body));
                    return Err(self.refused(refusal).await);
                }
                b'Z' => return Err(self.nonsense("the end of a COPY without its tag")),
                _ => {}
            }
        }
    }

    /// Leaves the session ready for the next statement, where that is possible.
    async fn refused(&mut self, refusal: ServerError) -> Error {
        loop {
            match self.receive().await {
                Ok((b'Z', _)) | Err(_) => return fault::of_server(&self.server, refusal),
                Ok(_) => {}
            }
        }
    }

    async fn ask(&mut self, sql: &str) -> Result<()> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|error| {
            Error::config("A name or value holds a zero byte, which PostgreSQL does not know").with_source(error)
        })?;
        self.send(&mut out).await
    }

    async fn send(&mut self, out: &mut BytesMut) -> Result<()> {
        let sent = tokio::select! {
            sent = self.stream.write_all(out) => sent,
            () = self.cancel.cancelled() => return Err(Error::cancelled()),
        };
        out.clear();
        let flushed = match sent {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        flushed.map_err(|error| fault::of_io(&self.server, error))
    }

    /// The next message: its tag and where its body lies in the inbox. Invariant 12: ends with the attempt.
    async fn receive(&mut self) -> Result<(u8, Range<usize>)> {
        loop {
            match self.inbox.message() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(fault::of_io(&self.server, error)),
            }
            let filled = tokio::select! {
                biased;
                () = self.cancel.cancelled() => None,
                filled = self.inbox.fill(&mut self.stream) => Some(filled),
            };
            match filled {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(fault::of_io(&self.server, error)),
                None => {
                    self.interrupt().await;
                    return Err(Error::cancelled());
                }
            }
        }
    }

    /// Asks the server to end the statement that runs. A server that cannot be asked notices the closed connection at
    /// its next write.
    async fn interrupt(&mut self) {
        let Some((process, secret)) = self.key else { return };
        let server = self.server.clone();
        let encrypted = matches!(self.stream, Stream::Secure(_));
        let asked = timeout(CANCEL_TIMEOUT, async {
            let mut stream = dial(&server, encrypted).await?;
            let mut out = BytesMut::new();
            frontend::cancel_request(process, secret, &mut out);
            stream.write_all(&out).await?;
            stream.flush().await?;
            // The server closes the connection once the signal is sent.
            let mut rest = [0; 1];
            stream.read(&mut rest).await.map(|_| ())
        });
        if let Ok(Err(error)) = asked.await {
            tracing::debug!("a statement could not be cancelled: {error}");
        }
    }
}

fn is_tls(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Unsupported))
}

/// A connection on which nothing was said yet.
async fn dial(server: &Server, encrypted: bool) -> io::Result<Stream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no address", server.host));
    let addresses = lookup_host((server.host.as_str(), server.port)).await.map_err(|error| {
        io::Error::new(io::ErrorKind::NotFound, format!("the host name `{}` is not known ({error})", server.host))
    })?;
    for address in addresses {
        let mut tcp = match TcpStream::connect(address).await {
            Ok(tcp) => tcp,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        tcp.set_nodelay(true)?;
        SockRef::from(&tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PROBE))?;
        if !encrypted {
            return Ok(Stream::Plain(tcp));
        }
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        tcp.write_all(&out).await?;
        return match tcp.read_u8().await? {
            b'S' => server.tls.handshake(&server.host, tcp).await,
            _ if server.tls.policy == Policy::Prefer => Ok(Stream::Plain(tcp)),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the server does not encrypt connections; switch ssl on there, or use another `ssl_mode`",
            )),
        };
    }
    Err(failure)
}

/// A value in a statement.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// `15.18 (Debian …)` is 15, `18beta1` is 18.
fn leading_number(text: &str) -> u32 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().unwrap_or(0)
}

fn copy_tag(body: &[u8]) -> Option<i64> {
    std::str::from_utf8(body).ok()?.trim_end_matches('\0').strip_prefix("COPY ")?.parse().ok()
}

fn text_row(body: &[u8]) -> Option<Row> {
    let count = u16::from_be_bytes(body.get(..2)?.try_into().ok()?);
    let mut rest = &body[2..];
    let mut row = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        rest = &rest[4..];
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        row.push(Some(String::from_utf8_lossy(rest.get(..length)?).into_owned()));
        rest = &rest[length..];
    }
    Some(row)
}

/// Whether another session may be missing without harm: the server is only out of connections.
pub fn is_full(error: &Error) -> bool {
    error.kind == ErrorKind::Transient && fault::code(error) == Some("53300")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn literals_cannot_break_out() {
        for (text, expected) in [
            ("plain", "'plain'"),
            ("it's", "'it''s'"),
            (r"\'; drop table x; --", r"E'\\''; drop table x; --'"),
            ("", "''"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }

    #[test]
    fn rows_cut_short_are_refused() {
        let whole = [0, 2, 0, 0, 0, 1, b'x', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(text_row(&whole), Some(vec![Some("x".to_owned()), None]));
        for cut in 0..whole.len() {
            assert_eq!(text_row(&whole[..cut]), None);
        }
        assert_eq!(text_row(&[0, 1, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(copy_tag(b"COPY 12\0"), Some(12));
        assert_eq!(copy_tag(b"SELECT 12\0"), None);
        assert_eq!(leading_number("9.6.24"), 9);
        assert_eq!(leading_number("x"), 0);
    }
}
