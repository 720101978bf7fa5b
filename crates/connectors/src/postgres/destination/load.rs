//! Rows into a table: one binary COPY, its fields written straight from the Arrow columns. Start with [`copy`].

use std::collections::HashMap;

use arrow_array::ArrayRef;
use connector::{Batch, Change, Result};

use super::{
    encode::{self, Scratch, put, put_jsonb, put_millis},
    names::{METADATA, ORDER, Place, list},
    table::Column,
    types::Wire,
};
use crate::{
    direct::{
        stamp::{RowIds, meta},
        value::Flaw,
    },
    postgres::client::{CopyBuffer, Session},
};

/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Where rows go to and what each of them carries.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    pub table: &'a Place,
    pub columns: &'a [Column],
    /// Of the metadata columns and of `columns`, in the table.
    pub wires: &'a [Wire],
    /// Number of the first row, in a table whose rows are numbered.
    pub first: Option<i64>,
    pub job: i64,
    pub generation: i64,
}

/// Sends the rows of the batches, which give their memory back one by one; how many the server says it took.
pub async fn copy(session: &mut Session, load: &Load<'_>, batches: Vec<Batch>) -> Result<i64> {
    let mut names: Vec<&str> = METADATA.to_vec();
    names.extend(load.columns.iter().map(|column| column.name.as_str()));
    names.extend(load.first.map(|_| ORDER));
    // Whatever cannot be read is found out before the COPY begins.
    let encoded: Vec<Vec<encode::Column>> = batches.iter().map(|batch| columns(load, batch)).collect::<Result<_>>()?;
    session
        .copy_in(&format!("COPY {} ({}) FROM STDIN (FORMAT binary)", load.table.sql(), list(names.iter().copied())))
        .await?;
    let mut buffer = CopyBuffer::new();
    buffer.bytes.extend_from_slice(HEADER);
    let mut rows =
        Rows { ids: RowIds::new(), fields: names.len() as i16, order: load.first, scratch: Scratch::default() };
    for (batch, columns) in batches.into_iter().zip(encoded) {
        let shared = Shared::new(load, &batch);
        let mut changes = batch.changes.iter().peekable();
        let count = batch.rows.num_rows();
        let mut row = 0;
        while row < count {
            while row < count && !buffer.is_full() {
                rows.write(row, &columns, load, &shared, &mut changes, &mut buffer.bytes);
                row += 1;
            }
            session.copy_rows(&mut buffer).await?;
        }
    }
    buffer.bytes.extend_from_slice(&TRAILER);
    session.copy_rows(&mut buffer).await?;
    session.copy_end().await
}

fn columns(load: &Load<'_>, batch: &Batch) -> Result<Vec<encode::Column>> {
    let schema = batch.rows.schema();
    let arrays: HashMap<&str, &ArrayRef> =
        schema.fields().iter().map(|field| field.name().as_str()).zip(batch.rows.columns()).collect();
    let wires = &load.wires[METADATA.len()..];
    let one = |(column, wire): (&Column, &Wire)| {
        encode::Column::new(&column.field, arrays.get(column.field.as_str()).copied(), column.kind, *wire)
    };
    load.columns.iter().zip(wires).map(one).collect()
}

/// The fields that every row of a batch has, but for its id and its changes.
struct Shared {
    extracted_at: Vec<u8>,
    meta: String,
    generation: Vec<u8>,
    /// `_airbyte_meta` is jsonb, not json.
    is_binary: bool,
}

impl Shared {
    fn new(load: &Load<'_>, batch: &Batch) -> Self {
        let (mut extracted_at, mut generation) = (Vec::new(), Vec::new());
        put_millis(&mut extracted_at, batch.emitted_at);
        put(&mut generation, &load.generation.to_be_bytes());
        Self { extracted_at, meta: meta(load.job, &[]), generation, is_binary: load.wires[2] == Wire::Jsonb }
    }

    fn put_meta(&self, text: &str, out: &mut Vec<u8>) {
        if self.is_binary { put_jsonb(out, text) } else { put(out, text.as_bytes()) }
    }
}

struct Rows {
    ids: RowIds,
    fields: i16,
    order: Option<i64>,
    scratch: Scratch,
}

impl Rows {
    fn write<'a>(
        &mut self,
        row: usize,
        columns: &[encode::Column],
        load: &'a Load<'_>,
        shared: &Shared,
        changes: &mut std::iter::Peekable<impl Iterator<Item = &'a Change>>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.fields.to_be_bytes());
        put(out, self.ids.next().as_bytes());
        out.extend_from_slice(&shared.extracted_at);
        let at_meta = out.len();
        shared.put_meta(&shared.meta, out);
        let behind_meta = out.len();
        out.extend_from_slice(&shared.generation);
        let mut found: Vec<(&str, &str, &str)> = Vec::new();
        while let Some(Change { field, change, reason, .. }) = changes.next_if(|change| change.row <= row) {
            found.push((field, change, reason));
        }
        for (column, encoded) in load.columns.iter().zip(columns) {
            if let Some(Flaw { change, reason }) = encoded.field(row, out, &mut self.scratch) {
                found.push((&column.field, change, reason));
            }
        }
        if let Some(order) = &mut self.order {
            put(out, &order.to_be_bytes());
            *order += 1;
        }
        if !found.is_empty() {
            // Few rows have changes: theirs are written again around them.
            let rest = out.split_off(behind_meta);
            out.truncate(at_meta);
            // U+0000 has no place in jsonb, and field names come from outside.
            shared.put_meta(&meta(load.job, &found).replace("\\u0000", ""), out);
            out.extend_from_slice(&rest);
        }
    }
}
