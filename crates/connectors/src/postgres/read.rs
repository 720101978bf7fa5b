//! How each stream is read. Start with [`read`].
//!
//! | stream | how | marks | a later attempt |
//! |---|---|---|---|
//! | full refresh, resumable | chunks of the key, in its order | each chunk | goes on behind the last key |
//! | full refresh, with pages | chunks of pages (ctid) | each chunk, so that rows get durable | begins again |
//! | full refresh of a partition root | the same of each leaf, if the role may read them all | | |
//! | full refresh, without pages (view, foreign, before 14) | one read | the last | begins again |
//! | incremental, first time, with pages | chunks of pages; the cursor's bound is taken first | each chunk | goes on behind the last page, then [`repair`](Reading::repair) |
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
    chunks::{ALIAS, BEGIN, Chunk, Readers, Selection},
    client::{Session, literal},
    columns::{Column, Layout},
    config::Config,
    cursor::{self, Delta},
    discover::{self, Relation, TableColumn},
    fault::{self, identifier},
    state::{self, Cursor, Pages, Position},
    types,
};

/// Bytes of pages in a chunk.
const CHUNK_BYTES: u64 = 16 << 20;
/// A chunk of a very large table is larger.
const MOST_CHUNKS: u64 = 16_384;
/// Keys are sampled with this many subqueries at a time.
const SAMPLES: usize = 200;

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
            Ok(read) => {
                output.status(stream, StreamStatus::Complete { read }).await?;
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

/// Reads one stream; the rows as the server counted them.
async fn one(
    readers: &mut Readers,
    configured: &ConfiguredStream,
    relation: &Relation,
    index: StreamIndex,
    state: Option<&protocol::Json>,
    output: &Output,
) -> Result<i64> {
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
    let read = match configured.sync_mode {
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
    readers.coordinator.query("COMMIT").await?;
    Ok(read)
}

/// The pages of a relation that can be read by ranges.
#[derive(Clone, Copy, Debug)]
struct Extent {
    pages: u64,
    page_bytes: u64,
    /// `pg_relation_filenode`.
    file: i64,
}

impl Extent {
    /// Pages per chunk.
    fn step(self) -> u64 {
        (CHUNK_BYTES / self.page_bytes).max(self.pages / MOST_CHUNKS).max(1)
    }
}

/// From pages, bytes of a page and file.
fn extent(row: &[Option<String>]) -> Option<Extent> {
    let number = |at: usize| row.get(at)?.as_deref()?.parse::<u64>().ok();
    Some(Extent { pages: number(0)?, page_bytes: number(1)?.max(1), file: i64::try_from(number(2)?).ok()? })
}

/// One stream of an attempt.
struct Reading<'a> {
    readers: &'a mut Readers,
    configured: &'a ConfiguredStream,
    name: &'a StreamDescriptor,
    relation: &'a Relation,
    index: StreamIndex,
    columns: Vec<Column>,
    /// What is selected for each column.
    expressions: Vec<(Arc<str>, String)>,
    output: &'a Output,
}

impl Reading<'_> {
    fn session(&mut self) -> &mut Session {
        &mut self.readers.coordinator
    }

    /// Begins the transaction of the stream. The table is locked before the snapshot is taken: a TRUNCATE between the two
    /// would make it look empty.
    async fn begin(&mut self) -> Result<Option<Extent>> {
        let mut sql = BEGIN.to_owned();
        if matches!(self.relation.sort, 'r' | 'p') {
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
        extent(&row).map(Some).ok_or_else(|| {
            Error::config(format!("The table `{}` was dropped", self.name))
                .with_hint("Discover the source again and remove the stream, or bring the table back")
        })
    }

    fn selection(&self, more: Option<Column>) -> Selection {
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

    async fn send(&mut self, chunks: Vec<Chunk>) -> Result<i64> {
        if chunks.len() > 1 {
            self.output.log(Level::INFO, format!("Stream `{}`: reading in {} chunks", self.name, chunks.len())).await?;
        }
        let selection = self.selection(None);
        self.readers.send(&selection, chunks, self.output).await
    }

    async fn mark(&self, position: Position) -> Result<()> {
        self.output.state(position.message(self.name)?).await
    }

    /// Full refresh, not resumable: the platform gives no state of an earlier attempt, and none but the last would be
    /// good for anything under another snapshot.
    async fn by_pages(&mut self, extent: Option<Extent>, position: Option<Position>) -> Result<i64> {
        match position {
            None => {}
            Some(Position::Done) => {
                self.mark(Position::Done).await?;
                return Ok(0);
            }
            Some(_) => {
                let message =
                    format!("Stream `{}`: a full refresh of it cannot resume; reading everything again", self.name);
                self.output.log(Level::WARN, message).await?;
            }
        }
        let chunks = match extent {
            Some(extent) => whole(extent),
            None if self.relation.sort == 'p' => self.of_leaves().await?,
            None => vec![Chunk { leaf: None, condition: None, mark: None }],
        };
        let read = self.send(chunks).await?;
        self.mark(Position::Done).await?;
        Ok(read)
    }

    /// Chunks of the leaves of a partition root, where the role may read them themselves.
    async fn of_leaves(&mut self) -> Result<Vec<Chunk>> {
        let alone = vec![Chunk { leaf: None, condition: None, mark: None }];
        if self.session().version() < discover::RANGES_SINCE || self.relation.hides_rows {
            return Ok(alone);
        }
        let sql = format!(
            "SELECT n.nspname, c.relname, c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') \
             AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid), \
             pg_relation_size(c.oid) / current_setting('block_size')::bigint, current_setting('block_size'), \
             pg_relation_filenode(c.oid) \
             FROM pg_partition_tree({}) t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf AND c.relkind <> 'p' ORDER BY 1, 2",
            self.relation.oid
        );
        let mut chunks = Vec::new();
        for row in self.session().query(&sql).await? {
            let [Some(schema), Some(name), Some(readable), ..] = row.as_slice() else { return Ok(alone) };
            let Some(extent) = extent(&row[3..]).filter(|_| readable == "t") else { return Ok(alone) };
            let leaf = format!("{}.{}", identifier(schema), identifier(name));
            chunks.extend(whole(extent).into_iter().map(|chunk| Chunk { leaf: Some(leaf.clone()), ..chunk }));
        }
        Ok(chunks)
    }

    /// Full refresh in the order of the key, so that a later attempt goes on behind the last one that was sent.
    async fn by_key(&mut self, extent: Option<Extent>, position: Option<Position>) -> Result<i64> {
        let last = match position {
            None => None,
            Some(Position::Key(key)) if key.iter().map(|(name, _)| name).eq(&self.relation.key) => Some(key),
            Some(Position::Done) => {
                self.mark(Position::Done).await?;
                return Ok(0);
            }
            Some(Position::Key(_)) => {
                return Err(state::bad(self.name, "is of another primary key than the table has"));
            }
            Some(_) => return Err(state::bad(self.name, "is not one of a full refresh that goes on by its key")),
        };
        let last: Option<Vec<String>> = last.map(|key| key.into_iter().map(|(_, value)| value).collect());
        let bounds = match extent {
            Some(extent) => self.bounds(extent, last.as_deref()).await?,
            None => Vec::new(),
        };
        let mut chunks = Vec::with_capacity(bounds.len() + 1);
        let mut from = last;
        for bound in bounds {
            let key = self.relation.key.iter().cloned().zip(bound.iter().cloned()).collect();
            let condition = [self.beyond(from.as_deref()), Some(self.compared("<=", &bound))];
            let condition: Vec<String> = condition.into_iter().flatten().collect();
            chunks.push(Chunk { leaf: None, condition: Some(condition.join(" AND ")), mark: Some(Position::Key(key)) });
            from = Some(bound);
        }
        chunks.push(Chunk { leaf: None, condition: self.beyond(from.as_deref()), mark: None });
        let read = self.send(chunks).await?;
        self.mark(Position::Done).await?;
        Ok(read)
    }

    fn beyond(&self, key: Option<&[String]>) -> Option<String> {
        key.map(|key| self.compared(">", key))
    }

    fn compared(&self, operator: &str, key: &[String]) -> String {
        let names: Vec<String> = self.relation.key.iter().map(|name| identifier(name)).collect();
        let values = self.relation.key.iter().zip(key).map(|(name, value)| match self.relation.column(name) {
            Some(column) => format!("{}::{}", literal(value), column.of.declared),
            None => literal(value),
        });
        let values: Vec<String> = values.collect();
        format!("({}) {operator} ({})", names.join(", "), values.join(", "))
    }

    /// Keys that part the table into chunks: one of each so many pages, in their order. `last`: only greater ones.
    async fn bounds(&mut self, extent: Extent, last: Option<&[String]>) -> Result<Vec<Vec<String>>> {
        let names: Vec<String> = self.relation.key.iter().map(|name| identifier(name)).collect();
        let (list, from) = (names.join(", "), self.relation.sql_name());
        let starts: Vec<u64> = (1..).map(|n| n * extent.step()).take_while(|page| *page < extent.pages).collect();
        let mut samples = Vec::new();
        for part in starts.chunks(SAMPLES) {
            let selects: Vec<String> = part
                .iter()
                .map(|page| {
                    let end = page + 16;
                    format!("(SELECT {list} FROM {from} WHERE ctid >= '({page},0)' AND ctid < '({end},0)' LIMIT 1)")
                })
                .collect();
            samples.push(selects.join(" UNION ALL "));
        }
        let texts: Vec<String> = names.iter().map(|name| format!("s.{name}::text")).collect();
        let order: Vec<String> = names.iter().map(|name| format!("s.{name}")).collect();
        let filter = self.beyond(last).map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        let complete = |row: Vec<Option<String>>| row.into_iter().collect::<Option<Vec<String>>>();
        if samples.len() == 1 {
            let sql = format!(
                "SELECT {} FROM (SELECT DISTINCT {list} FROM ({}) u{filter}) s ORDER BY {}",
                texts.join(", "),
                samples[0],
                order.join(", ")
            );
            return Ok(self.session().query(&sql).await?.into_iter().filter_map(complete).collect());
        }
        // More than one statement's worth: sampled in parts, then ordered by the server as values.
        let mut values = Vec::new();
        for sample in samples {
            let texts: Vec<String> = names.iter().map(|name| format!("u.{name}::text")).collect();
            let rows = self.session().query(&format!("SELECT {} FROM ({sample}) u", texts.join(", "))).await?;
            for key in rows.into_iter().filter_map(complete) {
                let typed = self.relation.key.iter().zip(&key).map(|(name, value)| match self.relation.column(name) {
                    Some(column) => format!("{}::{}", literal(value), column.of.declared),
                    None => literal(value),
                });
                values.push(format!("({})", typed.collect::<Vec<_>>().join(", ")));
            }
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {} FROM (SELECT DISTINCT {list} FROM (VALUES {}) u ({list}){filter}) s ORDER BY {}",
            texts.join(", "),
            values.join(", "),
            order.join(", ")
        );
        Ok(self.session().query(&sql).await?.into_iter().filter_map(complete).collect())
    }

    async fn incremental(&mut self, extent: Option<Extent>, position: Option<Position>) -> Result<i64> {
        let column = self.cursor_column()?.clone();
        let position = match position {
            None => None,
            Some(Position::Cursor(cursor)) | Some(Position::Pages(Pages { then: Some(cursor), .. }))
                if cursor.field != column.name =>
            {
                let message = format!(
                    "Stream `{}`: the cursor was `{}` and is `{}` now; reading everything again",
                    self.name, cursor.field, column.name
                );
                self.output.log(Level::WARN, message).await?;
                None
            }
            Some(Position::Cursor(_) | Position::Pages(Pages { then: Some(_), .. })) => position,
            Some(_) => {
                return Err(state::bad(self.name, "is one of a full refresh, and the stream is incremental now"));
            }
        };
        self.warn_of_nulls(&column).await?;
        match (position, extent) {
            (Some(Position::Cursor(cursor)), _) => self.delta(&column, cursor).await,
            (Some(Position::Pages(pages)), Some(extent)) => self.go_on(&column, extent, pages).await,
            (_, Some(extent)) => self.first(&column, extent).await,
            (Some(Position::Pages(Pages { then: Some(cursor), .. })), None) => {
                // The relation has no pages any more (a table became a view).
                self.delta(&column, Cursor { field: cursor.field, ..Cursor::default() }).await
            }
            (_, None) => self.delta(&column, Cursor { field: column.name.clone(), ..Cursor::default() }).await,
        }
    }

    fn cursor_column(&self) -> Result<&TableColumn> {
        let [field] = self.configured.cursor() else {
            return Err(Error::config(format!("Stream `{}` is incremental and has no cursor field", self.name))
                .with_hint(
                    "Set `cursor_field` to one column whose value grows with every change, or use a full refresh",
                ));
        };
        self.relation.column(field).ok_or_else(|| {
            Error::config(format!("Stream `{}`: the table has no column `{field}`, which is the cursor", self.name))
                .with_hint("Choose another cursor field, or bring the column back")
        })
    }

    async fn warn_of_nulls(&mut self, column: &TableColumn) -> Result<()> {
        if column.not_null {
            return Ok(());
        }
        let sql =
            format!("SELECT count(*) FROM {} WHERE {} IS NULL", self.relation.sql_name(), identifier(&column.name));
        let count = self.count(&sql).await?;
        if count > 0 {
            let message = format!(
                "Stream `{}`: {count} rows have no value in the cursor `{}`; changes of such rows are not seen",
                self.name, column.name
            );
            self.output.log(Level::WARN, message).await?;
        }
        Ok(())
    }

    async fn count(&mut self, sql: &str) -> Result<i64> {
        let text = self.session().value(sql).await?;
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.readers.coordinator.nonsense("no count"))
    }

    fn literal_of(&self, column: &TableColumn, value: &str) -> String {
        format!("{}::{}", literal(value), column.of.declared)
    }

    async fn ties(&mut self, column: &TableColumn, value: &str) -> Result<i64> {
        let name = identifier(&column.name);
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {name} = {}",
            self.relation.sql_name(),
            self.literal_of(column, value)
        );
        self.count(&sql).await
    }

    /// The greatest cursor value of the snapshot, in the form of states.
    async fn top(&mut self, column: &TableColumn) -> Result<Option<String>> {
        let name = identifier(&column.name);
        let sql = format!(
            "SELECT {name}::text FROM {} AS {ALIAS} WHERE {name} IS NOT NULL ORDER BY {ALIAS}.{name} DESC LIMIT 1",
            self.relation.sql_name()
        );
        let top = self.session().value(&sql).await.map_err(|error| self.unordered(column, error))?;
        let top = top.map(|text| cursor::state_text(&column.of.name, text));
        if let Some(end @ ("infinity" | "Infinity" | "NaN")) = top.as_deref() {
            let message = format!(
                "Stream `{}`: the cursor `{}` has reached {end}; no later change can be greater",
                self.name, column.name
            );
            self.output.log(Level::WARN, message).await?;
        }
        Ok(top)
    }

    fn unordered(&self, column: &TableColumn, error: Error) -> Error {
        if fault::code(&error) != Some("42883") {
            return error;
        }
        Error::config(format!("The cursor `{}` has the type {}, which has no order", column.name, column.of.declared))
            .with_hint("Choose a number, a date or a timestamp that grows with every change")
            .with_source(error)
    }

    /// Incremental for the first time: all pages, with the bound that the next sync goes on from.
    async fn first(&mut self, column: &TableColumn, extent: Extent) -> Result<i64> {
        let value = self.top(column).await?;
        let count = match &value {
            Some(value) => self.ties(column, value).await?,
            None => 0,
        };
        let cursor = Cursor { field: column.name.clone(), value, count: Some(count) };
        // `pg_current_snapshot` came with 13, ranges with 14.
        let xmin = self.count("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").await?;
        let chunks = page_chunks(extent, (0, 0), None, |after| {
            Position::Pages(Pages { after, file: extent.file, snapshot_xmin: Some(xmin), then: Some(cursor.clone()) })
        });
        let read = self.send(chunks).await?;
        self.mark(Position::Cursor(cursor)).await?;
        Ok(read)
    }

    /// The rest of the pages of an earlier attempt. Rows beyond the bound are left to the next sync, which finds them by
    /// their cursor.
    async fn go_on(&mut self, column: &TableColumn, extent: Extent, pages: Pages) -> Result<i64> {
        let Some(cursor) = pages.then.clone() else { return self.first(column, extent).await };
        if pages.file != extent.file {
            let message = format!(
                "Stream `{}`: the table was rewritten (VACUUM FULL, TRUNCATE, ALTER) since the read that was broken off; \
                 reading everything again",
                self.name
            );
            self.output.log(Level::WARN, message).await?;
            return self.first(column, extent).await;
        }
        let name = identifier(&column.name);
        let known = match &cursor.value {
            Some(value) => format!("({name} <= {} OR {name} IS NULL)", self.literal_of(column, value)),
            None => format!("{name} IS NULL"),
        };
        let mut chunks =
            page_chunks(extent, pages.after, Some(&known), |after| Position::Pages(Pages { after, ..pages.clone() }));
        if let Some(xmin) = pages.snapshot_xmin {
            chunks.push(Self::repair(pages.after, xmin, &known));
        }
        let read = self.send(chunks).await?;
        self.mark(Position::Cursor(cursor)).await?;
        Ok(read)
    }

    /// Rows that lie on pages which an earlier attempt has read, and were written since its snapshot: an update may have
    /// moved them there from a page that was not read yet. Those with a newer cursor come with the next sync; this
    /// finds the ones whose cursor stayed as it was.
    fn repair(after: (u32, u16), xmin: i64, known: &str) -> Chunk {
        // `xmin` has 32 bits: compared by how many transactions ago it was. 1 and 2 are older than all.
        let now = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)";
        let newer = format!("mod({now} - xmin::text::bigint, 4294967296) <= {now} - {xmin}");
        let condition =
            format!("ctid <= '({},{})' AND xmin::text::bigint > 2 AND {newer} AND {known}", after.0, after.1);
        Chunk { leaf: None, condition: Some(condition), mark: None }
    }

    /// Incremental: what came after the cursor of the last sync.
    async fn delta(&mut self, column: &TableColumn, from: Cursor) -> Result<i64> {
        let name = identifier(&column.name);
        let Some(top) = self.top(column).await? else {
            self.mark(Position::Cursor(Cursor { count: from.count.or(Some(0)), ..from })).await?;
            return Ok(0);
        };
        let upper = self.literal_of(column, &top);
        let mut conditions = vec![format!("{name} <= {upper}")];
        let mut ended = Cursor { field: column.name.clone(), value: Some(top.clone()), count: None };
        if let Some(value) = &from.value {
            let lower = self.literal_of(column, value);
            let grown = self.session().value(&format!("SELECT {upper} > {lower}")).await;
            let grown = grown.map_err(|error| self.unreadable(column, value, error))?.as_deref() == Some("t");
            let equal = match from.count {
                Some(count) if count > 0 => Some((count, self.ties(column, value).await?)),
                _ => None,
            };
            let again = equal.filter(|(before, now)| *now > 0 && before != now);
            if let Some((before, now)) = again {
                let message = match before {
                    i64::MAX => format!("Stream `{}`: {now} rows whose cursor is {value} are sent again", self.name),
                    _ => format!(
                        "Stream `{}`: {now} rows whose cursor is {value} are sent again, because there were {before} of them \
                         at the last sync",
                        self.name
                    ),
                };
                self.output.log(Level::INFO, message).await?;
            }
            let operator = if again.is_some() { ">=" } else { ">" };
            conditions.push(format!("{name} {operator} {lower}"));
            if !grown {
                let count = match (again, equal) {
                    (Some((_, now)), _) => now,
                    (None, Some((before, _))) => before,
                    (None, None) => self.ties(column, value).await?,
                };
                ended = Cursor { count: Some(count), ..from.clone() };
            }
        }
        if ended.count.is_none() {
            ended.count = Some(self.ties(column, &top).await?);
        }
        let marks = types::marks(&column.of);
        let plain = cursor::column_of(&self.expressions, &name, &column.name);
        let (_, kind) =
            types::selection(&column.of, &column.name, protocol::ColumnType::of(&types::json_schema(&column.of)));
        let hidden = (marks && plain.is_none()).then(|| Column { name: column.name.as_str().into(), kind });
        let sent = self.columns.len();
        let selection = self.selection(hidden);
        let delta =
            Delta { selection: &selection, field: &column.name, marks: marks.then(|| plain.unwrap_or(sent)), sent };
        let sql = selection.copy(None, &format!("WHERE {} ORDER BY {ALIAS}.{name}", conditions.join(" AND ")));
        let read = delta.send(&mut self.readers.coordinator, &sql, self.output).await?;
        self.mark(Position::Cursor(ended)).await?;
        Ok(read)
    }

    fn unreadable(&self, column: &TableColumn, value: &str, error: Error) -> Error {
        if error.kind != ErrorKind::Config {
            return error;
        }
        let value: String = value.chars().take(60).collect();
        state::bad(
            self.name,
            &format!("has the cursor `{}`, which is no value of the type {}", value.escape_debug(), column.of.declared),
        )
        .with_source(error)
    }
}

/// All pages, of a full refresh.
fn whole(extent: Extent) -> Vec<Chunk> {
    page_chunks(extent, (0, 0), None, |after| {
        Position::Pages(Pages { after, file: extent.file, snapshot_xmin: None, then: None })
    })
}

/// Ranges of pages behind `after`, the last one without an end.
fn page_chunks(
    extent: Extent,
    after: (u32, u16),
    filter: Option<&str>,
    mark: impl Fn((u32, u16)) -> Position,
) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut from = after;
    loop {
        let end = u64::from(from.0) + extent.step();
        let last = end >= extent.pages;
        let mut conditions = Vec::new();
        if from != (0, 0) {
            conditions.push(format!("ctid > '({},{})'", from.0, from.1));
        }
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        if !last {
            conditions.push(format!("ctid <= '({end},0)'"));
        }
        conditions.extend(filter.map(str::to_owned));
        let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        chunks.push(Chunk { leaf: None, condition, mark: (!last).then(|| mark((end, 0))) });
        if last {
            return chunks;
        }
        from = (end, 0);
    }
}
