//! Native connectors: one folder and one cargo feature each, registered here under the identity of what they replace.
//!
//! Start with [`sources`] and [`destinations`], which list what is built in; each folder's `mod.rs` says what its
//! connector does, its modes and its limits.

#[cfg(any(feature = "file", feature = "postgres", feature = "sqlite"))]
mod direct;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sample")]
pub mod sample;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use connector::{Destination, Source};
use uuid::Uuid;

/// A connector that is built in, under the well-known identity that stored scripts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Native {
    /// Registry name, as in `sample`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    pub definition_id: Uuid,
    pub docker_repository: &'static str,
    pub docker_image_tag: &'static str,
    pub documentation_url: &'static str,
    /// `api`, `file`, `database`: sources only.
    pub source_type: Option<&'static str>,
    /// `YYYY-MM-DD`.
    pub release_date: Option<&'static str>,
    pub icon: Option<&'static str>,
}

/// Where connectors find files of this machine.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The folder of relative paths and of `/local/`.
    pub local: PathBuf,
    /// Files, and folders apart from `local`, in which no connector may write.
    pub own: Vec<PathBuf>,
}

impl Folders {
    /// A server's: local files lie under `local/` of its data folder, and everything else in that is its own.
    pub fn of_server(data_dir: &Path) -> Self {
        Self { local: data_dir.join("local"), own: vec![data_dir.to_owned()] }
    }

    /// Those of a command: local files lie under `local`; `own` holds the metadata, if there is any.
    pub fn of_command(local: &Path, own: Option<&Path>) -> Self {
        // Named one by one too, because `own` lies inside `local`.
        let own = own.into_iter().flat_map(|own| [own.to_owned(), own.join("leat.db"), own.join("secret.key")]);
        Self { local: local.to_owned(), own: own.collect() }
    }
}

#[cfg_attr(not(feature = "file"), allow(unused_variables))]
pub fn sources(folders: &Folders) -> Vec<(Native, Arc<dyn Source>)> {
    vec![
        #[cfg(feature = "sample")]
        (
            Native {
                name: "sample",
                title: "Sample Data (Faker)",
                definition_id: uuid::uuid!("dfd88b22-b603-4c3d-aad7-3701784586b1"),
                docker_repository: "airbyte/source-faker",
                docker_image_tag: "6.2.0",
                documentation_url: sample::DOCUMENTATION,
                source_type: Some("api"),
                release_date: Some("2026-11-25"),
                icon: None,
            },
            Arc::new(sample::SampleSource),
        ),
        #[cfg(feature = "postgres")]
        (
            Native {
                name: "postgres",
                title: "Postgres",
                definition_id: uuid::uuid!("decd338e-5647-4c0b-adf4-da0e75f5a750"),
                docker_repository: "airbyte/source-postgres",
                docker_image_tag: "3.7.0",
                documentation_url: postgres::SOURCE_DOCUMENTATION,
                source_type: Some("database"),
                release_date: Some("2026-11-25"),
                icon: None,
            },
            Arc::new(postgres::PostgresSource),
        ),
        #[cfg(feature = "file")]
        (
            Native {
                name: "file",
                title: "File (CSV, JSON lines, Parquet)",
                definition_id: uuid::uuid!("778daa7c-feaf-4db6-96f3-70fd645acc77"),
                docker_repository: "airbyte/source-file",
                docker_image_tag: "0.5.0",
                documentation_url: file::SOURCE_DOCUMENTATION,
                source_type: Some("file"),
                release_date: Some("2026-11-25"),
                icon: None,
            },
            Arc::new(file::FileSource::new(folders.local.clone(), folders.own.clone())),
        ),
    ]
}

#[cfg_attr(not(any(feature = "file", feature = "sqlite")), allow(unused_variables))]
pub fn destinations(folders: &Folders) -> Vec<(Native, Arc<dyn Destination>)> {
    vec![
        #[cfg(feature = "sqlite")]
        (
            Native {
                name: "sqlite",
                title: "Local SQLite",
                definition_id: uuid::uuid!("b76be0a6-27dc-4560-95f6-2623da0bd7b6"),
                docker_repository: "airbyte/destination-sqlite",
                docker_image_tag: "0.1.0",
                documentation_url: sqlite::DOCUMENTATION,
                source_type: None,
                release_date: Some("2026-11-25"),
                icon: None,
            },
            Arc::new(sqlite::SqliteDestination::new(folders.local.clone(), folders.own.clone())),
        ),
        // Upstream has one destination for each format; the one for CSV lends its identity.
        #[cfg(feature = "file")]
        (
            Native {
                name: "file",
                title: "Local Files (CSV, JSON lines, Parquet)",
                definition_id: uuid::uuid!("8be1cf83-fde1-477f-a4ad-318d23c9f3c6"),
                docker_repository: "airbyte/destination-csv",
                docker_image_tag: "1.0.0",
                documentation_url: file::DESTINATION_DOCUMENTATION,
                source_type: None,
                release_date: Some("2026-11-25"),
                icon: None,
            },
            Arc::new(file::FileDestination::new(folders.local.clone(), folders.own.clone())),
        ),
        #[cfg(feature = "postgres")]
        (
            Native {
                name: "postgres",
                title: "Postgres",
                definition_id: uuid::uuid!("25c5221d-dce2-4163-ade9-739ef790f503"),
                docker_repository: "airbyte/destination-postgres",
                docker_image_tag: "3.0.5",
                documentation_url: postgres::DESTINATION_DOCUMENTATION,
                source_type: None,
                release_date: Some("2026-11-25"),
                icon: None,
            },
            Arc::new(postgres::PostgresDestination),
        ),
    ]
}
