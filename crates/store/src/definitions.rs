//! Definitions: kinds of connectors and how they run; and which workspaces may use a private one.

use protocol::Json;
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use crate::{
    ActorKind, Result, Tx,
    columns::{Columns, word},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub id: Uuid,
    pub kind: ActorKind,
    pub name: String,
    /// Everything that is not queried: repository, tag, specification, how it runs, ...
    pub doc: Json,
    /// Made by a user.
    pub custom: bool,
    /// Usable in every workspace; otherwise only in those with a grant.
    pub public: bool,
    pub tombstone: bool,
    pub created_ms: i64,
    pub updated_ms: i64,
}

const COLUMNS: &str = "select id, kind, name, doc, custom, public, tombstone, created_ms, updated_ms from definitions";

fn decode(row: &AnyRow) -> Result<Definition> {
    Ok(Definition {
        id: row.uuid("id")?,
        kind: row.word("kind")?,
        name: row.text("name")?,
        doc: row.json("doc")?,
        custom: row.flag("custom")?,
        public: row.flag("public")?,
        tombstone: row.flag("tombstone")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
    })
}

impl Tx {
    /// Inserts, or writes all columns but id, kind and creation time.
    pub async fn upsert_definition(&mut self, row: &Definition) -> Result<()> {
        sqlx::query(
            "insert into definitions (id, kind, name, doc, custom, public, tombstone, created_ms, updated_ms) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (id) do update set name = excluded.name, \
             doc = excluded.doc, custom = excluded.custom, public = excluded.public, tombstone = excluded.tombstone, \
             updated_ms = excluded.updated_ms",
        )
        .bind(row.id.to_string())
        .bind(word(row.kind))
        .bind(row.name.as_str())
        .bind(row.doc.text())
        .bind(i64::from(row.custom))
        .bind(i64::from(row.public))
        .bind(i64::from(row.tombstone))
        .bind(row.created_ms)
        .bind(row.updated_ms)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Deleted ones too: look at `tombstone`.
    pub async fn definition(&mut self, id: Uuid) -> Result<Option<Definition>> {
        let sql = format!("{COLUMNS} where id = $1{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// By name; not the deleted ones.
    pub async fn definitions(&mut self, kind: ActorKind) -> Result<Vec<Definition>> {
        let sql = format!("{COLUMNS} where kind = $1 and tombstone = 0 order by name, id");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(word(kind)).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// Those that a workspace may use: public ones and granted ones.
    pub async fn definitions_for_workspace(&mut self, kind: ActorKind, workspace: Uuid) -> Result<Vec<Definition>> {
        let sql = format!(
            "{COLUMNS} where kind = $1 and tombstone = 0 and (public = 1 or exists (select 1 from grants \
             where definition_id = definitions.id and workspace_id = $2)) order by name, id"
        );
        let rows =
            sqlx::query(AssertSqlSafe(sql)).bind(word(kind)).bind(workspace.to_string()).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    pub async fn grant_definition(&mut self, workspace: Uuid, definition: Uuid) -> Result<()> {
        sqlx::query("insert into grants (workspace_id, definition_id) values ($1, $2) on conflict do nothing")
            .bind(workspace.to_string())
            .bind(definition.to_string())
            .execute(self.conn())
            .await?;
        Ok(())
    }

    pub async fn revoke_definition(&mut self, workspace: Uuid, definition: Uuid) -> Result<()> {
        sqlx::query("delete from grants where workspace_id = $1 and definition_id = $2")
            .bind(workspace.to_string())
            .bind(definition.to_string())
            .execute(self.conn())
            .await?;
        Ok(())
    }

    pub async fn has_grant(&mut self, workspace: Uuid, definition: Uuid) -> Result<bool> {
        let row = sqlx::query("select 1 from grants where workspace_id = $1 and definition_id = $2")
            .bind(workspace.to_string())
            .bind(definition.to_string())
            .fetch_optional(self.conn())
            .await?;
        Ok(row.is_some())
    }
}
