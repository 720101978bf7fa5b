//! Workspaces.

use protocol::Json;
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use crate::{Result, Tx, columns::Columns};

/// A slug belongs to one workspace that is not deleted: inserting or updating another one with it is a `Conflict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    /// Everything that is not queried.
    pub doc: Json,
    /// Deleted, but kept.
    pub tombstone: bool,
    pub created_ms: i64,
    pub updated_ms: i64,
}

const COLUMNS: &str = "select id, slug, name, doc, tombstone, created_ms, updated_ms from workspaces";

fn decode(row: &AnyRow) -> Result<Workspace> {
    Ok(Workspace {
        id: row.uuid("id")?,
        slug: row.text("slug")?,
        name: row.text("name")?,
        doc: row.json("doc")?,
        tombstone: row.flag("tombstone")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
    })
}

impl Tx {
    pub async fn insert_workspace(&mut self, row: &Workspace) -> Result<()> {
        sqlx::query(
            "insert into workspaces (id, slug, name, doc, tombstone, created_ms, updated_ms) \
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.id.to_string())
        .bind(row.slug.as_str())
        .bind(row.name.as_str())
        .bind(row.doc.text())
        .bind(i64::from(row.tombstone))
        .bind(row.created_ms)
        .bind(row.updated_ms)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Writes all columns but id and creation time. False if there is no such row.
    pub async fn update_workspace(&mut self, row: &Workspace) -> Result<bool> {
        let done = sqlx::query(
            "update workspaces set slug = $2, name = $3, doc = $4, tombstone = $5, updated_ms = $6 where id = $1",
        )
        .bind(row.id.to_string())
        .bind(row.slug.as_str())
        .bind(row.name.as_str())
        .bind(row.doc.text())
        .bind(i64::from(row.tombstone))
        .bind(row.updated_ms)
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deleted ones too: look at `tombstone`.
    pub async fn workspace(&mut self, id: Uuid) -> Result<Option<Workspace>> {
        let sql = format!("{COLUMNS} where id = $1{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Among those that are not deleted.
    pub async fn workspace_by_slug(&mut self, slug: &str) -> Result<Option<Workspace>> {
        let sql = format!("{COLUMNS} where slug = $1 and tombstone = 0");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(slug).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Oldest first.
    pub async fn workspaces(&mut self, include_deleted: bool) -> Result<Vec<Workspace>> {
        let sql = format!("{COLUMNS} where tombstone = 0 or $1 = 1 order by created_ms, id");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(include_deleted)).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }
}
