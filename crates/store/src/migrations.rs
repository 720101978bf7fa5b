//! Brings a database to the newest schema: forward only, all missing steps in one transaction, at start.
//!
//! A released step is never edited; the checksums of the applied ones are compared. A database that a newer Leat has
//! migrated is refused.

use sha2::{Digest, Sha256};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row, Transaction};

use crate::{Error, ErrorKind, Result};

pub(crate) struct Migration {
    pub name: &'static str,
    pub sql: &'static str,
}

/// In order; the version of a step is its position, from 1.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { name: "first", sql: include_str!("../migrations/0001_first.sql") }];

const BOOKKEEPING: &str = "create table if not exists schema_migrations \
    (version bigint primary key, name text not null, checksum text not null)";

impl Migration {
    fn checksum(&self) -> String {
        hex(&Sha256::digest(self.sql.as_bytes()))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The version of the schema; 0 for an empty database. Refuses a newer or a different one.
pub(crate) async fn version(conn: &mut AnyConnection, steps: &[Migration]) -> Result<usize> {
    sqlx::raw_sql(BOOKKEEPING).execute(&mut *conn).await?;
    let applied = sqlx::query("select version, name, checksum from schema_migrations order by version")
        .fetch_all(&mut *conn)
        .await?;
    if applied.len() > steps.len() {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the store has schema version {}, this program knows versions up to {}",
                applied.len(),
                steps.len()
            ),
        )
        .with_hint(
            "it was opened by a newer release: start that one, or restore the backup made before its migration",
        ));
    }
    for (step, row) in steps.iter().zip(&applied) {
        if row.try_get::<String, _>("checksum")? != step.checksum() {
            let name: String = row.try_get("name")?;
            return Err(Error::new(
                ErrorKind::Refused,
                format!("the store was migrated by another build: its step {name:?} differs from ours"),
            )
            .with_hint("start the release that made it"));
        }
    }
    Ok(applied.len())
}

/// Runs the missing steps within the given transaction.
pub(crate) async fn run(tx: &mut Transaction<'_, Any>, steps: &'static [Migration]) -> Result<()> {
    let done = version(&mut *tx, steps).await?;
    for (index, step) in steps.iter().enumerate().skip(done) {
        sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&mut **tx).await?;
        sqlx::query("insert into schema_migrations (version, name, checksum) values ($1, $2, $3)")
            .bind(index as i64 + 1)
            .bind(step.name)
            .bind(step.checksum())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
