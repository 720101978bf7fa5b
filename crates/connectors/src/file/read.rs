//! The read: files in the order of their times, one after another, with a state at the end of each.
//!
//! A file is read from its beginning or not at all: a state lies only between files. The state remembers each file's
//! time, taken before the file was opened, so that a file that grows while it is read is read again. A full refresh
//! hears of a state only within its job and then goes on with the files that are left.

use arrow_array::RecordBatch;
use connector::{Batch, Change, Error, Output, ReadRequest, Result, StreamIndex, StreamStatus};
use protocol::{ColumnType, SyncMode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    columnar,
    config::SourceConfig,
    delimited,
    files::{self, Dataset, Found, Kind},
    lines,
    places::Places,
    state::History,
};

/// Rows of a batch, and about how many bytes of text.
pub const BATCH_ROWS: usize = 8192;
pub const BATCH_BYTES: usize = 4 << 20;

/// Takes the batches of a file.
pub type Sink<'a> = dyn FnMut(RecordBatch, Vec<Change>) -> Result<()> + 'a;

/// What a file gave.
pub struct Summary {
    /// As the file's own records say.
    pub rows: i64,
    pub notes: Vec<String>,
}

pub async fn read(request: ReadRequest, output: Output, places: Places) -> Result<()> {
    let config = SourceConfig::read(&request.config)?;
    let known = {
        let places = places.clone();
        blocking(move || files::datasets(&config, &places)).await?
    };
    for (index, configured) in request.catalog.streams.iter().enumerate() {
        let descriptor = &configured.stream.descriptor;
        let dataset = known.iter().find(|dataset| dataset.name == descriptor.name && descriptor.namespace.is_none());
        let dataset = dataset.cloned().ok_or_else(|| {
            Error::config(format!("The configuration has no files for stream `{descriptor}`"))
                .with_hint("Check that its files are still there, or discover the source again and remove the stream")
        })?;
        let state = request.state_of(index);
        let history = History::read(descriptor, state)?;
        let stream = Reading {
            dataset,
            columns: protocol::schema::columns(&configured.stream.json_schema),
            index: StreamIndex(index),
            is_full: configured.sync_mode == SyncMode::FullRefresh,
            cancel: request.cancel.clone(),
        };
        let read = stream.read(&output, &places, history, descriptor);
        tokio::select! {
            done = read => done?,
            () = request.cancel.cancelled() => return Err(Error::cancelled()),
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::system("Reading files ended in a panic").with_source(error))?
}

struct Reading {
    dataset: Dataset,
    columns: Vec<(String, ColumnType)>,
    index: StreamIndex,
    is_full: bool,
    cancel: CancellationToken,
}

impl Reading {
    async fn read(
        &self,
        output: &Output,
        places: &Places,
        mut history: History,
        descriptor: &protocol::StreamDescriptor,
    ) -> Result<()> {
        output.status(self.index, StreamStatus::Started).await?;
        let (dataset, places) = (self.dataset.clone(), places.clone());
        let all = blocking(move || dataset.files(&places)).await?;
        if all.is_empty() {
            // A folder that is not mounted must not empty a table.
            if self.is_full {
                return Err(self.dataset.nothing());
            }
            output.log(tracing::Level::WARN, self.dataset.nothing().message).await?;
        }
        let fresh: Vec<Found> = all.iter().filter(|file| !history.knows(file)).cloned().collect();
        history.forget(&all);
        output
            .log(
                tracing::Level::INFO,
                format!("Stream {descriptor}: {} of {} files are to be read", fresh.len(), all.len()),
            )
            .await?;
        let mut read = 0;
        let last = fresh.len().saturating_sub(1);
        for (place, file) in fresh.into_iter().enumerate() {
            read += self.file(output, &file).await?;
            history.add(&file);
            if place < last {
                output.state(history.state(descriptor)?).await?;
            }
        }
        output.last(self.index, history.state(descriptor)?, read).await
    }

    async fn file(&self, output: &Output, file: &Found) -> Result<i64> {
        // Two batches are made ahead; the thread that makes them ends when nobody takes them.
        let (sender, mut receiver) = mpsc::channel(2);
        let (dataset, columns, found) = (self.dataset.clone(), self.columns.clone(), file.clone());
        let cancel = self.cancel.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut sink = |rows: RecordBatch, changes: Vec<Change>| {
                if cancel.is_cancelled() {
                    return Err(Error::cancelled());
                }
                sender.blocking_send((rows, changes)).map_err(|_| Error::cancelled())
            };
            match found.kind {
                Kind::Csv { is_tabbed } => delimited::read(&found.path, &dataset.csv, is_tabbed, &columns, &mut sink),
                Kind::Jsonl => lines::read(&found.path, &dataset.csv, &columns, &mut sink),
                Kind::Parquet => columnar::read(&found.path, &columns, &mut sink),
            }
        });
        while let Some((rows, changes)) = receiver.recv().await {
            let emitted_at = chrono::Utc::now().timestamp_millis();
            output.batch(Batch::new(self.index, rows, emitted_at).with_changes(changes)).await?;
        }
        let done = task.await.map_err(|error| Error::system("Reading a file ended in a panic").with_source(error))?;
        let summary = done?;
        for note in summary.notes {
            output.log(tracing::Level::WARN, note).await?;
        }
        Ok(summary.rows)
    }
}
