//! The laws of a source.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use protocol::{ConfiguredCatalog, DestinationSyncMode, State, StateMessage, Stream, StreamDescriptor, SyncMode};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{
    ErrorKind, ReadRequest, Result, Source, SourceMessage, StreamStatus, output,
    testing::{
        configured,
        rows::{self, Row},
    },
};

/// States of a read from which the rest is read again.
const RESUMES: usize = 12;

/// Runs every law. With `config` two reads must give the same rows; each of `bad` must be refused.
pub async fn source(source: Arc<dyn Source>, config: Value, bad: &[Value]) {
    let cancel = CancellationToken::new();
    assert!(source.spec().connection_specification["properties"].is_object(), "a specification has properties");
    source.check(&config, &cancel).await.expect("the check succeeds");
    for bad in bad {
        let error = source.check(bad, &cancel).await.expect_err("a bad configuration is refused");
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
    }
    let catalog = source.discover(&config, &cancel).await.expect("discover succeeds");
    assert!(!catalog.streams.is_empty(), "something is offered");
    for mode in [SyncMode::FullRefresh, SyncMode::Incremental] {
        let offers = |stream: &&Stream| {
            let modes = &stream.supported_sync_modes;
            modes.contains(&mode) || (modes.is_empty() && mode == SyncMode::FullRefresh)
        };
        let streams: Vec<Stream> = catalog.streams.iter().filter(offers).cloned().collect();
        if !streams.is_empty() {
            resumes(source.as_ref(), &config, &streams, mode).await;
            cancels(source.as_ref(), &config, &streams, mode).await;
        }
    }
}

/// What one read gave.
#[derive(Default)]
struct Seen {
    rows: BTreeMap<StreamDescriptor, Vec<Row>>,
    /// Each state, with the rows of each stream before it.
    states: Vec<(StateMessage, BTreeMap<StreamDescriptor, usize>)>,
    complete: BTreeMap<StreamDescriptor, i64>,
}

async fn read(
    source: &dyn Source,
    config: &Value,
    streams: &[Stream],
    mode: SyncMode,
    state: Vec<StateMessage>,
) -> Result<Seen> {
    let names: Vec<_> = streams.iter().map(|stream| stream.descriptor.clone()).collect();
    let configured = streams.iter().map(|stream| configured(stream.clone(), mode, DestinationSyncMode::Append));
    let catalog = ConfiguredCatalog { streams: configured.collect(), extra: Map::new() };
    let (out, mut input) = output::channel(1 << 20);
    let request = ReadRequest { config: config.clone(), catalog, state, cancel: CancellationToken::new() };
    let mut seen = Seen::default();
    let take = async {
        let mut pending = VecDeque::new();
        while let Some(message) = match pending.pop_front() {
            Some(message) => Some(message),
            None => input.next().await,
        } {
            match message {
                // The two that it stands for.
                SourceMessage::Last { stream, state, read } => {
                    pending.push_back(SourceMessage::State(state));
                    pending.push_back(SourceMessage::Status { stream, status: StreamStatus::Complete { read } });
                }
                SourceMessage::Batch(batch) => {
                    let name = names.get(batch.stream.0).expect("rows belong to a stream of the catalog");
                    assert!(!seen.complete.contains_key(name), "`{name}` was complete");
                    seen.rows.entry(name.clone()).or_default().extend(rows::of(&batch.rows));
                }
                SourceMessage::State(state) => {
                    if let State::Stream(own) = &state.state {
                        assert!(names.contains(&own.descriptor), "a state belongs to a stream of the catalog");
                    }
                    let before = seen.rows.iter().map(|(name, rows)| (name.clone(), rows.len())).collect();
                    seen.states.push((state, before));
                }
                SourceMessage::Status { stream, status: StreamStatus::Complete { read } } => {
                    let again = seen.complete.insert(names[stream.0].clone(), read);
                    assert!(again.is_none(), "a stream ends once");
                }
                SourceMessage::Status { .. } | SourceMessage::Log { .. } => {}
            }
        }
    };
    let (result, ()) = tokio::join!(source.read(request, out), take);
    result.map(|()| seen)
}

async fn resumes(source: &dyn Source, config: &Value, streams: &[Stream], mode: SyncMode) {
    let whole = read(source, config, streams, mode, vec![]).await.expect("the read succeeds");
    for stream in streams {
        let name = &stream.descriptor;
        let rows = whole.rows.get(name).map_or(0, Vec::len) as i64;
        assert_eq!(whole.complete.get(name), Some(&rows), "`{name}` says that it is complete, with its count");
    }
    let step = whole.states.len().div_ceil(RESUMES).max(1);
    let last = whole.states.last().into_iter();
    for (state, before) in whole.states.iter().step_by(step).chain(last) {
        // The state of one stream says nothing about the others.
        let own: Vec<Stream> = match &state.state {
            State::Stream(own) => streams.iter().filter(|s| s.descriptor == own.descriptor).cloned().collect(),
            _ => streams.to_vec(),
        };
        let rest = read(source, config, &own, mode, vec![state.clone()]).await.expect("a state is accepted again");
        for stream in own {
            let name = &stream.descriptor;
            let from = before.get(name).copied().unwrap_or_default();
            let expected = whole.rows.get(name).map_or(&[][..], |rows| &rows[from..]);
            let found = rest.rows.get(name).map_or(&[][..], Vec::as_slice);
            assert!(
                found == expected,
                "`{name}` gives exactly the rest after {state:?}: {} rows, not {}",
                found.len(),
                expected.len()
            );
        }
    }
}

async fn cancels(source: &dyn Source, config: &Value, streams: &[Stream], mode: SyncMode) {
    let configured = streams.iter().map(|stream| configured(stream.clone(), mode, DestinationSyncMode::Append));
    let catalog = ConfiguredCatalog { streams: configured.collect(), extra: Map::new() };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let (out, mut input) = output::channel(1 << 20);
    let request = ReadRequest { config: config.clone(), catalog, state: vec![], cancel };
    let take = async { while input.next().await.is_some() {} };
    let (result, ()) = tokio::join!(source.read(request.clone(), out), take);
    // A source that had everything ready may have finished; it must not fail in another way.
    if let Err(error) = result {
        assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    }
    let (out, input) = output::channel(1);
    drop(input);
    let request = ReadRequest { cancel: CancellationToken::new(), ..request };
    if let Err(error) = source.read(request, out).await {
        assert_eq!(error.kind, ErrorKind::Cancelled, "a source whose rows nobody takes stops: {error}");
    }
}
