//! Everything that is stored, as one value in a fixed order: to see that nothing changed, and to check a backup.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sqlx::{
    AssertSqlSafe, Column, Row, ValueRef,
    any::{AnyRow, AnyTypeInfoKind},
};

use crate::{Result, Store};

/// Each table with the columns that order it.
const TABLES: &[(&str, &str)] = &[
    ("meta", "name"),
    ("counters", "name"),
    ("workspaces", "id"),
    ("definitions", "id"),
    ("grants", "workspace_id, definition_id"),
    ("secrets", "id"),
    ("actors", "id"),
    ("catalogs", "id"),
    ("catalog_fetches", "id"),
    ("connections", "id"),
    ("operations", "id"),
    ("connection_operations", "connection_id, operation_id"),
    ("jobs", "id"),
    ("workers", "id"),
    ("attempts", "job_id, number"),
    ("ledger_counters", "connection_id"),
    ("state_blobs", "connection_id, hash"),
    ("ledger_entries", "connection_id, number"),
    ("ledger_lines", "connection_id, number, namespace, name"),
    ("stream_generations", "connection_id, namespace, name"),
    ("pending_resets", "connection_id, namespace, name"),
    ("log_segments", "job_id, attempt, number"),
];

impl Store {
    /// All tables, each a list of rows; secrets stay sealed. Two dumps are equal exactly when nothing was changed.
    pub async fn dump(&self) -> Result<Value> {
        let mut tx = self.read().await?;
        let mut tables = Map::new();
        for (table, order) in TABLES {
            let sql = format!("select * from {table} order by {order}");
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(tx.conn()).await?;
            let rows = rows.iter().map(to_object).collect::<Result<Vec<_>>>()?;
            tables.insert((*table).to_owned(), Value::Array(rows));
        }
        Ok(Value::Object(tables))
    }
}

fn to_object(row: &AnyRow) -> Result<Value> {
    let mut object = Map::new();
    for column in row.columns() {
        let index = column.ordinal();
        let raw = row.try_get_raw(index)?;
        let value = match raw.type_info().kind() {
            _ if raw.is_null() => Value::Null,
            AnyTypeInfoKind::BigInt | AnyTypeInfoKind::Integer => Value::from(row.try_get::<i64, _>(index)?),
            AnyTypeInfoKind::Blob => Value::from(STANDARD.encode(row.try_get::<Vec<u8>, _>(index)?)),
            _ => Value::from(row.try_get::<String, _>(index)?),
        };
        object.insert(column.name().to_owned(), value);
    }
    Ok(Value::Object(object))
}
