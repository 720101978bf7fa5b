//! Rows of one relation in chunks, read ahead side by side and entered into the flow in order. Start with [`Readers`].
//!
//! All chunks are read under one snapshot: the coordinator's session exports it and holds it, the others import it. A
//! chunk that is not the first in line waits with at most [`SHARE`] bytes; the first one goes straight on, so states stay
//! in order and memory stays bounded.

use std::{collections::VecDeque, sync::Arc};

use connector::{Error, Output, Result, SourceMessage, StreamIndex, output};
use protocol::StreamDescriptor;
use tokio_util::task::AbortOnDropHandle;

use super::{
    client::{self, Copied, Session, literal},
    columns::{Layout, Rows},
    state::Position,
};

/// Bytes that a chunk may be read ahead.
const SHARE: usize = 8 << 20;
/// Sessions that read one relation at the same time, at most.
const MOST_READERS: usize = 4;
/// A transaction that sees one state of the database and takes no transaction id.
pub const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// What a relation is called in a statement. An order must name it: a plain name in ORDER BY is that of an output column,
/// which may be the text of the value.
pub const ALIAS: &str = "s";

/// A part of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// A leaf of the relation, quoted and with its schema; `None`: the relation itself.
    pub leaf: Option<String>,
    /// Condition on its rows; `None`: all.
    pub condition: Option<String>,
    /// What may be said once its rows, and those of every chunk before it, were sent.
    pub mark: Option<Position>,
}

/// What is read of a relation.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Expressions in the order of the layout.
    pub list: String,
    /// Quoted and with its schema. Its name within the statement is [`ALIAS`].
    pub from: String,
    pub layout: Arc<Layout>,
    pub stream: StreamIndex,
    pub name: StreamDescriptor,
}

impl Chunk {
    fn copy(&self, selection: &Selection) -> String {
        let filter = self.condition.as_ref().map(|condition| format!("WHERE {condition}")).unwrap_or_default();
        selection.copy(self.leaf.as_deref(), &filter)
    }
}

impl Selection {
    /// `more`: what follows the relation, from WHERE on.
    pub fn copy(&self, leaf: Option<&str>, more: &str) -> String {
        let from = leaf.unwrap_or(&self.from);
        format!("COPY (SELECT {} FROM {from} AS {ALIAS} {more}) TO STDOUT (FORMAT binary)", self.list)
    }
}

/// The sessions of an attempt.
pub struct Readers {
    pub coordinator: Session,
    others: Vec<Session>,
}

impl Readers {
    pub fn new(coordinator: Session) -> Self {
        Self { coordinator, others: Vec::new() }
    }

    /// Sends all chunks in order, each with its mark. The rows as the server counted them.
    pub async fn send(&mut self, selection: &Selection, chunks: Vec<Chunk>, output: &Output) -> Result<i64> {
        if chunks.len() > 1 {
            self.open(chunks.len()).await?;
        }
        if self.others.is_empty() || chunks.len() < 2 {
            let mut read = 0;
            for chunk in chunks {
                let sql = chunk.copy(selection);
                read += copy(&mut self.coordinator, &sql, selection, output).await?;
                if let Some(mark) = chunk.mark {
                    output.state(mark.message(&selection.name)?).await?;
                }
            }
            return Ok(read);
        }
        let mut ahead = VecDeque::new();
        let sent = self.send_ahead(selection, VecDeque::from(chunks), &mut ahead, output).await;
        if sent.is_err() && self.coordinator.cancel().is_cancelled() {
            // Each of them asks the server to end its statement, which takes a moment.
            for chunk in ahead {
                drop(chunk.input);
                let _ = chunk.task.await;
            }
        }
        sent
    }

    async fn send_ahead(
        &mut self,
        selection: &Selection,
        mut left: VecDeque<Chunk>,
        ahead: &mut VecDeque<Ahead>,
        output: &Output,
    ) -> Result<i64> {
        let mut idle = std::mem::take(&mut self.others);
        let mut read = 0;
        loop {
            while let Some(session) = idle.pop() {
                let Some(chunk) = left.pop_front() else {
                    idle.push(session);
                    break;
                };
                ahead.push_back(start(session, chunk, selection.clone()));
            }
            let Some(mut head) = ahead.pop_front() else { break };
            while let Some(message) = head.input.next().await {
                if let SourceMessage::Batch(batch) = message {
                    output.batch(batch).await?;
                }
            }
            let ended = head.task.await;
            let ended = ended.unwrap_or_else(|error| Err(Error::system("A chunk was not read").with_source(error)));
            let (session, rows) = ended?;
            idle.push(session);
            read += rows;
            if let Some(mark) = head.mark {
                output.state(mark.message(&selection.name)?).await?;
            }
        }
        for session in &mut idle {
            session.query("COMMIT").await?;
        }
        self.others = idle;
        Ok(read)
    }

    /// Lets other sessions see what the coordinator sees.
    async fn open(&mut self, chunks: usize) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let wanted = cores.clamp(2, MOST_READERS).min(chunks);
        while self.others.len() < wanted {
            match Session::connect(self.coordinator.server(), self.coordinator.cancel()).await {
                Ok(session) => self.others.push(session),
                // Slower is better than not at all.
                Err(error) if client::is_full(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let snapshot = self.coordinator.value("SELECT pg_catalog.pg_export_snapshot()").await?;
        let snapshot = snapshot.ok_or_else(|| self.coordinator.nonsense("no snapshot"))?;
        // A chunk is a small part; a plan that reads the whole table for it is never the better one.
        let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}; SET LOCAL enable_seqscan = off", literal(&snapshot));
        for session in &mut self.others {
            session.query(&sql).await?;
        }
        Ok(())
    }
}

/// A chunk that is being read.
struct Ahead {
    input: output::Input,
    task: AbortOnDropHandle<Result<(Session, i64)>>,
    mark: Option<Position>,
}

fn start(mut session: Session, chunk: Chunk, selection: Selection) -> Ahead {
    let (output, input) = output::channel(SHARE);
    let sql = chunk.copy(&selection);
    let task = tokio::spawn(async move {
        let rows = copy(&mut session, &sql, &selection, &output).await?;
        Ok((session, rows))
    });
    Ahead { input, task: AbortOnDropHandle::new(task), mark: chunk.mark }
}

/// Sends the rows of one COPY. The count is the server's (Invariant 2).
async fn copy(session: &mut Session, sql: &str, selection: &Selection, output: &Output) -> Result<i64> {
    session.copy_out(sql).await?;
    let mut rows = Rows::new(selection.layout.clone());
    let mut decoded = 0_i64;
    loop {
        match session.copied().await? {
            Copied::Rows(message) => {
                rows.append(message)?;
                if rows.is_full() {
                    let batch = rows.finish(selection.stream)?;
                    decoded += batch.rows.num_rows() as i64;
                    output.batch(batch).await?;
                }
            }
            Copied::End { rows: counted } => {
                if !rows.is_empty() {
                    let batch = rows.finish(selection.stream)?;
                    decoded += batch.rows.num_rows() as i64;
                    output.batch(batch).await?;
                }
                if counted != decoded {
                    return Err(session.nonsense(&format!("{decoded} rows and said that there were {counted}")));
                }
                return Ok(counted);
            }
        }
    }
}
