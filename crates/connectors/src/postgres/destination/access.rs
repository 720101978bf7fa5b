//! What only the owner of the database can settle, above all rights that the role lacks, with the statement that does it.
//! Start with [`explain`].

use connector::Error;

use super::names::Place;
use crate::postgres::{
    client::Server,
    fault::{self, ServerError, identifier},
};

/// Names what the role may not do and what to run. `tables`: those of the connection, which tell in which schema one is.
pub fn explain<'a>(error: Error, server: &Server, mut tables: impl Iterator<Item = &'a Place>) -> Error {
    if fault::code(&error) == Some("55000") && error.message.contains("replica identity") {
        return Error::config(error.message.clone())
            .with_hint("The table is published, and its rows are replaced: run ALTER TABLE ... REPLICA IDENTITY FULL, or take it out of the publication")
            .with_source(error);
    }
    if fault::code(&error) != Some("42501") {
        return error;
    }
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<ServerError>());
    let Some(fault) = source.cloned() else { return error };
    let role = identifier(&server.user);
    let after = |words: &str| fault.message.strip_prefix(words).map(str::to_owned);
    let mut table = |name: &str| tables.find(|place| place.name == name).map_or_else(|| identifier(name), Place::sql);
    let hint = if let Some(schema) = after("permission denied for schema ") {
        format!("Run: GRANT USAGE, CREATE ON SCHEMA {} TO {role};", identifier(&schema))
    } else if let Some(database) = after("permission denied for database ") {
        let database = identifier(&database);
        format!(
            "Run: GRANT CREATE ON DATABASE {database} TO {role}; or create the schema yourself and grant USAGE, CREATE on it"
        )
    } else if let Some(name) =
        after("permission denied for table ").or_else(|| after("permission denied for relation "))
    {
        format!("Run: GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {role};", table(&name))
    } else if let Some(name) = after("must be owner of table ").or_else(|| after("must be owner of relation ")) {
        format!("Run: ALTER TABLE {} OWNER TO {role};", table(&name))
    } else {
        format!("Give the role what it needs: GRANT USAGE, CREATE ON SCHEMA ... TO {role}, and the tables of the syncs")
    };
    Error::config(format!("The role `{}` lacks a right: {}", server.user, fault.message))
        .with_hint(hint)
        .with_source(fault)
}
