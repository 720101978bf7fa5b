//! Records from stdin into a destination, and states back to stdout when the rows before them are durable.
//!
//! The engine does the work, as in a sync: stdin is its source ([`Stdin`]), and what it would note in the ledger tells
//! which states to send back ([`Echo`]). Three rules follow from having no ledger of its own:
//!
//! * A state is sent back only when its rows are in the *final* table. Rows that wait in staging (full refresh, everything
//!   that merges) are dropped if the process ends early, so nobody may resume behind them.
//! * A stream is completed only if a COMPLETE status for it arrived; without it nothing is merged or swapped and the exit
//!   code is 1. What states covered in an incremental append stays.
//! * Rows may come twice after a crash: the platform resumes from the last state that came back.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::Result;
use async_trait::async_trait;
use connector::{
    Batch, Destination, Error, Output, ReadRequest, Source, Spec, StreamIndex, StreamStatus, decode::Decoder,
};
use engine::{Attempt, Checkpoints, Ending, Event, Kind, Origin};
use protocol::{
    Catalog, ConfiguredCatalog, Json, Message, State, StateMessage, StreamDescriptor,
    checkpoint::{Chain, Claim, Counts, Entry, EntryKind, Line, Place, Point, Why},
    message::{Record, TraceKind},
    schema,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{log, now_ms, say};

const BUDGET: usize = 32 << 20;
/// Bytes of a batch.
const BATCH: usize = 1 << 20;
/// Records that were emitted within this many milliseconds share a batch and its time.
const SAME_TIME: i64 = 1_000;
/// A longer line is not taken: it would not fit into memory as rows either.
const LONGEST_LINE: usize = 128 << 20;

/// Of the names that a destination keeps its position under.
const NAMESPACE: Uuid = uuid::uuid!("0b54bb1e-3a0c-4f0c-9a41-6c0b0f6f7a55");

/// Writes until stdin ends. `Some`: it failed; what came back as states is durable all the same.
pub async fn write(
    destination: Arc<dyn Destination>,
    config: Value,
    catalog: ConfiguredCatalog,
    cancel: CancellationToken,
) -> Result<Option<Error>> {
    let pending = Arc::new(Pending::default());
    let names: Vec<StreamDescriptor> =
        catalog.streams.iter().map(|configured| configured.stream.descriptor.clone()).collect();
    let claim = Claim {
        // A name that no earlier run had: there is no ledger that would know what an earlier run left.
        store: Uuid::new_v4().to_string(),
        connection: Uuid::new_v5(&NAMESPACE, format!("{names:?}").as_bytes()).to_string(),
        job: 1,
        attempt: 0,
        owner: Uuid::new_v4().to_string(),
    };
    let generations =
        catalog.streams.iter().map(|configured| configured.generation_id.unwrap_or_else(now_ms)).collect();
    let (events, mut told) = mpsc::unbounded_channel();
    let attempt = Attempt {
        source: Arc::new(Stdin { pending: pending.clone() }),
        destination,
        source_config: Value::Null,
        destination_config: config,
        claim,
        kind: Kind::Sync,
        tables: names.clone(),
        catalog,
        budget: BUDGET,
        cancel,
        checkpoints: Arc::new(Echo { pending, names, generations, origin: AtomicI64::new(0) }),
        events,
    };
    let logging = tokio::spawn(async move {
        while let Some(event) = told.recv().await {
            if let Event::Log { level, message } = event
                && level <= tracing::Level::INFO
                && say(&log(level, message)).is_err()
            {
                return;
            }
        }
    });
    let outcome = engine::run(attempt).await;
    let _ = logging.await;
    Ok(match outcome.result {
        Ending::Succeeded => None,
        Ending::Cancelled => Some(Error::cancelled()),
        Ending::ClaimLost => Some(Error::system("Another writer took over")),
        Ending::Failed(failures) => failures.into_iter().next().map(|failure| {
            let at = match failure.origin {
                Origin::Source => "stdin",
                _ => "the destination",
            };
            let mut error = Error::new(failure.kind, failure.message);
            error.hint = failure.hint;
            error.with_source(failure.internal.unwrap_or_else(|| format!("at {at}")))
        }),
    })
}

/// States that came and were not sent back, oldest first, each with the records that it covers.
#[derive(Default)]
struct Pending(Mutex<VecDeque<Waiting>>);

struct Waiting {
    state: StateMessage,
    records: i64,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: StateMessage, records: i64) {
        self.lock().push_back(Waiting { state, records });
    }

    /// Takes out this state and those of the same scope before it. Nothing if it went out before.
    fn take_up_to(&self, state: &StateMessage) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let Some(last) = waiting.iter().position(|waiting| waiting.state == *state) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(waiting.len());
        for (index, entry) in std::mem::take(&mut *waiting).into_iter().enumerate() {
            if index <= last && shares_scope(&entry.state, state) { taken.push(entry) } else { kept.push_back(entry) }
        }
        *waiting = kept;
        taken
    }
}

fn shares_scope(a: &StateMessage, b: &StateMessage) -> bool {
    match (&a.state, &b.state) {
        (State::Stream(a), State::Stream(b)) => a.descriptor == b.descriptor,
        (State::Stream(_), _) | (_, State::Stream(_)) => false,
        _ => true,
    }
}

/// What the engine would note in a ledger: nothing is kept, states go to stdout.
struct Echo {
    pending: Arc<Pending>,
    names: Vec<StreamDescriptor>,
    /// In the order of the names.
    generations: Vec<i64>,
    origin: AtomicI64,
}

impl Echo {
    fn generation(&self, stream: &StreamDescriptor) -> i64 {
        let at = self.names.iter().position(|name| name == stream);
        at.and_then(|at| self.generations.get(at)).copied().unwrap_or_default()
    }
}

#[async_trait]
impl Checkpoints for Echo {
    async fn chains(&self) -> connector::Result<Vec<Chain>> {
        Ok(Vec::new())
    }

    async fn confirm(&self, highest_origin: i64) -> connector::Result<()> {
        self.origin.fetch_max(highest_origin, Ordering::SeqCst);
        Ok(())
    }

    async fn append(&self, entries: Vec<Entry>) -> connector::Result<()> {
        for entry in entries {
            let is_final = entry.lines.iter().all(|line| line.place == Place::Final);
            let Some(state) = entry.state.filter(|_| is_final) else { continue };
            for Waiting { mut state, records } in self.pending.take_up_to(&state) {
                let counted = Json::from_value(&json!({ "recordCount": records }));
                let counted = counted.map_err(|error| Error::system("A count cannot be written").with_source(error))?;
                state.extra.insert("destinationStats", counted);
                say(&Message::State(state))
                    .map_err(|error| Error::system("Nobody reads the states").with_source(error))?;
            }
        }
        Ok(())
    }

    async fn begin(&self, streams: &[StreamDescriptor], why: Why) -> connector::Result<Entry> {
        let origin = self.reserve_origin().await?;
        let line = |stream: &StreamDescriptor| Line {
            stream: stream.clone(),
            generation: self.generation(stream),
            place: Place::Final,
            counts: Counts::default(),
        };
        Ok(Entry {
            point: Point { origin, seq: 0 },
            kind: EntryKind::Begin,
            why,
            job: Some(1),
            attempt: Some(0),
            state: None,
            lines: streams.iter().map(line).collect(),
        })
    }

    async fn reserve_origin(&self) -> connector::Result<i64> {
        Ok(self.origin.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn last_final(&self, _: i64, _: &[StreamDescriptor]) -> connector::Result<Option<Entry>> {
        Ok(None)
    }

    async fn job_counts(&self, _: i64) -> connector::Result<Vec<(StreamDescriptor, Counts)>> {
        Ok(Vec::new())
    }

    async fn raise_generation(&self, stream: &StreamDescriptor) -> connector::Result<i64> {
        Ok(self.generation(stream) + 1)
    }
}

/// The lines of stdin as a source.
struct Stdin {
    pending: Arc<Pending>,
}

#[async_trait]
impl Source for Stdin {
    fn spec(&self) -> Spec {
        Spec {
            documentation_url: String::new(),
            connection_specification: json!({}),
            supported_destination_sync_modes: Vec::new(),
            protocol_version: "0.2.0".to_owned(),
        }
    }

    async fn check(&self, _: &Value, _: &CancellationToken) -> connector::Result<()> {
        Ok(())
    }

    async fn discover(&self, _: &Value, _: &CancellationToken) -> connector::Result<Catalog> {
        Ok(Catalog::default())
    }

    async fn read(&self, request: ReadRequest, output: Output) -> connector::Result<()> {
        let mut lines = BufReader::with_capacity(1 << 20, tokio::io::stdin());
        let mut reading = Reading::new(&request.catalog, output, self.pending.clone());
        let mut line = Vec::new();
        loop {
            let is_there = tokio::select! {
                biased;
                () = request.cancel.cancelled() => return Err(Error::cancelled()),
                is_there = next_line(&mut lines, &mut line) => is_there?,
            };
            if !is_there {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            reading.line(text.trim()).await?;
        }
        reading.end().await
    }
}

/// False at the end of the input.
async fn next_line(lines: &mut BufReader<tokio::io::Stdin>, line: &mut Vec<u8>) -> connector::Result<bool> {
    line.clear();
    loop {
        let bytes = lines.fill_buf().await.map_err(|error| Error::system("stdin cannot be read").with_source(error))?;
        if bytes.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        line.extend_from_slice(&bytes[..taken]);
        lines.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() > LONGEST_LINE {
            let message = format!("A line of stdin is longer than {} MiB", LONGEST_LINE >> 20);
            return Err(Error::system(message));
        }
    }
}

struct Reading {
    streams: Vec<Stream>,
    output: Output,
    pending: Arc<Pending>,
}

struct Stream {
    descriptor: StreamDescriptor,
    decoder: Decoder,
    /// The earliest and the latest `emitted_at` of the batch in the making.
    emitted: Option<(i64, i64)>,
    read: i64,
    since_state: i64,
    is_complete: bool,
}

impl Reading {
    fn new(catalog: &ConfiguredCatalog, output: Output, pending: Arc<Pending>) -> Self {
        let stream = |configured: &protocol::ConfiguredStream| Stream {
            descriptor: configured.stream.descriptor.clone(),
            decoder: Decoder::new(&schema::columns(&configured.stream.json_schema)),
            emitted: None,
            read: 0,
            since_state: 0,
            is_complete: false,
        };
        Self { streams: catalog.streams.iter().map(stream).collect(), output, pending }
    }

    async fn line(&mut self, text: &str) -> connector::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let message = match Message::parse(text) {
            Ok(message) => message,
            // Whatever it says, a record must not get lost in silence.
            Err(error) if text.contains("\"RECORD\"") => {
                return Err(Error::system("A record on stdin cannot be read").with_source(error));
            }
            Err(error) => {
                let message = format!("A line on stdin is not a message and was ignored: {error}");
                return self.output.log(tracing::Level::WARN, message).await;
            }
        };
        match message {
            Message::Record(record) => self.record(record).await,
            Message::State(state) => self.state(state).await,
            Message::Trace(trace) => match trace.kind {
                TraceKind::StreamStatus { stream_status } if stream_status.status == "COMPLETE" => {
                    self.complete(&stream_status.stream_descriptor).await
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn place(&self, stream: &StreamDescriptor) -> connector::Result<usize> {
        self.streams.iter().position(|own| own.descriptor == *stream).ok_or_else(|| {
            Error::config(format!("Stream `{stream}` came on stdin and is not in the catalog"))
                .with_hint("Add it to the configured catalog, or take it out of the source's")
        })
    }

    async fn record(&mut self, record: Record) -> connector::Result<()> {
        let at = self.place(&record.stream)?;
        let stream = &mut self.streams[at];
        if stream.is_complete {
            return Err(Error::system(format!(
                "A record of stream `{}` came after it was complete",
                stream.descriptor
            )));
        }
        let now = record.emitted_at;
        if let Some((earliest, latest)) = stream.emitted
            && latest.max(now).saturating_sub(earliest.min(now)) > SAME_TIME
        {
            self.flush(at).await?;
        }
        let stream = &mut self.streams[at];
        let (earliest, latest) = stream.emitted.unwrap_or((now, now));
        stream.emitted = Some((earliest.min(now), latest.max(now)));
        stream.decoder.push(record.data.text().as_bytes()).map_err(|error| {
            Error::system(format!("A record of stream `{}` cannot be read", stream.descriptor))
                .with_source(format!("{error:?}"))
        })?;
        for change in record.meta.iter().flat_map(|meta| &meta.changes) {
            let word = if change.change == "TRUNCATED" { "TRUNCATED" } else { "NULLED" };
            stream.decoder.note(&change.field, word, reason(&change.reason));
        }
        stream.read += 1;
        stream.since_state += 1;
        if stream.decoder.bytes() >= BATCH {
            self.flush(at).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, at: usize) -> connector::Result<()> {
        let stream = &mut self.streams[at];
        let Some((_, emitted_at)) = stream.emitted.take() else { return Ok(()) };
        let (rows, changes) = stream.decoder.take()?;
        let batch = Batch::new(StreamIndex(at), rows, emitted_at).with_changes(changes);
        self.output.batch(batch).await
    }

    async fn state(&mut self, state: StateMessage) -> connector::Result<()> {
        let covered = match &state.state {
            State::Stream(own) => match self.place(&own.descriptor) {
                Ok(at) => at..at + 1,
                // It covers nothing that was sent: nothing is lost by leaving it out.
                Err(error) => return self.output.log(tracing::Level::WARN, error.message).await,
            },
            State::Global { .. } | State::Legacy(_) => 0..self.streams.len(),
        };
        let mut records = 0;
        for at in covered {
            self.flush(at).await?;
            records += std::mem::take(&mut self.streams[at].since_state);
        }
        self.pending.push(state.clone(), records);
        self.output.state(state).await
    }

    async fn complete(&mut self, stream: &StreamDescriptor) -> connector::Result<()> {
        let at = self.place(stream)?;
        if std::mem::replace(&mut self.streams[at].is_complete, true) {
            return Ok(());
        }
        self.flush(at).await?;
        let read = self.streams[at].read;
        self.output.status(StreamIndex(at), StreamStatus::Complete { read }).await
    }

    async fn end(mut self) -> connector::Result<()> {
        for at in 0..self.streams.len() {
            self.flush(at).await?;
        }
        let open: Vec<String> = self
            .streams
            .iter()
            .filter(|stream| !stream.is_complete)
            .map(|stream| format!("`{}`", stream.descriptor))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        Err(Error::transient(format!("stdin ended before these streams were complete: {}", open.join(", ")))
            .with_hint("A source that ended well says COMPLETE for each stream in a TRACE of type STREAM_STATUS"))
    }
}

/// The protocol's own word; what nobody knows counts as the source's.
fn reason(word: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "SOURCE_RETRIEVAL_ERROR",
        "SOURCE_RECORD_SIZE_LIMITATION",
        "SOURCE_FIELD_SIZE_LIMITATION",
        "SOURCE_SERIALIZATION_ERROR",
        "PLATFORM_RECORD_SIZE_LIMITATION",
        "PLATFORM_FIELD_SIZE_LIMITATION",
        "PLATFORM_SERIALIZATION_ERROR",
        "DESTINATION_RECORD_SIZE_LIMITATION",
        "DESTINATION_FIELD_SIZE_LIMITATION",
        "DESTINATION_SERIALIZATION_ERROR",
        "DESTINATION_TYPECAST_ERROR",
    ];
    KNOWN.iter().find(|known| **known == word).unwrap_or(&KNOWN[0])
}
