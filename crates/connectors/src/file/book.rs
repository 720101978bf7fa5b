//! The book of a connection: one small JSON file that says what is durable, replaced by a rename.
//!
//! Below the folder of the destination lies `_leat/<connection>/` with `book.json`, `lock`, and `files/`, where data files
//! are written before anybody sees them. **Writing the book is the commit.** It holds the fence, the positions, which files
//! wait in staging, and what is still to be published; so rows and state cannot disagree, and whatever died between
//! the commit and the publishing is published by the next step or the next [`super::write::FileWriter`]'s `recover`. A
//! file that the book does not name belongs to a tail or to an attempt that died; `recover` drops it. A folder of a
//! stream never holds a file that is not committed.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use connector::{Error, Result};
use protocol::checkpoint::{Claim, Position, Scope};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::fault::unwritable;
use crate::direct::names::hash;

/// Version of the layout.
const FORMAT: i64 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    format: i64,
    /// Who may write.
    pub fence: Option<Claim>,
    pub positions: Vec<Position>,
    /// Files of each staging, by the name that carries stream and generation.
    pub staged: BTreeMap<String, Vec<Piece>>,
    /// Committed, and perhaps not to be seen yet.
    pub pending: Vec<Publish>,
}

/// A data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub name: String,
    pub rows: i64,
    pub bytes: u64,
}

/// Files that are to be seen in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    pub folder: String,
    pub files: Vec<String>,
    /// The files of earlier syncs go.
    pub replaces: bool,
}

impl Default for Book {
    fn default() -> Self {
        Self { format: FORMAT, fence: None, positions: vec![], staged: BTreeMap::new(), pending: vec![] }
    }
}

impl Book {
    pub fn position(&self, scope: &Scope) -> Option<&Position> {
        self.positions.iter().find(|position| position.scope == *scope)
    }

    pub fn put(&mut self, position: Position) {
        self.positions.retain(|old| old.scope != position.scope);
        self.positions.push(position);
    }

    pub fn rows(&self, staging: &str) -> i64 {
        self.staged.get(staging).into_iter().flatten().map(|piece| piece.rows).sum()
    }
}

/// Where the book of a connection lies.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The folder of the destination.
    pub root: PathBuf,
    own: PathBuf,
}

impl Shelf {
    pub fn new(root: PathBuf, connection: &str) -> Self {
        let own = root.join("_leat").join(&hash(&[connection])[..12]);
        Self { root, own }
    }

    /// Where data files wait.
    pub fn files(&self) -> PathBuf {
        self.own.join("files")
    }

    /// Where the next content of a folder is put together.
    pub fn next(&self, folder: &str) -> PathBuf {
        self.own.join("next").join(folder)
    }

    pub fn root_lock(&self) -> PathBuf {
        self.root.join("_leat").join("lock")
    }

    pub fn prepare(&self) -> Result<()> {
        let files = self.files();
        fs::create_dir_all(&files).map_err(|error| unwritable(&files, error))
    }

    fn path(&self) -> PathBuf {
        self.own.join("book.json")
    }

    /// `None`: there is no book.
    pub fn read(&self) -> Result<Option<Book>> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unwritable(&path, error)),
        };
        #[derive(Deserialize)]
        struct Version {
            format: i64,
        }
        let damaged = |error: serde_json::Error| {
            Error::config(format!("{} cannot be read", path.display()))
                .with_hint(
                    "It was changed by hand or by another program: delete the folder it is in and reset the connection",
                )
                .with_source(error)
        };
        let version: Version = serde_json::from_slice(&text).map_err(damaged)?;
        if version.format != FORMAT {
            return Err(Error::config(format!(
                "{} has format {}, this version knows {FORMAT}",
                path.display(),
                version.format
            ))
            .with_hint("Use the version of Leat that wrote to this destination last, or a newer one"));
        }
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    /// The commit.
    pub fn write(&self, book: &Book) -> Result<()> {
        let path = self.path();
        let new = self.own.join("book.json.new");
        let text = serde_json::to_vec(book)
            .map_err(|error| Error::system("A position cannot be encoded").with_source(error))?;
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(|error| unwritable(&new, error))?;
        fs::rename(&new, &path).map_err(|error| unwritable(&path, error))?;
        sync_folder(&self.own)
    }

    /// Waits until nobody else holds the connection. The lock ends with the file or the process.
    pub async fn lock(&self, cancel: &CancellationToken) -> Result<File> {
        let path = self.own.join("lock");
        let failed = |error| unwritable(&path, error);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        loop {
            if cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
                () = cancel.cancelled() => return Err(Error::cancelled()),
            }
        }
    }
}

/// Makes new names in a folder last.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| unwritable(folder, error))
}
