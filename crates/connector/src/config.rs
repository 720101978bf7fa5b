//! Typed configuration: one struct gives the parser, the specification and the documentation.

use protocol::DestinationSyncMode;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Result};

/// The payload of a SPEC message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    #[serde(rename = "documentationUrl")]
    pub documentation_url: String,
    #[serde(rename = "connectionSpecification")]
    pub connection_specification: Value,
    /// Destinations only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_destination_sync_modes: Vec<DestinationSyncMode>,
    pub protocol_version: String,
}

impl Spec {
    /// Derives the specification from the configuration's type. Doc comments become titles and descriptions; secrets
    /// are marked with `#[schemars(extend("airbyte_secret" = true))]`.
    pub fn of<T: JsonSchema>(documentation_url: &str) -> Self {
        let generator = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator();
        let mut schema = generator.into_root_schema_for::<T>().to_value();
        if let Some(object) = schema.as_object_mut() {
            // Configurations of stored scripts may carry keys that only the connector they were made for knows.
            object.insert("additionalProperties".into(), Value::Bool(true));
        }
        Self {
            documentation_url: documentation_url.to_owned(),
            connection_specification: schema,
            supported_destination_sync_modes: Vec::new(),
            protocol_version: "0.2.0".to_owned(),
        }
    }

    pub fn with_modes(mut self, modes: &[DestinationSyncMode]) -> Self {
        self.supported_destination_sync_modes = modes.to_vec();
        self
    }
}

/// Decodes a configuration. The error names the field; it never shows a value, which may be a secret.
pub fn parse<T: DeserializeOwned>(config: &Value) -> Result<T> {
    let track = serde_path_to_error::deserialize(config);
    track.map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "The configuration".to_owned() } else { format!("Configuration field `{path}`") };
        Error::config(format!("{field} is not valid: {}", describe(error.inner())))
    })
}

/// serde's text without the value that was found.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find("invalid type: "), text.find("invalid value: "), text.rfind(", expected ")) {
        (Some(_), _, Some(at)) | (_, Some(_), Some(at)) => text[at + 2..].to_owned(),
        _ => text,
    }
}
