//! Catalogs, each stored once whatever refers to it, and what was fetched from which source.

use protocol::Json;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::{Result, Tx, columns::Columns, migrations::hex};

/// A discovery of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogFetch {
    pub id: Uuid,
    pub source_id: Uuid,
    pub catalog_id: Uuid,
    pub connector_version: String,
    pub config_hash: String,
    pub created_ms: i64,
}

const FETCH: &str = "select id, source_id, catalog_id, connector_version, config_hash, created_ms from catalog_fetches";

fn decode(row: &AnyRow) -> Result<CatalogFetch> {
    Ok(CatalogFetch {
        id: row.uuid("id")?,
        source_id: row.uuid("source_id")?,
        catalog_id: row.uuid("catalog_id")?,
        connector_version: row.text("connector_version")?,
        config_hash: row.text("config_hash")?,
        created_ms: row.int("created_ms")?,
    })
}

impl Tx {
    /// Stores a catalog, or finds the one with the same text; answers its id.
    pub async fn put_catalog(&mut self, catalog: &Json, now_ms: i64) -> Result<Uuid> {
        // `do update` instead of `do nothing`: it answers the row that was there.
        let row = sqlx::query(
            "insert into catalogs (id, hash, catalog, created_ms) values ($1, $2, $3, $4) \
             on conflict (hash) do update set hash = excluded.hash returning id",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(hex(&Sha256::digest(catalog.text().as_bytes())))
        .bind(catalog.text())
        .bind(now_ms)
        .fetch_one(self.conn())
        .await?;
        row.uuid("id")
    }

    pub async fn catalog(&mut self, id: Uuid) -> Result<Option<Json>> {
        let row = sqlx::query("select catalog from catalogs where id = $1")
            .bind(id.to_string())
            .fetch_optional(self.conn())
            .await?;
        row.map(|row| row.json("catalog")).transpose()
    }

    pub async fn catalog_exists(&mut self, id: Uuid) -> Result<bool> {
        let row = sqlx::query("select 1 from catalogs where id = $1")
            .bind(id.to_string())
            .fetch_optional(self.conn())
            .await?;
        Ok(row.is_some())
    }

    pub async fn insert_catalog_fetch(&mut self, row: &CatalogFetch) -> Result<()> {
        sqlx::query(
            "insert into catalog_fetches (id, source_id, catalog_id, connector_version, config_hash, created_ms) \
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.id.to_string())
        .bind(row.source_id.to_string())
        .bind(row.catalog_id.to_string())
        .bind(row.connector_version.as_str())
        .bind(row.config_hash.as_str())
        .bind(row.created_ms)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The newest discovery of a source.
    pub async fn latest_catalog_fetch(&mut self, source: Uuid) -> Result<Option<CatalogFetch>> {
        let sql = const_format(FETCH, " where source_id = $1 order by created_ms desc, id desc limit 1");
        let row = sqlx::query(sql).bind(source.to_string()).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// The newest discovery by this version of the connector under this configuration: what need not be fetched again.
    pub async fn catalog_fetch(
        &mut self,
        source: Uuid,
        connector_version: &str,
        config_hash: &str,
    ) -> Result<Option<CatalogFetch>> {
        let sql = const_format(
            FETCH,
            " where source_id = $1 and connector_version = $2 and config_hash = $3 \
             order by created_ms desc, id desc limit 1",
        );
        let row = sqlx::query(sql)
            .bind(source.to_string())
            .bind(connector_version)
            .bind(config_hash)
            .fetch_optional(self.conn())
            .await?;
        row.as_ref().map(decode).transpose()
    }
}

fn const_format(head: &str, tail: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{head}{tail}"))
}
