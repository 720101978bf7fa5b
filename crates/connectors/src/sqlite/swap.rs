//! A new table in the place of the old one, within the caller's transaction: readers see the old rows or the new ones,
//! never an empty table (Invariant 5).
//!
//! SQLite has no exchange of tables. Dropping the old one and renaming the new one works under views only with
//! `legacy_alter_table`, which every connection of ours sets; indexes and triggers are made again from their text.
//! Constraints and defaults that a user wrote into the table's own definition are not carried.

use connector::{Error, Result};
use rusqlite::Connection;

use super::{
    client::sql,
    names::quoted,
    table::{self, Existing},
};

/// Renames `from` to `name`, over what is there.
pub fn swap(connection: &Connection, from: &str, name: &str) -> Result<()> {
    let Some(old) = table::owned(connection, name)? else {
        return rename(connection, from, name);
    };
    carry_columns(connection, from, &old)?;
    let query = "SELECT name, sql FROM main.sqlite_schema
                 WHERE lower(tbl_name) = lower(?1) AND type IN ('index', 'trigger') AND sql IS NOT NULL
                 ORDER BY type, rowid";
    let mut statement = connection.prepare(query).map_err(sql)?;
    let attached = statement.query_map([&old.name], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
    let attached = attached.collect::<rusqlite::Result<Vec<(String, String)>>>().map_err(sql)?;
    table::drop(connection, &old.name)?;
    rename(connection, from, &old.name)?;
    for (attached, text) in attached {
        connection.execute_batch(&text).map_err(|error| {
            Error::config(format!("`{attached}` on table `{}` does not fit the new rows", old.name))
                .with_hint("Drop the index or the trigger, or make it fit what the source sends")
                .with_source(error)
        })?;
    }
    Ok(())
}

/// Invariant 10: columns that left the catalog stay, and are NULL in the new rows.
fn carry_columns(connection: &Connection, from: &str, old: &Existing) -> Result<()> {
    let Some(new) = table::owned(connection, from)? else {
        return Err(Error::system(format!("The table `{from}` that was to replace `{}` is not there", old.name)));
    };
    for (column, kind) in &old.columns {
        if new.column(column).is_none() {
            table::add(connection, from, column, kind)?;
        }
    }
    Ok(())
}

fn rename(connection: &Connection, from: &str, name: &str) -> Result<()> {
    let text = format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(name));
    connection.execute_batch(&text).map_err(sql)
}
