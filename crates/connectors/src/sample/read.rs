//! The read: blocks of rows made ahead on other threads, sent in order, with a state after every slice.
//!
//! A batch never crosses a mark. Small slices are cut from a larger block without a copy, so that a state every few
//! rows costs little.

use std::{collections::VecDeque, num::NonZero, ops::Range, sync::Arc, thread};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Field, Schema};
use connector::{Batch, Error, Output, ReadRequest, Result, StreamIndex, StreamStatus};
use protocol::ConfiguredStream;
use tokio::task::JoinHandle;

use super::{
    config::Config,
    rows::{self, Column, Table},
    state::Run,
    types::Draw,
};

/// Rows that are made at once.
const BLOCK: i64 = 8192;

pub async fn read(request: ReadRequest, output: Output) -> Result<()> {
    let config = Config::read(&request.config)?;
    let now = chrono::Utc::now().timestamp_micros();
    let drawn = (uuid::Uuid::new_v4().as_u128() & 0x7FFF_FFFF) as i64;
    for (index, configured) in request.catalog.streams.iter().enumerate() {
        let descriptor = &configured.stream.descriptor;
        let table = rows::table(&descriptor.name).filter(|_| descriptor.namespace.is_none()).ok_or_else(|| {
            Error::config(format!("The sample source has no stream `{descriptor}`"))
                .with_hint("Discover the source again and remove the stream from the connection")
        })?;
        let rows = table.fixed.unwrap_or(config.count);
        let state = request.state_of(index);
        let run = Run::plan(descriptor, configured.sync_mode, state, &config, rows, drawn, now)?;
        let stream = Reading { config: &config, configured, table, index: StreamIndex(index), run };
        tokio::select! {
            done = stream.send(&output) => done?,
            () = request.cancel.cancelled() => return Err(Error::cancelled()),
        }
    }
    Ok(())
}

struct Reading<'a> {
    config: &'a Config,
    configured: &'a ConfiguredStream,
    table: &'static Table,
    index: StreamIndex,
    run: Run,
}

impl Reading<'_> {
    async fn send(&self, output: &Output) -> Result<()> {
        output.status(self.index, StreamStatus::Started).await?;
        let descriptor = &self.configured.stream.descriptor;
        let columns = self.columns();
        let ahead = thread::available_parallelism().map_or(1, NonZero::get).min(self.config.parallelism as usize);
        let mut blocks: VecDeque<(Range<i64>, JoinHandle<Result<RecordBatch>>)> = VecDeque::new();
        let mut next = self.run.offsets.start;
        let mut sent = self.run.offsets.start;
        loop {
            while blocks.len() < ahead && next < self.run.offsets.end {
                let block = next..self.end_of_block(next);
                next = block.end;
                blocks.push_back((block.clone(), self.make(block, columns.clone())));
            }
            let Some((block, task)) = blocks.pop_front() else { break };
            let rows = task.await.map_err(|error| Error::system("Rows could not be made").with_source(error))??;
            let emitted_at = chrono::Utc::now().timestamp_millis();
            let whole = Batch::new(self.index, rows, emitted_at);
            while sent < block.end {
                let end = self.next_mark(sent).min(block.end);
                output.batch(whole.slice((sent - block.start) as usize, (end - sent) as usize)).await?;
                sent = end;
                if self.is_mark(sent) && sent < self.run.offsets.end {
                    output.state(self.run.state(descriptor, sent)?).await?;
                }
            }
        }
        // Invariant 2: counted by the ids that were made, not by the batches.
        let read = sent - self.run.offsets.start;
        // The last state comes even if there was nothing to send: it says that the run has ended.
        output.last(self.index, self.run.state(descriptor, sent)?, read).await
    }

    /// Marks lie at multiples of the slice, so that they do not depend on where a run resumed.
    fn next_mark(&self, offset: i64) -> i64 {
        (offset / self.config.records_per_slice + 1) * self.config.records_per_slice
    }

    fn is_mark(&self, offset: i64) -> bool {
        offset % self.config.records_per_slice == 0
    }

    fn end_of_block(&self, start: i64) -> i64 {
        (start + BLOCK).min(self.run.offsets.end)
    }

    /// Only the columns that the catalog still has: nothing is made to be thrown away.
    fn columns(&self) -> Arc<Vec<&'static Column>> {
        let wanted = protocol::schema::columns(&self.configured.stream.json_schema);
        let is_wanted = |column: &&Column| wanted.iter().any(|(name, _)| name == column.name);
        Arc::new(self.table.columns.iter().filter(is_wanted).collect())
    }

    fn make(&self, block: Range<i64>, columns: Arc<Vec<&'static Column>>) -> JoinHandle<Result<RecordBatch>> {
        let stamp = self.config.always_updated.then_some(self.run.stamp);
        let draw = Draw { seed: self.run.seed, ids: block.start + 1..block.end + 1, stamp };
        tokio::task::spawn_blocking(move || {
            batch(&draw, &columns).map_err(|error| Error::system("A batch does not fit its schema").with_source(error))
        })
    }
}

fn batch(draw: &Draw, columns: &[&'static Column]) -> Result<RecordBatch, ArrowError> {
    let arrays: Vec<_> = columns.iter().map(|column| (column.values)(draw)).collect();
    let fields: Vec<Field> = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| Field::new(column.name, array.data_type().clone(), true))
        .collect();
    let rows = (draw.ids.end - draw.ids.start) as usize;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}
