//! The state of a connection: get, create_or_update.

use axum::extract::State;
use control::{
    Error,
    state::{CurrentState, StateWrite, word},
};
use protocol::{Json, StreamDescriptor, StreamState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body, Name},
    ids::ConnectionIdRequestBody,
};

pub fn routes() -> Routes {
    Routes::new().post("/state/get", get).post("/state/create_or_update", create_or_update)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionStateCreateOrUpdate {
    connection_id: Uuid,
    connection_state: ConnectionStateWrite,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionStateWrite {
    state_type: StateType,
    /// Must be the connection that is written.
    connection_id: Uuid,
    state: Option<Json>,
    stream_state: Option<Vec<StreamStateWire>>,
    global_state: Option<GlobalStateWrite>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateType {
    Global,
    Stream,
    Legacy,
    NotSet,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamStateWire {
    stream_descriptor: DescriptorWire,
    /// Kept as the text that came: it may hold numbers that no Rust type holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_state: Option<Json>,
}

#[derive(Debug, Deserialize, Serialize)]
struct DescriptorWire {
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Name>,
}

/// Snake case beside camel case: so it is on the wire.
#[derive(Debug, Deserialize)]
struct GlobalStateWrite {
    shared_state: Option<Json>,
    #[serde(rename = "streamStates")]
    stream_states: Vec<StreamStateWire>,
}

#[derive(Debug, Serialize)]
struct GlobalStateRead {
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_state: Option<Json>,
    #[serde(rename = "streamStates")]
    stream_states: Vec<StreamStateWire>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionState {
    state_type: &'static str,
    connection_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_state: Option<Vec<StreamStateWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global_state: Option<GlobalStateRead>,
}

impl ConnectionState {
    fn of(connection_id: Uuid, current: CurrentState) -> Self {
        let mut read =
            Self { state_type: word(&current), connection_id, state: None, stream_state: None, global_state: None };
        match current {
            CurrentState::NotSet => {}
            CurrentState::Legacy(state) => read.state = Some(state),
            CurrentState::Stream(streams) => read.stream_state = Some(wire(streams)),
            CurrentState::Global { shared, streams } => {
                read.global_state = Some(GlobalStateRead { shared_state: shared, stream_states: wire(streams) });
            }
        }
        read
    }
}

fn wire(streams: Vec<StreamState>) -> Vec<StreamStateWire> {
    let stream = |stream: StreamState| StreamStateWire {
        stream_descriptor: DescriptorWire {
            name: Name::from(stream.descriptor.name.as_str()),
            namespace: stream.descriptor.namespace.as_deref().map(Name::from),
        },
        stream_state: stream.state,
    };
    streams.into_iter().map(stream).collect()
}

impl ConnectionStateWrite {
    fn into_write(self, connection_id: Uuid) -> Result<StateWrite, Error> {
        if self.connection_id != connection_id {
            let message = "This is another connection than the one that is written";
            return Err(Error::invalid("connectionState.connectionId", message).with_value(self.connection_id));
        }
        match self.state_type {
            StateType::NotSet => Ok(StateWrite::NotSet),
            StateType::Legacy => Ok(StateWrite::Legacy(given(self.state))),
            StateType::Stream => {
                let path = "connectionState.streamState";
                let Some(streams) = self.stream_state else {
                    return Err(Error::invalid(path, "stateType is stream, so this list is required"));
                };
                Ok(StateWrite::Stream(blobs(streams, path)?))
            }
            StateType::Global => {
                let path = "connectionState.globalState";
                let Some(global) = self.global_state else {
                    return Err(Error::invalid(path, "stateType is global, so this object is required"));
                };
                let shared = object(given(global.shared_state), &format!("{path}.shared_state"))?;
                Ok(StateWrite::Global {
                    shared,
                    streams: blobs(global.stream_states, &format!("{path}.streamStates"))?,
                })
            }
        }
    }
}

fn blobs(streams: Vec<StreamStateWire>, path: &str) -> Result<Vec<(StreamDescriptor, Option<Json>)>, Error> {
    let mut blobs: Vec<(StreamDescriptor, Option<Json>)> = Vec::with_capacity(streams.len());
    for (index, stream) in streams.into_iter().enumerate() {
        let DescriptorWire { name, namespace } = stream.stream_descriptor;
        let namespace = namespace.map(String::from);
        let descriptor = StreamDescriptor::new(namespace.as_deref(), name);
        if blobs.iter().any(|(other, _)| *other == descriptor) {
            let path = format!("{path}[{index}].streamDescriptor");
            return Err(Error::invalid(path, format!("Stream {descriptor} is listed twice")));
        }
        let blob = object(given(stream.stream_state), &format!("{path}[{index}].streamState"))?;
        blobs.push((descriptor, blob));
    }
    Ok(blobs)
}

fn given(blob: Option<Json>) -> Option<Json> {
    blob.filter(|blob| !blob.is_null())
}

/// A blob must be an object; `[]` is what PHP makes of an empty one.
fn object(blob: Option<Json>, path: &str) -> Result<Option<Json>, Error> {
    let Some(blob) = blob else { return Ok(None) };
    if blob.text().starts_with('{') {
        return Ok(Some(blob));
    }
    let is_empty = blob.to::<Vec<Json>>().is_ok_and(|items| items.is_empty());
    if !is_empty {
        return Err(Error::invalid(path, "Expected an object"));
    }
    Json::parse("{}".to_owned()).map(Some).map_err(|_| Error::invalid(path, "Expected an object"))
}

async fn get(
    State(state): State<AppState>,
    Body(body): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<ConnectionState>> {
    let current = state.control.state(body.connection_id).await?;
    Ok(Answer(ConnectionState::of(body.connection_id, current)))
}

async fn create_or_update(
    State(state): State<AppState>,
    Body(body): Body<ConnectionStateCreateOrUpdate>,
) -> ApiResult<Answer<ConnectionState>> {
    let id = body.connection_id;
    let write = body.connection_state.into_write(id)?;
    Ok(Answer(ConnectionState::of(id, state.control.write_state(id, write).await?)))
}
