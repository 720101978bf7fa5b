//! The writer: what one attempt does to the folders, each step under the connection's lock and against its book.
//!
//! A step reads the book, checks that fence, positions and staging are what this attempt left, writes data files where
//! nobody sees them, writes the book (the commit), and publishes. Start with [`Writer::recover`] and [`Desk::append`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use connector::{
    Admission, Batch, Clear, Commit, Complete, Durable, Error, Notes, OpenRequest, Recovered, Result, StreamCommit,
    StreamIndex, StreamPlan, Target, Writer, failpoint::point,
};
use protocol::checkpoint::{Claim, Counts, Line, Place, Position, PositionKind, Scope};
use tokio_util::sync::CancellationToken;

use super::{
    book::{Book, Piece, Publish, Shelf},
    config::DestinationConfig,
    encode::{self, Encoder},
    fault::unwritable,
    names,
    publish::{apply, has_files},
    types::{self, Column, Stamp},
};
use crate::direct::{
    names::Beside,
    position::{self, Covered, moved},
};

pub struct FileWriter {
    desk: Desk,
    notes: Notes,
}

/// What the attempt knows. A step works on a copy, which replaces this one when it has committed.
#[derive(Clone)]
struct Desk {
    shelf: Shelf,
    config: Arc<DestinationConfig>,
    claim: Claim,
    cancel: CancellationToken,
    lanes: Arc<Vec<Lane>>,
    plans: Vec<StreamPlan>,
    /// As last read or written.
    positions: HashMap<Scope, Position>,
    staged: BTreeMap<String, Vec<Piece>>,
    /// Files that no mark covers yet, by lane.
    tails: Vec<Vec<Piece>>,
    /// Number of the next data file.
    next: u64,
}

/// One stream on its way into its folder.
struct Lane {
    target: Target,
    folder: String,
    columns: Vec<Column>,
    beside: Beside,
}

impl Lane {
    fn new(connection: &str, target: Target, folder: String) -> Result<Self> {
        let stream = &target.stream;
        if target.merges()
            || !matches!(target.mode, protocol::DestinationSyncMode::Append | protocol::DestinationSyncMode::Overwrite)
        {
            return Err(Error::config(format!("Stream `{stream}` is deduplicated, which files cannot be"))
                .with_hint("Choose append or overwrite, or a destination that is a database"));
        }
        // The empty name stands for the position of all streams.
        if stream.name.is_empty() {
            return Err(Error::config("A stream has an empty name").with_hint("Give the stream a name in the source"));
        }
        let named = names::columns(target.columns.iter().map(|(field, _)| field.as_str()));
        let column = |((field, kind), name): (&(String, protocol::ColumnType), String)| Column {
            field: field.clone(),
            name,
            kind: *kind,
        };
        let columns = target.columns.iter().zip(named).map(column).collect();
        let beside = Beside::new(connection, stream);
        Ok(Self { target, folder, columns, beside })
    }
}

impl FileWriter {
    pub fn new(root: PathBuf, config: &DestinationConfig, request: OpenRequest) -> Result<Self> {
        let OpenRequest { claim, targets, cancel, notes, .. } = request;
        let tables: Vec<_> = targets.iter().map(|target| target.table.clone()).collect();
        let lanes = targets
            .into_iter()
            .zip(names::folders(&tables))
            .map(|(target, folder)| Lane::new(&claim.connection, target, folder))
            .collect::<Result<Vec<_>>>()?;
        let plans = lanes.iter().map(|lane| StreamPlan::Resume { generation: lane.target.generation }).collect();
        let desk = Desk {
            shelf: Shelf::new(root, &claim.connection),
            config: Arc::new(config.clone()),
            claim,
            cancel,
            plans,
            positions: HashMap::new(),
            staged: BTreeMap::new(),
            tails: vec![Vec::new(); lanes.len()],
            lanes: Arc::new(lanes),
            next: 0,
        };
        Ok(Self { desk, notes })
    }

    /// One step: `work` on a copy of the desk, under the lock.
    async fn step<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Desk, Book) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lock = self.locked().await?;
        let mut desk = self.desk.clone();
        let (desk, value) = blocking(move || {
            let mut book = desk.shelf.read()?.ok_or_else(position::forgotten)?;
            // Invariant 3. Nobody takes the fence while the lock is held.
            position::check_owner(&desk.claim, book.fence.as_ref().map(|fence| fence.owner.as_str()))?;
            // A step that failed after its commit may have left files unpublished.
            apply(&desk.shelf, &book.pending)?;
            book.pending.clear();
            let value = work(&mut desk, book)?;
            drop(lock);
            Ok((desk, value))
        })
        .await?;
        self.desk = desk;
        Ok(value)
    }

    async fn locked(&self) -> Result<File> {
        self.desk.shelf.lock(&self.desk.cancel).await
    }

    fn told(&self, lines: Vec<String>) {
        for line in lines {
            // Nobody may be listening any more.
            let _ = self.notes.send((tracing::Level::INFO, line));
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::system("Writing files ended in a panic").with_source(error))?
}

#[async_trait]
impl Writer for FileWriter {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        let mut desk = self.desk.clone();
        let shelf = desk.shelf.clone();
        blocking(move || shelf.prepare()).await?;
        let lock = self.locked().await?;
        let (desk, mut book) = blocking(move || {
            let mut book = desk.shelf.read()?.unwrap_or_default();
            if let Some(before) = &book.fence {
                position::refuse_older(&desk.claim, &before.store, before.job, before.attempt)?;
            }
            let by_scope = book.positions.iter().map(|position| (position.scope.clone(), position.clone()));
            desk.positions = by_scope.collect();
            let targets = desk.lanes.iter().map(|lane| &lane.target);
            let kept = position::kept_staging(&desk.claim, &desk.positions, targets);
            book.staged.retain(|name, _| kept.contains_key(name));
            desk.staged = book.staged.clone();
            Ok((desk, book))
        })
        .await?;
        let mut positions: Vec<Position> = desk.positions.values().cloned().collect();
        positions.sort_by(|a, b| a.scope.cmp(&b.scope));
        admission.confirm(&positions).await?;
        book.fence = Some(desk.claim.clone());
        point("recover-before-commit");
        let desk = blocking(move || {
            desk.shelf.write(&book)?;
            apply(&desk.shelf, &book.pending)?;
            desk.sweep(&book)?;
            drop(lock);
            Ok(desk)
        })
        .await?;
        point("recover-after-commit");
        let kept = |lane: &Lane| {
            let prefix = lane.beside.stagings();
            let name = desk.staged.keys().find(|name| name.starts_with(&prefix))?;
            name[prefix.len()..].parse::<i64>().ok()
        };
        let staging: Vec<_> = desk.lanes.iter().map(|lane| (lane.target.stream.clone(), kept(lane))).collect();
        self.desk = desk;
        Ok(Recovered::Positions { positions, staging })
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        if plans.len() != self.desk.lanes.len() {
            return Err(Error::system("There must be one plan per stream"));
        }
        let plans = plans.to_vec();
        self.step(move |desk, mut book| {
            for scope in desk.positions.keys() {
                desk.check_position(&book, scope)?;
            }
            desk.plans = plans;
            for (lane, plan) in desk.lanes.iter().zip(&desk.plans) {
                let Some(generation) = plan.generation() else { continue };
                let prefix = lane.beside.stagings();
                let current = lane.beside.staging(generation);
                let is_fresh = matches!(plan, StreamPlan::Fresh { .. });
                if !is_fresh && book.staged.get(&current) != desk.staged.get(&current) {
                    return Err(moved("Staging does not hold what was sent"));
                }
                book.staged.retain(|name, _| !name.starts_with(&prefix) || (!is_fresh && *name == current));
            }
            desk.commit(book)
        })
        .await
    }

    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        self.step(move |desk, book| {
            desk.check_position(&book, &Scope::All)?;
            let streams: HashSet<usize> = batches.iter().map(|batch| batch.stream.0).collect();
            for index in streams {
                let index = desk.open_lane(StreamIndex(index))?;
                desk.check_position(&book, &Scope::Stream(desk.lanes[index].target.stream.clone()))?;
                desk.check_files(&book, index)?;
            }
            for (index, piece) in desk.encode(&batches)? {
                desk.tails[index].push(piece);
            }
            Ok(())
        })
        .await?;
        point("spill-after");
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        let durable = self
            .step(move |desk, mut book| {
                let mut durable = Vec::new();
                for stream in commit.streams {
                    durable.push(desk.append(&mut book, stream, PositionKind::State, &[], &mut Vec::new())?);
                }
                point("commit-before");
                desk.commit(book)?;
                Ok(durable)
            })
            .await?;
        point("commit-after");
        Ok(durable)
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        // The place where a writer may be paused while another one takes over.
        point("complete-begin");
        let (durable, told) = self
            .step(move |desk, mut book| {
                point("fence-checked");
                let ended: Vec<usize> = complete.streams.iter().map(|stream| stream.0).collect();
                let mut told = Vec::new();
                let durable = desk.append(&mut book, complete.commit, PositionKind::End, &ended, &mut told)?;
                point("complete-before");
                desk.commit(book)?;
                Ok((vec![durable], told))
            })
            .await?;
        point("complete-after");
        self.told(told);
        Ok(durable)
    }

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        let (durable, told) = self
            .step(move |desk, mut book| {
                let result = desk.clear(&mut book, clear)?;
                point("clear-before");
                desk.commit(book)?;
                Ok(result)
            })
            .await?;
        point("clear-after");
        self.told(told);
        Ok(durable)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Desk {
    /// Writes the book, then publishes, then drops the files of staging that the book no longer names.
    fn commit(&mut self, book: Book) -> Result<()> {
        // Invariant 1: the files are on the disk, and their names in the folder too, before the state is.
        super::book::sync_folder(&self.shelf.files())?;
        self.shelf.write(&book)?;
        point("commit-unpublished");
        apply(&self.shelf, &book.pending)?;
        let named: HashSet<&str> = book.staged.values().flatten().map(|piece| piece.name.as_str()).collect();
        for piece in self.staged.values().flatten().filter(|piece| !named.contains(piece.name.as_str())) {
            remove(&self.shelf.files().join(&piece.name))?;
        }
        self.staged = book.staged;
        Ok(())
    }

    /// Drops every file that the book does not name: tails, and what an attempt that died left.
    fn sweep(&self, book: &Book) -> Result<()> {
        let folder = self.shelf.files();
        let named: HashSet<&str> = book.staged.values().flatten().map(|piece| piece.name.as_str()).collect();
        for entry in fs::read_dir(&folder).map_err(|error| unwritable(&folder, error))? {
            let entry = entry.map_err(|error| unwritable(&folder, error))?;
            if !named.contains(&*entry.file_name().to_string_lossy()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The position must be the one that this attempt last read or wrote.
    fn check_position(&self, book: &Book, scope: &Scope) -> Result<()> {
        let place = |position: &Position| {
            let Position { store, job, attempt, point, kind, .. } = position;
            (store.clone(), *job, *attempt, *point, *kind)
        };
        if book.position(scope).map(place) == self.positions.get(scope).map(place) {
            return Ok(());
        }
        Err(moved("The destination's position is not the one of this attempt"))
    }

    /// Staging and tail must hold exactly what was sent.
    fn check_files(&self, book: &Book, index: usize) -> Result<()> {
        let staging = self.staging(index);
        if book.staged.get(&staging) != self.staged.get(&staging) {
            return Err(moved("Staging does not hold what was sent"));
        }
        let files = self.shelf.files();
        for piece in self.staged.get(&staging).into_iter().flatten().chain(&self.tails[index]) {
            if !fs::metadata(files.join(&piece.name)).is_ok_and(|found| found.len() == piece.bytes) {
                return Err(moved("A file that holds rows is gone"));
            }
        }
        Ok(())
    }

    fn generation(&self, index: usize) -> i64 {
        self.plans[index].generation().unwrap_or(self.lanes[index].target.generation)
    }

    fn staging(&self, index: usize) -> String {
        self.lanes[index].beside.staging(self.generation(index))
    }

    fn is_done(&self, index: usize) -> bool {
        self.plans[index] == StreamPlan::Done
    }

    fn open_lane(&self, stream: StreamIndex) -> Result<usize> {
        match self.lanes.get(stream.0) {
            Some(lane) if self.is_done(stream.0) => {
                Err(Error::system(format!("Stream `{}` is done and gets no more rows", lane.target.stream)))
            }
            Some(_) => Ok(stream.0),
            None => Err(Error::system(format!("There is no stream number {}", stream.0))),
        }
    }

    /// Lanes that a scope covers.
    fn covered(&self, scope: &Scope) -> Result<Vec<usize>> {
        let is_covered = |lane: &Lane| match scope {
            Scope::All => true,
            Scope::Stream(stream) => lane.target.stream == *stream,
        };
        let found: Vec<usize> =
            self.lanes.iter().enumerate().filter(|(_, lane)| is_covered(lane)).map(|(index, _)| index).collect();
        if found.is_empty() {
            return Err(Error::system(format!("There is no stream for {scope:?}")));
        }
        Ok(found)
    }

    fn new_file(&mut self, index: usize) -> String {
        let number = self.next;
        self.next += 1;
        let Claim { job, attempt, .. } = &self.claim;
        // Numbers repeat between stores and connections, and a step that failed may be tried again.
        let random = uuid::Uuid::new_v4().simple().to_string();
        let generation = self.generation(index);
        format!("{}{generation}-{job}-{attempt}-{number:04}-{}{}", names::OURS, &random[..8], self.config.ending())
    }

    /// Writes the rows of each stream into a file of its own where nobody sees it; another one where the types change.
    fn encode(&mut self, batches: &[Batch]) -> Result<Vec<(usize, Piece)>> {
        let mut open: BTreeMap<usize, (String, Encoder)> = BTreeMap::new();
        let mut pieces = Vec::new();
        let lanes = self.lanes.clone();
        for batch in batches.iter().filter(|batch| batch.rows.num_rows() > 0) {
            if self.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            let index = self.open_lane(batch.stream)?;
            let columns = &lanes[index].columns;
            let stamp = Stamp { job: self.claim.job, generation: self.generation(index) };
            let rows = types::rows(columns, batch, stamp)?;
            let (name, mut encoder) = match open.remove(&index) {
                Some((name, encoder)) if encoder.takes(&rows) => (name, encoder),
                before => {
                    if let Some((name, encoder)) = before {
                        pieces.push((index, piece(name, encoder)?));
                    }
                    let name = self.new_file(index);
                    let path = self.shelf.files().join(&name);
                    let encoder = Encoder::create(&path, &self.config, rows.schema(), types::kinds(columns))?;
                    (name, encoder)
                }
            };
            encoder.write(&rows)?;
            open.insert(index, (name, encoder));
        }
        for (index, (name, encoder)) in open {
            pieces.push((index, piece(name, encoder)?));
        }
        Ok(pieces)
    }

    /// A file that has the columns and no rows, so that an empty table is a table.
    fn empty_file(&mut self, index: usize) -> Result<String> {
        let name = self.new_file(index);
        let lanes = self.lanes.clone();
        let columns = &lanes[index].columns;
        let path = self.shelf.files().join(&name);
        encode::empty(&path, &self.config, types::empty_schema(columns), types::kinds(columns))?;
        Ok(name)
    }

    /// Rows, tails and the ends of streams, then the position that covers them; all of it in the book.
    fn append(
        &mut self,
        book: &mut Book,
        commit: StreamCommit,
        kind: PositionKind,
        ended: &[usize],
        told: &mut Vec<String>,
    ) -> Result<Durable> {
        self.check_position(book, &commit.scope)?;
        let covered = self.covered(&commit.scope)?;
        let mut added: BTreeMap<usize, Counts> = BTreeMap::new();
        for (stream, counts) in &commit.counts {
            *added.entry(stream.0).or_default() += Counts { written: 0, ..*counts };
        }
        if commit.batches.iter().any(|batch| !covered.contains(&batch.stream.0)) {
            return Err(Error::system("A batch lies outside the scope of its mark"));
        }
        let mut arrived: Vec<(usize, Piece)> = Vec::new();
        let open: Vec<usize> = covered.iter().copied().filter(|index| !self.is_done(*index)).collect();
        for index in open {
            self.check_files(book, index)?;
            arrived.extend(std::mem::take(&mut self.tails[index]).into_iter().map(|piece| (index, piece)));
        }
        arrived.extend(self.encode(&commit.batches)?);
        for (index, piece) in arrived {
            added.entry(index).or_default().written += piece.rows;
            if self.lanes[index].target.stages() {
                book.staged.entry(self.staging(index)).or_default().push(piece);
            } else {
                let folder = self.lanes[index].folder.clone();
                book.pending.push(Publish { folder, files: vec![piece.name], replaces: false });
            }
        }
        for index in ended {
            let index = self.open_lane(StreamIndex(*index))?;
            told.push(self.end(book, index)?);
        }
        let place = |index: usize| if book.rows(&self.staging(index)) > 0 { Place::Staging } else { Place::Final };
        let lines: Vec<Covered<'_>> = covered
            .iter()
            .map(|index| Covered {
                stream: &self.lanes[*index].target.stream,
                generation: self.generation(*index),
                place: place(*index),
                is_done: self.is_done(*index),
                added: added.get(index).copied().unwrap_or_default(),
            })
            .collect();
        let lines = position::advance(&self.claim, self.positions.get(&commit.scope), &lines);
        let position = position::of(&self.claim, commit.scope.clone(), commit.point, kind, commit.state, lines);
        book.put(position.clone());
        self.positions.insert(commit.scope.clone(), position.clone());
        let written = added.into_iter().map(|(index, counts)| (StreamIndex(index), counts.written)).collect();
        Ok(Durable { scope: commit.scope, point: commit.point, position, written })
    }

    /// The last files of a stream, and its old ones. Says what was done.
    fn end(&mut self, book: &mut Book, index: usize) -> Result<String> {
        let lanes = self.lanes.clone();
        let lane = &lanes[index];
        let stream = &lane.target.stream;
        let replaces = lane.target.truncates();
        let staging = self.staging(index);
        let rows = book.rows(&staging);
        let mut files: Vec<String> =
            book.staged.remove(&staging).into_iter().flatten().map(|piece| piece.name).collect();
        let is_coming = book.pending.iter().any(|publish| publish.folder == lane.folder);
        let is_bare = !is_coming && has_files(&self.shelf.root.join(&lane.folder))? != Some(true);
        if files.is_empty() && (replaces || is_bare) {
            files.push(self.empty_file(index)?);
        }
        if !files.is_empty() {
            book.pending.push(Publish { folder: lane.folder.clone(), files, replaces });
        }
        Ok(match (lane.target.stages(), replaces) {
            (false, _) => format!("Stream {stream}: complete"),
            (true, true) => format!("Stream {stream}: replaced its files with {rows} rows"),
            (true, false) => format!("Stream {stream}: added {rows} rows"),
        })
    }

    fn clear(&mut self, book: &mut Book, clear: Clear) -> Result<(Vec<Durable>, Vec<String>)> {
        let lanes = self.lanes.clone();
        let mut told = Vec::new();
        let mut lines = Vec::new();
        for stream in &clear.streams {
            let lane = lanes.get(stream.0).ok_or_else(|| Error::system("There is no such stream to clear"))?;
            let name = &lane.target.stream;
            // Invariant 10: a folder is emptied, never dropped, and none is made.
            if has_files(&self.shelf.root.join(&lane.folder))?.is_some() {
                let files = vec![self.empty_file(stream.0)?];
                book.pending.push(Publish { folder: lane.folder.clone(), files, replaces: true });
                told.push(format!("Stream {name}: the files in `{}` were removed", lane.folder));
            } else {
                told.push(format!("Stream {name}: there is no folder `{}` to empty", lane.folder));
            }
            let prefix = lane.beside.stagings();
            book.staged.retain(|name, _| !name.starts_with(&prefix));
            for piece in std::mem::take(&mut self.tails[stream.0]) {
                remove(&self.shelf.files().join(&piece.name))?;
            }
            lines.push(Line {
                stream: name.clone(),
                generation: lane.target.generation,
                place: Place::Final,
                counts: Counts::default(),
            });
        }
        let mut durable = Vec::new();
        for position in position::cleared(&self.claim, clear.point, lines, clear.remaining) {
            self.check_position(book, &position.scope)?;
            book.put(position.clone());
            self.positions.insert(position.scope.clone(), position.clone());
            durable.push(Durable { scope: position.scope.clone(), point: clear.point, position, written: Vec::new() });
        }
        Ok((durable, told))
    }
}

fn piece(name: String, encoder: Encoder) -> Result<Piece> {
    let written = encoder.finish()?;
    Ok(Piece { name, rows: written.rows, bytes: written.bytes })
}

fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(path, error)),
        _ => Ok(()),
    }
}
