//! Rows of staging meet the final table by key.
//!
//! Of the rows with one key the greatest cursor wins (NULL last), then the later extraction, then the later row; staging is
//! later than the table. Keys compare null-safe: a key with a NULL in it is a key like any other. A winner with
//! `_ab_cdc_deleted_at` deletes its row, unless deletions are soft. Every staged row gets one fate, and the fates must add
//! up to what was sent.
//!
//! `IS NOT DISTINCT FROM` can use neither an index nor a hash in PostgreSQL, so keys without NULL and keys with one are
//! looked up apart. A row that is there is updated where it is, so that what refers to it stays.

use connector::{Error, Result};

use super::{
    names::{METADATA, ORDER, Place, hash, list, quoted},
    table::{self, Column, Existing},
    types::Wire,
};
use crate::postgres::{
    client::{Session, literal},
    fault,
};

/// The column by which a source says that a row was deleted.
pub const DELETED_AT: &str = "_ab_cdc_deleted_at";

/// What the names of our indexes begin with.
pub const KEY_INDEX: &str = "_leat_key_";
/// An index takes 2,704 bytes, of which its own head takes some.
const LONGEST_KEY: usize = 2500;

/// By what rows are told apart and put in order: names of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub key: Vec<String>,
    pub cursor: Option<String>,
    /// Where deletions are hard.
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

/// Fates as they are kept.
const INSERT: u8 = 0;
const UPDATE: u8 = 1;
const SUPERSEDED: u8 = 2;
const DELETE: u8 = 3;
/// An update of a key that several rows of the table have: one takes their place.
const REPLACE: u8 = 4;

/// How names are compared in a table: a text in the order of its bytes, JSON as text.
struct Compared<'a> {
    table: &'a Existing,
}

impl Compared<'_> {
    fn of(&self, alias: &str, column: &str) -> String {
        let name = format!("{alias}.{}", quoted(column));
        match self.table.column(column).and_then(|held| held.wire) {
            Some(wire) if !wire.is_comparable() => format!("{name}::text COLLATE \"C\""),
            Some(Wire::Text(_)) => format!("{name} COLLATE \"C\""),
            _ => name,
        }
    }

    fn key(&self, alias: &str, column: &str) -> String {
        let name = format!("{alias}.{}", quoted(column));
        match self.table.column(column).and_then(|held| held.wire) {
            Some(wire) if !wire.is_comparable() => format!("{name}::text"),
            _ => name,
        }
    }

    fn all_keys(&self, alias: &str, key: &[String]) -> String {
        key.iter().map(|column| self.key(alias, column)).collect::<Vec<_>>().join(", ")
    }
}

fn any_null(alias: &str, key: &[String]) -> String {
    let parts: Vec<String> = key.iter().map(|column| format!("{alias}.{} IS NULL", quoted(column))).collect();
    format!("({})", parts.join(" OR "))
}

/// Merges `staged` rows of `from` into `into`, with `fates` as a table of notes that is there only meanwhile. Runs within
/// the caller's transaction; both tables have the columns, `from` its order, and `into` its [`index`] unless it is empty.
pub async fn merge(
    session: &mut Session,
    from: &Place,
    into: &Existing,
    fates: &Place,
    columns: &[Column],
    order: &Order,
    staged: i64,
) -> Result<Merged> {
    let (source, target, rows, notes) = (from.sql(), into.place.sql(), into.rows(), fates.sql());
    let compared = Compared { table: into };
    let row = quoted(ORDER);
    // Readers go on; other writers wait until every fate has come true.
    session.execute(&format!("LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")).await?;
    table::drop(session, fates).await?;
    let later = "s.\"_airbyte_extracted_at\" < f.\"_airbyte_extracted_at\"";
    // The table's row is newer than the staged one.
    let (newest, beaten) = match &order.cursor {
        None => (format!("s.\"_airbyte_extracted_at\" DESC, s.{row} DESC"), later.to_owned()),
        Some(cursor) => {
            let (s, f) = (compared.of("s", cursor), compared.of("f", cursor));
            (
                format!("{s} DESC NULLS LAST, s.\"_airbyte_extracted_at\" DESC, s.{row} DESC"),
                format!(
                    "({f} > {s} OR ({f} IS NOT NULL AND {s} IS NULL) OR (({f} = {s} OR ({f} IS NULL AND {s} IS NULL)) AND {later}))"
                ),
            )
        }
    };
    let (gone, group) = match order.deleted_at.as_deref().map(quoted) {
        Some(name) => (format!("s.{name} IS NOT NULL"), format!(", s.{name}")),
        None => ("false".to_owned(), String::new()),
    };
    let keys = compared.all_keys("s", &order.key);
    let fate = |nulls: bool| {
        let same: Vec<String> = order
            .key
            .iter()
            .map(|column| {
                let operator = if nulls { "IS NOT DISTINCT FROM" } else { "=" };
                format!("{} {operator} {}", compared.key("f", column), compared.key("s", column))
            })
            .collect();
        let (own, their) = (any_null("s", &order.key), any_null("f", &order.key));
        let (own, their) = if nulls { (own, format!(" AND {their}")) } else { (format!("NOT {own}"), String::new()) };
        format!(
            "SELECT s.{row} AS row,
                 CASE WHEN bool_or({beaten}) THEN {SUPERSEDED} WHEN {gone} THEN {DELETE}
                      WHEN count(f.ctid) > 1 THEN {REPLACE} WHEN count(f.ctid) = 1 THEN {UPDATE} ELSE {INSERT} END AS fate,
                 array_agg(f.ctid) FILTER (WHERE f.ctid IS NOT NULL) AS old,
                 array_agg(f.tableoid) FILTER (WHERE f.ctid IS NOT NULL) AS part
             FROM winners s LEFT JOIN {rows} f ON {}{their} WHERE {own} GROUP BY s.{row}{group}",
            same.join(" AND ")
        )
    };
    let has_nulls = format!("SELECT EXISTS (SELECT 1 FROM {source} s WHERE {})", any_null("s", &order.key));
    let mut fated = fate(false);
    if session.value(&has_nulls).await?.as_deref() == Some("t") {
        fated = format!("{fated} UNION ALL {}", fate(true));
    }
    let mut used: Vec<&str> =
        order.key.iter().chain(&order.cursor).chain(&order.deleted_at).map(String::as_str).collect();
    used.extend(["_airbyte_extracted_at", ORDER]);
    used.sort_unstable();
    used.dedup();
    let used = used.iter().map(|name| format!("s.{}", quoted(name))).collect::<Vec<_>>().join(", ");
    let winners = session
        .execute(&format!(
            "CREATE UNLOGGED TABLE {notes} AS
             WITH ranked AS (
                 SELECT {used}, row_number() OVER (PARTITION BY {keys} ORDER BY {newest}) AS _leat_place FROM {source} s),
             winners AS (SELECT * FROM ranked WHERE _leat_place = 1)
             {fated}"
        ))
        .await?;
    session.execute(&format!("ANALYZE {notes}")).await?;
    let count = format!("SELECT count(*) FROM {notes} WHERE fate = ");
    let mut counted = [0; 5];
    for fate in [INSERT, UPDATE, SUPERSEDED, DELETE, REPLACE] {
        let found = session.value(&format!("{count}{fate}")).await?;
        counted[usize::from(fate)] = found.and_then(|found| found.parse::<i64>().ok()).unwrap_or_default();
    }
    let [_, updates, superseded, deletes, replaced] = counted;
    let mut merged = Merged { superseded: staged - winners + superseded, deleted: deletes, ..Merged::default() };
    if deletes + replaced > 0 {
        session
            .execute(&format!(
                "DELETE FROM {rows} f USING (SELECT pg_catalog.unnest(old) AS old, pg_catalog.unnest(part) AS part FROM {notes} WHERE fate IN ({DELETE}, {REPLACE})) w
                 WHERE f.ctid = w.old AND f.tableoid = w.part"
            ))
            .await?;
    }
    if updates > 0 {
        let names = METADATA.into_iter().chain(columns.iter().map(|column| column.name.as_str()));
        let set: Vec<String> = names.map(|name| format!("{0} = s.{0}", quoted(name))).collect();
        merged.updated = session
            .execute(&format!(
                "UPDATE {rows} f SET {} FROM {notes} w JOIN {source} s ON s.{row} = w.row
                 WHERE w.fate = {UPDATE} AND f.ctid = w.old[1] AND f.tableoid = w.part[1]",
                set.join(", ")
            ))
            .await?;
    }
    let inserted = session
        .execute(&format!(
            "INSERT INTO {target} ({}) SELECT {} FROM {source} s JOIN {notes} w ON w.row = s.{row}
             WHERE w.fate IN ({INSERT}, {REPLACE})",
            table::all(columns),
            table::all_of("s", columns)
        ))
        .await?;
    merged.updated += replaced;
    merged.inserted = inserted - replaced;
    table::drop(session, fates).await?;
    if merged.total() != staged || merged.updated != updates + replaced {
        return Err(Error::system(format!(
            "The merge into `{}` accounts for {} rows ({merged:?}), but {staged} were staged",
            into.place,
            merged.total()
        )));
    }
    Ok(merged)
}

/// Whether rows are as a merge into nothing would leave them: one for each key, none that says it is deleted.
pub async fn is_merged(session: &mut Session, table: &Existing, order: &Order) -> Result<bool> {
    let keys = Compared { table }.all_keys("s", &order.key);
    let place = table.place.sql();
    let mut query = format!("SELECT NOT EXISTS (SELECT 1 FROM {place} s GROUP BY {keys} HAVING count(*) > 1)");
    if let Some(deleted) = order.deleted_at.as_deref().map(quoted) {
        query.push_str(&format!(" AND NOT EXISTS (SELECT 1 FROM {place} WHERE {deleted} IS NOT NULL)"));
    }
    Ok(session.value(&query).await?.as_deref() == Some("t"))
}

/// Drops the index of the key where rows of staging have keys that are longer than an index takes.
pub async fn drop_index_of_long_keys(
    session: &mut Session,
    from: &Existing,
    into: &Existing,
    key: &[String],
) -> Result<()> {
    let is_text =
        |name: &String| matches!(from.column(name).and_then(|held| held.wire), Some(Wire::Text(_) | Wire::Jsonb));
    let lengths: Vec<String> = key
        .iter()
        .filter(|name| is_text(name))
        .map(|name| format!("coalesce(octet_length({}::text), 0)", quoted(name)))
        .collect();
    if lengths.is_empty() {
        return Ok(());
    }
    let query = format!("SELECT 1 FROM {} WHERE {} > {LONGEST_KEY} LIMIT 1", from.place.sql(), lengths.join(" + "));
    if session.query(&query).await?.is_empty() {
        return Ok(());
    }
    for found in key_indexes(session, into).await? {
        session.execute(&format!("DROP INDEX {}", Place::new(&into.place.schema, found).sql())).await?;
    }
    Ok(())
}

/// Makes an index, unless a key is longer than an index takes.
pub async fn try_index(session: &mut Session, create: &str) -> Result<bool> {
    session.execute("SAVEPOINT key_index").await?;
    match session.execute(create).await {
        Ok(_) => Ok(true),
        Err(error) if fault::code(&error) == Some("54000") => {
            session.execute("ROLLBACK TO SAVEPOINT key_index").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn key_indexes(session: &mut Session, table: &Existing) -> Result<Vec<String>> {
    let rows = session
        .query(&format!(
            "SELECT i.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
             WHERE x.indrelid = {}::oid AND pg_catalog.left(i.relname, 10) = '{KEY_INDEX}'",
            literal(&table.oid)
        ))
        .await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Makes the index by which a key is found in the final table `owner`, on `table`, which is it or becomes it. An index of
/// another key, from before the connection was edited, goes. Whoever does not own the table, or has keys that cannot be
/// indexed, goes without.
pub async fn index(session: &mut Session, table: &Existing, owner: &Place, key: &[String]) -> Result<()> {
    let indexable = |name: &String| table.column(name).and_then(|held| held.wire).is_some_and(Wire::is_comparable);
    if !table.is_owned || !key.iter().all(indexable) || key.len() > 32 {
        return Ok(());
    }
    let mut parts: Vec<&str> = vec![&owner.schema, &owner.name];
    parts.extend(key.iter().map(String::as_str));
    let name = format!("{KEY_INDEX}{}", &hash(&parts)[..16]);
    let mut is_there = false;
    for found in key_indexes(session, table).await? {
        if found == name {
            is_there = true;
            continue;
        }
        session.execute(&format!("DROP INDEX {}", Place::new(&table.place.schema, found).sql())).await?;
    }
    if !is_there {
        let columns = list(key.iter().map(String::as_str));
        try_index(session, &format!("CREATE INDEX {} ON {} ({columns})", quoted(&name), table.place.sql())).await?;
    }
    Ok(())
}
