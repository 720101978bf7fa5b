//! Logs of attempts, in segments of limited size, as rows: any server that shares the store can show them. (An object
//! store behind the same methods is for a later release.)

use sqlx::any::AnyRow;

use crate::{Result, Tx, columns::Columns};

/// Bytes of one segment. Appending rewrites the newest one.
const SEGMENT: usize = 64 * 1024;
/// Bytes of the log of one attempt. Beyond them the oldest segments go, but never the first: it tells how the attempt began.
const ATTEMPT: i64 = 32 * 1024 * 1024;

impl Tx {
    /// Appends text (whole lines, each ending in `\n`) to the log of an attempt.
    pub async fn append_log(&mut self, job: i64, attempt: i64, text: &str) -> Result<()> {
        let newest = sqlx::query(
            "select number, size from log_segments where job_id = $1 and attempt = $2 order by number desc limit 1",
        )
        .bind(job)
        .bind(attempt)
        .fetch_optional(self.conn())
        .await?;
        let (mut number, mut room) = match newest {
            Some(row) => (row.int("number")?, SEGMENT.saturating_sub(usize::try_from(row.int("size")?).unwrap_or(0))),
            None => (0, SEGMENT),
        };
        let mut rest = text.replace('\0', "\u{fffd}");
        while !rest.is_empty() {
            let cut = cut_at_line(&rest, room);
            if cut == 0 {
                (number, room) = (number + 1, SEGMENT);
                continue;
            }
            let part: String = rest.drain(..cut).collect();
            sqlx::query(
                "insert into log_segments (job_id, attempt, number, size, body) values ($1, $2, $3, $4, $5) \
                 on conflict (job_id, attempt, number) do update set size = log_segments.size + excluded.size, \
                 body = log_segments.body || excluded.body",
            )
            .bind(job)
            .bind(attempt)
            .bind(number)
            .bind(part.len() as i64)
            .bind(part)
            .execute(self.conn())
            .await?;
            room = 0;
        }
        let oldest_kept = number - ATTEMPT / SEGMENT as i64;
        if oldest_kept > 0 {
            sqlx::query("delete from log_segments where job_id = $1 and attempt = $2 and number > 0 and number <= $3")
                .bind(job)
                .bind(attempt)
                .bind(oldest_kept)
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }

    /// The end of the log of an attempt: at most `max_bytes`, from the beginning of a line. Empty if there is none.
    pub async fn read_log(&mut self, job: i64, attempt: i64, max_bytes: usize) -> Result<String> {
        let rows: Vec<AnyRow> = sqlx::query(
            "select number, size from log_segments where job_id = $1 and attempt = $2 order by number desc",
        )
        .bind(job)
        .bind(attempt)
        .fetch_all(self.conn())
        .await?;
        let mut from = 0;
        let mut bytes = 0;
        for row in &rows {
            from = row.int("number")?;
            bytes += usize::try_from(row.int("size")?).unwrap_or(0);
            if bytes >= max_bytes {
                break;
            }
        }
        let rows = sqlx::query(
            "select body from log_segments where job_id = $1 and attempt = $2 and number >= $3 order by number",
        )
        .bind(job)
        .bind(attempt)
        .bind(from)
        .fetch_all(self.conn())
        .await?;
        let mut text = String::new();
        for row in &rows {
            text.push_str(&row.text("body")?);
        }
        if text.len() > max_bytes {
            let mut start = text.len() - max_bytes;
            while !text.is_char_boundary(start) {
                start += 1;
            }
            let starts_line = start == 0 || text.as_bytes()[start - 1] == b'\n';
            let line = if starts_line { 0 } else { text[start..].find('\n').map_or(text.len() - start, |at| at + 1) };
            text.drain(..start + line);
        }
        Ok(text)
    }
}

/// How much of `text` goes into `room` bytes: up to the end of the last line that fits. A line that is longer than a
/// whole segment is cut. 0 = start a new segment.
fn cut_at_line(text: &str, room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let mut end = room;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text[..end].rfind('\n') {
        Some(at) => at + 1,
        None if room == SEGMENT => end,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_lines() {
        let long = "x".repeat(SEGMENT + 10);
        let wide = format!("{}é", "x".repeat(SEGMENT - 1));
        for (text, room, expected) in [
            ("one\n", 10, 4),
            ("one\ntwo\n", 6, 4),
            ("one\n", 2, 0),
            ("one\n", 0, 0),
            (long.as_str(), SEGMENT, SEGMENT),
            (wide.as_str(), SEGMENT, SEGMENT - 1),
        ] {
            assert_eq!(cut_at_line(text, room), expected, "{} bytes into {room}", text.len());
        }
    }
}
