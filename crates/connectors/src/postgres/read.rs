//! How each stream is read. Start with [`read`].
//!
//! | stream | how | marks | a later attempt |
//! |---|---|---|---|
//! | full refresh, resumable | chunks of the key, in its order | each chunk | goes on behind the last key |
//! | full refresh, with pages | chunks of pages (ctid) | each chunk, so that rows get durable | begins again |
//! | full refresh of a partition root | the same of each leaf, if the role may read them all | | |
//! | full refresh, without pages (view, foreign, before 14) | one read | the last | begins again |
//! | incremental, first time, with pages | chunks of pages; the cursor's bound is taken first | each chunk | goes on behind the last page, then the repair of [`super::incremental`] |
//! | incremental, first time, without | as below, from the least cursor | | |
//! | incremental | `cursor > last` in order, up to a bound | where the cursor changes | goes on with `>` |
//!
//! Everything of one stream is read in one snapshot. Pages that were read in an earlier attempt were read in an older
//! one: rows may have moved since, which is why only an incremental stream goes on by pages.

use std::sync::Arc;

use connector::{Error, ErrorKind, Output, ReadRequest, Result, StreamIndex, StreamStatus};
use protocol::{ConfiguredStream, StreamDescriptor, SyncMode};
use tracing::Level;

use super::{
    chunks::{BEGIN, Chunk, Readers, Selection},
    client::{Session, literal},
    columns::{Column, Layout},
    config::Config,
    discover::{self, Relation},
    fault::{self, identifier},
    pages::{self, Extent},
    state::{self, Position},
    types,
};

pub async fn read(request: ReadRequest, output: Output) -> Result<()> {
    let config = Config::read(&request.config)?;
    let server = Arc::new(config.server()?);
    let mut session = Session::connect(&server, &request.cancel).await?;
    let relations = described(&mut session, &request).await?;
    let mut readers = Readers::new(session);
    let mut failures: Vec<Error> = Vec::new();
    for (index, relation) in relations.into_iter().enumerate() {
        let configured = &request.catalog.streams[index];
        let stream = StreamIndex(index);
        output.status(stream, StreamStatus::Started).await?;
        let state = request.state_of(index);
        let done = match &relation {
            Some(relation) => one(&mut readers, configured, relation, stream, state, &output).await,
            None => Err(discover::absent(&mut readers.coordinator, &configured.stream.descriptor).await),
        };
        let error = match done {
            Ok((read, position)) => {
                let state = position.message(&configured.stream.descriptor)?;
                output.last(stream, state, read).await?;
                continue;
            }
            Err(error) => error,
        };
        let name = configured.stream.descriptor.to_string();
        let sql_name = relation.map(|relation| relation.sql_name()).unwrap_or_default();
        let error = fault::at_relation(error, &name, &sql_name, &server);
        // What is wrong with one table is no fault of the others.
        if error.kind != ErrorKind::Config || readers.coordinator.query("ROLLBACK").await.is_err() {
            return Err(failures.into_iter().next().unwrap_or(error));
        }
        output.log(Level::ERROR, describe(&error)).await?;
        failures.push(error);
    }
    match failures.into_iter().next() {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

fn describe(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{error}. {hint}"),
        None => error.to_string(),
    }
}

/// The relation of each stream, in the order of the catalog.
async fn described(session: &mut Session, request: &ReadRequest) -> Result<Vec<Option<Relation>>> {
    let wanted: Vec<StreamDescriptor> =
        request.catalog.streams.iter().map(|stream| table(&stream.stream.descriptor)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let schema = |stream: &StreamDescriptor| literal(stream.namespace.as_deref().unwrap_or_default());
    let names: Vec<String> =
        wanted.iter().map(|stream| format!("({}, {})", schema(stream), literal(&stream.name))).collect();
    let filter = format!("(n.nspname, c.relname) in ({})", names.join(", "));
    let found = discover::describe(session, &filter).await?;
    let relation = |stream: &StreamDescriptor| found.iter().find(|relation| relation.descriptor() == *stream).cloned();
    Ok(wanted.iter().map(relation).collect())
}

/// A stream without a namespace is one of the schema `public`.
fn table(stream: &StreamDescriptor) -> StreamDescriptor {
    StreamDescriptor::new(Some(stream.namespace.as_deref().unwrap_or("public")), stream.name.clone())
}

/// Reads one stream: the rows as the server counted them, and where the next sync goes on.
async fn one(
    readers: &mut Readers,
    configured: &ConfiguredStream,
    relation: &Relation,
    index: StreamIndex,
    state: Option<&protocol::Json>,
    output: &Output,
) -> Result<(i64, Position)> {
    let name = &configured.stream.descriptor;
    if relation.hides_rows {
        let message = format!(
            "Stream `{name}`: row security hides rows of this table from `{}`",
            readers.coordinator.server().user
        );
        output.log(Level::WARN, message).await?;
    }
    let mut columns = Vec::new();
    let mut expressions = Vec::new();
    for (field, wanted) in protocol::schema::columns(&configured.stream.json_schema) {
        // A column that is gone is NULL.
        let Some(column) = relation.column(&field) else { continue };
        let (expression, kind) = types::selection(&column.of, &field, wanted);
        let name: Arc<str> = field.into();
        expressions.push((name.clone(), expression));
        columns.push(Column { name, kind });
    }
    let mut reading = Reading { readers, configured, name, relation, index, columns, expressions, output };
    let pages = reading.begin().await?;
    let resumable = configured.stream.is_resumable == Some(true) && !relation.key.is_empty();
    let ended = match configured.sync_mode {
        SyncMode::FullRefresh if resumable => {
            let position = state::parse(name, state)?;
            reading.by_key(pages, position).await?
        }
        SyncMode::FullRefresh => {
            let position = state::parse(name, state)?;
            reading.by_pages(pages, position).await?
        }
        SyncMode::Incremental => {
            let position = state::parse(name, state)?;
            reading.incremental(pages, position).await?
        }
    };
    // Fails if the session that held the snapshot is gone.
    readers.coordinator.query("COMMIT").await?;
    Ok(ended)
}

/// One stream of an attempt.
pub struct Reading<'a> {
    pub(super) readers: &'a mut Readers,
    pub(super) configured: &'a ConfiguredStream,
    pub(super) name: &'a StreamDescriptor,
    pub(super) relation: &'a Relation,
    pub(super) index: StreamIndex,
    pub(super) columns: Vec<Column>,
    /// What is selected for each column.
    pub(super) expressions: Vec<(Arc<str>, String)>,
    pub(super) output: &'a Output,
}

impl Reading<'_> {
    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.readers.coordinator
    }

    /// Begins the transaction of the stream. The table is locked before the snapshot is taken: a TRUNCATE between the two
    /// would make it look empty.
    pub(super) async fn begin(&mut self) -> Result<Option<Extent>> {
        let mut sql = BEGIN.to_owned();
        if matches!(self.relation.sort, 'r' | 'p') && self.relation.is_granted {
            sql += &format!("; LOCK TABLE {} IN ACCESS SHARE MODE", self.relation.sql_name());
        }
        self.session().query(&sql).await?;
        let version = self.session().version();
        if !self.relation.has_ranges(version) {
            return Ok(None);
        }
        let oid = &self.relation.oid;
        let sql = format!(
            "SELECT pg_relation_size({oid}) / current_setting('block_size')::bigint, current_setting('block_size'), \
             pg_relation_filenode({oid})"
        );
        let row = self.session().query(&sql).await?.into_iter().next().unwrap_or_default();
        pages::extent(&row).map(Some).ok_or_else(|| {
            Error::config(format!("The table `{}` was dropped", self.name))
                .with_hint("Discover the source again and remove the stream, or bring the table back")
        })
    }

    pub(super) fn selection(&self, more: Option<Column>) -> Selection {
        let mut list: Vec<String> = self.expressions.iter().map(|(_, expression)| expression.clone()).collect();
        let mut columns = self.columns.clone();
        if let Some(column) = more {
            list.push(identifier(&column.name));
            columns.push(column);
        }
        Selection {
            list: list.join(", "),
            from: self.relation.sql_name(),
            layout: Arc::new(Layout::new(columns)),
            stream: self.index,
            name: self.name.clone(),
        }
    }

    pub(super) async fn send(&mut self, chunks: Vec<Chunk>) -> Result<i64> {
        if chunks.len() > 1 {
            self.output.log(Level::INFO, format!("Stream `{}`: reading in {} chunks", self.name, chunks.len())).await?;
        }
        let selection = self.selection(None);
        self.readers.send(&selection, chunks, self.output).await
    }
}
