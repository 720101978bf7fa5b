//! Ranges of the pages of a relation. Start with [`chunks`].

use super::{
    chunks::Chunk,
    state::{Pages, Position},
};

/// Bytes of pages in a chunk.
const CHUNK_BYTES: u64 = 16 << 20;
/// A chunk of a very large table is larger.
const MOST_CHUNKS: u64 = 16_384;

/// The pages of a relation that can be read by ranges.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub pages: u64,
    page_bytes: u64,
    /// `pg_relation_filenode`.
    pub file: i64,
}

impl Extent {
    /// Pages per chunk.
    pub fn step(self) -> u64 {
        (CHUNK_BYTES / self.page_bytes).max(self.pages / MOST_CHUNKS).max(1)
    }
}

/// From pages, bytes of a page and file.
pub fn extent(row: &[Option<String>]) -> Option<Extent> {
    let number = |at: usize| row.get(at)?.as_deref()?.parse::<u64>().ok();
    Some(Extent { pages: number(0)?, page_bytes: number(1)?.max(1), file: i64::try_from(number(2)?).ok()? })
}

/// All pages, of a full refresh.
pub fn whole(extent: Extent) -> Vec<Chunk> {
    chunks(extent, (0, 0), None, |after| {
        Position::Pages(Pages { after, file: extent.file, snapshot_xmin: None, then: None })
    })
}

/// Ranges of pages behind `after`, the last one without an end.
pub fn chunks(
    extent: Extent,
    after: (u32, u16),
    filter: Option<&str>,
    mark: impl Fn((u32, u16)) -> Position,
) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut from = after;
    loop {
        let end = u64::from(from.0) + extent.step();
        let last = end >= extent.pages;
        let mut conditions = Vec::new();
        if from != (0, 0) {
            conditions.push(format!("ctid > '({},{})'", from.0, from.1));
        }
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        if !last {
            conditions.push(format!("ctid <= '({end},0)'"));
        }
        conditions.extend(filter.map(str::to_owned));
        let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        chunks.push(Chunk { leaf: None, condition, mark: (!last).then(|| mark((end, 0))) });
        if last {
            return chunks;
        }
        from = (end, 0);
    }
}
