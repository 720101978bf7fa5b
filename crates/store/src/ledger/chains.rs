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
        let heads = sqlx::query(
            "select namespace, name, number from (select namespace, name, number, row_number() over \
             (partition by namespace, name order by origin desc, seq desc, number desc) as place_in_order \
             from ledger_lines where connection_id = $1) as ordered where place_in_order = 1 \
             order by namespace, name",
        )
        .bind(connection.to_string())
        .fetch_all(self.conn())
        .await?;
        let mut streams = Vec::with_capacity(heads.len());
        for row in &heads {
            streams.push((row.stream()?, row.int("number")?));
        }
        let mut numbers: Vec<i64> = streams.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let entries: HashMap<i64, _> =
            self.entries(connection, &numbers).await?.into_iter().map(|found| (found.number, found.entry)).collect();
        let mut origins = self.origins(connection).await?;
        let newest_made = self.newest_made(connection).await?;
        let generations = self.generations(connection).await?;
        let mut chains = Vec::with_capacity(streams.len());
        for (stream, number) in streams {
            let Some(head) = entries.get(&number) else { continue };
            chains.push(Chain {
                head: head.clone(),
                newest_made: newest_made.get(&stream).copied(),
                origins: origins.remove(&stream).unwrap_or_default(),
                generation: generations.get(&stream).copied().unwrap_or_default(),
                stream,
            });
        }
        Ok(chains)
    }

    async fn origins(&mut self, connection: Uuid) -> Result<HashMap<StreamDescriptor, Vec<i64>>> {
        let rows = sqlx::query(
            "select distinct namespace, name, origin from ledger_lines where connection_id = $1 \
             order by namespace, name, origin",
        )
        .bind(connection.to_string())
        .fetch_all(self.conn())
        .await?;
        let mut origins: HashMap<_, Vec<i64>> = HashMap::new();
        for row in &rows {
            origins.entry(row.stream()?).or_default().push(row.int("origin")?);
        }
        Ok(origins)
    }

    /// A `restored` entry stands above everything that it sets aside (it takes the head's origin and a higher seq), so the
    /// greatest point is never one that was set aside.
    async fn newest_made(&mut self, connection: Uuid) -> Result<HashMap<StreamDescriptor, Point>> {
        let rows = sqlx::query(
            "select namespace, name, origin, seq from (select namespace, name, origin, seq, row_number() over \
             (partition by namespace, name order by origin desc, seq desc) as place_in_order from ledger_lines \
             where connection_id = $1 and why in ('sync', 'reset', 'refresh', 'recovered', 'restored')) as ordered \
             where place_in_order = 1",
        )
        .bind(connection.to_string())
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(|row| Ok((row.stream()?, Point { origin: row.int("origin")?, seq: row.int("seq")? }))).collect()
    }

    async fn generations(&mut self, connection: Uuid) -> Result<HashMap<StreamDescriptor, i64>> {
        let rows = sqlx::query("select namespace, name, generation from stream_generations where connection_id = $1")
            .bind(connection.to_string())
            .fetch_all(self.conn())
            .await?;
        rows.iter().map(|row| Ok((row.stream()?, row.int("generation")?))).collect()
    }
}
