//! States: where a stream, or a whole source, may resume.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};

use crate::{
    StreamDescriptor,
    json::{Fields, Json},
};

/// The state of one stream. A missing state is the wire's way to say "forget this stream".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    pub descriptor: StreamDescriptor,
    pub state: Option<Json>,
    pub extra: Fields,
}

impl StreamState {
    pub fn new(descriptor: StreamDescriptor, state: Option<Json>) -> Self {
        Self { descriptor, state, extra: Fields::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Stream(StreamState),
    /// Holds the state of every stream each time.
    Global {
        shared: Option<Json>,
        streams: Vec<StreamState>,
        extra: Fields,
    },
    /// One blob for the whole source.
    Legacy(Json),
}

/// A STATE payload (`AirbyteStateMessage`) with everything that came with it: counts, ids, unknown properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMessage {
    pub state: State,
    pub extra: Fields,
}

impl From<State> for StateMessage {
    fn from(state: State) -> Self {
        Self { state, extra: Fields::default() }
    }
}

impl StateMessage {
    pub fn stream(descriptor: StreamDescriptor, state: Option<Json>) -> Self {
        State::Stream(StreamState::new(descriptor, state)).into()
    }

    /// The blob of one stream in this state, if it has one.
    pub fn of(&self, stream: &StreamDescriptor) -> Option<&Json> {
        match &self.state {
            State::Stream(own) if own.descriptor == *stream => own.state.as_ref(),
            State::Global { streams, .. } => streams.iter().find(|s| s.descriptor == *stream)?.state.as_ref(),
            State::Stream(_) | State::Legacy(_) => None,
        }
    }
}

impl Serialize for StreamState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream_descriptor", &self.descriptor)?;
        if let Some(state) = &self.state {
            map.serialize_entry("stream_state", state)?;
        }
        self.extra.write(&mut map)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for StreamState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        let descriptor = fields.require::<_, D::Error>("stream_descriptor")?;
        let state = fields.take::<_, D::Error>("stream_state")?;
        Ok(Self { descriptor, state, extra: fields })
    }
}

impl Serialize for StateMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.state {
            State::Stream(stream) => {
                map.serialize_entry("type", "STREAM")?;
                map.serialize_entry("stream", stream)?;
            }
            State::Global { shared, streams, extra } => {
                map.serialize_entry("type", "GLOBAL")?;
                map.serialize_entry("global", &Global { shared, streams, extra })?;
            }
            State::Legacy(data) => {
                map.serialize_entry("type", "LEGACY")?;
                map.serialize_entry("data", data)?;
            }
        }
        self.extra.write(&mut map)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for StateMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        let kind: Option<String> = fields.take::<_, D::Error>("type")?;
        let state = match kind.as_deref() {
            Some("STREAM") => State::Stream(fields.require::<_, D::Error>("stream")?),
            Some("GLOBAL") => {
                let mut global: Fields = fields.require::<_, D::Error>("global")?;
                let shared = global.take::<_, D::Error>("shared_state")?;
                let streams = global.take::<_, D::Error>("stream_states")?.unwrap_or_default();
                State::Global { shared, streams, extra: global }
            }
            None | Some("LEGACY") => State::Legacy(fields.require::<_, D::Error>("data")?),
            Some(other) => return Err(D::Error::custom(format_args!("unknown state type {other:?}"))),
        };
        // Some sources repeat the old blob beside a typed state; the typed state is the truth.
        if !matches!(state, State::Legacy(_)) {
            fields.take::<Json, D::Error>("data")?;
        }
        Ok(Self { state, extra: fields })
    }
}

struct Global<'a> {
    shared: &'a Option<Json>,
    streams: &'a [StreamState],
    extra: &'a Fields,
}

impl Serialize for Global<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(shared) = self.shared {
            map.serialize_entry("shared_state", shared)?;
        }
        map.serialize_entry("stream_states", self.streams)?;
        self.extra.write(&mut map)?;
        map.end()
    }
}
