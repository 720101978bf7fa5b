//! What goes wrong between us and a server, as errors for users. Start with [`of_server`] and [`of_io`].
//!
//! The kind follows the SQLSTATE: rights and names are `Config`, whatever passes by itself (locks, restarts, recovery
//! conflicts of a standby, too many connections) is `Transient`. The server's own answer stays attached as
//! [`ServerError`], so that [`code`] can tell cases apart.

use std::{fmt, io};

use connector::{Error, ErrorKind};

use super::client::Server;

/// An ErrorResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// SQLSTATE, five characters.
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl ServerError {
    /// Decodes the body of an ErrorResponse or NoticeResponse: fields of one letter and a text that ends with a zero.
    pub fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
            let text = String::from_utf8_lossy(&field[1..]).into_owned();
            match field[0] {
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// The SQLSTATE, where the server is the one who complained.
pub fn code(error: &Error) -> Option<&str> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<ServerError>().map(|error| error.code.as_str())
}

/// The server's answer to a connection or a statement.
pub fn of_server(server: &Server, fault: ServerError) -> Error {
    let at = server.place();
    let user = &server.user;
    let (kind, message, hint) = match fault.code.as_str() {
        "28P01" => (
            ErrorKind::Config,
            format!("The server at {at} does not accept the password of `{user}`"),
            "Check `username` and `password`".to_owned(),
        ),
        "28000" if fault.message.contains("pg_hba.conf") => (
            ErrorKind::Config,
            format!("The server at {at} lets no connection of `{user}` to database `{}` in: {}", server.database, fault.message),
            "Add a line for this user, database, address and encryption to pg_hba.conf and reload the server, or change `ssl_mode`"
                .to_owned(),
        ),
        "28000" => (
            ErrorKind::Config,
            format!("The server at {at} refuses `{user}`: {}", fault.message),
            "Check that the role exists and may log in".to_owned(),
        ),
        "3D000" => (
            ErrorKind::Config,
            format!("The server at {at} has no database `{}`", server.database),
            "Check `database`; its name is case sensitive".to_owned(),
        ),
        "42501" => (
            ErrorKind::Config,
            format!("The role `{user}` lacks a right: {}", fault.message),
            format!("Grant it, for instance: GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", identifier(user)),
        ),
        "42P01" => (
            ErrorKind::Config,
            format!("PostgreSQL: {}", fault.message),
            "The table was dropped or renamed: discover the source again and remove the stream, or bring the table back".to_owned(),
        ),
        "55000" if fault.message.contains("has not been populated") => {
            let view = fault.message.split('"').nth(1).unwrap_or("the view");
            (
                ErrorKind::Config,
                format!("The materialized view `{view}` has never been filled"),
                format!("Run REFRESH MATERIALIZED VIEW {}", identifier(view)),
            )
        }
        "40001" => (
            ErrorKind::Transient,
            format!("The server ended the read: {}", fault.message),
            "On a standby, raise max_standby_streaming_delay or switch hot_standby_feedback on".to_owned(),
        ),
        "53300" => (
            ErrorKind::Transient,
            format!("The server at {at} has no free connection: {}", fault.message),
            "Raise max_connections, or let fewer syncs run at the same time".to_owned(),
        ),
        code => {
            let transient = ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class));
            let internal = code.starts_with("XX");
            let kind = match (transient, internal) {
                (true, _) => ErrorKind::Transient,
                (_, true) => ErrorKind::System,
                _ => ErrorKind::Config,
            };
            let hint = fault.hint.clone();
            let error = Error::new(kind, format!("PostgreSQL: {}", fault.message)).with_source(fault);
            return match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            };
        }
    };
    Error::new(kind, message).with_hint(hint).with_source(fault)
}

/// A connection that cannot be made, or that broke.
pub fn of_io(server: &Server, error: io::Error) -> Error {
    let at = server.place();
    let (message, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("Nobody listens at {at}"),
            "Check `host` and `port`, and that the server runs and listens on this address",
        ),
        io::ErrorKind::TimedOut => (
            format!("The server at {at} does not answer"),
            "Check `host` and `port`, and the firewalls between here and there",
        ),
        io::ErrorKind::InvalidData if error.to_string().contains("ertificate") => (
            format!("The certificate of the server at {at} was not accepted: {error}"),
            "Check `ssl_mode` and its `ca_certificate`",
        ),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => (
            format!("The connection to {at} broke"),
            "The server's log says why; the next attempt goes on from the last state",
        ),
        _ => (format!("The connection to {at} failed: {error}"), "Check `host` and `port`"),
    };
    Error::transient(message).with_hint(hint).with_source(error)
}

/// Says which relation a statement was about, and which grant is missing.
pub fn at_relation(error: Error, relation: &str, sql_name: &str, server: &Server) -> Error {
    if code(&error) != Some("42501") {
        let named = error.message.contains(relation);
        return if named { error } else { prefixed(error, relation) };
    }
    let schema = sql_name.rsplit_once("\".\"").map_or(sql_name, |(schema, _)| schema).trim_matches('"');
    let user = identifier(&server.user);
    let reason = error.message.rsplit_once(": ").map_or("", |(_, reason)| reason);
    Error::config(format!("The role `{}` may not read `{relation}` ({reason})", server.user))
        .with_hint(format!(
            "Run: GRANT USAGE ON SCHEMA {} TO {user}; GRANT SELECT ON {sql_name} TO {user};",
            identifier(schema)
        ))
        .with_source(error)
}

fn prefixed(mut error: Error, relation: &str) -> Error {
    error.message = format!("Stream `{relation}`: {}", error.message);
    error
}

/// A name as SQL wants it.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let error = ServerError::parse(b"SERROR\0C42501\0Mpermission denied\0Hask\0\0");
        assert_eq!(error.code, "42501");
        assert_eq!(error.message, "permission denied");
        assert_eq!(error.hint.as_deref(), Some("ask"));
        for garbage in [&b""[..], b"\0\0", b"C", b"C\xff\xfe\0M\0", b"no zero at the end"] {
            let _ = ServerError::parse(garbage);
        }
    }
}
