//! How committed files come to be seen.
//!
//! The contract with readers: a stream's folder holds whole files only, and only committed ones; files and folders whose
//! names begin with `.` or `_` are not data. More rows are more files, each appearing by a rename. A replacement is put
//! together in a folder beside and exchanged with the old one in one step (`renameat2`), so that whoever lists the folder
//! finds the old files or the new ones; where the file system cannot do that, the new files appear first and then
//! the old ones go. Files that no sync wrote stay.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::Path,
};

use connector::{Error, Result, failpoint::point};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    book::{Publish, Shelf, sync_folder},
    fault::unwritable,
    names::OURS,
};

/// Whether files can be made in the folder, or the folder itself; leaves nothing behind.
pub fn try_folder(folder: &Path) -> Result<()> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let probe = there.join(format!(".leat-check-{}", uuid::Uuid::new_v4()));
    let tried = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
    tried.map_err(|error| {
        Error::config(format!("No file can be made in the folder {}", there.display()))
            .with_hint("Give the user that runs Leat write access to the folder, or choose another path")
            .with_source(error)
    })
}

/// Whether a folder holds files that a sync wrote; `None` where there is no folder.
pub fn has_files(folder: &Path) -> Result<Option<bool>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unwritable(folder, error)),
    };
    for entry in entries {
        if is_ours(&entry.map_err(|error| unwritable(folder, error))?) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

fn is_ours(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with(OURS)
}

/// Publishes what is pending; what was published already is left as it is.
pub fn apply(shelf: &Shelf, pending: &[Publish]) -> Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    // Two connections may write into one folder.
    let path = shelf.root_lock();
    let lock = File::options().create(true).append(true).open(&path).map_err(|error| unwritable(&path, error))?;
    lock.lock().map_err(|error| unwritable(&path, error))?;
    for publish in pending {
        if publish.replaces { replace(shelf, publish)? } else { add(shelf, publish)? }
    }
    Ok(())
}

fn add(shelf: &Shelf, publish: &Publish) -> Result<()> {
    if !is_waiting(shelf, publish) {
        return Ok(());
    }
    let folder = shelf.root.join(&publish.folder);
    fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
    move_files(&shelf.files(), &folder, &publish.files)?;
    sync_folder(&folder)?;
    sync_folder(&shelf.root)
}

fn is_waiting(shelf: &Shelf, publish: &Publish) -> bool {
    let files = shelf.files();
    publish.files.iter().any(|file| files.join(file).exists())
}

/// Moves the files that are still there.
fn move_files(from: &Path, to: &Path, files: &[String]) -> Result<()> {
    for file in files {
        match fs::rename(from.join(file), to.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(&to.join(file), error)),
            _ => {}
        }
    }
    Ok(())
}

/// As long as the folder beside exists, the replacement goes on.
fn replace(shelf: &Shelf, publish: &Publish) -> Result<()> {
    let folder = shelf.root.join(&publish.folder);
    let next = shelf.next(&publish.folder);
    let failed = |error| unwritable(&folder, error);
    if !is_waiting(shelf, publish) && !next.exists() {
        return Ok(());
    }
    if !publish.files.iter().all(|file| folder.join(file).exists()) {
        fs::create_dir_all(&next).map_err(failed)?;
        move_files(&shelf.files(), &next, &publish.files)?;
        sync_folder(&next)?;
        if !folder.exists() {
            fs::rename(&next, &folder).map_err(failed)?;
            return sync_folder(&shelf.root);
        }
        match renameat_with(CWD, &next, CWD, &folder, RenameFlags::EXCHANGE) {
            Ok(()) => sync_folder(&shelf.root)?,
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                move_files(&next, &folder, &publish.files)?;
                sync_folder(&folder)?;
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
    point("replace-before-removal");
    if !next.exists() {
        return Ok(());
    }
    // What lies beside now are the old files, and perhaps files of the user; nothing, where there was no exchange.
    let mut is_exchanged = false;
    for entry in fs::read_dir(&next).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        is_exchanged = true;
        if !is_ours(&entry) {
            fs::rename(entry.path(), folder.join(entry.file_name())).map_err(failed)?;
        }
    }
    if !is_exchanged {
        remove_old(&folder, &publish.files)?;
    }
    fs::remove_dir_all(&next).map_err(failed)
}

fn remove_old(folder: &Path, new: &[String]) -> Result<()> {
    let failed = |error| unwritable(folder, error);
    let new: HashSet<&str> = new.iter().map(String::as_str).collect();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_ours(&entry) && !new.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}
