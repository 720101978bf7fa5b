//! Files of this machine, read and written: CSV, JSON lines and Parquet, plain, gzip or zstd.
//!
//! **Source** ([`FileSource`], start with [`read`]): a file, a folder or patterns become streams; full refresh, and
//! incremental by file (a file that is new or has another time is read from its beginning). Types come from a stated sample
//! ([`infer`]); a later value that does not fit is NULL and a change, never a lost row.
//!
//! **Destination** ([`FileDestination`], start with [`write`]): one folder of files for each stream; append and overwrite,
//! exactly once, published atomically ([`book`] says how).
//!
//! Limits: no deduplication, no partitions, and only this machine's files.

mod book;
mod columnar;
mod config;
mod csv;
mod delimited;
mod discover;
mod encode;
mod fault;
mod files;
mod infer;
mod lines;
mod names;
mod places;
mod publish;
mod read;
mod state;
mod text;
mod types;
mod write;

use std::path::PathBuf;

use async_trait::async_trait;
use connector::{Destination, Error, OpenRequest, Output, ReadRequest, Result, Source, Spec, Writer};
use protocol::{Catalog, DestinationSyncMode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use config::{DestinationConfig, SourceConfig};
use places::Places;

pub const SOURCE_DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/sources/file";
pub const DESTINATION_DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/destinations/csv";

#[derive(Clone, Debug)]
pub struct FileSource {
    places: Places,
}

impl FileSource {
    /// `local_root`: the folder of relative paths and of `/local/`. `forbidden`: files that are not read, and folders in
    /// which (`local_root` excepted) nothing is: the store's own.
    pub fn new(local_root: PathBuf, forbidden: Vec<PathBuf>) -> Self {
        Self { places: Places { local: local_root, forbidden } }
    }

    async fn look(&self, config: &Value, cancel: &CancellationToken) -> Result<Catalog> {
        let config = SourceConfig::read(config)?;
        let places = self.places.clone();
        let found = tokio::task::spawn_blocking(move || discover::catalog(&config, &places));
        tokio::select! {
            found = found => found.map_err(|error| Error::system("Reading files ended in a panic").with_source(error))?,
            () = cancel.cancelled() => Err(Error::cancelled()),
        }
    }
}

#[async_trait]
impl Source for FileSource {
    fn spec(&self) -> Spec {
        Spec::of::<SourceConfig>(SOURCE_DOCUMENTATION)
    }

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()> {
        self.look(config, cancel).await.map(|_| ())
    }

    async fn discover(&self, config: &Value, cancel: &CancellationToken) -> Result<Catalog> {
        self.look(config, cancel).await
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        read::read(request, output, self.places.clone()).await
    }
}

#[derive(Clone, Debug)]
pub struct FileDestination {
    places: Places,
}

impl FileDestination {
    /// As [`FileSource::new`], for writing.
    pub fn new(local_root: PathBuf, forbidden: Vec<PathBuf>) -> Self {
        Self { places: Places { local: local_root, forbidden } }
    }

    fn folder(&self, config: &DestinationConfig) -> Result<PathBuf> {
        let folder = self.places.find("path", &config.path)?;
        if folder.is_file() {
            return Err(Error::config(format!("The path `{}` is a file, not a folder", config.path))
                .with_hint("Name a folder; each stream gets a folder in it"));
        }
        Ok(folder)
    }
}

#[async_trait]
impl Destination for FileDestination {
    fn spec(&self) -> Spec {
        Spec::of::<DestinationConfig>(DESTINATION_DOCUMENTATION)
            .with_modes(&[DestinationSyncMode::Append, DestinationSyncMode::Overwrite])
    }

    async fn check(&self, config: &Value, _cancel: &CancellationToken) -> Result<()> {
        let folder = self.folder(&DestinationConfig::read(config)?)?;
        let tried = tokio::task::spawn_blocking(move || publish::try_folder(&folder)).await;
        tried.map_err(|error| Error::system("The check ended in a panic").with_source(error))?
    }

    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>> {
        let config = DestinationConfig::read(&request.config)?;
        let folder = self.folder(&config)?;
        Ok(Box::new(write::FileWriter::new(folder, &config, request)?))
    }
}
