//! The files that a connector is given: in a folder that only we may enter, gone when the command is over.

use std::{
    ffi::OsString,
    fs::{OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
};

use serde::Serialize;
use tempfile::TempDir;

use crate::{Error, Result};

pub(super) struct Files {
    folder: TempDir,
    /// The command and its options.
    args: Vec<OsString>,
}

impl Files {
    pub fn new(command: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("leat-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(not_written)?;
        Ok(Self { folder, args: vec![command.into()] })
    }

    /// Writes `NAME.json` and adds `--NAME PATH`. Invariant 6: a secret is in a file of mode 0600, never in an argument.
    pub fn add(&mut self, name: &str, content: &impl Serialize) -> Result<()> {
        let path = self.folder.path().join(format!("{name}.json"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(not_written)?;
        let mut file = BufWriter::new(file);
        serde_json::to_writer(&mut file, content).map_err(|error| not_written(error.into()))?;
        file.flush().map_err(not_written)?;
        self.args.extend([format!("--{name}").into(), path.into()]);
        Ok(())
    }

    pub fn args(&self) -> &[OsString] {
        &self.args
    }
}

fn not_written(error: io::Error) -> Error {
    Error::system("The files for a connector could not be written")
        .with_hint("Is there room in the folder for temporary files (TMPDIR), and may it be written to?")
        .with_source(error)
}
