//! One stream on its way into the file: its names, its columns, its plan, and the steps that end it.

use connector::{Error, Result, StreamPlan, Target};
use protocol::{DestinationSyncMode, checkpoint::Place};
use rusqlite::Connection;

use super::{
    client::sql,
    commits::moved,
    merge::{self, DELETED_AT, Merged, Order},
    names::{self, Beside, quoted},
    swap::swap,
    table::{self, Column},
};

#[derive(Clone, Debug)]
pub struct Lane {
    pub target: Target,
    /// The final table.
    pub table: String,
    pub columns: Vec<Column>,
    pub order: Order,
    pub beside: Beside,
    pub plan: StreamPlan,
    rowid: &'static str,
}

/// The lanes of an attempt, in the order of its targets.
pub fn lanes(connection: &str, targets: Vec<Target>) -> Result<Vec<Lane>> {
    let tables: Vec<_> = targets.iter().map(|target| target.table.clone()).collect();
    let tables = names::tables(&tables);
    targets.into_iter().zip(tables).map(|(target, table)| Lane::new(connection, target, table)).collect()
}

impl Lane {
    fn new(connection: &str, target: Target, table: String) -> Result<Self> {
        let named = names::columns(target.columns.iter().map(|(field, _)| field.as_str()));
        let columns: Vec<Column> = target
            .columns
            .iter()
            .zip(named)
            .map(|((field, kind), name)| Column { field: field.clone(), name, kind: *kind })
            .collect();
        let stream = &target.stream;
        if matches!(target.mode, DestinationSyncMode::Update | DestinationSyncMode::SoftDelete) {
            return Err(Error::config(format!("Stream `{stream}` has a mode that SQLite does not know"))
                .with_hint("Choose append, overwrite or append_dedup"));
        }
        // The empty name stands for the position of all streams.
        if stream.name.is_empty() {
            return Err(Error::config("A stream has an empty name").with_hint("Give the stream a name in the source"));
        }
        // SQLite has 2,000 columns and four of them are ours.
        if columns.len() > 1996 {
            return Err(Error::config(format!(
                "Stream `{stream}` has {} fields; a SQLite table takes 1996",
                columns.len()
            ))
            .with_hint("Select fewer fields of the stream"));
        }
        let column =
            |field: &String| columns.iter().find(|column| column.field == *field).map(|column| column.name.clone());
        let mut order = Order { key: Vec::new(), cursor: None, deleted_at: column(&DELETED_AT.to_owned()) };
        if target.merges() {
            if target.primary_key.is_empty() {
                return Err(Error::config(format!("Stream `{stream}` is deduplicated but has no primary key"))
                    .with_hint("Choose a primary key, or a mode without deduplication"));
            }
            for field in &target.primary_key {
                order.key.push(column(field).ok_or_else(|| {
                    Error::config(format!(
                        "Field `{field}` is in the primary key of stream `{stream}` but not among its columns"
                    ))
                    .with_hint("Select the field, or choose another primary key")
                })?);
            }
            // A cursor that is not a column orders nothing here; the extraction time does.
            order.cursor = target.cursor.as_ref().and_then(column);
        }
        let rowid = table::rowid(columns.iter().map(|column| column.name.as_str()))?;
        let beside = Beside::new(connection, stream);
        let plan = StreamPlan::Resume { generation: target.generation };
        Ok(Self { table, columns, order, beside, plan, rowid, target })
    }

    pub fn stream(&self) -> &str {
        &self.target.stream.name
    }

    pub fn generation(&self) -> i64 {
        self.plan.generation().unwrap_or(self.target.generation)
    }

    pub fn is_done(&self) -> bool {
        self.plan == StreamPlan::Done
    }

    pub fn staging(&self) -> String {
        self.beside.staging(self.generation())
    }

    /// Where its rows go.
    pub fn loads_into(&self) -> String {
        if self.target.stages() { self.staging() } else { self.table.clone() }
    }

    pub fn place(&self, staged: i64) -> Place {
        if staged > 0 { Place::Staging } else { Place::Final }
    }

    /// Makes tables ready. Returns how many rows staging holds.
    pub fn start(&self, connection: &Connection, kept: Option<i64>) -> Result<i64> {
        let Some(generation) = self.plan.generation() else { return Ok(0) };
        let final_table = table::owned(connection, &self.table)?;
        if !self.target.truncates()
            && let Some(existing) = &final_table
        {
            table::evolve(connection, existing, self.stream(), &self.columns)?;
        }
        if !self.target.stages() {
            if final_table.is_none() {
                table::create(connection, &self.table, &self.columns)?;
            }
            return Ok(0);
        }
        let staging = self.beside.staging(generation);
        let is_fresh = matches!(self.plan, StreamPlan::Fresh { .. });
        for name in table::beginning(connection, &self.beside.stagings())? {
            if is_fresh || name != staging {
                table::drop(connection, &name)?;
            }
        }
        let found = self.staged(connection)?;
        match (found, kept) {
            (None, Some(rows)) if rows > 0 && !is_fresh => Err(moved("The staging table that holds rows is gone")),
            (None, _) => table::create(connection, &staging, &self.columns).map(|()| 0),
            (Some(rows), _) => {
                table::ensure(connection, &staging, self.stream(), &self.columns)?;
                Ok(rows)
            }
        }
    }

    /// Rows in staging; `None` where there is no such table.
    pub fn staged(&self, connection: &Connection) -> Result<Option<i64>> {
        table::rows(connection, &self.staging(), self.rowid)
    }

    pub fn tailed(&self, connection: &Connection) -> Result<Option<i64>> {
        table::rows(connection, &self.beside.tail(), self.rowid)
    }

    /// Moves the tail to where the rows belong and drops it. Returns the rows that arrived.
    pub fn move_tail(&self, connection: &Connection) -> Result<i64> {
        let moved = self.copy(connection, &self.beside.tail(), &self.loads_into())?;
        table::drop(connection, &self.beside.tail())?;
        Ok(moved)
    }

    fn copy(&self, connection: &Connection, from: &str, into: &str) -> Result<i64> {
        let all = table::all(&self.columns);
        let text =
            format!("INSERT INTO {} ({all}) SELECT {all} FROM {} ORDER BY {}", quoted(into), quoted(from), self.rowid);
        connection.execute(&text, []).map(|rows| rows as i64).map_err(sql)
    }

    /// Brings the `staged` rows of staging into the final table and drops staging; says what was done.
    pub fn finish(&self, connection: &Connection, staged: i64) -> Result<String> {
        let stream = &self.target.stream;
        if !self.target.stages() {
            table::ensure(connection, &self.table, self.stream(), &self.columns)?;
            return Ok(format!("Stream {stream}: complete"));
        }
        let staging = self.staging();
        let told = if self.target.merges() {
            let merged = self.merge(connection, &staging, staged)?;
            let Merged { inserted, updated, superseded, deleted } = merged;
            format!(
                "merged {staged} rows: {inserted} inserted, {updated} updated, {superseded} superseded, {deleted} deleted"
            )
        } else if self.target.truncates() {
            swap(connection, &staging, &self.table)?;
            format!("replaced its table with {staged} rows")
        } else {
            table::ensure(connection, &self.table, self.stream(), &self.columns)?;
            let arrived = self.copy(connection, &staging, &self.table)?;
            if arrived != staged {
                return Err(Error::system(format!(
                    "{arrived} rows of stream `{stream}` arrived, {staged} were staged"
                )));
            }
            format!("added {staged} rows")
        };
        table::drop(connection, &staging)?;
        Ok(format!("Stream {stream}: {told}"))
    }

    fn merge(&self, connection: &Connection, staging: &str, staged: i64) -> Result<Merged> {
        if table::owned(connection, &self.table)?.is_none() && merge::is_merged(connection, staging, &self.order)? {
            // A first load without duplicates needs no copy.
            merge::index(connection, staging, &self.table, &self.order.key)?;
            swap(connection, staging, &self.table)?;
            return Ok(Merged { inserted: staged, ..Merged::default() });
        }
        let index = || merge::index(connection, &self.table, &self.table, &self.order.key);
        let into = if self.target.truncates() { self.beside.next() } else { self.table.clone() };
        if self.target.truncates() {
            table::drop(connection, &into)?;
            table::create(connection, &into, &self.columns)?;
        } else {
            table::ensure(connection, &into, self.stream(), &self.columns)?;
            index()?;
        }
        let merged = merge::merge(connection, staging, &into, &self.columns, &self.order, staged)?;
        if self.target.truncates() {
            swap(connection, &into, &self.table)?;
            index()?;
        }
        Ok(merged)
    }

    /// Empties the final table if there is one (Invariant 10: it is never dropped), and forgets what was on the way.
    pub fn clear(&self, connection: &Connection) -> Result<String> {
        let stream = &self.target.stream;
        let told = match table::owned(connection, &self.table)? {
            Some(existing) => {
                let rows = connection.execute(&format!("DELETE FROM {}", quoted(&existing.name)), []).map_err(sql)?;
                format!("Stream {stream}: {rows} rows removed from `{}`", existing.name)
            }
            None => format!("Stream {stream}: there is no table `{}` to empty", self.table),
        };
        for staging in table::beginning(connection, &self.beside.stagings())? {
            table::drop(connection, &staging)?;
        }
        table::drop(connection, &self.beside.tail())?;
        Ok(told)
    }
}
