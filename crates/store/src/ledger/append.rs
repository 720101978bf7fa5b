//! Writing to the ledger: entries of a running attempt, entries that begin a chain, generations, thinning.

use protocol::{
    Json, StateMessage, StreamDescriptor,
    checkpoint::{Claim, Counts, Entry, EntryKind, Line, Place, Point, Why},
};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use super::read::{decode_counts, uuid_of};
use crate::{
    Backend, ClaimStream, Error, ErrorKind, Priority, Result, Store, Tx,
    columns::{Columns, namespace, placeholders, word},
    migrations::hex,
};

/// While an attempt runs about one entry per stream is kept in this time.
const THIN_MS: i64 = 1000;

/// An entry that begins a chain: an API write, a rewind, an import, or the head of new streams.
#[derive(Clone, Debug)]
pub struct NewChain {
    pub kind: EntryKind,
    pub why: Why,
    pub state: Option<StateMessage>,
    /// Generation and place as given; counts are usually zero.
    pub lines: Vec<Line>,
}

impl Store {
    /// Appends entries of a running attempt, all or none, durable when it returns. See [`Tx::append_entries`]. On SQLite
    /// what waits for the writer is committed together.
    pub async fn append_entries(&self, claim: &Claim, entries: &[Entry], now_ms: i64) -> Result<()> {
        if self.backend() == Backend::Sqlite {
            return self.append_in_group(claim, entries, now_ms).await;
        }
        let mut tx = self.write(Priority::Ledger).await?;
        tx.append_entries(claim, entries, now_ms).await?;
        tx.commit().await
    }
}

impl Tx {
    /// Appends entries of a running attempt (job and attempt in an entry may be those of an earlier one: what was found
    /// in a destination is credited to whom it belongs). An entry whose origin the ledger does not know yet becomes the
    /// beginning of that chain.
    ///
    /// An entry that follows another of the same stream and attempt within a second takes its place, and its counts are
    /// added: about one entry per stream and second is kept. Begin, clear, end, rewind and restored entries always stay,
    /// as do, per origin, the last one and the last one with all its rows in the final table.
    ///
    /// # Errors
    /// `Fenced`: the attempt has ended or belongs to another owner. Nothing was written: stop.
    pub async fn append_entries(&mut self, claim: &Claim, entries: &[Entry], now_ms: i64) -> Result<()> {
        // Invariant 3: where attempt = n and owner = token; 0 rows means stop.
        self.confirm_claim(claim, now_ms).await?;
        let connection = uuid_of(&claim.connection)?;
        for entry in entries {
            let mut lines = entry.lines.clone();
            let since_ms = match self.thinnable(connection, entry, now_ms).await? {
                Some(previous) => self.thin_out(connection, &previous, &mut lines).await?,
                None => now_ms,
            };
            let number = self.number_for(connection, entry.point.origin).await?;
            self.insert_entry(connection, number, entry, &lines, since_ms, now_ms).await?;
        }
        Ok(())
    }

    /// Begins a chain: the entry gets the next number of the connection, which is its origin too, with seq 0.
    ///
    /// # Errors
    /// `Conflict` while a job of the connection is active: a running attempt would not see it.
    pub async fn begin_chain(&mut self, connection: Uuid, new: &NewChain, now_ms: i64) -> Result<Entry> {
        if let Some(job) = self.active_job(connection).await? {
            return Err(Error::new(ErrorKind::Conflict, format!("job {} of the connection is active", job.id))
                .with_hint("cancel it, or wait until it has ended"));
        }
        self.insert_chain(connection, new, (None, None), now_ms).await
    }

    /// Takes the next number of the connection as the origin of a chain that a reset will begin.
    pub async fn reserve_origin(&mut self, connection: Uuid) -> Result<i64> {
        let row = sqlx::query(
            "insert into ledger_counters (connection_id, last_number) values ($1, 1) \
             on conflict (connection_id) do update set last_number = ledger_counters.last_number + 1 \
             returning last_number",
        )
        .bind(connection.to_string())
        .fetch_one(self.conn())
        .await?;
        row.int("last_number")
    }

    /// Numbers from now on are greater than `origin`: an origin that was found in a destination.
    pub async fn raise_counter_above(&mut self, connection: Uuid, origin: i64) -> Result<()> {
        sqlx::query(
            "insert into ledger_counters (connection_id, last_number) values ($1, $2) on conflict (connection_id) \
             do update set last_number = excluded.last_number \
             where ledger_counters.last_number < excluded.last_number",
        )
        .bind(connection.to_string())
        .bind(origin)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The current generation of a stream; 0 for one that was never rewritten.
    pub async fn generation(&mut self, connection: Uuid, stream: &StreamDescriptor) -> Result<i64> {
        let row = sqlx::query(
            "select generation from stream_generations where connection_id = $1 and namespace = $2 and name = $3",
        )
        .bind(connection.to_string())
        .bind(namespace(stream))
        .bind(stream.name.as_str())
        .fetch_optional(self.conn())
        .await?;
        row.map_or(Ok(0), |row| row.int("generation"))
    }

    /// Raises the generation of a stream in a later attempt, after `recover()`, and answers the new one. Rows in staging
    /// under an older generation count as dropped. `Fenced` if the claim is lost.
    pub async fn raise_generation(&mut self, claim: &Claim, stream: &StreamDescriptor, now_ms: i64) -> Result<i64> {
        self.confirm_claim(claim, now_ms).await?;
        self.next_generation(uuid_of(&claim.connection)?, stream).await
    }

    /// Tells the ledger that the staging table of a stream was dropped: lines since its last `end` or `clear` whose rows
    /// were there do not count as committed any more. `Fenced` if the claim is lost.
    pub async fn drop_staged(&mut self, claim: &Claim, stream: &StreamDescriptor, now_ms: i64) -> Result<()> {
        self.confirm_claim(claim, now_ms).await?;
        self.mark_dropped(uuid_of(&claim.connection)?, stream).await
    }

    /// What the claim of attempt 0 does to the ledger.
    pub(crate) async fn begin_streams(&mut self, claim: &Claim, streams: &[ClaimStream], now_ms: i64) -> Result<()> {
        let connection = uuid_of(&claim.connection)?;
        let mut lines = Vec::new();
        for wanted in streams {
            let generation = match wanted.raise_generation {
                true => self.next_generation(connection, &wanted.stream).await?,
                false => self.generation(connection, &wanted.stream).await?,
            };
            if !self.has_line(connection, &wanted.stream).await? {
                let stream = wanted.stream.clone();
                lines.push(Line { stream, generation, place: Place::Final, counts: Counts::default() });
            }
        }
        if !lines.is_empty() {
            let new = NewChain { kind: EntryKind::Begin, why: Why::Begin, state: None, lines };
            self.insert_chain(connection, &new, (Some(claim.job), Some(claim.attempt)), now_ms).await?;
        }
        Ok(())
    }

    async fn insert_chain(
        &mut self,
        connection: Uuid,
        new: &NewChain,
        (job, attempt): (Option<i64>, Option<i64>),
        now_ms: i64,
    ) -> Result<Entry> {
        let number = self.reserve_origin(connection).await?;
        let point = Point { origin: number, seq: 0 };
        let entry = Entry {
            point,
            kind: new.kind,
            why: new.why,
            job,
            attempt,
            state: new.state.clone(),
            lines: new.lines.clone(),
        };
        self.insert_entry(connection, number, &entry, &entry.lines, now_ms, now_ms).await?;
        Ok(entry)
    }

    async fn has_line(&mut self, connection: Uuid, stream: &StreamDescriptor) -> Result<bool> {
        let row =
            sqlx::query("select 1 from ledger_lines where connection_id = $1 and namespace = $2 and name = $3 limit 1")
                .bind(connection.to_string())
                .bind(namespace(stream))
                .bind(stream.name.as_str())
                .fetch_optional(self.conn())
                .await?;
        Ok(row.is_some())
    }

    async fn next_generation(&mut self, connection: Uuid, stream: &StreamDescriptor) -> Result<i64> {
        self.mark_dropped(connection, stream).await?;
        let row = sqlx::query(
            "insert into stream_generations (connection_id, namespace, name, generation) values ($1, $2, $3, 1) \
             on conflict (connection_id, namespace, name) do update \
             set generation = stream_generations.generation + 1 returning generation",
        )
        .bind(connection.to_string())
        .bind(namespace(stream))
        .bind(stream.name.as_str())
        .fetch_one(self.conn())
        .await?;
        row.int("generation")
    }

    async fn mark_dropped(&mut self, connection: Uuid, stream: &StreamDescriptor) -> Result<()> {
        sqlx::query(
            "update ledger_lines set dropped = 1 where connection_id = $1 and namespace = $2 and name = $3 \
             and place = 'staging' and number > coalesce((select max(number) from ledger_lines as ended \
             where ended.connection_id = $1 and ended.namespace = $2 and ended.name = $3 \
             and ended.kind in ('end', 'clear')), 0)",
        )
        .bind(connection.to_string())
        .bind(namespace(stream))
        .bind(stream.name.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The origin itself for the first entry of a chain, otherwise the next number.
    async fn number_for(&mut self, connection: Uuid, origin: i64) -> Result<i64> {
        let known = sqlx::query("select 1 from ledger_entries where connection_id = $1 and origin = $2 limit 1")
            .bind(connection.to_string())
            .bind(origin)
            .fetch_optional(self.conn())
            .await?;
        let taken = sqlx::query("select 1 from ledger_entries where connection_id = $1 and number = $2")
            .bind(connection.to_string())
            .bind(origin)
            .fetch_optional(self.conn())
            .await?;
        self.raise_counter_above(connection, origin).await?;
        if known.is_none() && taken.is_none() {
            return Ok(origin);
        }
        self.reserve_origin(connection).await
    }

    async fn insert_entry(
        &mut self,
        connection: Uuid,
        number: i64,
        entry: &Entry,
        lines: &[Line],
        since_ms: i64,
        now_ms: i64,
    ) -> Result<()> {
        let state_hash = match &entry.state {
            Some(state) => Some(self.put_state(connection, state).await?),
            None => None,
        };
        let (kind, why) = (word(entry.kind), word(entry.why));
        sqlx::query(
            "insert into ledger_entries (connection_id, number, origin, seq, kind, why, job_id, attempt, state_hash, \
             since_ms, at_ms) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(connection.to_string())
        .bind(number)
        .bind(entry.point.origin)
        .bind(entry.point.seq)
        .bind(kind.as_str())
        .bind(why.as_str())
        .bind(entry.job)
        .bind(entry.attempt)
        .bind(state_hash)
        .bind(since_ms)
        .bind(now_ms)
        .execute(self.conn())
        .await?;
        for chunk in lines.chunks(LINES) {
            let rows: Vec<String> = (0..chunk.len()).map(|row| line_values(FIRST_OF_LINE + row * PER_LINE)).collect();
            let sql = format!(
                "insert into ledger_lines (connection_id, number, origin, seq, kind, why, job_id, attempt, dropped, \
                 namespace, name, generation, place, rows_read, rows_written, rows_filtered, rows_rejected, bytes) \
                 values {}",
                rows.join(", ")
            );
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .bind(connection.to_string())
                .bind(number)
                .bind(entry.point.origin)
                .bind(entry.point.seq)
                .bind(kind.as_str())
                .bind(why.as_str())
                .bind(entry.job)
                .bind(entry.attempt);
            for line in chunk {
                query = query
                    .bind(namespace(&line.stream))
                    .bind(line.stream.name.as_str())
                    .bind(line.generation)
                    .bind(word(line.place))
                    .bind(line.counts.read)
                    .bind(line.counts.written)
                    .bind(line.counts.filtered)
                    .bind(line.counts.rejected)
                    .bind(line.counts.bytes);
            }
            query.execute(self.conn()).await?;
        }
        // Every stream with a line has a row here: the list that chains are found by.
        sqlx::query(
            "insert into stream_generations (connection_id, namespace, name, generation) \
             select connection_id, namespace, name, 0 from ledger_lines where connection_id = $1 and number = $2 \
             on conflict do nothing",
        )
        .bind(connection.to_string())
        .bind(number)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores a state once by hash.
    async fn put_state(&mut self, connection: Uuid, state: &StateMessage) -> Result<String> {
        let json = Json::from_value(state).map_err(|error| {
            Error::new(ErrorKind::Internal, "a state could not be written as JSON").with_source(error)
        })?;
        let hash = hex(&Sha256::digest(json.text().as_bytes()));
        sqlx::query("insert into state_blobs (connection_id, hash, state) values ($1, $2, $3) on conflict do nothing")
            .bind(connection.to_string())
            .bind(hash.as_str())
            .bind(json.text())
            .execute(self.conn())
            .await?;
        Ok(hash)
    }

    /// The entry before `entry`, if `entry` may take its place: a state of the same attempt, about the same streams in
    /// the same generations and places, in a group that began less than a second ago.
    async fn thinnable(&mut self, connection: Uuid, entry: &Entry, now_ms: i64) -> Result<Option<Previous>> {
        let is_state = matches!(entry.kind, EntryKind::Stream | EntryKind::Global | EntryKind::Legacy);
        let is_made_by_run = matches!(entry.why, Why::Sync | Why::Refresh);
        let Some(first) = entry.lines.first().filter(|_| is_state && is_made_by_run) else { return Ok(None) };
        let row = sqlx::query(
            "select e.number, e.kind, e.why, e.origin, e.job_id, e.attempt, e.state_hash, e.since_ms \
             from ledger_lines l join ledger_entries e on e.connection_id = l.connection_id and e.number = l.number \
             where l.connection_id = $1 and l.namespace = $2 and l.name = $3 \
             order by l.origin desc, l.seq desc, l.number desc limit 1",
        )
        .bind(connection.to_string())
        .bind(namespace(&first.stream))
        .bind(first.stream.name.as_str())
        .fetch_optional(self.conn())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let number = row.int("number")?;
        let since_ms = row.int("since_ms")?;
        // The first entry of a chain is what makes its origin known.
        let same_writer = row.word::<EntryKind>("kind")? == entry.kind
            && row.word::<Why>("why")? == entry.why
            && row.int("origin")? == entry.point.origin
            && number != entry.point.origin
            && row.opt_int("job_id")? == entry.job
            && row.opt_int("attempt")? == entry.attempt;
        if !same_writer || now_ms - since_ms >= THIN_MS {
            return Ok(None);
        }
        let rows = sqlx::query(
            "select namespace, name, generation, place, dropped, rows_read, rows_written, rows_filtered, \
             rows_rejected, bytes from ledger_lines where connection_id = $1 and number = $2",
        )
        .bind(connection.to_string())
        .bind(number)
        .fetch_all(self.conn())
        .await?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.flag("dropped")? {
                return Ok(None);
            }
            lines.push(decode_line(row)?);
        }
        let same_lines = lines.len() == entry.lines.len()
            && entry.lines.iter().all(|line| {
                lines.iter().any(|old| {
                    old.stream == line.stream && old.generation == line.generation && old.place == line.place
                })
            });
        let state_hash = row.opt_text("state_hash")?;
        Ok(same_lines.then_some(Previous { number, since_ms, state_hash, lines }))
    }

    /// Removes an entry and moves its counts to the lines that take its place. Answers when the group began.
    async fn thin_out(&mut self, connection: Uuid, previous: &Previous, lines: &mut [Line]) -> Result<i64> {
        for line in lines {
            if let Some(old) = previous.lines.iter().find(|old| old.stream == line.stream) {
                line.counts += old.counts;
            }
        }
        for table in ["ledger_lines", "ledger_entries"] {
            sqlx::query(AssertSqlSafe(format!("delete from {table} where connection_id = $1 and number = $2")))
                .bind(connection.to_string())
                .bind(previous.number)
                .execute(self.conn())
                .await?;
        }
        if let Some(hash) = &previous.state_hash {
            sqlx::query(
                "delete from state_blobs where connection_id = $1 and hash = $2 and not exists \
                 (select 1 from ledger_entries where connection_id = $1 and state_hash = $2)",
            )
            .bind(connection.to_string())
            .bind(hash.as_str())
            .execute(self.conn())
            .await?;
        }
        Ok(previous.since_ms)
    }
}

/// Lines per statement, the placeholders of one, and the first of them: those before are of the entry.
const LINES: usize = 200;
const PER_LINE: usize = 9;
const FIRST_OF_LINE: usize = 9;

fn line_values(first: usize) -> String {
    format!("($1, $2, $3, $4, $5, $6, $7, $8, 0, {})", placeholders(first, PER_LINE))
}

/// An entry that another one is about to replace.
struct Previous {
    number: i64,
    since_ms: i64,
    state_hash: Option<String>,
    lines: Vec<Line>,
}

pub(super) fn decode_line(row: &AnyRow) -> Result<Line> {
    Ok(Line {
        stream: row.stream()?,
        generation: row.int("generation")?,
        place: row.word("place")?,
        counts: decode_counts(row)?,
    })
}
