//! The state of a connection as its owner sees and sets it: where each stream resumes.
//!
//! States are read from the ledger, and a write begins a new chain there, so that what was before can still be seen. Names
//! are those of the source, whatever the tables are called.

use protocol::{
    Json, State, StateMessage, StreamDescriptor, StreamState,
    checkpoint::{Counts, EntryKind, Line, Place, Why},
};
pub use store::CurrentState;
use store::{NewChain, Tx};
use uuid::Uuid;

use crate::{Control, Error, Result, catalog, connections};

/// What is to be the state. Streams that are not named keep theirs; a stream without a blob forgets its own.
#[derive(Clone, Debug)]
pub enum StateWrite {
    NotSet,
    Legacy(Option<Json>),
    Stream(Vec<(StreamDescriptor, Option<Json>)>),
    Global { shared: Option<Json>, streams: Vec<(StreamDescriptor, Option<Json>)> },
}

impl StateWrite {
    fn word(&self) -> &'static str {
        match self {
            Self::NotSet => "not_set",
            Self::Legacy(_) => "legacy",
            Self::Stream(_) => "stream",
            Self::Global { .. } => "global",
        }
    }
}

/// The type of a state in the API's words.
pub fn word(state: &CurrentState) -> &'static str {
    match state {
        CurrentState::NotSet => "not_set",
        CurrentState::Legacy(_) => "legacy",
        CurrentState::Stream(_) => "stream",
        CurrentState::Global { .. } => "global",
    }
}

impl Control {
    /// An unknown connection has no state, as upstream.
    pub async fn state(&self, connection: Uuid) -> Result<CurrentState> {
        Ok(self.read().await?.current_state(connection).await?)
    }

    /// Answers the state after it.
    ///
    /// # Errors
    /// 404: no such connection. 409: a job is active, which would not see it. 422: another type than the present state has.
    pub async fn write_state(&self, connection_id: Uuid, write: StateWrite) -> Result<CurrentState> {
        let now_ms = self.now_ms();
        let mut tx = self.write().await?;
        let connection = connections::load(&mut tx, connection_id).await?;
        if let Some(job) = tx.active_job(connection_id).await? {
            let message = format!("Job {} of this connection is active and would not see the new state", job.id);
            return Err(Error::conflict("job_active", message)
                .with_hint("Cancel the job, or wait for its end, then write the state."));
        }
        let current = tx.current_state(connection_id).await?;
        check_type(&current, &write)?;
        let mut streams = catalog::descriptors(&mut tx, &connection).await?;
        match write {
            StateWrite::NotSet => {}
            StateWrite::Legacy(blob) => {
                let kind = if blob.is_some() { EntryKind::Legacy } else { EntryKind::Begin };
                begin(&mut tx, connection_id, kind, blob.map(State::Legacy), &streams, now_ms).await?;
            }
            StateWrite::Stream(given) => {
                if matches!(current, CurrentState::Legacy(_)) {
                    // The one blob of old stood for every stream; those that are not named start anew.
                    streams.retain(|stream| given.iter().all(|(named, _)| named != stream));
                    begin(&mut tx, connection_id, EntryKind::Begin, None, &streams, now_ms).await?;
                }
                for (stream, blob) in given {
                    let own = std::slice::from_ref(&stream);
                    let kind = if blob.is_some() { EntryKind::Stream } else { EntryKind::Begin };
                    let state = blob.map(|blob| State::Stream(StreamState::new(stream.clone(), Some(blob))));
                    begin(&mut tx, connection_id, kind, state, own, now_ms).await?;
                }
            }
            StateWrite::Global { shared, streams: given } => {
                let states = merged(&current, given);
                for state in &states {
                    if !streams.contains(&state.descriptor) {
                        streams.push(state.descriptor.clone());
                    }
                }
                let state = State::Global { shared, streams: states, extra: Default::default() };
                begin(&mut tx, connection_id, EntryKind::Global, Some(state), &streams, now_ms).await?;
            }
        }
        let state = tx.current_state(connection_id).await?;
        tx.commit().await?;
        Ok(state)
    }
}

/// Only a legacy state may give way to another type: the types do not mix.
fn check_type(current: &CurrentState, write: &StateWrite) -> Result<()> {
    let is = word(current);
    let becomes = write.word();
    if is == becomes
        || matches!(current, CurrentState::NotSet | CurrentState::Legacy(_)) && !matches!(write, StateWrite::NotSet)
    {
        return Ok(());
    }
    let message = match write {
        StateWrite::NotSet => format!("The state of this connection is of type {is} and cannot be made {becomes}"),
        _ => format!("The state of this connection is of type {is}; it cannot become {becomes}"),
    };
    Err(Error::invalid("connectionState.stateType", message)
        .with_value(becomes)
        .with_hint("To start over, name each stream without streamState, or reset the connection."))
}

fn merged(current: &CurrentState, given: Vec<(StreamDescriptor, Option<Json>)>) -> Vec<StreamState> {
    let mut states = match current {
        CurrentState::Global { streams, .. } => streams.clone(),
        _ => Vec::new(),
    };
    for (stream, blob) in given {
        let place = states.iter().position(|state| state.descriptor == stream);
        match (place, blob) {
            (Some(place), None) => {
                states.remove(place);
            }
            (Some(place), blob) => states[place].state = blob,
            (None, None) => {}
            (None, blob) => states.push(StreamState::new(stream, blob)),
        }
    }
    states
}

async fn begin(
    tx: &mut Tx,
    connection: Uuid,
    kind: EntryKind,
    state: Option<State>,
    streams: &[StreamDescriptor],
    now_ms: i64,
) -> Result<()> {
    if streams.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(streams.len());
    for stream in streams {
        let generation = tx.generation(connection, stream).await?;
        lines.push(Line { stream: stream.clone(), generation, place: Place::Final, counts: Counts::default() });
    }
    let chain = NewChain { kind, why: Why::ApiWrite, state: state.map(StateMessage::from), lines };
    tx.begin_chain(connection, &chain, now_ms).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn only_a_legacy_state_gives_way_to_another_type() {
        let stream = || StateWrite::Stream(Vec::new());
        let global = || StateWrite::Global { shared: None, streams: Vec::new() };
        let legacy = || StateWrite::Legacy(Some(json("{}")));
        let is_stream = CurrentState::Stream(Vec::new());
        let is_global = CurrentState::Global { shared: None, streams: Vec::new() };
        let is_legacy = CurrentState::Legacy(json("{}"));
        let check = |current: &CurrentState, write: StateWrite, expected: bool| {
            assert_eq!(check_type(current, &write).is_ok(), expected, "{current:?} {write:?}");
        };
        for write in [stream(), global(), legacy(), StateWrite::NotSet] {
            check(&CurrentState::NotSet, write, true);
        }
        for write in [stream(), global(), legacy()] {
            check(&is_legacy, write, true);
        }
        check(&is_legacy, StateWrite::NotSet, false);
        check(&is_stream, stream(), true);
        check(&is_stream, global(), false);
        check(&is_stream, legacy(), false);
        check(&is_stream, StateWrite::NotSet, false);
        check(&is_global, stream(), false);
        check(&is_global, global(), true);
    }

    #[test]
    fn a_global_state_is_merged_stream_by_stream() {
        let name = |name: &str| StreamDescriptor::new(None, name);
        let old = |stream: &str| StreamState::new(name(stream), Some(json("1")));
        let current = CurrentState::Global { shared: None, streams: vec![old("a"), old("b"), old("c")] };
        let given =
            vec![(name("b"), None), (name("c"), Some(json("2"))), (name("d"), Some(json("3"))), (name("e"), None)];
        let merged = merged(&current, given);
        let texts: Vec<(&str, &str)> =
            merged.iter().map(|s| (s.descriptor.name.as_str(), s.state.as_ref().unwrap().text())).collect();
        assert_eq!(texts, [("a", "1"), ("c", "2"), ("d", "3")]);
    }
}
