//! Which connectors this binary holds, in the words of both halves.

use std::{path::Path, sync::Arc};

use connector::{Destination, Source};
use connectors::Native;
use control::runner::{ActorKind, ConnectorRef, NativeConnector};
use serde_json::Value;

pub struct Registry {
    sources: Vec<(Native, Arc<dyn Source>)>,
    destinations: Vec<(Native, Arc<dyn Destination>)>,
}

impl Registry {
    /// `data_dir` holds what local destinations write under `local/`; everything else in it is the server's own.
    pub fn new(data_dir: &Path) -> Self {
        Self { sources: connectors::sources(), destinations: connectors::destinations(data_dir) }
    }

    pub fn source(&self, connector: &ConnectorRef) -> Option<Arc<dyn Source>> {
        let ConnectorRef::Native { name, .. } = connector;
        self.sources.iter().find(|(native, _)| native.name == *name).map(|(_, source)| source.clone())
    }

    pub fn destination(&self, connector: &ConnectorRef) -> Option<Arc<dyn Destination>> {
        let ConnectorRef::Native { name, .. } = connector;
        self.destinations.iter().find(|(native, _)| native.name == *name).map(|(_, destination)| destination.clone())
    }

    pub fn native(&self) -> Vec<NativeConnector> {
        let sources = self.sources.iter().map(|(native, source)| describe(native, ActorKind::Source, source.spec()));
        let destinations = self
            .destinations
            .iter()
            .map(|(native, destination)| describe(native, ActorKind::Destination, destination.spec()));
        sources.chain(destinations).collect()
    }
}

fn describe(native: &Native, kind: ActorKind, spec: connector::Spec) -> NativeConnector {
    NativeConnector {
        kind,
        native: native.name,
        definition_id: native.definition_id,
        name: native.title,
        docker_repository: native.docker_repository,
        docker_image_tag: native.docker_image_tag,
        documentation_url: native.documentation_url,
        source_type: native.source_type,
        release_date: native.release_date,
        icon: native.icon,
        spec: serde_json::to_value(spec).unwrap_or(Value::Null),
    }
}
