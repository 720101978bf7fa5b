//! Files: the contract of both sides, what strangers' files hold, crashes, and Parquet there and back.

mod cases;
mod source;
mod target;
mod there_and_back;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::RecordBatch;
use connector::{
    Change, ReadRequest, Result, Source, SourceMessage, StreamStatus, output,
    testing::{configured, rows::Row},
};
use connectors::file::{FileDestination, FileSource};
use protocol::{Catalog, ColumnType, ConfiguredCatalog, DestinationSyncMode, StateMessage, SyncMode};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A folder with files, and a folder for local files beside it.
pub struct Inbox {
    folder: TempDir,
}

impl Inbox {
    pub fn new() -> Self {
        let inbox = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(inbox.path()).unwrap();
        inbox
    }

    /// With the files of a case.
    pub fn of_case(case: &str) -> Self {
        let inbox = Self::new();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(case)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), inbox.path().join(entry.file_name())).unwrap();
        }
        inbox
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("inbox")
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn source(&self) -> Arc<dyn Source> {
        Arc::new(FileSource::new(self.folder.path().join("local"), vec![self.folder.path().join("own")]))
    }

    pub fn destination(&self) -> FileDestination {
        FileDestination::new(self.folder.path().join("local"), vec![self.folder.path().join("own")])
    }

    pub async fn discover(&self, config: &Value) -> Result<Catalog> {
        self.source().discover(config, &CancellationToken::new()).await
    }

    /// Discovers and reads every stream.
    pub async fn read_all(&self, config: &Value) -> Result<Vec<Seen>> {
        let catalog = self.discover(config).await?;
        self.read(config, &catalog, SyncMode::FullRefresh, vec![]).await
    }

    pub async fn read(
        &self,
        config: &Value,
        catalog: &Catalog,
        mode: SyncMode,
        state: Vec<StateMessage>,
    ) -> Result<Vec<Seen>> {
        let streams =
            catalog.streams.iter().map(|stream| configured(stream.clone(), mode, DestinationSyncMode::Append));
        let configured = ConfiguredCatalog { streams: streams.collect(), extra: Map::new() };
        let (out, mut input) = output::channel(64 << 20);
        let cancel = CancellationToken::new();
        let request = ReadRequest { config: config.clone(), catalog: configured, state, cancel };
        let mut seen: Vec<Seen> = catalog.streams.iter().map(|_| Seen::default()).collect();
        let mut logs = Vec::new();
        let take = async {
            while let Some(message) = input.next().await {
                match message {
                    SourceMessage::Batch(batch) => {
                        let stream = &mut seen[batch.stream.0];
                        let before = stream.count();
                        let moved = |change: &Change| Change { row: change.row + before, ..change.clone() };
                        stream.changes.extend(batch.changes.iter().map(moved));
                        stream.batches.push(batch.rows.clone());
                    }
                    SourceMessage::Last { stream, state, read } => {
                        seen[stream.0].read = Some(read);
                        seen[stream.0].states.push(state);
                    }
                    SourceMessage::Status { stream, status: StreamStatus::Complete { read } } => {
                        seen[stream.0].read = Some(read);
                    }
                    SourceMessage::State(state) => {
                        let at = catalog.streams.iter().position(|stream| state.of(&stream.descriptor).is_some());
                        seen[at.unwrap()].states.push(state);
                    }
                    SourceMessage::Log { message, .. } => logs.push(message),
                    SourceMessage::Status { .. } => {}
                }
            }
        };
        let source = self.source();
        let (result, ()) = tokio::join!(source.read(request, out), take);
        result?;
        for (stream, seen) in catalog.streams.iter().zip(&mut seen) {
            seen.name = stream.descriptor.name.clone();
            seen.logs = logs.clone();
            assert_eq!(seen.read, Some(seen.count() as i64), "the source counts what it sends");
        }
        Ok(seen)
    }
}

/// What a read gave of one stream.
#[derive(Debug, Default)]
pub struct Seen {
    pub name: String,
    pub batches: Vec<RecordBatch>,
    pub changes: Vec<Change>,
    pub states: Vec<StateMessage>,
    pub read: Option<i64>,
    pub logs: Vec<String>,
}

impl Seen {
    fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Every value as Arrow writes it; NULL is `null`.
    pub fn rows(&self) -> Vec<String> {
        self.batches.iter().flat_map(shown).collect()
    }

    pub fn changed(&self) -> Vec<String> {
        let one = |change: &Change| format!("{} {} {}", change.row, change.field, change.change);
        self.changes.iter().map(one).collect()
    }
}

/// Rows as text, fields with `|` between them.
pub fn shown(batch: &RecordBatch) -> Vec<String> {
    let cells: Vec<Vec<String>> = batch
        .columns()
        .iter()
        .map(|column| {
            let texts = arrow_cast::cast(column, &arrow_schema::DataType::Utf8).unwrap();
            let texts = arrow_array::cast::AsArray::as_string::<i32>(&texts).clone();
            texts.iter().map(|text| text.map_or("null".to_owned(), str::to_owned)).collect()
        })
        .collect();
    (0..batch.num_rows())
        .map(|row| cells.iter().map(|column| column[row].clone()).collect::<Vec<_>>().join("|"))
        .collect()
}

/// Columns and their types.
pub fn columns(catalog: &Catalog, stream: usize) -> Vec<String> {
    let columns = protocol::schema::columns(&catalog.streams[stream].json_schema);
    columns.into_iter().map(|(name, kind)| format!("{name} {kind:?}")).collect()
}

/// Rows of the files in a folder of the destination, as the source reads them.
pub async fn table(inbox: &Inbox, folder: &Path) -> Option<Vec<Row>> {
    if !folder.is_dir() {
        return None;
    }
    let config = serde_json::json!({"url": folder, "dataset_name": "t"});
    let catalog = match inbox.discover(&config).await {
        Ok(catalog) => catalog,
        // JSON lines without a line have no columns either.
        Err(error) if error.message.contains("hold nothing") => return Some(vec![]),
        Err(error) => panic!("{error}"),
    };
    let kinds: HashMap<String, ColumnType> =
        protocol::schema::columns(&catalog.streams[0].json_schema).into_iter().collect();
    let seen = inbox.read(&config, &catalog, SyncMode::FullRefresh, vec![]).await.unwrap();
    let rows = seen[0].batches.iter().flat_map(connector::testing::rows::of);
    let own = |(name, value): (String, Value)| {
        // Text carries numbers with all of their digits.
        let value = match (kinds[&name], value.as_str()) {
            (ColumnType::Number, Some(digits)) => digits.parse::<f64>().unwrap().into(),
            _ => value,
        };
        (!name.starts_with("_airbyte_")).then_some((name, value))
    };
    Some(rows.map(|row| row.into_iter().filter_map(own).collect()).collect())
}
