//! Tables as they are and as a stream needs them: inspect, create, add columns. Nothing here drops a column.

use connector::{Error, Result};
use protocol::ColumnType;
use rusqlite::{Connection, OptionalExtension};

use super::{
    client::{is_missing, sql},
    names::{METADATA, list, quoted},
    types::{declared, fits},
};

/// A column of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in the stream's schema.
    pub field: String,
    /// Name in the table.
    pub name: String,
    pub kind: ColumnType,
}

/// A table that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// As it is spelled.
    pub name: String,
    /// Name and declared type, without generated columns.
    pub columns: Vec<(String, String)>,
}

impl Existing {
    pub fn column(&self, name: &str) -> Option<&(String, String)> {
        self.columns.iter().find(|(existing, _)| existing.eq_ignore_ascii_case(name))
    }
}

/// A table that this connector may write to: absent, or one with the metadata columns.
pub fn owned(connection: &Connection, name: &str) -> Result<Option<Existing>> {
    let Some(existing) = inspect(connection, name)? else { return Ok(None) };
    if METADATA.iter().all(|column| existing.column(column).is_some()) {
        return Ok(Some(existing));
    }
    Err(Error::config(format!("The table `{name}` exists and was not made by a sync: it has no column `_airbyte_raw_id`, `_airbyte_extracted_at`, `_airbyte_meta` or `_airbyte_generation_id`"))
        .with_hint("Rename or drop the table, or give the connection another prefix or namespace"))
}

fn inspect(connection: &Connection, name: &str) -> Result<Option<Existing>> {
    let query = "SELECT type, name FROM main.sqlite_schema WHERE lower(name) = lower(?1) AND type <> 'trigger'";
    let found = connection
        .query_row(query, [name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()
        .map_err(sql)?;
    let Some((kind, spelled)) = found else { return Ok(None) };
    if kind != "table" {
        return Err(Error::config(format!("The name `{name}` belongs to a {kind} in the destination"))
            .with_hint("Rename it, or give the connection another prefix or namespace"));
    }
    let mut statement =
        connection.prepare("SELECT name, type FROM pragma_table_xinfo(?1) WHERE hidden = 0").map_err(sql)?;
    let columns = statement.query_map([&spelled], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
    let columns = columns.collect::<rusqlite::Result<Vec<(String, String)>>>().map_err(sql)?;
    Ok(Some(Existing { name: spelled, columns }))
}

/// The metadata columns, then the stream's.
pub fn create(connection: &Connection, name: &str, columns: &[Column]) -> Result<()> {
    let mut text = format!(
        "CREATE TABLE {} (\"_airbyte_raw_id\" TEXT NOT NULL, \"_airbyte_extracted_at\" TEXT NOT NULL, \
         \"_airbyte_meta\" TEXT NOT NULL, \"_airbyte_generation_id\" INTEGER",
        quoted(name)
    );
    for column in columns {
        text.push_str(&format!(", {} {}", quoted(&column.name), declared(column.kind)));
    }
    text.push(')');
    connection.execute_batch(&text).map_err(sql)
}

/// Whether the columns of a stream fit a table, without touching it.
pub fn check(existing: &Existing, stream: &str, columns: &[Column]) -> Result<()> {
    for column in columns {
        let Some((name, kind)) = existing.column(&column.name) else { continue };
        if !fits(kind, column.kind) {
            // Invariant 10: a type changes in place only where that is lossless.
            return Err(Error::config(format!(
                "Column `{name}` of table `{}` is {kind}, and the source sends {} now",
                existing.name,
                declared(column.kind)
            ))
            .with_hint(format!(
                "Refresh stream `{stream}` so that its table is built again with the new type, or drop the column"
            )));
        }
    }
    Ok(())
}

/// Adds the columns that a table lacks.
pub fn evolve(connection: &Connection, existing: &Existing, stream: &str, columns: &[Column]) -> Result<()> {
    check(existing, stream, columns)?;
    for column in columns {
        if existing.column(&column.name).is_none() {
            add(connection, &existing.name, &column.name, declared(column.kind))?;
        }
    }
    Ok(())
}

pub fn add(connection: &Connection, table: &str, column: &str, kind: &str) -> Result<()> {
    let text = format!("ALTER TABLE {} ADD COLUMN {} {kind}", quoted(table), quoted(column));
    connection.execute_batch(&text).map_err(sql)
}

/// Creates what is missing, adds what is missing.
pub fn ensure(connection: &Connection, name: &str, stream: &str, columns: &[Column]) -> Result<()> {
    match owned(connection, name)? {
        Some(existing) => evolve(connection, &existing, stream, columns),
        None => create(connection, name, columns),
    }
}

pub fn drop(connection: &Connection, name: &str) -> Result<()> {
    connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(name))).map_err(sql)
}

/// Names of the tables that begin with `prefix`.
pub fn beginning(connection: &Connection, prefix: &str) -> Result<Vec<String>> {
    let query = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND substr(name, 1, length(?1)) = ?1";
    let mut statement = connection.prepare_cached(query).map_err(sql)?;
    let names = statement.query_map([prefix], |row| row.get(0)).map_err(sql)?;
    names.collect::<rusqlite::Result<_>>().map_err(sql)
}

/// Rows of a table that only this connector writes, whose rows never leave one by one: the newest row's number. `None`
/// where there is no such table.
pub fn rows(connection: &Connection, name: &str, rowid: &str) -> Result<Option<i64>> {
    let query = format!("SELECT coalesce(max({rowid}), 0) FROM {}", quoted(name));
    // A statement that is kept from before fails only when it runs.
    let newest = connection.prepare_cached(&query).and_then(|mut statement| statement.query_row([], |row| row.get(0)));
    match newest {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(sql(error)),
    }
}

/// A name of SQLite's row number that no column hides.
pub fn rowid<'a>(columns: impl Iterator<Item = &'a str> + Clone) -> Result<&'static str> {
    let free = |name: &&&str| !columns.clone().any(|column| column.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].iter().find(free).copied().ok_or_else(|| {
        Error::config("A stream has columns `rowid`, `_rowid_` and `oid`, and SQLite needs one of these names")
            .with_hint("Leave one of these fields out of the connection")
    })
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
