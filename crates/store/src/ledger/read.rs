//! Reading the ledger: counts of jobs and attempts, the current state, history.

use std::collections::{BTreeSet, HashMap};

use protocol::{
    Json, State, StateMessage, StreamDescriptor, StreamState,
    checkpoint::{Counts, Entry, Place, Point},
};
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use super::append::decode_line;
use crate::{
    Error, Result, Tx,
    columns::{Columns, namespace, placeholders, word},
};

/// Where a connection may resume, as the state API tells it. Streams whose chain has no state are left out.
#[derive(Clone, Debug, PartialEq)]
pub enum CurrentState {
    NotSet,
    Legacy(Json),
    Stream(Vec<StreamState>),
    Global { shared: Option<Json>, streams: Vec<StreamState> },
}

/// An entry with what is not part of [`Entry`].
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    pub number: i64,
    /// When it was written, epoch milliseconds.
    pub at_ms: i64,
    pub entry: Entry,
}

/// How many numbers are put into one query.
const CHUNK: usize = 500;

impl Tx {
    /// What a job has committed, per stream, over all its attempts: rows in staging tables that were dropped are left out.
    pub async fn job_counts(&mut self, job: i64) -> Result<Vec<(StreamDescriptor, Counts)>> {
        self.counts("job_id = $1 and $2 = -1", job, -1).await
    }

    /// What one attempt has committed, per stream.
    pub async fn attempt_counts(&mut self, job: i64, attempt: i64) -> Result<Vec<(StreamDescriptor, Counts)>> {
        self.counts("job_id = $1 and attempt = $2", job, attempt).await
    }

    async fn counts(&mut self, condition: &str, job: i64, attempt: i64) -> Result<Vec<(StreamDescriptor, Counts)>> {
        // Postgres sums bigint as numeric, which the shared driver cannot decode.
        let sql = format!(
            "select namespace, name, cast(sum(rows_read) as bigint) as rows_read, \
             cast(sum(rows_written) as bigint) as rows_written, cast(sum(rows_filtered) as bigint) as rows_filtered, \
             cast(sum(rows_rejected) as bigint) as rows_rejected, cast(sum(bytes) as bigint) as bytes \
             from ledger_lines where {condition} and dropped = 0 group by namespace, name order by namespace, name"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(job).bind(attempt).fetch_all(self.conn()).await?;
        rows.iter().map(|row| Ok((row.stream()?, decode_counts(row)?))).collect()
    }

    /// The last entry of an origin that has a line for each of `streams`, all of these with their rows in the final
    /// table: where to resume when the staging table is gone. A `clear` or `begin` counts.
    pub async fn last_final(
        &mut self,
        connection: Uuid,
        origin: i64,
        streams: &[StreamDescriptor],
    ) -> Result<Option<Entry>> {
        let streams: BTreeSet<&StreamDescriptor> = streams.iter().collect();
        if streams.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> =
            (0..streams.len()).map(|index| format!("({})", placeholders(5 + 2 * index, 2))).collect();
        let sql = format!(
            "select number from ledger_lines where connection_id = $1 and origin = $2 and place = $3 \
             and (namespace, name) in (values {}) group by number, seq having count(*) = $4 \
             order by seq desc, number desc limit 1",
            names.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(connection.to_string())
            .bind(origin)
            .bind(word(Place::Final))
            .bind(streams.len() as i64);
        for stream in streams {
            query = query.bind(namespace(stream)).bind(stream.name.as_str());
        }
        let Some(row) = query.fetch_optional(self.conn()).await? else { return Ok(None) };
        let number = row.int("number")?;
        Ok(self.entries(connection, &[number]).await?.pop().map(|found| found.entry))
    }

    /// Where the connection may resume now: the heads of its chains.
    pub async fn current_state(&mut self, connection: Uuid) -> Result<CurrentState> {
        let mut newest: Option<(Point, StateMessage)> = None;
        let mut streams = Vec::new();
        for chain in self.chains(connection).await? {
            let Some(state) = chain.head.state else { continue };
            if let State::Stream(own) = &state.state
                && own.descriptor == chain.stream
                && own.state.is_some()
            {
                streams.push(own.clone());
            }
            if newest.as_ref().is_none_or(|(point, _)| *point < chain.head.point) {
                newest = Some((chain.head.point, state));
            }
        }
        Ok(match newest.map(|(_, message)| message.state) {
            Some(State::Global { shared, streams, .. }) => CurrentState::Global { shared, streams },
            Some(State::Legacy(json)) => CurrentState::Legacy(json),
            _ if streams.is_empty() => CurrentState::NotSet,
            _ => CurrentState::Stream(streams),
        })
    }

    /// The newest entries in the order of writing, newest first.
    pub async fn ledger_history(&mut self, connection: Uuid, limit: i64) -> Result<Vec<HistoryEntry>> {
        let rows = sqlx::query(
            "select number from ledger_entries where connection_id = $1 order by at_ms desc, number desc limit $2",
        )
        .bind(connection.to_string())
        .bind(limit)
        .fetch_all(self.conn())
        .await?;
        let numbers = rows.iter().map(|row| row.int("number")).collect::<Result<Vec<_>>>()?;
        let mut found = self.entries(connection, &numbers).await?;
        found.sort_by_key(|entry| std::cmp::Reverse((entry.at_ms, entry.number)));
        Ok(found)
    }

    /// The entries of these numbers with their states and lines, by number.
    pub(super) async fn entries(&mut self, connection: Uuid, numbers: &[i64]) -> Result<Vec<HistoryEntry>> {
        let mut found = Vec::with_capacity(numbers.len());
        for chunk in numbers.chunks(CHUNK) {
            let list = placeholders(2, chunk.len());
            let mut lines: HashMap<i64, Vec<_>> = HashMap::new();
            let sql = format!(
                "select number, namespace, name, generation, place, rows_read, rows_written, rows_filtered, \
                 rows_rejected, bytes from ledger_lines where connection_id = $1 and number in ({list}) \
                 order by number, namespace, name"
            );
            for row in &bind_numbers(&sql, connection, chunk).fetch_all(self.conn()).await? {
                lines.entry(row.int("number")?).or_default().push(decode_line(row)?);
            }
            let sql = format!(
                "select e.number, e.origin, e.seq, e.kind, e.why, e.job_id, e.attempt, e.at_ms, b.state \
                 from ledger_entries e left join state_blobs b \
                 on b.connection_id = e.connection_id and b.hash = e.state_hash \
                 where e.connection_id = $1 and e.number in ({list}) order by e.number"
            );
            for row in &bind_numbers(&sql, connection, chunk).fetch_all(self.conn()).await? {
                let number = row.int("number")?;
                let entry = Entry {
                    point: Point { origin: row.int("origin")?, seq: row.int("seq")? },
                    kind: row.word("kind")?,
                    why: row.word("why")?,
                    job: row.opt_int("job_id")?,
                    attempt: row.opt_int("attempt")?,
                    state: decode_state(row)?,
                    lines: lines.remove(&number).unwrap_or_default(),
                };
                found.push(HistoryEntry { number, at_ms: row.int("at_ms")?, entry });
            }
        }
        Ok(found)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bind_numbers(sql: &str, connection: Uuid, numbers: &[i64]) -> Query<'static> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).bind(connection.to_string());
    for number in numbers {
        query = query.bind(*number);
    }
    query
}

fn decode_state(row: &AnyRow) -> Result<Option<StateMessage>> {
    let Some(text) = row.opt_text("state")? else { return Ok(None) };
    let state = serde_json::from_str(&text).map_err(|error| Error::corrupt("a state").with_source(error))?;
    Ok(Some(state))
}

pub(super) fn decode_counts(row: &AnyRow) -> Result<Counts> {
    Ok(Counts {
        read: row.int("rows_read")?,
        written: row.int("rows_written")?,
        filtered: row.int("rows_filtered")?,
        rejected: row.int("rows_rejected")?,
        bytes: row.int("bytes")?,
    })
}

pub(super) fn uuid_of(connection: &str) -> Result<Uuid> {
    Uuid::parse_str(connection).map_err(|error| Error::fenced("the id of its connection is none").with_source(error))
}
