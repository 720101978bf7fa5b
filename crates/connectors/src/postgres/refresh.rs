//! Full refresh: by the key where a later attempt can go on, else by pages, else in one read. Start with
//! [`Reading::by_key`] and [`Reading::by_pages`].

use connector::Result;
use tracing::Level;

use super::{
    chunks::Chunk,
    client::literal,
    discover,
    fault::identifier,
    pages::{self, Extent},
    read::Reading,
    state::{self, Position},
};

/// Keys are sampled with this many subqueries at a time.
const SAMPLES: usize = 200;

impl Reading<'_> {
    /// Full refresh, not resumable: the platform gives no state of an earlier attempt, and none but the last would be
    /// good for anything under another snapshot.
    pub(super) async fn by_pages(
        &mut self,
        extent: Option<Extent>,
        position: Option<Position>,
    ) -> Result<(i64, Position)> {
        match position {
            None => {}
            Some(Position::Done) => return Ok((0, Position::Done)),
            Some(_) => {
                let message =
                    format!("Stream `{}`: a full refresh of it cannot resume; reading everything again", self.name);
                self.output.log(Level::WARN, message).await?;
            }
        }
        let chunks = match extent {
            Some(extent) => pages::whole(extent),
            None if self.relation.sort == 'p' => self.of_leaves().await?,
            None => vec![Chunk { leaf: None, condition: None, mark: None }],
        };
        Ok((self.send(chunks).await?, Position::Done))
    }

    /// Chunks of the leaves of a partition root, where the role may read them themselves.
    async fn of_leaves(&mut self) -> Result<Vec<Chunk>> {
        let alone = vec![Chunk { leaf: None, condition: None, mark: None }];
        if self.session().version() < discover::RANGES_SINCE || self.relation.hides_rows {
            return Ok(alone);
        }
        let sql = format!(
            "SELECT n.nspname, c.relname, c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') \
             AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid), \
             pg_relation_size(c.oid) / current_setting('block_size')::bigint, current_setting('block_size'), \
             pg_relation_filenode(c.oid) \
             FROM pg_partition_tree({}) t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf AND c.relkind <> 'p' ORDER BY 1, 2",
            self.relation.oid
        );
        let mut chunks = Vec::new();
        for row in self.session().query(&sql).await? {
            let [Some(schema), Some(name), Some(readable), ..] = row.as_slice() else { return Ok(alone) };
            let Some(extent) = pages::extent(&row[3..]).filter(|_| readable == "t") else { return Ok(alone) };
            let leaf = format!("{}.{}", identifier(schema), identifier(name));
            chunks.extend(pages::whole(extent).into_iter().map(|chunk| Chunk { leaf: Some(leaf.clone()), ..chunk }));
        }
        Ok(chunks)
    }

    /// Full refresh in the order of the key, so that a later attempt goes on behind the last one that was sent.
    pub(super) async fn by_key(
        &mut self,
        extent: Option<Extent>,
        position: Option<Position>,
    ) -> Result<(i64, Position)> {
        let last = match position {
            None => None,
            Some(Position::Key(key)) if key.iter().map(|(name, _)| name).eq(&self.relation.key) => Some(key),
            Some(Position::Done) => return Ok((0, Position::Done)),
            Some(Position::Key(_)) => {
                return Err(state::bad(self.name, "is of another primary key than the table has"));
            }
            Some(_) => return Err(state::bad(self.name, "is not one of a full refresh that goes on by its key")),
        };
        let last: Option<Vec<String>> = last.map(|key| key.into_iter().map(|(_, value)| value).collect());
        let bounds = match extent {
            Some(extent) => self.bounds(extent, last.as_deref()).await?,
            None => Vec::new(),
        };
        let mut chunks = Vec::with_capacity(bounds.len() + 1);
        let mut from = last;
        for bound in bounds {
            let key = self.relation.key.iter().cloned().zip(bound.iter().cloned()).collect();
            let condition = [self.beyond(from.as_deref()), Some(self.compared("<=", &bound))];
            let condition: Vec<String> = condition.into_iter().flatten().collect();
            chunks.push(Chunk { leaf: None, condition: Some(condition.join(" AND ")), mark: Some(Position::Key(key)) });
            from = Some(bound);
        }
        chunks.push(Chunk { leaf: None, condition: self.beyond(from.as_deref()), mark: None });
        Ok((self.send(chunks).await?, Position::Done))
    }

    fn beyond(&self, key: Option<&[String]>) -> Option<String> {
        key.map(|key| self.compared(">", key))
    }

    fn compared(&self, operator: &str, key: &[String]) -> String {
        let names: Vec<String> = self.relation.key.iter().map(|name| identifier(name)).collect();
        let values = self.relation.key.iter().zip(key).map(|(name, value)| match self.relation.column(name) {
            Some(column) => format!("{}::{}", literal(value), column.of.declared),
            None => literal(value),
        });
        let values: Vec<String> = values.collect();
        format!("({}) {operator} ({})", names.join(", "), values.join(", "))
    }

    /// Keys that part the table into chunks: one of each so many pages, in their order. `last`: only greater ones.
    async fn bounds(&mut self, extent: Extent, last: Option<&[String]>) -> Result<Vec<Vec<String>>> {
        let names: Vec<String> = self.relation.key.iter().map(|name| identifier(name)).collect();
        let (list, from) = (names.join(", "), self.relation.sql_name());
        let starts: Vec<u64> = (1..).map(|n| n * extent.step()).take_while(|page| *page < extent.pages).collect();
        let mut samples = Vec::new();
        for part in starts.chunks(SAMPLES) {
            let selects: Vec<String> = part
                .iter()
                .map(|page| {
                    let end = page + 16;
                    format!("(SELECT {list} FROM {from} WHERE ctid >= '({page},0)' AND ctid < '({end},0)' LIMIT 1)")
                })
                .collect();
            samples.push(selects.join(" UNION ALL "));
        }
        let texts: Vec<String> = names.iter().map(|name| format!("s.{name}::text")).collect();
        let order: Vec<String> = names.iter().map(|name| format!("s.{name}")).collect();
        let filter = self.beyond(last).map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        let complete = |row: Vec<Option<String>>| row.into_iter().collect::<Option<Vec<String>>>();
        if samples.len() == 1 {
            let sql = format!(
                "SELECT {} FROM (SELECT DISTINCT {list} FROM ({}) u{filter}) s ORDER BY {}",
                texts.join(", "),
                samples[0],
                order.join(", ")
            );
            return Ok(self.session().query(&sql).await?.into_iter().filter_map(complete).collect());
        }
        // More than one statement's worth: sampled in parts, then ordered by the server as values.
        let mut values = Vec::new();
        for sample in samples {
            let texts: Vec<String> = names.iter().map(|name| format!("u.{name}::text")).collect();
            let rows = self.session().query(&format!("SELECT {} FROM ({sample}) u", texts.join(", "))).await?;
            for key in rows.into_iter().filter_map(complete) {
                let typed = self.relation.key.iter().zip(&key).map(|(name, value)| match self.relation.column(name) {
                    Some(column) => format!("{}::{}", literal(value), column.of.declared),
                    None => literal(value),
                });
                values.push(format!("({})", typed.collect::<Vec<_>>().join(", ")));
            }
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {} FROM (SELECT DISTINCT {list} FROM (VALUES {}) u ({list}){filter}) s ORDER BY {}",
            texts.join(", "),
            values.join(", "),
            order.join(", ")
        );
        Ok(self.session().query(&sql).await?.into_iter().filter_map(complete).collect())
    }
}
