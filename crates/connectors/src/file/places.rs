//! Which files and folders a configuration means, and which it may not.
//!
//! The rules of the SQLite destination: an absolute path is taken as given; `/local/x` (what upstream's containers mount)
//! and a relative path lie in the folder for local files and may not leave it; the server's own files are refused.
//! Links and `..` are resolved first.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use connector::{Error, Result};

#[derive(Clone, Debug)]
pub struct Places {
    /// Folder of relative paths and of `/local/`.
    pub local: PathBuf,
    /// Files, and folders apart from a `local` inside them, in which nothing may be read or written.
    pub forbidden: Vec<PathBuf>,
}

impl Places {
    /// The absolute path, without links, that `given` in configuration field `field` means. Creates nothing.
    pub fn find(&self, field: &str, given: &str) -> Result<PathBuf> {
        if given.trim().is_empty() {
            return Err(Error::config(format!("Configuration field `{field}` is empty")));
        }
        if given.contains('\0') {
            return Err(Error::config(format!("Configuration field `{field}` holds U+0000, which no path may")));
        }
        let bare = given.strip_prefix("file://").unwrap_or(given);
        if let Some((scheme, _)) = bare.split_once("://") {
            return Err(Error::config(format!(
                "Configuration field `{field}` has the scheme `{scheme}`; only files of this machine are known"
            ))
            .with_hint("Use a path, or mount the storage and give its path"));
        }
        let given = Path::new(bare);
        let local = resolve(&self.local)?;
        let inside = match given.strip_prefix("/local") {
            Ok(rest) => Some(rest),
            Err(_) if given.is_absolute() => None,
            Err(_) => Some(given),
        };
        let path = resolve(&inside.map_or_else(|| given.to_owned(), |rest| local.join(rest)))?;
        if inside.is_some() && !path.starts_with(&local) {
            return Err(Error::config(format!("The path `{bare}` leaves the folder for local files")).with_hint(
                "Use a path inside that folder, without `..` or links that lead out of it, or an absolute path",
            ));
        }
        self.allow(&path)?;
        Ok(path)
    }

    /// Refuses the server's own files; `path` has no links in it.
    pub fn allow(&self, path: &Path) -> Result<()> {
        let local = resolve(&self.local)?;
        for forbidden in &self.forbidden {
            let forbidden = resolve(forbidden)?;
            let is_allowed = local.starts_with(&forbidden) && path.starts_with(&local);
            if path.starts_with(&forbidden) && !is_allowed {
                return Err(Error::config(format!("The path `{}` belongs to Leat itself", path.display()))
                    .with_hint("Choose a path outside the data directory, or a relative path"));
            }
        }
        Ok(())
    }
}

/// Follows links and `..` one part after another; parts that do not exist yet are kept as they are.
pub fn resolve(path: &Path) -> Result<PathBuf> {
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
