//! A stranger's connector: any executable that speaks the Airbyte protocol, as a [`Source`].
//!
//! ```text
//! Files (0600) ─► Child (own process group) ─ stdout ─► Lines ─► Reading ─► Decoder per stream ─► Output
//!                                            └ stderr ─► log
//! ```
//!
//! [`Command`] says what is run, [`ProcessSource::start`] asks it for its specification, `read.rs` turns its lines into
//! batches, marks and statuses. [`PythonPackage`] makes a command of a package from an index.
//!
//! What is judged how:
//! * A stream is complete only when the process ended with exit code 0, whatever it announced before, and then every
//!   stream is (that is how the protocol's own platform decides). One that it called INCOMPLETE and never complete is a
//!   failure even then.
//! * Plain text on stdout is logged. A line that looks like a record and cannot be read, or is longer than
//!   [`Limits::line`], is left out, logged as an error and counted at the end.
//! * A record of a stream that is not in the catalog is a failure.
//! * A CONTROL message with a new configuration is logged, its content is not kept yet.

mod ask;
mod child;
mod command;
mod failure;
mod files;
mod lines;
mod mask;
mod python;
mod read;
mod record;

use async_trait::async_trait;
use protocol::{
    Catalog, Json, Message,
    message::{CheckStatus, ConnectionStatus},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use command::{Command, Limits, PASSED};
pub use python::PythonPackage;

use crate::{Error, Output, ReadRequest, Result, Source, Spec};
use ask::ask;
use files::Files;
use mask::Mask;

/// An executable as a source.
#[derive(Clone, Debug)]
pub struct ProcessSource {
    command: Command,
    spec: Spec,
    specification: Json,
}

impl ProcessSource {
    /// Runs `spec`, because nothing else can be said of a stranger before.
    pub async fn start(command: Command, cancel: &CancellationToken) -> Result<Self> {
        let files = Files::new("spec")?;
        let pick = |message| match message {
            Message::Spec(specification) => Some(specification),
            _ => None,
        };
        let specification = ask(&command, &files, &Mask::default(), cancel, pick).await?;
        Self::with_specification(command, specification)
    }

    /// With a specification (the payload of a SPEC message) that is known from before.
    pub fn with_specification(command: Command, specification: Json) -> Result<Self> {
        let name = command.name();
        let spec = read_spec(&specification)
            .ok_or_else(|| Error::system(format!("The connector `{name}` has no valid specification")))?;
        if !spec.protocol_version.starts_with("0.") {
            return Err(Error::config(format!(
                "The connector `{name}` speaks version {} of the protocol; versions 0.x are understood",
                spec.protocol_version
            )));
        }
        Ok(Self { command, spec, specification })
    }

    /// The whole specification as it came.
    pub fn specification(&self) -> &Json {
        &self.specification
    }

    fn mask(&self, config: &Value) -> Mask {
        Mask::of(&self.spec.connection_specification, config)
    }
}

fn read_spec(specification: &Json) -> Option<Spec> {
    let value: Value = specification.to().ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Spec {
        documentation_url: text("documentationUrl").unwrap_or_default(),
        connection_specification: value.get("connectionSpecification")?.clone(),
        supported_destination_sync_modes: Vec::new(),
        protocol_version: text("protocol_version").unwrap_or_else(|| "0.2.0".to_owned()),
    })
}

#[async_trait]
impl Source for ProcessSource {
    fn spec(&self) -> Spec {
        self.spec.clone()
    }

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()> {
        let mut files = Files::new("check")?;
        files.add("config", config)?;
        let mask = self.mask(config);
        let pick = |message| match message {
            Message::ConnectionStatus(status) => Some(status),
            _ => None,
        };
        let ConnectionStatus { status, message, .. } = ask(&self.command, &files, &mask, cancel, pick).await?;
        match status {
            CheckStatus::Succeeded => Ok(()),
            CheckStatus::Failed => {
                let message = message.unwrap_or_else(|| "The check failed; the connector did not say why".to_owned());
                Err(Error::config(mask.text(&message)))
            }
        }
    }

    async fn discover(&self, config: &Value, cancel: &CancellationToken) -> Result<Catalog> {
        let mut files = Files::new("discover")?;
        files.add("config", config)?;
        let pick = |message| match message {
            Message::Catalog(catalog) => Some(catalog),
            _ => None,
        };
        ask(&self.command, &files, &self.mask(config), cancel, pick).await
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        read::read(&self.command, self.mask(&request.config), request, output).await
    }
}
