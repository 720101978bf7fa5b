//! Connectors of a file that are not built in: executables and Python packages, as sources of the registry.
//!
//! What a file names is resolved once per run: a package is installed on first use, an executable is asked for its
//! specification. Its definition is known by a stable id, so that state survives a new version or another path.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use connector::process::{Command, ProcessSource, PythonPackage};
use connectors::Native;
use control::runner::{ActorKind, ConnectorRef};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    explain,
    file::{Actor, Connector, File, Refused, nearest},
    registry::Registry,
};

/// Of the ids of definitions that no registry knows.
const NAMESPACE: Uuid = uuid::uuid!("6f1c7a55-5a0b-4a58-8c4e-0a6d0d6f3b8e");

/// Finds the connector of an actor, and adds it to the registry if it is not built in.
pub async fn connect(
    registry: &mut Registry,
    file: &File,
    kind: ActorKind,
    actor: &Actor,
    cancel: &CancellationToken,
) -> Result<(ConnectorRef, Native)> {
    let place = match kind {
        ActorKind::Source => format!("sources.{}", actor.name),
        ActorKind::Destination => format!("destinations.{}", actor.name),
    };
    let (command, identity) = match &actor.connector {
        Connector::Native(name) => return native(registry, kind, name, &place),
        _ if kind == ActorKind::Destination => {
            let message =
                format!("{place}.connector: a destination must be native; `{}` cannot be one yet", actor.connector);
            return Err(Refused(message).into());
        }
        Connector::Exec(path) => (executable(file, path), format!("exec:{}", actor.name)),
        Connector::Python(requirement) => {
            let package =
                PythonPackage::new(requirement, cache()).map_err(explain::connector).context(place.clone())?;
            let progress = |line: &str| {
                tracing::info!("{line}");
                // It takes a minute the first time; what pip says is for the log alone.
                if ["Making", "Installing ", "Waiting", "Removing"].iter().any(|word| line.starts_with(word))
                    && !line.starts_with("Installing collected")
                {
                    eprintln!("leat: {line}");
                }
            };
            let command =
                package.install(&progress, cancel).await.map_err(explain::connector).context(place.clone())?;
            let name = requirement.split("==").next().unwrap_or_default().trim().to_owned();
            (command, format!("python:{name}"))
        }
    };
    let name = actor.connector.to_string();
    let source = ProcessSource::start(command, cancel).await.map_err(explain::connector).context(place)?;
    // Identities are static because the built-in ones are; there are as many of these as the file has sources.
    let leaked: &'static str = Box::leak(name.clone().into_boxed_str());
    let native = Native {
        name: leaked,
        title: leaked,
        definition_id: Uuid::new_v5(&NAMESPACE, identity.as_bytes()),
        docker_repository: leaked,
        docker_image_tag: "0",
        documentation_url: "",
        source_type: Some("custom"),
        release_date: None,
        icon: None,
    };
    registry.add_source(native, Arc::new(source));
    Ok((ConnectorRef::Native { kind, name }, native))
}

fn native(registry: &Registry, kind: ActorKind, name: &str, place: &str) -> Result<(ConnectorRef, Native)> {
    let known: Vec<Native> = match kind {
        ActorKind::Source => registry.sources().iter().map(|(native, _)| *native).collect(),
        ActorKind::Destination => registry.destinations().iter().map(|(native, _)| *native).collect(),
    };
    if let Some(native) = known.iter().find(|native| native.name == name) {
        return Ok((ConnectorRef::Native { kind, name: name.to_owned() }, *native));
    }
    let near = match nearest(name, known.iter().map(|native| native.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`leat connectors` lists what there is".to_owned(),
    };
    Err(Refused(format!("{place}.connector: `{name}` is not built in; {near}")).into())
}

/// A bare name is looked for in `PATH`; anything with a slash starts at the folder of the file.
fn executable(file: &File, path: &str) -> Command {
    let program = if path.contains('/') { file.folder.join(path) } else { PathBuf::from(path) };
    Command { folder: Some(file.folder.clone()), ..Command::new(program) }
}

/// Environments of packages are large and the same for every file.
fn cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    caches.unwrap_or_else(std::env::temp_dir).join("leat/python")
}
