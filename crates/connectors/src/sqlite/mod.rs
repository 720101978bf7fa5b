//! Rows into a SQLite file: typed tables behind the metadata columns, exactly once.
//!
//! Append, overwrite, append_dedup and their combinations with full refresh and incremental. Position and fence lie in the file
//! itself ([`commits`]), written in the transaction of the rows, so nothing is lost or doubled by a crash. One process
//! writes at a time ([`client`]); any number of readers may look on.
//!
//! Limits: numbers are 64-bit integers or doubles, times have microseconds and years 1 to 9999 ([`types`]); a column keeps
//! its declared type, integers that become numbers excepted ([`table`]); constraints and defaults that a user put into a
//! table's definition do not survive a swap ([`swap`]). Start with [`write`].

mod client;
mod clock;
mod commits;
mod config;
mod lane;
mod load;
mod merge;
mod names;
mod swap;
mod table;
mod types;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use connector::{Destination, Error, OpenRequest, Result, Spec, Writer};
use protocol::DestinationSyncMode;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use config::{Config, Places};
use write::SqliteWriter;

pub const DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/destinations/sqlite";

#[derive(Clone, Debug)]
pub struct SqliteDestination {
    places: Places,
}

impl SqliteDestination {
    /// `local_root`: the folder of relative paths and of `/local/`. `forbidden`: files in which, and folders under
    /// which (`local_root` excepted), no destination may lie: the store's own.
    pub fn new(local_root: PathBuf, forbidden: Vec<PathBuf>) -> Self {
        Self { places: Places { local: local_root, forbidden } }
    }
}

#[async_trait]
impl Destination for SqliteDestination {
    fn spec(&self) -> Spec {
        Spec::of::<Config>(DOCUMENTATION).with_modes(&[
            DestinationSyncMode::Append,
            DestinationSyncMode::Overwrite,
            DestinationSyncMode::AppendDedup,
        ])
    }

    async fn check(&self, config: &Value, _cancel: &CancellationToken) -> Result<()> {
        let file = self.places.file(&config::read(config)?)?;
        self.places.prepare(&file)?;
        let tried = tokio::task::spawn_blocking(move || try_file(&file)).await;
        tried.map_err(|error| Error::system("The check ended in a panic").with_source(error))?
    }

    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>> {
        let file = self.places.file(&config::read(&request.config)?)?;
        self.places.prepare(&file)?;
        let client = client::Client::open(file, request.cancel.clone(), request.notes.clone()).await?;
        Ok(Box::new(SqliteWriter::new(client, request)?))
    }
}

/// Whether the file can be written, or made where there is none; leaves nothing behind.
fn try_file(file: &Path) -> Result<()> {
    if file.exists() {
        return client::try_write(file);
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let probe = folder.join(format!(".leat-check-{}", uuid::Uuid::new_v4()));
    std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(|error| {
        Error::config(format!("No file can be made in the folder {}", folder.display()))
            .with_hint("Give the user that runs Leat write access to the folder, or choose another path")
            .with_source(error)
    })
}
