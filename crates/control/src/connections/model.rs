//! What a connection is. Start with [`Connection`].

use protocol::Json;
use serde::{Deserialize, Serialize};
pub use store::ConnectionStatus;
use uuid::Uuid;

use crate::runner::{NamespaceRule, Naming};

/// A connection without its catalog, which [`crate::catalog`] loads when somebody needs it: a search through ten thousand
/// connections touches none of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub id: Uuid,
    /// The workspace of the source.
    pub workspace_id: Uuid,
    pub source_id: Uuid,
    pub destination_id: Uuid,
    pub name: String,
    pub status: ConnectionStatus,
    pub schedule: Schedule,
    pub namespace_definition: NamespaceDefinition,
    /// Kept whatever the definition is; used only with [`NamespaceDefinition::Customformat`].
    pub namespace_format: Option<String>,
    pub prefix: Option<String>,
    pub operation_ids: Vec<Uuid>,
    /// The catalog that the connection was set up from.
    pub source_catalog_id: Option<Uuid>,
    /// The selected streams with their whole schemas, a `protocol::Catalog`.
    pub catalog_id: Uuid,
    /// How each stream of that catalog is synced, in the same order: a list of [`crate::catalog::StreamSelection`].
    pub selection: Json,
    pub resource_requirements: Option<ResourceRequirements>,
    pub geography: Geography,
    pub notify_schema_changes: bool,
    pub notify_schema_changes_by_email: bool,
    pub non_breaking_changes: NonBreakingChanges,
    pub breaking_change: bool,
    /// Lines for the head of the next job's log, as after a change of prefix. That job takes them.
    pub notices: Vec<String>,
    /// Epoch milliseconds.
    pub created_ms: i64,
    /// Epoch milliseconds.
    pub updated_ms: i64,
}

impl Connection {
    /// From source names to names in the destination.
    pub fn naming(&self) -> Naming {
        naming(self.namespace_definition, self.namespace_format.as_deref(), self.prefix.as_deref())
    }
}

/// See [`Connection::naming`].
pub fn naming(definition: NamespaceDefinition, format: Option<&str>, prefix: Option<&str>) -> Naming {
    let namespace = match definition {
        NamespaceDefinition::Source => NamespaceRule::Source,
        NamespaceDefinition::Destination => NamespaceRule::Destination,
        NamespaceDefinition::Customformat => NamespaceRule::Custom(format.unwrap_or_default().to_owned()),
    };
    Naming { namespace, prefix: prefix.unwrap_or_default().to_owned() }
}

/// When a connection runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Schedule {
    #[default]
    Manual,
    /// From start to start.
    Basic { units: i64, unit: TimeUnit },
    /// Quartz syntax, in a zone of the IANA database.
    Cron { expression: String, zone: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
}

impl TimeUnit {
    /// A week is 7 days and a month 30, as everywhere in this API.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minutes => 60,
            Self::Hours => 3_600,
            Self::Days => 86_400,
            Self::Weeks => 7 * 86_400,
            Self::Months => 30 * 86_400,
        }
    }
}

/// Where the tables of a connection go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceDefinition {
    #[default]
    Source,
    Destination,
    Customformat,
}

/// What happens when the source's schema changes without breaking the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonBreakingChanges {
    #[default]
    Ignore,
    Disable,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Geography {
    #[default]
    Auto,
    Us,
    Eu,
}

/// Kubernetes quantities as they were given; [`super::resources`] reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRequirements {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
}
