//! Rows of staging meet the final table by key.
//!
//! Of the rows with one key the greatest cursor wins (NULL last), then the later extraction, then the later row; staging is
//! later than the table. Keys compare null-safe: a key with a NULL in it is a key like any other. A winner with
//! `_ab_cdc_deleted_at` deletes its row. Every staged row gets one fate, and the fates must add up to what was sent.

use connector::{Error, Result};
use rusqlite::Connection;

use super::{
    client::sql,
    names::{hash, list, quoted},
    table::{self, Column},
};

/// The column by which a source says that a row was deleted.
pub const DELETED_AT: &str = "_ab_cdc_deleted_at";

/// By what rows are told apart and put in order: names of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub key: Vec<String>,
    pub cursor: Option<String>,
    pub deleted_at: Option<String>,
}

/// What became of the rows of staging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub inserted: i64,
    pub updated: i64,
    /// An older row than another one of the same key, in staging or in the table.
    pub superseded: i64,
    pub deleted: i64,
}

impl Merged {
    fn total(self) -> i64 {
        self.inserted + self.updated + self.superseded + self.deleted
    }
}

const INSERT: i64 = 0;
const UPDATE: i64 = 1;
const SUPERSEDED: i64 = 2;
const DELETE: i64 = 3;

/// Merges `staged` rows of `from` into `into`. Runs within the caller's transaction; the
/// tables have the columns, and `into` its [`index`] unless it is empty.
pub fn merge(
    connection: &Connection,
    from: &str,
    into: &str,
    columns: &[Column],
    order: &Order,
    staged: i64,
) -> Result<Merged> {
    let rowid = table::rowid(columns.iter().map(|column| column.name.as_str()))?;
    let (source, target) = (quoted(from), quoted(into));
    let key = list(order.key.iter().map(String::as_str));
    let same = order.key.iter().map(|name| format!("f.{0} IS s.{0}", quoted(name))).collect::<Vec<_>>().join(" AND ");
    let cursor = order.cursor.as_deref().map(quoted);
    let newest = match &cursor {
        Some(cursor) => format!("{cursor} DESC NULLS LAST, \"_airbyte_extracted_at\" DESC, {rowid} DESC"),
        None => format!("\"_airbyte_extracted_at\" DESC, {rowid} DESC"),
    };
    let later = "f.\"_airbyte_extracted_at\" > s.\"_airbyte_extracted_at\"";
    // The table's row is newer than the staged one.
    let beaten = match &cursor {
        Some(c) => format!("(f.{c} > s.{c} OR (f.{c} IS NOT NULL AND s.{c} IS NULL) OR (f.{c} IS s.{c} AND {later}))"),
        None => later.to_owned(),
    };
    let deleted = match &order.deleted_at {
        Some(column) => format!("s.{} IS NOT NULL", quoted(column)),
        None => "0".to_owned(),
    };
    let run = |text: String| connection.execute(&text, []).map(|rows| rows as i64).map_err(sql);

    connection
        .execute_batch("DROP TABLE IF EXISTS temp._leat_fates; CREATE TEMP TABLE _leat_fates (row INTEGER PRIMARY KEY, fate INTEGER)")
        .map_err(sql)?;
    run(format!(
        "INSERT INTO temp._leat_fates
         SELECT s.{rowid}, CASE
             WHEN EXISTS (SELECT 1 FROM main.{target} f WHERE {same} AND {beaten}) THEN {SUPERSEDED}
             WHEN {deleted} THEN {DELETE}
             WHEN EXISTS (SELECT 1 FROM main.{target} f WHERE {same}) THEN {UPDATE}
             ELSE {INSERT} END
         FROM (SELECT {rowid} AS number, row_number() OVER (PARTITION BY {key} ORDER BY {newest}) AS place FROM main.{source}) n
         JOIN main.{source} s ON s.{rowid} = n.number
         WHERE n.place = 1"
    ))?;
    let count = |fate: i64| {
        let text = format!("SELECT count(*) FROM temp._leat_fates WHERE fate = {fate}");
        connection.query_row(&text, [], |row| row.get::<_, i64>(0)).map_err(sql)
    };
    let losers = format!("SELECT count(*) FROM main.{source} WHERE {rowid} NOT IN (SELECT row FROM temp._leat_fates)");
    let losers: i64 = connection.query_row(&losers, [], |row| row.get(0)).map_err(sql)?;
    let mut merged = Merged { superseded: losers + count(SUPERSEDED)?, deleted: count(DELETE)?, ..Merged::default() };

    run(format!(
        "DELETE FROM main.{target} WHERE {rowid} IN (
             SELECT f.{rowid} FROM temp._leat_fates w
             CROSS JOIN main.{source} s ON s.{rowid} = w.row
             CROSS JOIN main.{target} f ON {same}
             WHERE w.fate IN ({UPDATE}, {DELETE}))"
    ))?;
    let all = table::all(columns);
    let from_staging = table::all_of("s", columns);
    let put = |fate: i64| {
        run(format!(
            "INSERT INTO main.{target} ({all}) SELECT {from_staging} FROM temp._leat_fates w
             CROSS JOIN main.{source} s ON s.{rowid} = w.row WHERE w.fate = {fate} ORDER BY w.row"
        ))
    };
    merged.updated = put(UPDATE)?;
    merged.inserted = put(INSERT)?;
    connection.execute_batch("DROP TABLE temp._leat_fates").map_err(sql)?;
    if merged.total() != staged {
        return Err(Error::system(format!(
            "The merge into `{into}` accounts for {} rows ({merged:?}), but {staged} were staged",
            merged.total()
        )));
    }
    Ok(merged)
}

/// Whether rows are as a merge into nothing would leave them: one for each key, none that says it is deleted.
pub fn is_merged(connection: &Connection, table: &str, order: &Order) -> Result<bool> {
    let key = list(order.key.iter().map(String::as_str));
    let table = quoted(table);
    let mut query = format!("SELECT NOT EXISTS (SELECT 1 FROM {table} GROUP BY {key} HAVING count(*) > 1)");
    if let Some(deleted) = order.deleted_at.as_deref().map(quoted) {
        query.push_str(&format!(" AND NOT EXISTS (SELECT 1 FROM {table} WHERE {deleted} IS NOT NULL)"));
    }
    connection.query_row(&query, [], |row| row.get(0)).map_err(sql)
}

/// Makes the index by which a key is found in the final table `owner`, on `table`, which is it or becomes it. An index of
/// another key, from before the connection was edited, goes.
pub fn index(connection: &Connection, table: &str, owner: &str, key: &[String]) -> Result<()> {
    let mut parts: Vec<&str> = vec![owner];
    parts.extend(key.iter().map(String::as_str));
    let name = format!("_leat_key_{}", &hash(&parts)[..16]);
    let query = "SELECT name FROM main.sqlite_schema
                 WHERE type = 'index' AND lower(tbl_name) = lower(?1) AND substr(name, 1, 10) = '_leat_key_'";
    let mut statement = connection.prepare(query).map_err(sql)?;
    let names = statement.query_map([table], |row| row.get::<_, String>(0)).map_err(sql)?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>().map_err(sql)?;
    for stale in names.iter().filter(|existing| **existing != name) {
        connection.execute_batch(&format!("DROP INDEX {}", quoted(stale))).map_err(sql)?;
    }
    let columns = list(key.iter().map(String::as_str));
    let text = format!("CREATE INDEX IF NOT EXISTS {} ON {} ({columns})", quoted(&name), quoted(table));
    connection.execute_batch(&text).map_err(sql)
}
