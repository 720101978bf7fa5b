//! What the server has: [`describe`] reads relations from its catalog for discover and for each read, [`catalog`] makes
//! streams of them, [`check`] tries a configuration.
//!
//! Offered are tables, partition roots (never their leaves, whose rows are the root's), views, materialized views (filled
//! or not) and foreign tables, with the columns that the role may read. A stream is resumable in a full refresh if it
//! has a primary key that its pages follow, so that it can be read in the order of the key without reading each page
//! many times ([`Relation::follows_key`]).

use std::collections::HashMap;

use connector::{Error, ErrorKind, Result};
use protocol::{Catalog, Stream, StreamDescriptor, SyncMode};
use serde_json::{Map, Value, json};

use super::{
    client::{Row, Session, literal},
    fault::identifier,
    types::{self, ServerType},
};

/// Below this many pages (64 MB) any order of reading is cheap.
const FEW_PAGES: i64 = 8192;
/// Between 0 and 1, as in `pg_stats`.
const WELL_CORRELATED: f64 = 0.9;
/// The first server that scans a range of ctids without reading the whole table.
pub const RANGES_SINCE: u32 = 14;
/// Views that extensions bring; upstream leaves them out too.
const NOT_OFFERED: &str = "c.relname not in ('pg_stat_statements', 'pg_stat_statements_info', 'pg_buffercache')";

#[derive(Clone, Debug)]
pub struct Relation {
    pub oid: String,
    pub schema: String,
    pub name: String,
    /// `pg_class.relkind`: r, p, v, m, f.
    pub sort: char,
    /// Estimated by the last vacuum; -1 or 0 where it never ran.
    pub pages: i64,
    /// The server hides rows from the role.
    pub hides_rows: bool,
    /// The role may read all of it. Rights to some columns allow neither to lock the table nor to ask for its pages.
    pub is_granted: bool,
    /// Fields of the primary key.
    pub key: Vec<String>,
    pub correlation: Option<f64>,
    pub columns: Vec<TableColumn>,
}

#[derive(Clone, Debug)]
pub struct TableColumn {
    pub name: String,
    pub not_null: bool,
    pub of: ServerType,
}

impl Relation {
    pub fn descriptor(&self) -> StreamDescriptor {
        StreamDescriptor::new(Some(&self.schema), self.name.clone())
    }

    /// Quoted and with its schema.
    pub fn sql_name(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether it has pages of its own that can be read by ranges.
    pub fn has_ranges(&self, version: u32) -> bool {
        matches!(self.sort, 'r' | 'm') && self.is_granted && version >= RANGES_SINCE
    }

    /// Whether reading in the order of the key costs about as much as reading the pages in their order.
    pub fn follows_key(&self, version: u32) -> bool {
        let Some(first) = self.key.first().and_then(|name| self.column(name)) else { return false };
        if !self.has_ranges(version) {
            return false;
        }
        if (1..FEW_PAGES).contains(&self.pages) {
            return true;
        }
        match self.correlation {
            Some(correlation) => correlation >= WELL_CORRELATED,
            // Never analyzed: numbers are usually given in order, other keys are not.
            None => matches!(first.of.name.as_str(), "int2" | "int4" | "int8"),
        }
    }
}

/// The relations that match a condition on `pg_class c` and `pg_namespace n`, as far as the role may read them.
pub async fn describe(session: &mut Session, filter: &str) -> Result<Vec<Relation>> {
    let rows = session.query(&include_str!("relations.sql").replace("{filter}", filter)).await?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in rows {
        relations.push(relation(row).ok_or_else(|| session.nonsense("a catalog row that is not understood"))?);
    }
    let mut rest = relations.as_mut_slice();
    // A statement has an end; a database of 100,000 tables is described in parts.
    while !rest.is_empty() {
        let (part, others) = rest.split_at_mut(rest.len().min(2000));
        columns(session, part).await?;
        rest = others;
    }
    Ok(relations)
}

async fn columns(session: &mut Session, relations: &mut [Relation]) -> Result<()> {
    let oids: Vec<&str> = relations.iter().map(|relation| relation.oid.as_str()).collect();
    // Collations had no other way to compare before PostgreSQL 12.
    let deterministic = if session.version() >= 12 { "coalesce(l.collisdeterministic, true)" } else { "true" };
    let sql = include_str!("columns.sql").replace("{oids}", &oids.join(", ")).replace("{deterministic}", deterministic);
    let rows = session.query(&sql).await?;
    let mut by_oid: HashMap<String, &mut Relation> =
        relations.iter_mut().map(|relation| (relation.oid.clone(), relation)).collect();
    for row in rows {
        let (oid, column) = column(row).ok_or_else(|| session.nonsense("a catalog row that is not understood"))?;
        if let Some(relation) = by_oid.get_mut(&oid) {
            relation.columns.push(column);
        }
    }
    Ok(())
}

fn relation(row: Row) -> Option<Relation> {
    let mut row = row.into_iter();
    let mut next = || row.next();
    Some(Relation {
        oid: next()??,
        schema: next()??,
        name: next()??,
        sort: next()??.chars().next()?,
        pages: next()??.parse().ok()?,
        hides_rows: next()?? == "t",
        is_granted: next()?? == "t",
        key: match next()? {
            Some(names) => serde_json::from_str(&names).ok()?,
            None => Vec::new(),
        },
        correlation: next()?.and_then(|text| text.parse().ok()),
        columns: Vec::new(),
    })
}

fn column(row: Row) -> Option<(String, TableColumn)> {
    let mut row = row.into_iter();
    let mut next = || row.next();
    let oid = next()??;
    let name = next()??;
    let not_null = next()?? == "t";
    let of = ServerType {
        namespace: next()??,
        name: next()??,
        sort: next()??,
        modifier: next()??.parse().ok()?,
        element: next()?,
        element_sort: next()?,
        declared: next()??,
        deterministic: next()?? == "t",
    };
    Some((oid, TableColumn { name, not_null, of }))
}

/// Which relations a configuration offers.
fn offered(schemas: &[String]) -> String {
    let schemas = if schemas.is_empty() {
        "n.nspname <> 'information_schema' and n.nspname !~ '^pg_'".to_owned()
    } else {
        let names: Vec<String> = schemas.iter().map(|schema| literal(schema)).collect();
        format!("n.nspname in ({})", names.join(", "))
    };
    // Our own bookkeeping, where the database is a destination too.
    format!("not c.relispartition and c.relname !~ '^_leat_' and {NOT_OFFERED} and {schemas}")
}

pub async fn catalog(session: &mut Session, schemas: &[String]) -> Result<Catalog> {
    let version = session.version();
    let relations = describe(session, &offered(schemas)).await?;
    let streams = relations.iter().filter(|relation| !relation.columns.is_empty());
    Ok(Catalog { streams: streams.map(|relation| stream(relation, version)).collect(), extra: Map::new() })
}

fn stream(relation: &Relation, version: u32) -> Stream {
    let properties: Map<String, Value> =
        relation.columns.iter().map(|column| (column.name.clone(), types::json_schema(&column.of))).collect();
    Stream {
        descriptor: relation.descriptor(),
        json_schema: json!({"type": "object", "properties": properties}),
        supported_sync_modes: vec![SyncMode::FullRefresh, SyncMode::Incremental],
        source_defined_cursor: None,
        default_cursor_field: Vec::new(),
        source_defined_primary_key: relation.key.iter().map(|field| vec![field.clone()]).collect(),
        is_resumable: Some(relation.follows_key(version)),
        is_file_based: None,
        extra: Map::new(),
    }
}

/// Tries what a sync needs: the schemas are there, and there is something to read.
pub async fn check(session: &mut Session, schemas: &[String]) -> Result<()> {
    for schema in schemas {
        let name = literal(schema);
        let sql =
            format!("select has_schema_privilege(oid, 'USAGE') from pg_catalog.pg_namespace where nspname = {name}");
        match session.value(&sql).await?.as_deref() {
            Some("t") => {}
            Some(_) => {
                return Err(Error::config(format!(
                    "The role `{}` may not use the schema `{schema}`",
                    session.server().user
                ))
                .with_hint(format!("Run: {}", grants(session, schema))));
            }
            None => {
                return Err(Error::config(format!("Configuration field `schemas`: there is no schema `{schema}`"))
                    .with_hint("Names are case sensitive"));
            }
        }
    }
    let offered = offered(schemas);
    let sql = format!(
        "select n.nspname, bool_or(has_any_column_privilege(c.oid, 'SELECT')) from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and {offered} group by 1 order by 2 desc, 1 limit 1"
    );
    let first = session.query(&sql).await?.into_iter().next();
    if let Some([Some(schema), Some(readable)]) = first.as_deref()
        && readable == "f"
    {
        return Err(Error::config(format!(
            "The role `{}` may not read any table of `{schema}`",
            session.server().user
        ))
        .with_hint(format!("Run: {}", grants(session, schema))));
    }
    Ok(())
}

fn grants(session: &Session, schema: &str) -> String {
    let (schema, user) = (identifier(schema), identifier(&session.server().user));
    format!("GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user};")
}

/// Why the relation of a stream is not among those described: it is not there, or may not be read.
pub async fn absent(session: &mut Session, stream: &StreamDescriptor) -> Error {
    let schema = stream.namespace.as_deref().unwrap_or("public");
    let sql = format!(
        "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = {} and c.relname = {}",
        literal(schema),
        literal(&stream.name)
    );
    let table = format!("{}.{}", identifier(schema), identifier(&stream.name));
    let user = identifier(&session.server().user);
    match session.value(&sql).await {
        Ok(Some(_)) => {
            Error::new(ErrorKind::Config, format!("The role `{}` may not read `{stream}`", session.server().user))
                .with_hint(format!(
                    "Run: GRANT USAGE ON SCHEMA {} TO {user}; GRANT SELECT ON {table} TO {user};",
                    identifier(schema)
                ))
        }
        Ok(None) => Error::config(format!("The source has no table or view `{stream}`")).with_hint(
            "It was dropped or renamed: discover the source again and remove the stream, or bring the table back",
        ),
        Err(error) => error,
    }
}
