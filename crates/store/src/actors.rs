//! Actors: configured sources and destinations.

use protocol::Json;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use crate::{
    Result, Tx,
    columns::{Columns, word},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    Source,
    Destination,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    pub id: Uuid,
    pub kind: ActorKind,
    pub workspace_id: Uuid,
    pub definition_id: Uuid,
    pub name: String,
    /// With `{"_secret": "<id>"}` in place of each secret value.
    pub config: Json,
    /// Everything else that is not queried.
    pub doc: Json,
    pub tombstone: bool,
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// All given conditions must hold. The default finds everything that is not deleted.
#[derive(Clone, Debug, Default)]
pub struct ActorFilter {
    pub kind: Option<ActorKind>,
    pub workspace_id: Option<Uuid>,
    pub definition_id: Option<Uuid>,
    pub include_deleted: bool,
}

const COLUMNS: &str = "select id, kind, workspace_id, definition_id, name, config, doc, tombstone, created_ms, \
                       updated_ms from actors";

fn decode(row: &AnyRow) -> Result<Actor> {
    Ok(Actor {
        id: row.uuid("id")?,
        kind: row.word("kind")?,
        workspace_id: row.uuid("workspace_id")?,
        definition_id: row.uuid("definition_id")?,
        name: row.text("name")?,
        config: row.json("config")?,
        doc: row.json("doc")?,
        tombstone: row.flag("tombstone")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
    })
}

impl Tx {
    /// `NotFound` if workspace or definition do not exist.
    pub async fn insert_actor(&mut self, row: &Actor) -> Result<()> {
        sqlx::query(
            "insert into actors (id, kind, workspace_id, definition_id, name, config, doc, tombstone, created_ms, \
             updated_ms) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(row.id.to_string())
        .bind(word(row.kind))
        .bind(row.workspace_id.to_string())
        .bind(row.definition_id.to_string())
        .bind(row.name.as_str())
        .bind(row.config.text())
        .bind(row.doc.text())
        .bind(i64::from(row.tombstone))
        .bind(row.created_ms)
        .bind(row.updated_ms)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Writes name, config, doc, tombstone and time. False if there is no such row.
    pub async fn update_actor(&mut self, row: &Actor) -> Result<bool> {
        let done = sqlx::query(
            "update actors set name = $2, config = $3, doc = $4, tombstone = $5, updated_ms = $6 where id = $1",
        )
        .bind(row.id.to_string())
        .bind(row.name.as_str())
        .bind(row.config.text())
        .bind(row.doc.text())
        .bind(i64::from(row.tombstone))
        .bind(row.updated_ms)
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deleted ones too: look at `tombstone`.
    pub async fn actor(&mut self, kind: ActorKind, id: Uuid) -> Result<Option<Actor>> {
        let sql = format!("{COLUMNS} where id = $1 and kind = $2{}", self.lock_rows());
        let row =
            sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).bind(word(kind)).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Oldest first.
    pub async fn actors(&mut self, filter: &ActorFilter) -> Result<Vec<Actor>> {
        let mut sql = format!("{COLUMNS} where (tombstone = 0 or $1 = 1)");
        let mut values = Vec::new();
        let conditions = [
            ("kind", filter.kind.map(word)),
            ("workspace_id", filter.workspace_id.map(|id| id.to_string())),
            ("definition_id", filter.definition_id.map(|id| id.to_string())),
        ];
        for (column, value) in conditions {
            let Some(value) = value else { continue };
            values.push(value);
            sql.push_str(&format!(" and {column} = ${}", values.len() + 1));
        }
        sql.push_str(" order by created_ms, id");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(filter.include_deleted));
        for value in values {
            query = query.bind(value);
        }
        let rows = query.fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }
}
