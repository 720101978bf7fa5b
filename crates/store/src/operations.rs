//! Operations, and which connections use them.

use protocol::Json;
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use crate::{Result, Tx, columns::Columns};

#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    /// The operator's configuration.
    pub doc: Json,
    pub tombstone: bool,
    pub created_ms: i64,
    pub updated_ms: i64,
}

const COLUMNS: &str = "select id, workspace_id, name, doc, tombstone, created_ms, updated_ms from operations";

fn decode(row: &AnyRow) -> Result<Operation> {
    Ok(Operation {
        id: row.uuid("id")?,
        workspace_id: row.uuid("workspace_id")?,
        name: row.text("name")?,
        doc: row.json("doc")?,
        tombstone: row.flag("tombstone")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
    })
}

impl Tx {
    pub async fn insert_operation(&mut self, row: &Operation) -> Result<()> {
        sqlx::query(
            "insert into operations (id, workspace_id, name, doc, tombstone, created_ms, updated_ms) \
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.id.to_string())
        .bind(row.workspace_id.to_string())
        .bind(row.name.as_str())
        .bind(row.doc.text())
        .bind(i64::from(row.tombstone))
        .bind(row.created_ms)
        .bind(row.updated_ms)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Writes name, doc, tombstone and time. False if there is no such row.
    pub async fn update_operation(&mut self, row: &Operation) -> Result<bool> {
        let done =
            sqlx::query("update operations set name = $2, doc = $3, tombstone = $4, updated_ms = $5 where id = $1")
                .bind(row.id.to_string())
                .bind(row.name.as_str())
                .bind(row.doc.text())
                .bind(i64::from(row.tombstone))
                .bind(row.updated_ms)
                .execute(self.conn())
                .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deleted ones too: look at `tombstone`.
    pub async fn operation(&mut self, id: Uuid) -> Result<Option<Operation>> {
        let sql = format!("{COLUMNS} where id = $1{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Those of a workspace that are not deleted, oldest first.
    pub async fn operations(&mut self, workspace: Uuid) -> Result<Vec<Operation>> {
        let sql = format!("{COLUMNS} where workspace_id = $1 and tombstone = 0 order by created_ms, id");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(workspace.to_string()).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// Replaces the operations of a connection; the order is kept, a repeated id counts once.
    pub async fn set_connection_operations(&mut self, connection: Uuid, operations: &[Uuid]) -> Result<()> {
        sqlx::query("delete from connection_operations where connection_id = $1")
            .bind(connection.to_string())
            .execute(self.conn())
            .await?;
        for (position, operation) in operations.iter().enumerate() {
            sqlx::query(
                "insert into connection_operations (connection_id, operation_id, position) values ($1, $2, $3) \
                 on conflict do nothing",
            )
            .bind(connection.to_string())
            .bind(operation.to_string())
            .bind(position as i64)
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    pub async fn connection_operations(&mut self, connection: Uuid) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "select operation_id from connection_operations where connection_id = $1 order by position, operation_id",
        )
        .bind(connection.to_string())
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(|row| row.uuid("operation_id")).collect()
    }

    /// All links of a workspace's connections, as (connection, operation), in the order of each connection: for lists.
    pub async fn operation_links(&mut self, workspace: Uuid) -> Result<Vec<(Uuid, Uuid)>> {
        let rows = sqlx::query(
            "select l.connection_id, l.operation_id from connection_operations l \
             join connections c on c.id = l.connection_id where c.workspace_id = $1 \
             order by l.connection_id, l.position, l.operation_id",
        )
        .bind(workspace.to_string())
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(|row| Ok((row.uuid("connection_id")?, row.uuid("operation_id")?))).collect()
    }

    /// The connections that use an operation.
    pub async fn operation_connections(&mut self, operation: Uuid) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "select connection_id from connection_operations where operation_id = $1 order by connection_id",
        )
        .bind(operation.to_string())
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(|row| row.uuid("connection_id")).collect()
    }

    /// Takes an operation out of every connection.
    pub async fn unlink_operation(&mut self, operation: Uuid) -> Result<()> {
        sqlx::query("delete from connection_operations where operation_id = $1")
            .bind(operation.to_string())
            .execute(self.conn())
            .await?;
        Ok(())
    }
}
