//! A source's batches and marks as messages on stdout.

use std::{
    io::{self, Write},
    sync::Arc,
};

use anyhow::Result;
use connector::{Error, ReadRequest, Source, SourceMessage, StreamStatus, output};
use protocol::{Json, Message, State, StateMessage, StreamDescriptor, schema};
use serde_json::json;

use super::{log, record::Encoder, status, trace};

/// Bytes of rows that may wait for whoever reads stdout.
const BUDGET: usize = 16 << 20;

/// Reads all streams. `Some`: the source failed; the streams that it did not end were told as INCOMPLETE.
pub async fn read(source: Arc<dyn Source>, request: ReadRequest) -> Result<Option<Error>> {
    let mut streams = Vec::with_capacity(request.catalog.streams.len());
    for configured in &request.catalog.streams {
        let descriptor = configured.stream.descriptor.clone();
        let encoder = Encoder::new(&descriptor, schema::columns(&configured.stream.json_schema));
        streams.push(Stream { descriptor, encoder, since_state: 0, stage: Stage::Waiting });
    }
    let (output, mut input) = output::channel(BUDGET);
    let task = tokio::spawn(async move { source.read(request, output).await });
    let mut speaker = Speaker { streams, out: io::BufWriter::with_capacity(1 << 16, io::stdout()) };
    while let Some(message) = input.next().await {
        if let Err(error) = speaker.say(message) {
            // Nobody listens any more, or the rows cannot be told: the source stops at its next message.
            drop(input);
            let _ = task.await;
            return Err(error);
        }
    }
    let outcome =
        task.await.unwrap_or_else(|error| Err(Error::system("The source stopped unexpectedly").with_source(error)));
    let failure = match outcome {
        Ok(()) => {
            speaker.end("COMPLETE", None)?;
            None
        }
        Err(error) => {
            speaker.end("INCOMPLETE", Some(&error))?;
            Some(error)
        }
    };
    speaker.out.flush()?;
    Ok(failure)
}

struct Stream {
    descriptor: StreamDescriptor,
    encoder: Encoder,
    /// Records since the last state that covers the stream.
    since_state: i64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Waiting,
    Started,
    Running,
    Complete,
}

struct Speaker {
    streams: Vec<Stream>,
    out: io::BufWriter<io::Stdout>,
}

impl Speaker {
    fn say(&mut self, message: SourceMessage) -> Result<()> {
        match message {
            SourceMessage::Batch(batch) => {
                let index = batch.stream.0;
                self.reach(index, Stage::Running)?;
                let stream = &mut self.streams[index];
                stream.since_state += i64::try_from(batch.rows.num_rows()).unwrap_or(i64::MAX);
                stream.encoder.write(&batch, &mut self.out)?;
            }
            SourceMessage::State(state) => self.state(state)?,
            SourceMessage::Status { stream, status: StreamStatus::Started } => self.reach(stream.0, Stage::Started)?,
            SourceMessage::Status { stream, status: StreamStatus::Complete { .. } } => {
                self.reach(stream.0, Stage::Complete)?;
            }
            SourceMessage::Last { stream, state, .. } => {
                self.state(state)?;
                self.reach(stream.0, Stage::Complete)?;
            }
            SourceMessage::Log { level, message } => self.message(&log(level, message))?,
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<()> {
        serde_json::to_writer(&mut self.out, message)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Tells every stage up to this one: STARTED, RUNNING, COMPLETE come in this order.
    fn reach(&mut self, index: usize, stage: Stage) -> Result<()> {
        for (next, word) in [(Stage::Started, "STARTED"), (Stage::Running, "RUNNING"), (Stage::Complete, "COMPLETE")] {
            // A stream without rows never runs.
            let is_skipped = next == Stage::Running && stage == Stage::Complete;
            if next <= stage && self.streams[index].stage < next && !is_skipped {
                self.streams[index].stage = next;
                let message = status(&self.streams[index].descriptor, word);
                self.message(&message)?;
            }
        }
        Ok(())
    }

    /// With the number of records that it covers, which the platform compares with what it saw.
    fn state(&mut self, mut state: StateMessage) -> Result<()> {
        let records = match &state.state {
            State::Stream(own) => {
                let found = self.streams.iter_mut().find(|stream| stream.descriptor == own.descriptor);
                found.map_or(0, |stream| std::mem::take(&mut stream.since_state))
            }
            State::Global { .. } | State::Legacy(_) => {
                self.streams.iter_mut().map(|stream| std::mem::take(&mut stream.since_state)).sum()
            }
        };
        state.extra.insert("sourceStats", Json::from_value(&json!({ "recordCount": records }))?);
        self.message(&Message::State(state))?;
        // Whoever resumes from it must be able to see it.
        self.out.flush()?;
        Ok(())
    }

    /// The streams that have no end yet get this one.
    fn end(&mut self, word: &str, error: Option<&Error>) -> Result<()> {
        for index in 0..self.streams.len() {
            if self.streams[index].stage == Stage::Complete {
                continue;
            }
            self.reach(index, Stage::Started)?;
            let descriptor = self.streams[index].descriptor.clone();
            self.message(&status(&descriptor, word))?;
            if let Some(error) = error {
                self.message(&trace(error, Some(descriptor)))?;
            }
        }
        Ok(())
    }
}
