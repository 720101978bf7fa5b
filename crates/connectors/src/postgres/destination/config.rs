//! The configuration of the Postgres destination: the keys of `airbyte/destination-postgres`. Start with [`Config::read`],
//! which refuses by name whatever is not implemented. Not printable: it holds secrets (Invariant 6).

use connector::{Error, Result, config};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::postgres::{
    client::Server,
    config::{self as shared, SslMode, TunnelMethod},
};

/// Tables in a PostgreSQL database.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(title = "Postgres Destination Spec")]
// Keys without an effect are there for the form and the documentation.
#[allow(dead_code)]
pub struct Config {
    /// Hostname of the database.
    #[schemars(title = "Host", extend("order" = 0))]
    pub host: String,

    /// Port of the database.
    #[serde(default = "default_port")]
    #[schemars(title = "Port", range(min = 1, max = 65535), extend("order" = 1))]
    pub port: u16,

    /// Name of the database.
    #[schemars(title = "DB Name", extend("order" = 2))]
    pub database: String,

    /// The schema of tables whose stream has no namespace, and of the tables that Leat keeps for itself (`_leat_...`). It is
    /// made if it is missing and the role may.
    #[serde(default = "default_schema")]
    #[schemars(title = "Default Schema", extend("order" = 3))]
    pub schema: String,

    /// The username which is used to access the database.
    #[schemars(title = "User", extend("order" = 4))]
    pub username: String,

    /// The password associated with this username.
    #[serde(default)]
    #[schemars(title = "Password", extend("airbyte_secret" = true, "order" = 5, "always_show" = true))]
    pub password: Option<String>,

    /// Encrypt data using SSL. Without a word here or in SSL modes the server decides (`prefer`).
    #[serde(default)]
    #[schemars(title = "SSL Connection", extend("order" = 6))]
    pub ssl: Option<bool>,

    /// Encryption of the connection. Absent: `prefer`.
    #[serde(default)]
    #[schemars(title = "SSL modes", extend("order" = 7))]
    pub ssl_mode: Option<SslMode>,

    /// `key=value` pairs separated by `&`: `connectTimeout` (seconds), `ApplicationName`. Keys that only tune the JDBC
    /// driver are accepted and have no effect; any other key is refused.
    #[serde(default)]
    #[schemars(title = "JDBC URL Params", extend("order" = 8))]
    pub jdbc_url_params: Option<String>,

    /// Accepted and without effect: rows go straight into their tables, there are no raw tables.
    #[serde(default)]
    #[schemars(title = "Raw Table Schema Name", extend("order" = 9))]
    pub raw_data_schema: Option<String>,

    /// Only raw tables: not implemented.
    #[serde(default)]
    #[schemars(title = "Raw tables only", extend("order" = 10))]
    pub disable_type_dedupe: Option<bool>,

    /// Accepted and without effect: nothing that depends on a table is ever dropped. Where something does, the rows of the
    /// table are replaced and the table stays.
    #[serde(default)]
    #[schemars(title = "Drop tables with CASCADE", extend("order" = 11))]
    pub drop_cascade: Option<bool>,

    /// Accepted and without effect: columns of numbers in new tables are always `numeric` without a limit, existing columns
    /// keep theirs.
    #[serde(default)]
    #[schemars(title = "Unconstrained numeric columns", extend("order" = 12))]
    pub unconstrained_number: Option<bool>,

    /// What a deletion in the source does to the row: `Hard delete` removes it, `Soft delete` keeps it with
    /// `_ab_cdc_deleted_at` set.
    #[serde(default)]
    #[schemars(title = "CDC deletion mode", extend("order" = 13))]
    pub cdc_deletion_mode: DeletionMode,

    /// How the server is reached.
    #[serde(default)]
    #[schemars(title = "SSH Tunnel Method", extend("order" = 14))]
    pub tunnel_method: Option<TunnelMethod>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DeletionMode {
    #[default]
    #[serde(rename = "Hard delete")]
    Hard,
    #[serde(rename = "Soft delete")]
    Soft,
}

fn default_port() -> u16 {
    5432
}

fn default_schema() -> String {
    "public".to_owned()
}

impl Config {
    pub fn read(value: &Value) -> Result<Self> {
        let config: Self = config::parse(value)?;
        for (field, text) in [
            ("host", &config.host),
            ("database", &config.database),
            ("schema", &config.schema),
            ("username", &config.username),
        ] {
            if text.is_empty() || text.contains('\0') {
                return Err(Error::config(format!("Configuration field `{field}` must not be empty")));
            }
        }
        if config.schema.len() > 63 || config.schema.starts_with("pg_") || config.schema == "information_schema" {
            return Err(Error::config(
                "Configuration field `schema` names a schema of the server itself, or is longer than 63 bytes",
            )
            .with_hint("Choose another schema, for instance `public`"));
        }
        if config.disable_type_dedupe == Some(true) {
            return Err(Error::config("Configuration field `disable_type_dedupe`: raw tables are not implemented")
                .with_hint("Set it to false: rows go straight into typed tables"));
        }
        shared::refuse_tunnel(config.tunnel_method)?;
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
            tls: shared::tls(self.ssl_mode.as_ref(), self.ssl)?,
            connect_timeout: shared::CONNECT_TIMEOUT,
            application: "leat".to_owned(),
        };
        shared::apply_parameters(&mut server, self.jdbc_url_params.as_deref())?;
        Ok(server)
    }
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
            (json!({"disable_type_dedupe": true}), "`disable_type_dedupe`"),
            (
                json!({"tunnel_method": {"tunnel_method": "SSH_PASSWORD_AUTH", "tunnel_user_password": "pw-9"}}),
                "`tunnel_method`",
            ),
            (json!({"ssl_mode": {"mode": "verify-full"}}), "ca_certificate"),
            (json!({"jdbc_url_params": "socketFactory=x"}), "`socketFactory`"),
            (json!({"schema": ""}), "`schema`"),
            (json!({"schema": "pg_temp"}), "`schema`"),
            (json!({"cdc_deletion_mode": "Perhaps"}), "cdc_deletion_mode"),
            (json!({"port": "x"}), "`port`"),
        ] {
            let error = Config::read(&with(extra.clone())).and_then(|config| config.server().map(|_| ())).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{extra}");
            assert!(error.message.contains(names), "{extra}: {error}");
            assert!(!error.message.contains("pw-9"), "{error}");
        }
    }

    #[test]
    fn keys_of_the_old_connector_are_taken() {
        let config =
            with(json!({"raw_data_schema": "airbyte_internal", "drop_cascade": false, "unconstrained_number": true,
            "disable_type_dedupe": false, "ssl": false, "tunnel_method": {"tunnel_method": "NO_TUNNEL"}, "unknown": 1,
            "cdc_deletion_mode": "Soft delete"}));
        let config = Config::read(&config).unwrap();
        assert_eq!((config.schema.as_str(), config.cdc_deletion_mode), ("public", DeletionMode::Soft));
        let spec = Spec::of::<Config>("https://example.com");
        assert_eq!(spec.connection_specification["properties"]["password"]["airbyte_secret"], true);
    }
}
