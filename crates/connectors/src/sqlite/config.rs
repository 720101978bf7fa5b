//! The configuration, and which file it means.
//!
//! An absolute path is taken as given. `/local/x` (what upstream's containers mount) and a relative path lie in the
//! folder for local files. Symbolic links and `..` are resolved before anything is allowed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use connector::{Error, Result, config};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// A SQLite database file on this machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(title = "Local SQLite")]
pub struct Config {
    /// Path of the database file; it is created if it does not exist. A relative path, and one that begins with
    /// `/local/`, lies in the folder `local` of the data directory; every other absolute path is taken as given.
    #[schemars(title = "Destination path", example = "/local/sqlite.db")]
    pub destination_path: String,
}

/// Where files of this destination may be.
#[derive(Clone, Debug)]
pub struct Places {
    /// Folder of relative paths and of `/local/`.
    pub local: PathBuf,
    /// Files, and folders apart from `local`, in which nothing may be written.
    pub forbidden: Vec<PathBuf>,
}

pub fn read(value: &Value) -> Result<Config> {
    let config: Config = config::parse(value)?;
    if config.destination_path.trim().is_empty() {
        return Err(Error::config("Configuration field `destination_path` is empty"));
    }
    if config.destination_path.contains('\0') {
        return Err(Error::config("Configuration field `destination_path` holds U+0000, which no path may"));
    }
    Ok(config)
}

impl Places {
    /// The file that a configuration means: absolute, without links. Creates nothing.
    pub fn file(&self, config: &Config) -> Result<PathBuf> {
        let given = Path::new(&config.destination_path);
        let shown = &config.destination_path;
        let local = resolve(&self.local)?;
        let inside = match given.strip_prefix("/local") {
            Ok(rest) => Some(rest),
            Err(_) if given.is_absolute() => None,
            Err(_) => Some(given),
        };
        let file = resolve(&inside.map_or_else(|| given.to_owned(), |rest| local.join(rest)))?;
        let is_local = file.starts_with(&local);
        if inside.is_some() && (!is_local || file == local) {
            return Err(Error::config(format!("The path `{shown}` leaves the folder for local files")).with_hint(
                "Use a path inside that folder, without `..` or links that lead out of it, or an absolute path",
            ));
        }
        if self.is_forbidden(&file, is_local)? {
            return Err(Error::config(format!("The path `{shown}` belongs to Leat itself"))
                .with_hint("Choose a file outside the data directory, or a relative path"));
        }
        if file.is_dir() {
            return Err(Error::config(format!("The path `{shown}` is a folder, not a database file"))
                .with_hint("Add a file name, as in `/local/sqlite.db`"));
        }
        Ok(file)
    }

    fn is_forbidden(&self, file: &Path, is_local: bool) -> Result<bool> {
        for forbidden in &self.forbidden {
            let forbidden = resolve(forbidden)?;
            if forbidden.is_dir() {
                if file.starts_with(&forbidden) && !is_local {
                    return Ok(true);
                }
                continue;
            }
            let name = file.to_string_lossy();
            let own = forbidden.to_string_lossy();
            // The file itself, and the journals that SQLite keeps beside it.
            if name.strip_prefix(own.as_ref()).is_some_and(|rest| ["", "-wal", "-shm", "-journal"].contains(&rest)) {
                return Ok(true);
            }
            // A hard link is the same file under another name.
            if let (Ok(a), Ok(b)) = (fs::metadata(file), fs::metadata(&forbidden))
                && (a.dev(), a.ino()) == (b.dev(), b.ino())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Creates the folders of a local file; elsewhere a folder that is missing is a mistake.
    pub fn prepare(&self, file: &Path) -> Result<()> {
        let Some(folder) = file.parent() else { return Ok(()) };
        if folder.is_dir() {
            return Ok(());
        }
        if !file.starts_with(resolve(&self.local)?) {
            return Err(Error::config(format!("The folder `{}` does not exist", folder.display()))
                .with_hint("Create the folder, or correct the path"));
        }
        fs::create_dir_all(folder).map_err(|error| {
            Error::config(format!("The folder `{}` cannot be created", folder.display())).with_source(error)
        })
    }
}

/// Follows links and `..` one part after another; parts that do not exist yet are kept as they are.
fn resolve(path: &Path) -> Result<PathBuf> {
    let failed = |error: io::Error| {
        Error::config(format!("The path `{}` cannot be followed", path.display()))
            .with_hint("Check that every link in it leads somewhere and that its folders may be read")
            .with_source(error)
    };
    let mut real = if path.is_absolute() { PathBuf::new() } else { std::env::current_dir().map_err(failed)? };
    for part in path.components() {
        match part {
            Component::Prefix(_) | Component::RootDir => real.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                real.pop();
            }
            Component::Normal(name) => {
                real.push(name);
                match fs::symlink_metadata(&real) {
                    Ok(found) if found.is_symlink() => real = fs::canonicalize(&real).map_err(failed)?,
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
    }
    Ok(real)
}
