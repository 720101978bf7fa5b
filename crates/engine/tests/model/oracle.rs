//! What must hold of the tables, whatever happened.

use std::collections::BTreeMap;

use crate::world::{
    destination::{Contents, Row},
    name,
};

/// What is known of one stream from outside.
pub struct Facts<'a> {
    pub index: usize,
    pub read: &'a str,
    pub write: &'a str,
    /// The ids of the source's rows.
    pub log: &'a [i64],
    /// How long the log was when each job began.
    pub lengths: &'a BTreeMap<i64, Vec<usize>>,
    /// A state was set by hand: rows of an append may come again.
    pub again: bool,
    /// The name of the table today.
    pub table: String,
}

impl Facts<'_> {
    fn tables<'a>(&self, contents: &'a Contents) -> Vec<&'a Vec<Row>> {
        let own = name(self.index).name;
        contents.tables.iter().filter(|(name, _)| name.ends_with(&own)).map(|(_, rows)| rows).collect()
    }

    fn length(&self, job: i64) -> usize {
        self.lengths.get(&job).map_or(0, |lengths| lengths[self.index])
    }

    /// How many rows of the log the tables hold, or what is wrong with them. Holds at any moment.
    pub fn seen(&self, contents: &Contents) -> Result<usize, String> {
        let tables = self.tables(contents);
        let found = match (self.read, self.write) {
            ("incremental", "append") => {
                let rows = tables.into_iter().flatten().copied().collect();
                self.whole(rows, self.again)
            }
            ("incremental", _) => self.newest(tables),
            (_, "overwrite") => {
                for table in &tables {
                    self.one_job(table)?;
                }
                let empty = Vec::new();
                let today = contents.tables.get(&self.table).unwrap_or(&empty);
                self.whole(today.clone(), false)
            }
            _ => self.copies(tables.into_iter().flatten().copied().collect()),
        };
        found.map_err(|text| format!("{}: {text}", name(self.index)))
    }

    /// The rows are the beginning of the log, without a gap, each once.
    fn whole(&self, rows: Vec<Row>, again: bool) -> Result<usize, String> {
        let mut versions: Vec<i64> = rows.iter().map(|(_, version, _)| *version).collect();
        versions.sort_unstable();
        if again {
            versions.dedup();
        }
        if let Some(at) = (0..versions.len()).find(|at| versions[*at] != *at as i64) {
            return Err(format!("row {at} is missing or doubled: {versions:?}"));
        }
        Ok(versions.len())
    }

    fn one_job(&self, rows: &[Row]) -> Result<usize, String> {
        let Some((_, _, job)) = rows.first() else { return Ok(0) };
        if rows.iter().any(|row| row.2 != *job) {
            return Err(format!("rows of several jobs are mixed: {rows:?}"));
        }
        let found = self.whole(rows.to_vec(), false)?;
        if found < self.length(*job) {
            return Err(format!("a reader sees {found} rows of {} of job {job}", self.length(*job)));
        }
        Ok(found)
    }

    /// Each job added a whole copy, or nothing.
    fn copies(&self, rows: Vec<Row>) -> Result<usize, String> {
        let mut jobs: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for row in rows {
            jobs.entry(row.2).or_default().push(row);
        }
        let mut newest = 0;
        for rows in jobs.values() {
            newest = self.one_job(rows)?;
        }
        Ok(newest)
    }

    /// One row per id: the newest, as of some moment of the log.
    fn newest(&self, tables: Vec<&Vec<Row>>) -> Result<usize, String> {
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        for table in tables {
            let mut ids: Vec<i64> = table.iter().map(|row| row.0).collect();
            ids.sort_unstable();
            if ids.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(format!("an id has several rows: {table:?}"));
            }
            for (id, version, _) in table {
                let newest = found.entry(*id).or_insert(*version);
                *newest = *version.max(newest);
            }
        }
        let length = found.values().max().map_or(0, |version| *version as usize + 1);
        let expected: BTreeMap<i64, i64> =
            self.log[..length].iter().enumerate().map(|(version, id)| (*id, version as i64)).collect();
        if found != expected {
            return Err(format!("rows are missing: {found:?}, expected {expected:?}"));
        }
        Ok(length)
    }
}
