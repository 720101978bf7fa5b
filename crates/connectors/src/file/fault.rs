//! Errors that name the file and the line.

use std::{fmt, io, path::Path};

use connector::{Error, ErrorKind};

/// A file, for messages.
#[derive(Clone, Debug)]
pub struct Place(String);

impl Place {
    pub fn of(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().display().to_string())
    }

    pub fn line(&self, line: u64) -> String {
        format!("{}, line {line}", self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file that cannot be read, or not to its end.
pub fn unreadable(place: &Place, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "Give the user that runs Leat read access to the file",
        io::ErrorKind::NotFound => "The file was there when the folder was listed: run the sync again",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            "The compressed file was cut short or damaged: deliver it again"
        }
        _ => "Check the disk or the mount",
    };
    Error::config(format!("The file {place} cannot be read: {error}")).with_hint(hint).with_source(error)
}

/// A file or folder that cannot be written.
pub fn unwritable(path: &Path, error: io::Error) -> Error {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Transient, "Make room on the disk; what was committed is kept and the rest goes on from there")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::Config, "Give the user that runs Leat write access to the folder, or choose another path")
        }
        _ => (ErrorKind::System, "Check the disk or the mount"),
    };
    Error::new(kind, format!("{} cannot be written: {error}", path.display())).with_hint(hint).with_source(error)
}
