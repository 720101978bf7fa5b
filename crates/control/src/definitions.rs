//! Definitions: kinds of connectors, how they run, and their specifications.
//!
//! At every start the definitions of native connectors are written from what the binary brings, under the well-known ids
//! of what they replace.

use protocol::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{ActorKind, Tx};
use uuid::Uuid;

use crate::{
    Control, Error, ErrorKind, Result,
    runner::{ConnectorRef, NativeConnector},
};

/// The protocol version that native connectors speak.
const PROTOCOL_VERSION: &str = "0.2.0";

#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub id: Uuid,
    pub kind: ActorKind,
    pub name: String,
    pub public: bool,
    pub custom: bool,
    pub tombstone: bool,
    pub profile: Profile,
}

/// Everything about a definition that is not queried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub docker_repository: String,
    pub docker_image_tag: String,
    pub documentation_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    pub protocol_version: String,
    pub release_stage: ReleaseStage,
    /// `YYYY-MM-DD`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_date: Option<String>,
    /// Of sources only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_type: Option<SourceType>,
    pub runs: Runs,
    /// The whole specification message.
    pub specification: Value,
}

/// Also its words on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseStage {
    Alpha,
    Beta,
    GenerallyAvailable,
    Custom,
}

/// Also its words on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    Api,
    File,
    Database,
    Custom,
}

/// How the connector runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    Native(String),
}

impl Definition {
    pub(crate) fn of(row: &store::Definition) -> Result<Self> {
        let profile = row.doc.to().map_err(|error| {
            let message = format!("The stored definition {} cannot be read", row.id);
            Error::new(ErrorKind::Internal, "corrupt_definition", message).with_source(error)
        })?;
        Ok(Self {
            id: row.id,
            kind: row.kind,
            name: row.name.clone(),
            public: row.public,
            custom: row.custom,
            tombstone: row.tombstone,
            profile,
        })
    }

    /// The JSON schema of a configuration.
    pub fn connection_specification(&self) -> &Value {
        &self.profile.specification["connectionSpecification"]
    }

    pub fn connector(&self) -> ConnectorRef {
        match &self.profile.runs {
            Runs::Native(name) => ConnectorRef::Native { kind: self.kind, name: name.clone() },
        }
    }
}

/// Upstream's word for such a definition in errors.
fn token(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Source => "STANDARD_SOURCE_DEFINITION",
        ActorKind::Destination => "STANDARD_DESTINATION_DEFINITION",
    }
}

/// The definition of this kind with this id, deleted or not.
pub(crate) async fn find(tx: &mut Tx, kind: ActorKind, id: Uuid) -> Result<Definition> {
    let row = tx.definition(id).await?.filter(|row| row.kind == kind);
    Definition::of(&row.ok_or_else(|| Error::not_found(token(kind), id))?)
}

/// The definition, if the workspace may use it and it is not deleted.
pub(crate) async fn usable(tx: &mut Tx, kind: ActorKind, id: Uuid, workspace: Uuid) -> Result<Definition> {
    let definition = find(tx, kind, id).await?;
    if definition.tombstone || !(definition.public || tx.has_grant(workspace, id).await?) {
        return Err(Error::not_found(token(kind), id)
            .with_hint("The definition exists, but it is deleted or not granted to this workspace."));
    }
    Ok(definition)
}

fn native_profile(native: NativeConnector) -> Result<Json> {
    let source_type = match native.source_type {
        Some("api") => Some(SourceType::Api),
        Some("file") => Some(SourceType::File),
        Some("database") => Some(SourceType::Database),
        Some(_) => Some(SourceType::Custom),
        None => None,
    };
    let profile = Profile {
        docker_repository: native.docker_repository.to_owned(),
        docker_image_tag: native.docker_image_tag.to_owned(),
        documentation_url: native.documentation_url.to_owned(),
        icon: native.icon.map(str::to_owned),
        protocol_version: PROTOCOL_VERSION.to_owned(),
        release_stage: ReleaseStage::GenerallyAvailable,
        release_date: native.release_date.map(str::to_owned),
        source_type,
        runs: Runs::Native(native.native.to_owned()),
        specification: native.spec,
    };
    Json::from_value(&profile).map_err(|error| {
        Error::new(ErrorKind::Internal, "internal", "A definition cannot be written").with_source(error)
    })
}

impl Control {
    pub(crate) async fn register_native_definitions(&self) -> Result<()> {
        let mut tx = self.write().await?;
        for native in self.inner.runner.native() {
            let now = self.now_ms();
            let mut row = store::Definition {
                id: native.definition_id,
                kind: native.kind,
                name: native.name.to_owned(),
                custom: false,
                public: true,
                tombstone: false,
                created_ms: now,
                updated_ms: now,
                doc: native_profile(native)?,
            };
            if let Some(known) = tx.definition(row.id).await? {
                (row.created_ms, row.updated_ms) = (known.created_ms, known.updated_ms);
                if known == row {
                    continue;
                }
                row.updated_ms = now;
            }
            tx.upsert_definition(&row).await?;
        }
        Ok(tx.commit().await?)
    }

    /// All that are not deleted, by name.
    pub async fn definitions(&self, kind: ActorKind) -> Result<Vec<Definition>> {
        self.read().await?.definitions(kind).await?.iter().map(Definition::of).collect()
    }

    /// Public ones and granted ones.
    pub async fn definitions_for_workspace(&self, kind: ActorKind, workspace: Uuid) -> Result<Vec<Definition>> {
        self.read().await?.definitions_for_workspace(kind, workspace).await?.iter().map(Definition::of).collect()
    }

    pub async fn definition(&self, kind: ActorKind, id: Uuid) -> Result<Definition> {
        find(&mut self.read().await?, kind, id).await
    }

    pub async fn definition_for_workspace(&self, kind: ActorKind, id: Uuid, workspace: Uuid) -> Result<Definition> {
        usable(&mut self.read().await?, kind, id, workspace).await
    }
}
