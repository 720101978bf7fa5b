//! One stream on its way into the database: its names, its columns, its plan, and the steps that end it.

use connector::{Error, Result, StreamPlan, Target};
use protocol::{DestinationSyncMode, checkpoint};

use super::{
    merge::{self, DELETED_AT, Merged, Order},
    names::{self, Beside, ORDER, Place, quoted},
    swap,
    table::{self, Column, Existing, Making},
    types::Wire,
};
use crate::{direct::position::moved, postgres::client::Session};

/// PostgreSQL has 1,600 columns; four are the metadata and one numbers the rows of staging.
const MOST_COLUMNS: usize = 1595;

#[derive(Clone, Debug)]
pub struct Lane {
    pub target: Target,
    /// The final table.
    pub table: Place,
    pub columns: Vec<Column>,
    pub order: Order,
    pub plan: StreamPlan,
    /// Of the table that rows are loaded into, once the stream has started.
    pub wires: Vec<Wire>,
    /// Of the staging table, once the stream has started.
    pub staging_oid: Option<String>,
    beside: Beside,
    /// Where everything lies that is not a final table.
    home: String,
}

/// The lanes of an attempt, in the order of its targets.
pub fn lanes(connection: &str, home: &str, soft_deletes: bool, targets: Vec<Target>) -> Result<Vec<Lane>> {
    let tables: Vec<_> = targets.iter().map(|target| target.table.clone()).collect();
    let tables = names::tables(home, &tables);
    let lane = |(target, table)| Lane::new(connection, home, soft_deletes, target, table);
    targets.into_iter().zip(tables).map(lane).collect()
}

impl Lane {
    fn new(connection: &str, home: &str, soft_deletes: bool, target: Target, table: Place) -> Result<Self> {
        let named = names::columns(target.columns.iter().map(|(field, _)| field.as_str()));
        let columns: Vec<Column> = target
            .columns
            .iter()
            .zip(named)
            .map(|((field, kind), name)| Column { field: field.clone(), name, kind: *kind })
            .collect();
        let stream = &target.stream;
        if matches!(target.mode, DestinationSyncMode::Update | DestinationSyncMode::SoftDelete) {
            return Err(Error::config(format!(
                "Stream `{stream}` has a mode that the Postgres destination does not know"
            ))
            .with_hint("Choose append, overwrite or append_dedup"));
        }
        // The empty name stands for the position of all streams.
        if stream.name.is_empty() || stream.name.contains('\0') {
            return Err(Error::config("A stream has an empty name, or one with U+0000 in it")
                .with_hint("Give the stream another name in the source"));
        }
        if columns.len() > MOST_COLUMNS {
            return Err(Error::config(format!(
                "Stream `{stream}` has {} fields; a PostgreSQL table takes {MOST_COLUMNS}",
                columns.len()
            ))
            .with_hint("Select fewer fields of the stream"));
        }
        let column =
            |field: &String| columns.iter().find(|column| column.field == *field).map(|column| column.name.clone());
        let deleted_at = if soft_deletes { None } else { column(&DELETED_AT.to_owned()) };
        let mut order = Order { key: Vec::new(), cursor: None, deleted_at };
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
        let beside = Beside::new(connection, stream);
        let plan = StreamPlan::Resume { generation: target.generation };
        let (wires, staging_oid, home) = (Vec::new(), None, home.to_owned());
        Ok(Self { table, columns, order, beside, plan, wires, staging_oid, home, target })
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

    pub fn staging(&self) -> Place {
        Place::new(&self.home, self.beside.staging(self.generation()))
    }

    /// Prefix of the names of its staging tables.
    pub fn stagings(&self) -> String {
        self.beside.stagings()
    }

    pub fn tail(&self) -> Place {
        Place::new(&self.home, self.beside.tail())
    }

    fn next(&self) -> Place {
        Place::new(&self.home, self.beside.next())
    }

    /// Where its rows go.
    pub fn loads_into(&self) -> Place {
        if self.target.stages() { self.staging() } else { self.table.clone() }
    }

    pub fn place(&self, staged: i64) -> checkpoint::Place {
        if staged > 0 { checkpoint::Place::Staging } else { checkpoint::Place::Final }
    }

    /// Makes tables ready. `kept`: rows that staging is known to hold. Returns how many it holds.
    pub async fn start(&mut self, session: &mut Session, kept: Option<i64>) -> Result<i64> {
        if self.is_done() {
            return Ok(0);
        }
        table::ensure_schema(session, &self.table.schema).await?;
        let mut final_table = table::owned(session, &self.table).await?;
        if !self.target.truncates()
            && let Some(existing) = &final_table
        {
            table::evolve(session, existing, self.stream(), &self.columns).await?;
            final_table = table::owned(session, &self.table).await?;
        }
        if !self.target.stages() {
            if final_table.is_none() {
                table::create(session, &self.table, &self.columns, Making::FINAL).await?;
                final_table = table::owned(session, &self.table).await?;
            }
            let Some(existing) = final_table else { return Err(self.absent()) };
            self.wires = existing.wires(&self.columns)?;
            return Ok(0);
        }
        let staging = self.staging();
        let is_fresh = matches!(self.plan, StreamPlan::Fresh { .. });
        for name in table::beginning(session, &self.home, &self.stagings()).await? {
            if is_fresh || name != staging.name {
                table::drop(session, &Place::new(&self.home, name)).await?;
            }
        }
        let mut rows = 0;
        match table::owned(session, &staging).await? {
            None if kept.is_some_and(|rows| rows > 0) && !is_fresh => {
                return Err(moved("The staging table that holds rows is gone"));
            }
            None => self.stage(session, &staging, final_table.as_ref()).await?,
            Some(found) => {
                table::evolve(session, &found, self.stream(), &self.columns).await?;
                rows = match kept {
                    Some(rows) => rows,
                    None => table::rows(session, &staging).await?,
                };
            }
        }
        let Some(found) = table::owned(session, &staging).await? else { return Err(self.absent()) };
        self.wires = found.wires(&self.columns)?;
        self.staging_oid = Some(found.oid);
        Ok(rows)
    }

    fn absent(&self) -> Error {
        Error::system(format!("A table of stream `{}` was made and is not there", self.target.stream))
    }

    /// Makes the staging table, whose columns are those of the final table where its rows will meet them.
    async fn stage(&self, session: &mut Session, staging: &Place, like: Option<&Existing>) -> Result<()> {
        let mut exactly = !self.target.truncates();
        if let (false, Some(existing)) = (exactly, like)
            && let Some(tie) = swap::tie(session, existing).await?
        {
            exactly = true;
            for column in &self.columns {
                let held = existing.column(&column.name);
                if let Some(held) = held.filter(|held| !held.wire.is_some_and(|wire| wire.fits(column.kind))) {
                    let mut error = table::unfit(existing, held, self.stream(), column);
                    error.message.push_str(&format!("; the table cannot be built again because {tie}"));
                    return Err(error);
                }
            }
        }
        let making = Making { like, exactly, ordered: self.target.merges(), beside: true };
        table::create(session, staging, &self.columns, making).await
    }

    /// Makes the table for rows that no mark covers yet: like the one that they will go to.
    pub async fn make_tail(&self, session: &mut Session) -> Result<()> {
        let (tail, like) = (self.tail().sql(), self.loads_into().sql());
        session.execute(&format!("CREATE TABLE {tail} (LIKE {like}) WITH (autovacuum_enabled = false)")).await?;
        Ok(())
    }

    /// Moves the tail to where the rows belong and drops it. Returns the rows that arrived.
    pub async fn move_tail(&self, session: &mut Session) -> Result<i64> {
        let rows = self.copy(session, &self.tail(), &self.loads_into(), self.target.merges()).await?;
        table::drop(session, &self.tail()).await?;
        Ok(rows)
    }

    async fn copy(&self, session: &mut Session, from: &Place, into: &Place, ordered: bool) -> Result<i64> {
        let mut all = table::all(&self.columns);
        if ordered {
            all.push_str(&format!(", {}", quoted(ORDER)));
        }
        session.execute(&format!("INSERT INTO {} ({all}) SELECT {all} FROM {}", into.sql(), from.sql())).await
    }

    /// Brings the `staged` rows of staging into the final table and drops staging; says what was done.
    pub async fn finish(&self, session: &mut Session, staged: i64) -> Result<String> {
        let stream = &self.target.stream;
        if !self.target.stages() {
            table::ensure(session, &self.table, self.stream(), &self.columns).await?;
            return Ok(format!("Stream {stream}: complete"));
        }
        table::ensure_schema(session, &self.table.schema).await?;
        let staging = table::owned(session, &self.staging()).await?.ok_or_else(|| moved("A staging table is gone"))?;
        // Somebody may have changed it by hand.
        if (self.target.merges() || self.target.truncates()) && table::rows(session, &staging.place).await? != staged {
            return Err(moved("A staging table does not hold what was sent"));
        }
        let told = if self.target.merges() {
            let Merged { inserted, updated, superseded, deleted } = self.merge(session, &staging, staged).await?;
            format!(
                "merged {staged} rows: {inserted} inserted, {updated} updated, {superseded} superseded, {deleted} deleted"
            )
        } else if self.target.truncates() {
            swap::swap(session, &staging, &self.table, staged).await?
        } else {
            table::ensure(session, &self.table, self.stream(), &self.columns).await?;
            if self.copy(session, &staging.place, &self.table, false).await? != staged {
                return Err(moved("A staging table does not hold what was sent"));
            }
            format!("added {staged} rows")
        };
        table::drop(session, &staging.place).await?;
        Ok(format!("Stream {stream}: {told}"))
    }

    async fn merge(&self, session: &mut Session, staging: &Existing, staged: i64) -> Result<Merged> {
        let key = &self.order.key;
        let is_new = self.target.truncates() || table::owned(session, &self.table).await?.is_none();
        let merged = if is_new && merge::is_merged(session, staging, &self.order).await? {
            // Without duplicates the rows need no copy.
            session.execute(&format!("ALTER TABLE {} DROP COLUMN {}", staging.place.sql(), quoted(ORDER))).await?;
            let staging = table::owned(session, &staging.place).await?.ok_or_else(|| self.absent())?;
            swap::swap(session, &staging, &self.table, staged).await?;
            Merged { inserted: staged, ..Merged::default() }
        } else if self.target.truncates() {
            let next = self.next();
            table::drop(session, &next).await?;
            let making = Making { like: Some(staging), exactly: true, ordered: false, beside: true };
            table::create(session, &next, &self.columns, making).await?;
            let next = table::owned(session, &next).await?.ok_or_else(|| self.absent())?;
            let merged = self.merge_into(session, staging, &next, staged).await?;
            swap::swap(session, &next, &self.table, merged.inserted).await?;
            merged
        } else {
            let existing = table::ensure(session, &self.table, self.stream(), &self.columns).await?;
            merge::index(session, &existing, &self.table, key).await?;
            merge::drop_index_of_long_keys(session, staging, &existing, key).await?;
            return self.merge_into(session, staging, &existing, staged).await;
        };
        let existing = table::owned(session, &self.table).await?.ok_or_else(|| self.absent())?;
        merge::index(session, &existing, &self.table, key).await?;
        Ok(merged)
    }

    async fn merge_into(&self, session: &mut Session, from: &Existing, into: &Existing, staged: i64) -> Result<Merged> {
        // Named like a tail, so that nobody takes it for more than it is.
        let fates = Place::new(&self.home, format!("{}_f", self.beside.tail()));
        merge::merge(session, &from.place, into, &fates, &self.columns, &self.order, staged).await
    }

    /// Empties the final table if there is one (Invariant 10: it is never dropped), and forgets what was on the way.
    pub async fn clear(&self, session: &mut Session) -> Result<String> {
        let stream = &self.target.stream;
        let told = match table::owned(session, &self.table).await? {
            Some(existing) => {
                let rows = session.execute(&format!("DELETE FROM {}", existing.rows())).await?;
                format!("Stream {stream}: {rows} rows removed from `{}`", self.table)
            }
            None => format!("Stream {stream}: there is no table `{}` to empty", self.table),
        };
        for staging in table::beginning(session, &self.home, &self.stagings()).await? {
            table::drop(session, &Place::new(&self.home, staging)).await?;
        }
        table::drop(session, &self.tail()).await?;
        Ok(told)
    }
}
