//! The read: lines in, batches, marks and statuses out.

use std::{borrow::Cow, collections::HashMap, process::ExitStatus};

use protocol::{
    ConfiguredCatalog, DestinationSyncMode, Message, State, StateMessage, StreamDescriptor,
    message::{LogLevel, Trace, TraceKind},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Level;

use super::{
    child::{Child, MOST_TEXT},
    command::{Command, Limits},
    failure::Failures,
    files::Files,
    lines::Line,
    mask::Mask,
    record::{Envelope, Row, escape_invalid, known_change, known_reason, looks_like_record, now},
};
use crate::{Batch, Error, Output, ReadRequest, Result, StreamIndex, StreamStatus, decode::Decoder};

/// Rows of one batch, however narrow they are.
const MOST_ROWS: usize = 65_536;
/// Batches of this many times [`Limits::batch`] may be in the making, over all streams.
const MOST_BATCHES: usize = 8;
/// Records of one batch were emitted within this many milliseconds: they share a stamp, the latest.
const SAME_TIME: i64 = 1000;
/// Lines that could not be read are logged one by one up to here, then only counted.
const MOST_COMPLAINTS: u64 = 20;

pub(super) async fn read(command: &Command, mask: Mask, request: ReadRequest, output: Output) -> Result<()> {
    let mut files = Files::new("read")?;
    files.add("config", &request.config)?;
    files.add("catalog", &for_source(&request.catalog))?;
    match request.state.as_slice() {
        [] => {}
        // The old kind is the bare blob; the others are a list of messages.
        [StateMessage { state: State::Legacy(blob), .. }] => files.add("state", blob)?,
        messages => files.add("state", &messages)?,
    }
    let mut child = Child::spawn(command, files.args(), &mask, Some(output.clone()))?;
    let name = command.name();
    let mut reading = Reading::new(&request.catalog, command.limits, mask, output);
    let outcome = tokio::select! {
        biased;
        () = request.cancel.cancelled() => Err(Error::cancelled()),
        outcome = reading.run(&mut child, &name) => outcome,
    };
    if outcome.is_err() {
        child.stop().await;
    }
    outcome
}

/// The catalog in the words that every source knows.
fn for_source(catalog: &ConfiguredCatalog) -> ConfiguredCatalog {
    let mut catalog = catalog.clone();
    for configured in &mut catalog.streams {
        configured.destination_sync_mode = match configured.destination_sync_mode {
            DestinationSyncMode::OverwriteDedup => DestinationSyncMode::Overwrite,
            DestinationSyncMode::Update | DestinationSyncMode::SoftDelete => DestinationSyncMode::Append,
            known => known,
        };
    }
    catalog
}

struct Stream {
    descriptor: StreamDescriptor,
    decoder: Decoder,
    /// The earliest and the latest `emitted_at` of the batch in the making, if there is one.
    emitted: Option<(i64, i64)>,
    started: bool,
    incomplete: bool,
    /// Records that came (Invariant 2: counted where lines are read, not where batches are made).
    read: i64,
    /// Of these, since the last state.
    unmarked: i64,
}

struct Reading {
    streams: Vec<Stream>,
    names: HashMap<StreamDescriptor, usize>,
    /// The stream of the record before: records come in runs.
    current: usize,
    /// Bytes of all batches in the making.
    pending: usize,
    /// When the first row came after all batches were sent.
    oldest: Option<Instant>,
    limits: Limits,
    mask: Mask,
    output: Output,
    failures: Failures,
    /// Lines that looked like records and could not be read.
    rejected: u64,
    miscounted: bool,
}

impl Reading {
    fn new(catalog: &ConfiguredCatalog, limits: Limits, mask: Mask, output: Output) -> Self {
        let streams: Vec<_> = catalog
            .streams
            .iter()
            .map(|configured| Stream {
                descriptor: configured.stream.descriptor.clone(),
                decoder: Decoder::new(&protocol::schema::columns(&configured.stream.json_schema)),
                emitted: None,
                started: false,
                incomplete: false,
                read: 0,
                unmarked: 0,
            })
            .collect();
        let names = streams.iter().enumerate().map(|(at, stream)| (stream.descriptor.clone(), at)).collect();
        let failures = Failures::default();
        Self {
            streams,
            names,
            current: 0,
            pending: 0,
            oldest: None,
            limits,
            mask,
            output,
            failures,
            rejected: 0,
            miscounted: false,
        }
    }

    async fn run(&mut self, child: &mut Child, name: &str) -> Result<()> {
        let mut status = None;
        // After the end of the process its own children may hold the pipe open. As in a container they end with it:
        // they are heard while they talk, and not waited for.
        let mut deadline = None;
        let mut heard = Instant::now();
        loop {
            let silence = heard + self.limits.silence;
            let linger = self.oldest.map(|since| since + self.limits.linger);
            let is_late = tokio::select! {
                biased;
                line = child.lines.next() => match line {
                    Ok(Some(line)) => {
                        if self.line(line).await? {
                            heard = Instant::now();
                        }
                        deadline = deadline.map(|_| Instant::now() + self.limits.grace);
                        linger.is_some_and(|linger| linger <= Instant::now())
                    }
                    Ok(None) => break,
                    Err(error) => return Err(child.lost(error)),
                },
                ended = child.process.wait(), if status.is_none() => {
                    status = Some(ended);
                    deadline = Some(Instant::now() + self.limits.grace);
                    false
                }
                () = sleep_until(linger.unwrap_or(silence)), if linger.is_some() => true,
                () = sleep_until(deadline.unwrap_or(silence)) => {
                    if deadline.is_some() {
                        break;
                    }
                    let seconds = self.limits.silence.as_secs();
                    let text = format!("The connector `{name}` sent no record and no state for {seconds} seconds");
                    return Err(Error::transient(text));
                }
            };
            if is_late {
                self.flush_all().await?;
            }
        }
        self.flush_all().await?;
        let status = match status {
            Some(status) => status,
            None => match timeout(self.limits.silence, child.process.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    return Err(Error::transient(format!("The connector `{name}` closed its output and did not end")));
                }
            },
        };
        child.end_group();
        let last_words = child.last_words().await;
        self.finish(status.map_err(|error| child.lost(error))?, &last_words, name).await
    }

    async fn finish(&mut self, status: ExitStatus, last_words: &str, name: &str) -> Result<()> {
        if self.rejected > 0 {
            let text = format!(
                "{} lines of the connector `{name}` that looked like records could not be read and were left out",
                self.rejected
            );
            self.output.log(Level::ERROR, text).await?;
        }
        if let Some(error) = std::mem::take(&mut self.failures).judge(status, last_words, name) {
            return Err(error);
        }
        if let Some(stream) = self.streams.iter().find(|stream| stream.incomplete) {
            let stream = &stream.descriptor;
            let text =
                format!("The connector `{name}` said that stream `{stream}` is incomplete, and ended with exit code 0");
            return Err(Error::system(text));
        }
        for (at, stream) in self.streams.iter().enumerate() {
            self.output.status(StreamIndex(at), StreamStatus::Complete { read: stream.read }).await?;
        }
        Ok(())
    }

    /// Takes one line. True if it was a record or a state: a sign of life.
    async fn line(&mut self, line: Line<'_>) -> Result<bool> {
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong { start, bytes } => {
                let start = String::from_utf8_lossy(start).into_owned();
                let why = format!("it has {bytes} bytes, at most {} are read", self.limits.line);
                if looks_like_record(&start) {
                    self.reject(&start, &why).await?;
                    return Ok(true);
                }
                let text = format!("A line was left out, because {why}: {}…", self.shown(&start));
                return self.output.log(Level::ERROR, text).await.map(|()| false);
            }
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(escape_invalid(bytes)),
        };
        if !text.trim_start().starts_with('{') {
            return self.plain(&text).await.map(|()| false);
        }
        match serde_json::from_str::<Envelope<'_>>(&text) {
            Ok(Envelope { kind, record: Some(row) }) if kind == "RECORD" => {
                self.record(row).await?;
                Ok(true)
            }
            Ok(Envelope { kind, .. }) if kind != "RECORD" => self.message(&text).await,
            Ok(_) => self.reject(&text, "it has no `record`").await.map(|()| false),
            Err(error) if looks_like_record(&text) => self.reject(&text, &error.to_string()).await.map(|()| false),
            Err(_) => self.message(&text).await,
        }
    }

    async fn record(&mut self, row: Row<'_>) -> Result<()> {
        let at = self.find(row.namespace.as_deref(), &row.stream).ok_or_else(|| {
            let stream = StreamDescriptor::new(row.namespace.as_deref(), row.stream.clone());
            Error::system(format!("The source sent a record of stream `{stream}`, which is not in the catalog"))
        })?;
        self.start(at).await?;
        let emitted_at = row.emitted_at.map_or_else(now, |millis| millis as i64);
        if let Some((earliest, latest)) = self.streams[at].emitted {
            let (earliest, latest) = (earliest.min(emitted_at), latest.max(emitted_at));
            if latest.saturating_sub(earliest) > SAME_TIME {
                self.flush(at).await?;
            }
        }
        let stream = &mut self.streams[at];
        let before = stream.decoder.bytes();
        if let Err(error) = stream.decoder.push(row.data.get().as_bytes()) {
            let why = format!("`data` is not an object: {error}");
            return self.reject(row.data.get(), &why).await;
        }
        for change in row.meta.iter().flat_map(|meta| &meta.changes) {
            stream.decoder.note(&change.field, known_change(&change.change), known_reason(&change.reason));
        }
        stream.read += 1;
        stream.unmarked += 1;
        let (earliest, latest) = stream.emitted.unwrap_or((emitted_at, emitted_at));
        stream.emitted = Some((earliest.min(emitted_at), latest.max(emitted_at)));
        self.oldest.get_or_insert_with(Instant::now);
        self.pending += stream.decoder.bytes() - before;
        if stream.decoder.bytes() >= self.limits.batch || stream.decoder.rows() >= MOST_ROWS {
            self.flush(at).await?;
        }
        if self.pending >= MOST_BATCHES * self.limits.batch {
            self.flush_all().await?;
        }
        Ok(())
    }

    fn find(&mut self, namespace: Option<&str>, name: &str) -> Option<usize> {
        let namespace = namespace.filter(|text| !text.is_empty());
        let current = &self.streams.get(self.current)?.descriptor;
        if current.name != name || current.namespace.as_deref() != namespace {
            self.current = *self.names.get(&StreamDescriptor::new(namespace, name))?;
        }
        Some(self.current)
    }

    async fn start(&mut self, at: usize) -> Result<()> {
        if !std::mem::replace(&mut self.streams[at].started, true) {
            self.output.status(StreamIndex(at), StreamStatus::Started).await?;
        }
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<()> {
        self.oldest = None;
        for at in 0..self.streams.len() {
            self.flush(at).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, at: usize) -> Result<()> {
        let stream = &mut self.streams[at];
        let Some((_, emitted_at)) = stream.emitted.take() else { return Ok(()) };
        self.pending = self.pending.saturating_sub(stream.decoder.bytes());
        let (rows, changes) = stream.decoder.take()?;
        self.output.batch(Batch::new(StreamIndex(at), rows, emitted_at).with_changes(changes)).await
    }

    /// Anything but a record.
    async fn message(&mut self, text: &str) -> Result<bool> {
        let message = match Message::parse(text) {
            Ok(message) => message,
            // A JSON object without a type is somebody's structured log.
            Err(error) if text.contains("\"type\"") => {
                let text = format!("{}: a message that could not be read ({error})", self.shown(text));
                self.output.log(Level::ERROR, text).await?;
                return Ok(false);
            }
            Err(_) => return self.plain(text).await.map(|()| false),
        };
        match message {
            Message::State(state) => {
                self.state(state).await?;
                return Ok(true);
            }
            Message::Log(log) => {
                let level = match log.level {
                    LogLevel::Fatal | LogLevel::Error => Level::ERROR,
                    LogLevel::Warn => Level::WARN,
                    LogLevel::Info => Level::INFO,
                    LogLevel::Debug => Level::DEBUG,
                    LogLevel::Trace => Level::TRACE,
                };
                let stack = log.stack_trace.map(|stack| format!("\n{stack}")).unwrap_or_default();
                let text = self.shown(&format!("{}{stack}", log.message));
                self.output.log(level, text).await?;
            }
            Message::Trace(trace) => self.trace(trace).await?,
            Message::Control(_) => {
                let text =
                    "The source sent a new configuration (CONTROL); it is not kept: the next sync uses the old one";
                self.output.log(Level::WARN, text).await?;
            }
            Message::Other { kind, .. } => {
                self.output.log(Level::DEBUG, format!("A message of the unknown type {}", self.shown(&kind))).await?;
            }
            // Answers to other commands.
            Message::Record(_)
            | Message::Spec(_)
            | Message::Catalog(_)
            | Message::ConnectionStatus(_)
            | Message::DestinationCatalog(_) => {}
        }
        Ok(false)
    }

    /// A mark: the rows that it covers go first.
    async fn state(&mut self, state: StateMessage) -> Result<()> {
        let covered = match &state.state {
            State::Stream(stream) => self.names.get(&stream.descriptor).map_or(0..0, |at| *at..*at + 1),
            State::Global { .. } | State::Legacy(_) => 0..self.streams.len(),
        };
        let mut unmarked = 0;
        for at in covered {
            self.flush(at).await?;
            unmarked += std::mem::take(&mut self.streams[at].unmarked);
        }
        self.compare(&state, unmarked).await?;
        self.output.state(state).await
    }

    /// Invariant 2: a source that counts is compared with what came; a difference is said once.
    async fn compare(&mut self, state: &StateMessage, unmarked: i64) -> Result<()> {
        #[derive(Deserialize)]
        struct SourceStats {
            #[serde(rename = "recordCount")]
            record_count: Option<f64>,
        }
        let said = state.extra.get("sourceStats").and_then(|stats| stats.to::<SourceStats>().ok()?.record_count);
        let Some(said) = said.filter(|said| *said as i64 != unmarked && !self.miscounted) else { return Ok(()) };
        self.miscounted = true;
        let text =
            format!("The source says that a state covers {said} records, but {unmarked} came since the one before");
        self.output.log(Level::WARN, text).await
    }

    async fn trace(&mut self, trace: Trace) -> Result<()> {
        match trace.kind {
            TraceKind::Error { error } => {
                self.failures.add(&error, &self.mask);
                let inner = error.internal_message.map(|text| format!(" ({text})")).unwrap_or_default();
                let text = self.shown(&format!("{}{inner}", error.message));
                self.output.log(Level::ERROR, text).await
            }
            TraceKind::StreamStatus { stream_status } => {
                let Some(at) = self.names.get(&stream_status.stream_descriptor).copied() else {
                    let text = format!(
                        "The source sent a status of stream `{}`, which is not in the catalog",
                        stream_status.stream_descriptor
                    );
                    return self.output.log(Level::WARN, text).await;
                };
                self.streams[at].incomplete = stream_status.status == "INCOMPLETE";
                self.start(at).await
            }
            TraceKind::Estimate { .. } | TraceKind::Analytics { .. } => Ok(()),
        }
    }

    async fn plain(&self, text: &str) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        self.output.log(Level::INFO, self.shown(text)).await
    }

    async fn reject(&mut self, text: &str, why: &str) -> Result<()> {
        self.rejected += 1;
        if self.rejected > MOST_COMPLAINTS {
            return Ok(());
        }
        // The values are somebody's data; their beginning is enough to find the row.
        let start: String = text.chars().take(200).collect();
        let text = format!("A line that looks like a record was left out, because {why}: {}…", self.shown(&start));
        self.output.log(Level::ERROR, text).await
    }

    /// Text of a connector, bounded and without secrets.
    fn shown(&self, text: &str) -> String {
        let text = self.mask.text(text);
        match text.char_indices().nth(MOST_TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.into_owned(),
        }
    }
}
