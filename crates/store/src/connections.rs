//! Connections: what is synced from where to where, how, and when next.

use protocol::{Json, StreamDescriptor};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use crate::{
    Result, Tx,
    columns::{Columns, namespace, word},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionStatus {
    Active,
    Inactive,
    /// Deleted, or taken out of use by an update.
    Deprecated,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub source_id: Uuid,
    pub destination_id: Uuid,
    pub name: String,
    pub status: ConnectionStatus,
    /// `manual`, `basic` or `cron`.
    pub schedule_type: String,
    /// Units or cron expression and zone; `None` for `manual`.
    pub schedule: Option<Json>,
    /// `source`, `destination` or `customformat`.
    pub namespace_definition: String,
    pub namespace_format: Option<String>,
    pub prefix: Option<String>,
    /// The discovered catalog that the configured one was made from.
    pub source_catalog_id: Option<Uuid>,
    /// The configured catalog: whole, never cut to the selection. Stored by [`Tx::put_catalog`].
    pub catalog_id: Uuid,
    /// What of it is selected, and how it is synced.
    pub selection: Json,
    pub breaking_change: bool,
    pub geography: Option<String>,
    pub resource_requirements: Option<Json>,
    pub notify_schema_changes: bool,
    pub notify_schema_changes_by_email: bool,
    pub non_breaking_changes_preference: Option<String>,
    /// When the schedule fires next; `None` = never by itself.
    pub next_run_at_ms: Option<i64>,
    /// Why a due connection does not run yet.
    pub wait_reason: Option<String>,
    /// Everything else that is not queried.
    pub doc: Json,
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// All given conditions must hold. The default finds every connection that is not deprecated.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    pub workspace_id: Option<Uuid>,
    pub source_id: Option<Uuid>,
    pub destination_id: Option<Uuid>,
    pub include_deprecated: bool,
}

const COLUMNS: &str = "select id, workspace_id, source_id, destination_id, name, status, schedule_type, schedule, \
     namespace_definition, namespace_format, prefix, source_catalog_id, catalog_id, selection, breaking_change, \
     geography, resource_requirements, notify_schema_changes, notify_schema_changes_by_email, \
     non_breaking_changes_preference, next_run_at_ms, wait_reason, doc, created_ms, updated_ms from connections";

const INSERT: &str = "insert into connections (id, workspace_id, source_id, destination_id, created_ms, name, status, \
     schedule_type, schedule, namespace_definition, namespace_format, prefix, source_catalog_id, catalog_id, \
     selection, breaking_change, geography, resource_requirements, notify_schema_changes, \
     notify_schema_changes_by_email, non_breaking_changes_preference, next_run_at_ms, wait_reason, doc, updated_ms) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
     $23, $24, $25)";

const UPDATE: &str = "update connections set workspace_id = $2, source_id = $3, destination_id = $4, \
     created_ms = $5, name = $6, status = $7, schedule_type = $8, schedule = $9, namespace_definition = $10, \
     namespace_format = $11, prefix = $12, source_catalog_id = $13, catalog_id = $14, selection = $15, \
     breaking_change = $16, geography = $17, resource_requirements = $18, notify_schema_changes = $19, \
     notify_schema_changes_by_email = $20, non_breaking_changes_preference = $21, next_run_at_ms = $22, \
     wait_reason = $23, doc = $24, updated_ms = $25 where id = $1";

fn decode(row: &AnyRow) -> Result<Connection> {
    Ok(Connection {
        id: row.uuid("id")?,
        workspace_id: row.uuid("workspace_id")?,
        source_id: row.uuid("source_id")?,
        destination_id: row.uuid("destination_id")?,
        name: row.text("name")?,
        status: row.word("status")?,
        schedule_type: row.text("schedule_type")?,
        schedule: row.opt_json("schedule")?,
        namespace_definition: row.text("namespace_definition")?,
        namespace_format: row.opt_text("namespace_format")?,
        prefix: row.opt_text("prefix")?,
        source_catalog_id: row.opt_uuid("source_catalog_id")?,
        catalog_id: row.uuid("catalog_id")?,
        selection: row.json("selection")?,
        breaking_change: row.flag("breaking_change")?,
        geography: row.opt_text("geography")?,
        resource_requirements: row.opt_json("resource_requirements")?,
        notify_schema_changes: row.flag("notify_schema_changes")?,
        notify_schema_changes_by_email: row.flag("notify_schema_changes_by_email")?,
        non_breaking_changes_preference: row.opt_text("non_breaking_changes_preference")?,
        next_run_at_ms: row.opt_int("next_run_at_ms")?,
        wait_reason: row.opt_text("wait_reason")?,
        doc: row.json("doc")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
    })
}

impl Tx {
    /// `NotFound` if something that it refers to does not exist.
    pub async fn insert_connection(&mut self, row: &Connection) -> Result<()> {
        self.write_connection(INSERT, row).await?;
        Ok(())
    }

    /// Writes all columns. False if there is no such row.
    pub async fn update_connection(&mut self, row: &Connection) -> Result<bool> {
        self.write_connection(UPDATE, row).await
    }

    async fn write_connection(&mut self, sql: &'static str, row: &Connection) -> Result<bool> {
        let done = sqlx::query(sql)
            .bind(row.id.to_string())
            .bind(row.workspace_id.to_string())
            .bind(row.source_id.to_string())
            .bind(row.destination_id.to_string())
            .bind(row.created_ms)
            .bind(row.name.as_str())
            .bind(word(row.status))
            .bind(row.schedule_type.as_str())
            .bind(row.schedule.as_ref().map(|json| json.text().to_owned()))
            .bind(row.namespace_definition.as_str())
            .bind(row.namespace_format.clone())
            .bind(row.prefix.clone())
            .bind(row.source_catalog_id.map(|id| id.to_string()))
            .bind(row.catalog_id.to_string())
            .bind(row.selection.text())
            .bind(i64::from(row.breaking_change))
            .bind(row.geography.clone())
            .bind(row.resource_requirements.as_ref().map(|json| json.text().to_owned()))
            .bind(i64::from(row.notify_schema_changes))
            .bind(i64::from(row.notify_schema_changes_by_email))
            .bind(row.non_breaking_changes_preference.clone())
            .bind(row.next_run_at_ms)
            .bind(row.wait_reason.clone())
            .bind(row.doc.text())
            .bind(row.updated_ms)
            .execute(self.conn())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deprecated ones too: look at `status`.
    pub async fn connection(&mut self, id: Uuid) -> Result<Option<Connection>> {
        let sql = format!("{COLUMNS} where id = $1{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Oldest first. The catalogs are not part of a row, so that long lists stay small.
    pub async fn connections(&mut self, filter: &ConnectionFilter) -> Result<Vec<Connection>> {
        let mut sql = format!("{COLUMNS} where (status <> 'deprecated' or $1 = 1)");
        let mut values = Vec::new();
        let conditions = [
            ("workspace_id", filter.workspace_id),
            ("source_id", filter.source_id),
            ("destination_id", filter.destination_id),
        ];
        for (column, value) in conditions {
            let Some(value) = value else { continue };
            values.push(value.to_string());
            sql.push_str(&format!(" and {column} = ${}", values.len() + 1));
        }
        sql.push_str(" order by created_ms, id");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(filter.include_deprecated));
        for value in values {
            query = query.bind(value);
        }
        let rows = query.fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// Connections whose schedule has fired, the longest overdue first.
    pub async fn due_connections(&mut self, now_ms: i64, limit: i64) -> Result<Vec<Connection>> {
        let sql = format!(
            "{COLUMNS} where next_run_at_ms is not null and next_run_at_ms <= $1 order by next_run_at_ms, id limit $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(now_ms).bind(limit).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// When the scheduler has to look again: the earliest schedule or backoff. `None` = nothing is planned.
    pub async fn next_due_ms(&mut self) -> Result<Option<i64>> {
        let row = sqlx::query(
            "select min(due) as due from (\
             select min(next_run_at_ms) as due from connections where next_run_at_ms is not null union all \
             select min(next_attempt_at_ms) as due from jobs where status in ('pending', 'incomplete')) as plans",
        )
        .fetch_one(self.conn())
        .await?;
        row.opt_int("due")
    }

    pub async fn set_next_run(&mut self, connection: Uuid, next_run_at_ms: Option<i64>) -> Result<()> {
        sqlx::query("update connections set next_run_at_ms = $2 where id = $1")
            .bind(connection.to_string())
            .bind(next_run_at_ms)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Writes only when the reason is another one, so that a waiting connection costs no writes.
    pub async fn set_wait_reason(&mut self, connection: Uuid, reason: Option<&str>) -> Result<()> {
        sqlx::query(
            "update connections set wait_reason = $2 where id = $1 and coalesce(wait_reason, '') <> coalesce($2, '')",
        )
        .bind(connection.to_string())
        .bind(reason.map(str::to_owned))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    pub async fn set_connection_doc(&mut self, connection: Uuid, doc: &Json) -> Result<()> {
        sqlx::query("update connections set doc = $2 where id = $1")
            .bind(connection.to_string())
            .bind(doc.text())
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Streams that must be reset before the connection syncs again; adding one twice is fine.
    pub async fn add_pending_resets(&mut self, connection: Uuid, streams: &[StreamDescriptor]) -> Result<()> {
        for stream in streams {
            sqlx::query(
                "insert into pending_resets (connection_id, namespace, name) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(connection.to_string())
            .bind(namespace(stream))
            .bind(stream.name.as_str())
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    pub async fn pending_resets(&mut self, connection: Uuid) -> Result<Vec<StreamDescriptor>> {
        let rows =
            sqlx::query("select namespace, name from pending_resets where connection_id = $1 order by namespace, name")
                .bind(connection.to_string())
                .fetch_all(self.conn())
                .await?;
        rows.iter().map(Columns::stream).collect()
    }

    pub async fn remove_pending_resets(&mut self, connection: Uuid, streams: &[StreamDescriptor]) -> Result<()> {
        for stream in streams {
            sqlx::query("delete from pending_resets where connection_id = $1 and namespace = $2 and name = $3")
                .bind(connection.to_string())
                .bind(namespace(stream))
                .bind(stream.name.as_str())
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }
}
