//! Connections as a file: sources, destinations and connections in YAML, in the words of the API.
//!
//! [`File::read`] refuses what it does not know by name, with the nearest word that it knows ([`reader`]); `${NAME}` and
//! `${file:PATH}` in texts are filled in ([`variables`]); [`streams`] turns the stream entries of a connection into a
//! catalog.

mod reader;
pub mod streams;
pub mod typed;
mod variables;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use control::connections::{ConnectionStatus, NamespaceDefinition, ResourceRequirements};
use protocol::{DestinationSyncMode, SyncMode};
use serde_json::Value;

pub use reader::nearest;

/// A file, or arguments, that cannot be followed: the program ends with code 2.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

#[derive(Debug)]
pub struct File {
    /// The folder that it lies in, absolute: relative paths in it start here.
    pub folder: PathBuf,
    pub sources: Vec<Actor>,
    pub destinations: Vec<Actor>,
    pub connections: Vec<Connection>,
}

/// A source or a destination.
#[derive(Debug)]
pub struct Actor {
    pub name: String,
    pub connector: Connector,
    /// Secrets are in clear: it is never shown.
    pub config: Value,
}

/// Which connector, as the file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connector {
    Native(String),
    /// An executable that speaks the protocol; a path with a slash starts at the folder of the file.
    Exec(String),
    /// `PACKAGE` or `PACKAGE==VERSION`.
    Python(String),
}

#[derive(Debug)]
pub struct Connection {
    pub name: String,
    pub source: String,
    pub destination: String,
    pub status: ConnectionStatus,
    pub prefix: Option<String>,
    pub namespace: NamespaceDefinition,
    pub namespace_format: Option<String>,
    pub resources: ResourceRequirements,
    /// `None` = every stream, full_refresh_overwrite.
    pub streams: Option<Vec<StreamEntry>>,
}

/// How the streams that it names are synced.
#[derive(Debug)]
pub struct StreamEntry {
    /// May hold `*` and `?`.
    pub name: String,
    /// `None` = any. May hold `*` and `?`.
    pub namespace: Option<String>,
    pub mode: Mode,
    /// A path from the top.
    pub cursor: Option<Vec<String>>,
    pub key: Option<Vec<Vec<String>>>,
    /// Top-level fields; `None` = all, also those that come later.
    pub fields: Option<Vec<String>>,
}

/// A combined name of the public API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub sync: SyncMode,
    pub destination: DestinationSyncMode,
}

impl Mode {
    const ALL: [(&str, Self); 5] = [
        ("full_refresh_overwrite", Self::of(SyncMode::FullRefresh, DestinationSyncMode::Overwrite)),
        ("full_refresh_overwrite_deduped", Self::of(SyncMode::FullRefresh, DestinationSyncMode::OverwriteDedup)),
        ("full_refresh_append", Self::of(SyncMode::FullRefresh, DestinationSyncMode::Append)),
        ("incremental_append", Self::of(SyncMode::Incremental, DestinationSyncMode::Append)),
        ("incremental_deduped_history", Self::of(SyncMode::Incremental, DestinationSyncMode::AppendDedup)),
    ];
    pub const DEFAULT: Self = Self::ALL[0].1;

    const fn of(sync: SyncMode, destination: DestinationSyncMode) -> Self {
        Self { sync, destination }
    }
}

impl File {
    /// Reads a file. Every error is a [`Refused`] that names the place in it.
    pub fn read(path: &Path) -> Result<Self, Refused> {
        let shown = path.display();
        let refused = |why: String| Refused(format!("{shown}: {why}"));
        let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
        let path = path.canonicalize().map_err(|error| refused(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        Self::parse(&text, folder).map_err(|Refused(why)| refused(why))
    }

    fn parse(text: &str, folder: PathBuf) -> Result<Self, Refused> {
        let yaml: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(text).map_err(|error| Refused(format!("is not YAML: {error}")))?;
        let value = variables::resolve(yaml, &folder)?;
        reader::file(value, folder)
    }

    pub fn source(&self, name: &str) -> Option<&Actor> {
        self.sources.iter().find(|actor| actor.name == name)
    }

    pub fn destination(&self, name: &str) -> Option<&Actor> {
        self.destinations.iter().find(|actor| actor.name == name)
    }

    /// Where state, log and secrets of its connections are kept between runs.
    pub fn state_folder(&self) -> PathBuf {
        self.folder.join(".leat")
    }
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(name) => f.write_str(name),
            Self::Exec(path) => write!(f, "exec:{path}"),
            Self::Python(package) => write!(f, "python:{package}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
sources:
  shop: { connector: sample, config: { count: 10, note: "${CARGO_PKG_NAME}-$${X}" } }
  other: { connector: "exec:./read.sh" }
  faker: { connector: "python:airbyte-source-faker==6.2.38", config: {} }
destinations:
  lake: { connector: sqlite, config: { destination_path: lake.db } }
connections:
  shop-to-lake:
    source: shop
    destination: lake
    schedule: { cron: "0 0 * * * ?", zone: Europe/Paris }
    prefix: shop_
    namespace: custom
    namespace_format: "raw_${SOURCE_NAMESPACE}"
    resources: { memory_limit: 64Mi }
    streams:
      - { name: users, mode: incremental_deduped_history, cursor: updated_at, key: [id], fields: [id, updated_at] }
      - { name: "p*", namespace: public, mode: incremental_append, key: [[a, b], c] }
  other-to-lake: { source: other, destination: lake, status: inactive, schedule: { every: 6 hours } }
"#;

    #[test]
    fn a_whole_file() {
        let file = File::parse(WHOLE, "/tmp".into()).unwrap();
        assert_eq!(file.sources[0].config["note"], "leat-${X}");
        assert_eq!(file.sources[1].connector, Connector::Exec("./read.sh".to_owned()));
        assert_eq!(file.sources[2].connector, Connector::Python("airbyte-source-faker==6.2.38".to_owned()));
        let shop = &file.connections[0];
        assert_eq!(shop.namespace_format.as_deref(), Some("raw_${SOURCE_NAMESPACE}"));
        assert_eq!(shop.resources.memory_limit.as_deref(), Some("64Mi"));
        let streams = shop.streams.as_ref().unwrap();
        assert_eq!(streams[0].mode.destination, DestinationSyncMode::AppendDedup);
        assert_eq!(streams[0].cursor.as_ref().unwrap(), &["updated_at"]);
        assert_eq!(streams[1].key.as_ref().unwrap(), &[vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]);
        assert_eq!(file.connections[1].status, ConnectionStatus::Inactive);
        assert!(file.connections[1].streams.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |from: &str, to: &str, expected: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let error = File::parse(&WHOLE.replacen(from, to, 1), "/tmp".into()).unwrap_err().0;
            assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        };
        check("prefix:", "prefx:", "connections.shop-to-lake.prefx: is not known; did you mean `prefix`?");
        check("sources:", "source:", "source: is not known; did you mean `sources`?");
        check("fields:", "feilds:", "connections.shop-to-lake.streams[0].feilds: is not known; did you mean `fields`?");
        check(
            "source: shop",
            "source: shpo",
            "connections.shop-to-lake.source: there is no source `shpo`; did you mean `shop`?",
        );
        check("destination: lake\n", "destination: shop\n", "there is no destination `shop`");
        check("incremental_append", "incremental_appendd", "did you mean `incremental_append`?");
        check("zone: Europe/Paris", "zone: Mars/Olympus", "schedule");
        check("every: 6 hours", "every: 6 years", "schedule.every");
        check("every: 6 hours", "every: 0 hours", "schedule");
        check("${CARGO_PKG_NAME}", "${NO_SUCH_VARIABLE}", "the environment variable NO_SUCH_VARIABLE is not set");
        check("${CARGO_PKG_NAME}", "${file:no/such}", "sources.shop.config.note: no/such cannot be read");
        check("${CARGO_PKG_NAME}", "${OPEN", "names no variable");
        check("${CARGO_PKG_NAME}", "${}", "names no variable");
        check("${CARGO_PKG_NAME}-$${X}", "${OPEN", "sources.shop.config.note: `${` is not closed");
        check("memory_limit: 64Mi", "memory: 64Mi", "resources.memory: is not known");
        check("prefix: shop_", "prefix: 7", "connections.shop-to-lake.prefix: must be a text");
        check("prefix: shop_", "source: shop", "is not YAML");
        check("connector: sample, ", "", "sources.shop.connector: is missing");
        check("exec:./read.sh", "exec:", "sources.other.connector");
        check("exec:./read.sh", "docker:x", "sources.other.connector");
        check("namespace: custom", "namespace: sourc", "did you mean `source`?");
        check("count: 10", "count: .nan", "sources.shop.config.count");
        check("count: 10", "[1]: 10", "sources.shop.config");
        check("count: 10", "count: !odd 10", "sources.shop.config.count");
    }

    #[test]
    fn strange_files_are_refused() {
        for text in
            ["", "[]", "7", "connections: []", "sources: {a: {connector: sample}}", "\u{0}", "a: &a [*a]", "- - : -"]
        {
            assert!(File::parse(text, "/tmp".into()).is_err(), "{text:?}");
        }
    }
}
