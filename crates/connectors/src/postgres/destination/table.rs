//! Tables as they are and as a stream needs them: inspect, create, add and widen columns. Nothing here drops a column.

use connector::{Error, Result};
use protocol::ColumnType;

use super::{
    names::{METADATA, ORDER, Place, list, quoted},
    types::{Wire, declared},
};
use crate::postgres::client::{Row, Session, literal};

/// A column of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in the stream's schema.
    pub field: String,
    /// Name in the table.
    pub name: String,
    pub kind: ColumnType,
}

/// A column that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub name: String,
    /// As the server declares it.
    pub declared: String,
    /// `None` where rows cannot be encoded for it.
    pub wire: Option<Wire>,
    /// The server computes it.
    pub is_generated: bool,
}

/// A table that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    pub oid: String,
    pub place: Place,
    /// We own it, or are a member of the role that does: types, columns and indexes can be changed.
    pub is_owned: bool,
    /// Its rows lie in its partitions.
    pub is_partitioned: bool,
    pub columns: Vec<Held>,
}

impl Existing {
    /// The table where its rows are read, updated or deleted: tables that inherit from it have rows of their own.
    pub fn rows(&self) -> String {
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.place.sql())
    }

    pub fn column(&self, name: &str) -> Option<&Held> {
        self.columns.iter().find(|held| held.name == name)
    }

    /// How rows of a stream are encoded for this table: the metadata, then its columns.
    pub fn wires(&self, columns: &[Column]) -> Result<Vec<Wire>> {
        let names = METADATA.into_iter().chain(columns.iter().map(|column| column.name.as_str()));
        let wire = |name: &str| {
            let held = self.column(name).and_then(|held| held.wire);
            held.ok_or_else(|| Error::config(format!("Column `{name}` of table `{}` cannot be written", self.place)))
        };
        names.map(wire).collect()
    }
}

/// A table that this connector may write to: absent, or one with the metadata columns.
pub async fn owned(session: &mut Session, place: &Place) -> Result<Option<Existing>> {
    let Some(existing) = inspect(session, place).await? else { return Ok(None) };
    let wires = [&[Wire::Text(None)][..], &[Wire::TimestampTz], &[Wire::Jsonb, Wire::Json], &[Wire::Int8]];
    for (name, wires) in METADATA.iter().zip(wires) {
        match existing.column(name) {
            Some(held) if held.wire.is_some_and(|wire| wires.contains(&wire)) => {}
            Some(held) => {
                return Err(Error::config(format!("Column `{name}` of table `{place}` is {}", held.declared))
                    .with_hint("It belongs to the syncs: give it back its type, or give the connection another prefix or namespace"));
            }
            None => {
                return Err(Error::config(format!(
                    "The table `{place}` exists and was not made by a sync: it has no column `{name}`"
                ))
                .with_hint("Rename or drop the table, or give the connection another prefix or namespace"));
            }
        }
    }
    Ok(Some(existing))
}

pub async fn inspect(session: &mut Session, place: &Place) -> Result<Option<Existing>> {
    let generated = if session.version() >= 12 { "a.attgenerated <> ''" } else { "false" };
    let rows = session
        .query(&format!(
            "SELECT c.oid, c.relkind, pg_catalog.pg_has_role(c.relowner, 'USAGE'), a.attname,
                 pg_catalog.format_type(a.atttypid, a.atttypmod), t.typname, a.atttypmod, {generated} OR a.attidentity = 'a'
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'b'
             WHERE n.nspname = {} AND c.relname = {} ORDER BY a.attnum",
            literal(&place.schema),
            literal(&place.name)
        ))
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let sort = match first[1].as_deref() {
        Some("r" | "p") => None,
        Some("v") => Some("view"),
        Some("m") => Some("materialized view"),
        Some("f") => Some("foreign table"),
        Some("S") => Some("sequence"),
        _ => Some("relation that is no table"),
    };
    if let Some(sort) = sort {
        return Err(Error::config(format!("The name `{place}` belongs to a {sort} in the destination"))
            .with_hint("Rename it, or give the connection another prefix or namespace"));
    }
    let is = |text: &Option<String>| text.as_deref() == Some("t");
    let (oid, is_owned) = (first[0].clone().unwrap_or_default(), is(&first[2]));
    let is_partitioned = first[1].as_deref() == Some("p");
    let held = |row: Row| {
        let mut cells = row.into_iter().skip(3);
        let (name, declared, base, modifier) = (cells.next()??, cells.next()??, cells.next()?, cells.next()??);
        let is_generated = is(&cells.next()?);
        let wire = base.filter(|_| !is_generated).and_then(|base| Wire::of_server(&base, modifier.parse().ok()?));
        Some(Held { name, declared, wire, is_generated })
    };
    let columns = rows.into_iter().filter_map(held).collect();
    Ok(Some(Existing { oid, place: place.clone(), is_owned, is_partitioned, columns }))
}

/// How the table of a stream's rows is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Types of columns that are there already are taken over.
    pub like: Option<&'a Existing>,
    /// Every type of `like`; otherwise only those that lose nothing.
    pub exactly: bool,
    /// Rows are numbered, to be merged later.
    pub ordered: bool,
    /// It stands beside a final table and is not tidied up by the server.
    pub beside: bool,
}

impl Making<'_> {
    pub const FINAL: Self = Self { like: None, exactly: false, ordered: false, beside: false };

    fn declared(&self, column: &Column) -> String {
        let held = self.like.and_then(|like| like.column(&column.name));
        let taken = held.filter(|held| {
            held.wire.is_some_and(|wire| {
                let loses_nothing =
                    matches!(wire, Wire::Text(None) | Wire::Numeric(None)) || wire == Wire::of(column.kind);
                wire.fits(column.kind) && (self.exactly || loses_nothing)
            })
        });
        taken.map_or_else(|| declared(column.kind).to_owned(), |held| held.declared.clone())
    }
}

/// The metadata columns, then the stream's.
pub async fn create(session: &mut Session, place: &Place, columns: &[Column], making: Making<'_>) -> Result<()> {
    let mut text = format!(
        "CREATE TABLE {} (\"_airbyte_raw_id\" character varying NOT NULL, \"_airbyte_extracted_at\" timestamp with time zone NOT NULL, \
         \"_airbyte_meta\" jsonb NOT NULL, \"_airbyte_generation_id\" bigint",
        place.sql()
    );
    for column in columns {
        text.push_str(&format!(", {} {}", quoted(&column.name), making.declared(column)));
    }
    if making.ordered {
        text.push_str(&format!(", {} bigint NOT NULL", quoted(ORDER)));
    }
    text.push(')');
    if making.beside {
        text.push_str(" WITH (autovacuum_enabled = false)");
    }
    session.execute(&text).await?;
    Ok(())
}

/// Adds the columns that a table lacks and widens those that may be.
pub async fn evolve(session: &mut Session, existing: &Existing, stream: &str, columns: &[Column]) -> Result<()> {
    for column in columns {
        let name = quoted(&column.name);
        let table = existing.place.sql();
        let Some(held) = existing.column(&column.name) else {
            session.execute(&format!("ALTER TABLE {table} ADD COLUMN {name} {}", declared(column.kind))).await?;
            continue;
        };
        if held.wire.is_some_and(|wire| wire.fits(column.kind)) {
            continue;
        }
        // Invariant 10: a type changes in place only where that is lossless.
        match held.wire.and_then(|wire| wire.widened(column.kind)) {
            Some(wider) => {
                let text = format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {wider} USING {name}::{wider}");
                session
                    .execute(&text)
                    .await
                    .map_err(|error| unfit(existing, held, stream, column).with_source(error))?;
            }
            None => return Err(unfit(existing, held, stream, column)),
        }
    }
    Ok(())
}

pub fn unfit(existing: &Existing, held: &Held, stream: &str, column: &Column) -> Error {
    let now = declared(column.kind);
    let Held { name, declared, is_generated, .. } = held;
    let is = if *is_generated { "computed by the server" } else { declared };
    Error::config(format!("Column `{name}` of table `{}` is {is}, and the source sends {now} now", existing.place))
        .with_hint(format!(
            "Refresh stream `{stream}` so that its table is built again with the new type (drop the views that read the column before), or drop or rename the column"
        ))
}

/// Creates what is missing, adds what is missing; the table as it is then.
pub async fn ensure(session: &mut Session, place: &Place, stream: &str, columns: &[Column]) -> Result<Existing> {
    match owned(session, place).await? {
        Some(existing) => evolve(session, &existing, stream, columns).await?,
        None => create(session, place, columns, Making::FINAL).await?,
    }
    owned(session, place).await?.ok_or_else(|| Error::system(format!("The table `{place}` is not there")))
}

pub async fn drop(session: &mut Session, place: &Place) -> Result<()> {
    session.execute(&format!("DROP TABLE IF EXISTS {}", place.sql())).await?;
    Ok(())
}

/// Makes a schema unless it is there: whoever owns only that schema may not even try.
pub async fn ensure_schema(session: &mut Session, schema: &str) -> Result<()> {
    let query = format!("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {}", literal(schema));
    if session.query(&query).await?.is_empty() {
        session.execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema))).await?;
    }
    Ok(())
}

/// Names of the tables of a schema that begin with `prefix`.
pub async fn beginning(session: &mut Session, schema: &str, prefix: &str) -> Result<Vec<String>> {
    let query = format!(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = {} AND c.relkind = 'r' AND pg_catalog.left(c.relname, {}) = {}",
        literal(schema),
        prefix.len(),
        literal(prefix)
    );
    let rows = session.query(&query).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

pub async fn oid(session: &mut Session, place: &Place) -> Result<Option<String>> {
    let query = format!(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = {} AND c.relname = {}",
        literal(&place.schema),
        literal(&place.name)
    );
    session.value(&query).await
}

pub async fn rows(session: &mut Session, place: &Place) -> Result<i64> {
    let count = session.value(&format!("SELECT count(*) FROM {}", place.sql())).await?;
    count.and_then(|count| count.parse().ok()).ok_or_else(|| session.nonsense("no count"))
}

/// Every column of a stream's table, quoted, for `INSERT` and `SELECT`.
pub fn all(columns: &[Column]) -> String {
    list(METADATA.into_iter().chain(columns.iter().map(|column| column.name.as_str())))
}

/// The same with the table's alias before each.
pub fn all_of(alias: &str, columns: &[Column]) -> String {
    let names = METADATA.into_iter().chain(columns.iter().map(|column| column.name.as_str()));
    names.map(|name| format!("{alias}.{}", quoted(name))).collect::<Vec<_>>().join(", ")
}
