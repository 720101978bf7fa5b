//! What the ledger knows of each stream: the input of `decide()` at the start of an attempt.

use std::collections::HashMap;

use protocol::{
    StreamDescriptor,
    checkpoint::{Chain, Point},
};
use uuid::Uuid;

use crate::{Result, Tx, columns::Columns};

impl Tx {
    /// One chain per stream that has a line. The head is the entry with the greatest point (origin, seq); of two with the
    /// same point, the later written.
    pub async fn chains(&mut self, connection: Uuid) -> Result<Vec<Chain>> {
        // A `restored` entry stands above everything that it sets aside (it takes the head's origin and a higher seq), so
        // the greatest point of those that were made is never one that was set aside.
        let rows = sqlx::query(include_str!("heads.sql")).bind(connection.to_string()).fetch_all(self.conn()).await?;
        let mut numbers = Vec::with_capacity(rows.len());
        for row in &rows {
            numbers.extend(row.opt_int("head")?);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let entries: HashMap<i64, _> =
            self.entries(connection, &numbers).await?.into_iter().map(|found| (found.number, found.entry)).collect();
        let mut origins = self.origins(connection).await?;
        let mut chains = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(head) = row.opt_int("head")?.and_then(|number| entries.get(&number)) else { continue };
            let stream = row.stream()?;
            let newest_made = match (row.opt_int("made_origin")?, row.opt_int("made_seq")?) {
                (Some(origin), Some(seq)) => Some(Point { origin, seq }),
                _ => None,
            };
            chains.push(Chain {
                head: head.clone(),
                newest_made,
                origins: origins.remove(&stream).unwrap_or_default(),
                generation: row.int("generation")?,
                stream,
            });
        }
        Ok(chains)
    }

    async fn origins(&mut self, connection: Uuid) -> Result<HashMap<StreamDescriptor, Vec<i64>>> {
        let rows = sqlx::query(include_str!("origins.sql")).bind(connection.to_string()).fetch_all(self.conn()).await?;
        let mut origins: HashMap<_, Vec<i64>> = HashMap::new();
        for row in &rows {
            origins.entry(row.stream()?).or_default().push(row.int("origin")?);
        }
        Ok(origins)
    }
}
