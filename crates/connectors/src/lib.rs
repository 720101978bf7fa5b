//! Native connectors: one folder and one cargo feature each, registered here under the identity of what they replace.
//!
//! Start with [`sources`] and [`destinations`], which list what is built in; each folder's `mod.rs` says what its
//! connector does, its modes and its limits.

#[cfg(feature = "sample")]
pub mod sample;
#[cfg(feature = "sqlite")]
pub mod sqlite;

/// A connector that is built in, under the well-known identity that stored scripts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Native {
    /// Registry name, as in `sample`.
    pub native: &'static str,
    /// UUID.
    pub definition_id: &'static str,
    pub name: &'static str,
    pub docker_repository: &'static str,
    pub docker_image_tag: &'static str,
    pub documentation_url: &'static str,
    /// `api`, `file`, `database`: sources only.
    pub source_type: Option<&'static str>,
    /// `YYYY-MM-DD`.
    pub release_date: &'static str,
}

pub fn sources() -> Vec<Native> {
    vec![
        #[cfg(feature = "sample")]
        Native {
            native: "sample",
            definition_id: "dfd88b22-b603-4c3d-aad7-3701784586b1",
            name: "Sample Data (Faker)",
            docker_repository: "airbyte/source-faker",
            docker_image_tag: "6.2.0",
            documentation_url: sample::DOCUMENTATION,
            source_type: Some("api"),
            release_date: "2026-11-25",
        },
    ]
}

pub fn destinations() -> Vec<Native> {
    vec![
        #[cfg(feature = "sqlite")]
        Native {
            native: "sqlite",
            definition_id: "b76be0a6-27dc-4560-95f6-2623da0bd7b6",
            name: "Local SQLite",
            docker_repository: "airbyte/destination-sqlite",
            docker_image_tag: "0.1.0",
            documentation_url: sqlite::DOCUMENTATION,
            source_type: None,
            release_date: "2026-11-25",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn identities_are_unique() {
        let all: Vec<Native> = sources().into_iter().chain(destinations()).collect();
        for (index, native) in all.iter().enumerate() {
            native.definition_id.parse::<uuid::Uuid>().unwrap();
            assert!(all[..index].iter().all(|other| other.definition_id != native.definition_id));
        }
    }
}
