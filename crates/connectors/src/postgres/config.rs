//! The configuration of the Postgres source: the keys of `airbyte/source-postgres`. Start with [`Config::read`], which
//! refuses by name whatever is not implemented; [`Config::server`] is what [`super::client`] connects with.
//!
//! [`SslMode`] is shared with the destination. No type here is printable: they hold secrets (Invariant 6).

use std::time::Duration;

use connector::{Error, Result, config};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Server,
    tls::{Policy, Tls},
};

/// How long a connection may take to be made, unless `connectTimeout` says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Parameters of the JDBC driver that tune the driver itself and have no meaning here.
const DRIVER_ONLY: [&str; 14] = [
    "adaptiveFetch",
    "assumeMinServerVersion",
    "autosave",
    "binaryTransfer",
    "cleanupSavepoints",
    "defaultRowFetchSize",
    "loggerLevel",
    "logUnclosedConnections",
    "preferQueryMode",
    "preparedStatementCacheQueries",
    "preparedStatementCacheSizeMiB",
    "prepareThreshold",
    "reWriteBatchedInserts",
    "tcpKeepAlive",
];

/// Tables, views and materialized views of a PostgreSQL database.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(title = "Postgres Source Spec")]
pub struct Config {
    /// Hostname of the database.
    #[schemars(title = "Host", extend("order" = 0, "group" = "db"))]
    pub host: String,

    /// Port of the database.
    #[serde(default = "default_port")]
    #[schemars(title = "Port", range(min = 1, max = 65535), extend("order" = 1, "group" = "db"))]
    pub port: u16,

    /// Name of the database.
    #[schemars(title = "Database Name", extend("order" = 2, "group" = "db"))]
    pub database: String,

    /// The schemas (case sensitive) to offer streams from. Absent or empty: every schema that is not the system's own.
    #[serde(default)]
    #[schemars(title = "Schemas", extend("order" = 3, "group" = "db", "uniqueItems" = true, "default" = ["public"]))]
    pub schemas: Vec<String>,

    /// Username to access the database.
    #[schemars(title = "Username", extend("order" = 4, "group" = "auth"))]
    pub username: String,

    /// Password associated with the username.
    #[serde(default)]
    #[schemars(title = "Password", extend("airbyte_secret" = true, "order" = 5, "group" = "auth", "always_show" = true))]
    pub password: Option<String>,

    /// `key=value` pairs separated by `&`: `connectTimeout` (seconds), `ApplicationName`. Keys that only tune the JDBC
    /// driver are accepted and have no effect; any other key is refused.
    #[serde(default)]
    #[schemars(title = "JDBC URL Parameters (Advanced)", extend("order" = 6, "group" = "advanced"))]
    pub jdbc_url_params: Option<String>,

    /// Encryption of the connection. Absent: `prefer`.
    #[serde(default)]
    #[schemars(title = "SSL Modes", extend("order" = 8, "group" = "security"))]
    pub ssl_mode: Option<SslMode>,

    /// The key that came before `ssl_mode`, which wins where both are there.
    #[serde(default)]
    #[schemars(skip)]
    pub ssl: Option<bool>,

    /// How changes are found.
    #[serde(default)]
    #[schemars(title = "Replication Method", extend("order" = 9, "group" = "advanced"))]
    pub replication_method: Option<ReplicationMethod>,

    /// How the server is reached.
    #[serde(default)]
    #[schemars(title = "SSH Tunnel Method", extend("order" = 10, "group" = "security"))]
    pub tunnel_method: Option<TunnelMethod>,
}

/// As libpq and the JDBC driver understand them.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum SslMode {
    /// Never encrypted.
    #[serde(rename = "disable")]
    #[schemars(title = "disable")]
    Disable {},
    /// Encrypted only where the server insists.
    #[serde(rename = "allow")]
    #[schemars(title = "allow")]
    Allow {},
    /// Encrypted where the server can.
    #[serde(rename = "prefer")]
    #[schemars(title = "prefer")]
    Prefer {},
    /// Always encrypted; the server's certificate is not verified.
    #[serde(rename = "require")]
    #[schemars(title = "require")]
    Require {},
    /// Always encrypted, and the server's certificate comes from the given authority.
    #[serde(rename = "verify-ca")]
    #[schemars(title = "verify-ca")]
    VerifyCa(Certificates),
    /// As `verify-ca`, and the certificate is made out for the host.
    #[serde(rename = "verify-full")]
    #[schemars(title = "verify-full")]
    VerifyFull(Certificates),
}

/// PEM texts.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct Certificates {
    /// CA certificate.
    #[schemars(title = "CA Certificate", extend("airbyte_secret" = true, "multiline" = true, "order" = 1))]
    pub ca_certificate: String,

    /// Client certificate.
    #[serde(default)]
    #[schemars(title = "Client Certificate", extend("airbyte_secret" = true, "multiline" = true, "order" = 2))]
    pub client_certificate: Option<String>,

    /// Client key, not encrypted.
    #[serde(default)]
    #[schemars(title = "Client Key", extend("airbyte_secret" = true, "multiline" = true, "order" = 3))]
    pub client_key: Option<String>,

    /// Encrypted keys are refused.
    #[serde(default)]
    #[schemars(skip)]
    pub client_key_password: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(tag = "method")]
pub enum ReplicationMethod {
    /// Full refresh, or incremental by a cursor column.
    #[schemars(title = "Scan Changes with User Defined Cursor")]
    Standard {},
    #[schemars(skip)]
    Xmin {},
    #[serde(rename = "CDC")]
    #[schemars(skip)]
    Cdc {},
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(tag = "tunnel_method")]
pub enum TunnelMethod {
    /// Directly.
    #[serde(rename = "NO_TUNNEL")]
    #[schemars(title = "No Tunnel")]
    None {},
    #[serde(rename = "SSH_KEY_AUTH")]
    #[schemars(skip)]
    Key {},
    #[serde(rename = "SSH_PASSWORD_AUTH")]
    #[schemars(skip)]
    Password {},
}

fn default_port() -> u16 {
    5432
}

impl Config {
    pub fn read(value: &Value) -> Result<Self> {
        let config: Self = config::parse(value)?;
        for (field, text) in [("host", &config.host), ("database", &config.database), ("username", &config.username)] {
            if text.is_empty() || text.contains('\0') {
                return Err(Error::config(format!("Configuration field `{field}` must not be empty")));
            }
        }
        match config.replication_method {
            Some(ReplicationMethod::Cdc {}) => return Err(refused_method("CDC")),
            Some(ReplicationMethod::Xmin {}) => return Err(refused_method("Xmin")),
            Some(ReplicationMethod::Standard {}) | None => {}
        }
        refuse_tunnel(config.tunnel_method)?;
        Ok(config)
    }

    /// What it takes to connect.
    pub fn server(&self) -> Result<Server> {
        let mut server = Server {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: self.username.clone(),
            password: self.password.clone(),
            tls: tls(self.ssl_mode.as_ref(), self.ssl)?,
            connect_timeout: CONNECT_TIMEOUT,
            application: "leat".to_owned(),
        };
        apply_parameters(&mut server, self.jdbc_url_params.as_deref())?;
        Ok(server)
    }
}

/// What `jdbc_url_params` says, on top of what the other keys said.
pub fn apply_parameters(server: &mut Server, parameters: Option<&str>) -> Result<()> {
    for pair in parameters.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "connectTimeout" | "loginTimeout" => {
                let seconds = value.parse::<u32>().map_err(|_| parameter(key, "must be a number of seconds"))?;
                if seconds > 0 {
                    server.connect_timeout = Duration::from_secs(u64::from(seconds));
                }
            }
            "ApplicationName" => value.clone_into(&mut server.application),
            _ if DRIVER_ONLY.contains(&key) => {}
            _ => return Err(parameter(key, "is not implemented")),
        }
    }
    Ok(())
}

/// `ssl_mode` wins over `ssl`, the key that came before it.
pub fn tls(mode: Option<&SslMode>, ssl: Option<bool>) -> Result<Tls> {
    match (mode, ssl) {
        (Some(mode), _) => mode.tls(),
        (None, Some(true)) => Tls::unverified(Policy::Must),
        (None, Some(false)) => Ok(Tls::never()),
        (None, None) => Tls::unverified(Policy::Prefer),
    }
}

pub fn refuse_tunnel(method: Option<TunnelMethod>) -> Result<()> {
    if !matches!(method, Some(TunnelMethod::Key {} | TunnelMethod::Password {})) {
        return Ok(());
    }
    Err(Error::config("Configuration field `tunnel_method`: SSH tunnels are not implemented").with_hint(
        "Use NO_TUNNEL and forward the port yourself (ssh -L), then name the local end as `host` and `port`",
    ))
}

impl SslMode {
    pub fn tls(&self) -> Result<Tls> {
        match self {
            Self::Disable {} => Ok(Tls::never()),
            Self::Allow {} => Tls::unverified(Policy::Allow),
            Self::Prefer {} => Tls::unverified(Policy::Prefer),
            Self::Require {} => Tls::unverified(Policy::Must),
            Self::VerifyCa(certificates) => Tls::verified(certificates, false),
            Self::VerifyFull(certificates) => Tls::verified(certificates, true),
        }
    }
}

fn refused_method(method: &str) -> Error {
    Error::config(format!("Configuration field `replication_method`: the method `{method}` is not implemented"))
        .with_hint("Use {\"method\": \"Standard\"} with a cursor column, or a full refresh")
}

fn parameter(key: &str, why: &str) -> Error {
    Error::config(format!("Configuration field `jdbc_url_params`: `{key}` {why}"))
        .with_hint("Use `connectTimeout` and `ApplicationName`; encryption is set with `ssl_mode`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use connector::{ErrorKind, Spec};
    use serde_json::json;

    use super::*;

    fn with(extra: Value) -> Value {
        let mut config =
            json!({"host": "db", "port": 5432, "database": "shop", "username": "leat", "password": "pw-9"});
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        config
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        for (extra, names) in [
            (json!({"replication_method": {"method": "CDC", "replication_slot": "s"}}), "`CDC`"),
            (json!({"replication_method": {"method": "Xmin"}}), "`Xmin`"),
            (json!({"replication_method": {"method": "Magic"}}), "replication_method"),
            (json!({"tunnel_method": {"tunnel_method": "SSH_KEY_AUTH", "ssh_key": "pw-9"}}), "`tunnel_method`"),
            (json!({"ssl_mode": {"mode": "verify-ca"}}), "ca_certificate"),
            (json!({"ssl_mode": {"mode": "verify-ca", "ca_certificate": "pw-9"}}), "ca_certificate"),
            (json!({"ssl_mode": {"mode": "perhaps"}}), "ssl_mode"),
            (json!({"jdbc_url_params": "socketFactory=x"}), "`socketFactory`"),
            (json!({"jdbc_url_params": "connectTimeout=soon"}), "`connectTimeout`"),
            (json!({"port": 70000}), "`port`"),
            (json!({"host": ""}), "`host`"),
            (json!({"schemas": "public"}), "`schemas`"),
        ] {
            let error = Config::read(&with(extra.clone())).and_then(|config| config.server().map(|_| ())).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{extra}");
            assert!(error.message.contains(names), "{extra}: {error}");
            assert!(!error.message.contains("pw-9"), "{error}");
        }
    }

    #[test]
    fn keys_of_the_old_connector_are_taken() {
        for extra in [
            json!({}),
            json!({"ssl": true, "replication_method": {"method": "Standard"}, "tunnel_method": {"tunnel_method": "NO_TUNNEL"}}),
            json!({"ssl_mode": {"mode": "require"}, "schemas": [], "jdbc_url_params": "prepareThreshold=0&connectTimeout=5"}),
            json!({"ssl_mode": {"mode": "disable", "left": "over"}, "unknown": 1}),
        ] {
            Config::read(&with(extra)).unwrap().server().unwrap();
        }
    }

    #[test]
    fn the_specification_marks_secrets_and_offers_only_what_works() {
        let spec = Spec::of::<Config>("x").connection_specification;
        assert_eq!(spec.pointer("/properties/password/airbyte_secret"), Some(&json!(true)));
        let text = spec.to_string();
        assert!(text.contains("verify-full") && !text.contains("CDC") && !text.contains("SSH_KEY"), "{text}");
        assert_eq!(text.matches("\"airbyte_secret\":true").count(), 7, "{text}");
    }
}
