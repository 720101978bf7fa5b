//! Which connectors this binary holds, in the words of both halves.

use std::sync::Arc;

use connector::{Destination, Source};
use connectors::{Folders, Native};
use control::runner::{ActorKind, ConnectorRef, NativeConnector};
use serde_json::Value;

pub struct Registry {
    sources: Vec<(Native, Arc<dyn Source>)>,
    destinations: Vec<(Native, Arc<dyn Destination>)>,
}

impl Registry {
    pub fn new(folders: &Folders) -> Self {
        Self { sources: connectors::sources(folders), destinations: connectors::destinations(folders) }
    }

    /// A source that is not built in, for as long as this process runs.
    pub fn add_source(&mut self, identity: Native, source: Arc<dyn Source>) {
        self.sources.push((identity, source));
    }

    pub fn sources(&self) -> &[(Native, Arc<dyn Source>)] {
        &self.sources
    }

    pub fn destinations(&self) -> &[(Native, Arc<dyn Destination>)] {
        &self.destinations
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
