//! Incremental reads. Start with [`Reading::incremental`], which decides by the state how to go on.

use connector::{Error, ErrorKind, Result};
use tracing::Level;

use super::{
    chunks::{ALIAS, Chunk},
    client::literal,
    columns::Column,
    cursor::{self, Delta},
    discover::TableColumn,
    fault::{self, identifier},
    pages::{self, Extent},
    read::Reading,
    state::{self, Cursor, Pages, Position},
    types,
};

impl Reading<'_> {
    pub(super) async fn incremental(
        &mut self,
        extent: Option<Extent>,
        position: Option<Position>,
    ) -> Result<(i64, Position)> {
        let column = self.cursor_column()?.clone();
        let position = match position {
            None => None,
            Some(Position::Cursor(cursor)) | Some(Position::Pages(Pages { then: Some(cursor), .. }))
                if cursor.field != column.name =>
            {
                let message = format!(
                    "Stream `{}`: the cursor was `{}` and is `{}` now; reading everything again",
                    self.name, cursor.field, column.name
                );
                self.output.log(Level::WARN, message).await?;
                None
            }
            Some(Position::Cursor(_) | Position::Pages(Pages { then: Some(_), .. })) => position,
            Some(_) => {
                return Err(state::bad(self.name, "is one of a full refresh, and the stream is incremental now"));
            }
        };
        self.warn_of_nulls(&column).await?;
        match (position, extent) {
            (Some(Position::Cursor(cursor)), _) => self.delta(&column, cursor).await,
            (Some(Position::Pages(pages)), Some(extent)) => self.go_on(&column, extent, pages).await,
            (_, Some(extent)) => self.first(&column, extent).await,
            (Some(Position::Pages(Pages { then: Some(cursor), .. })), None) => {
                // The relation has no pages any more (a table became a view).
                self.delta(&column, Cursor { field: cursor.field, ..Cursor::default() }).await
            }
            (_, None) => self.delta(&column, Cursor { field: column.name.clone(), ..Cursor::default() }).await,
        }
    }

    fn cursor_column(&self) -> Result<&TableColumn> {
        let [field] = self.configured.cursor() else {
            return Err(Error::config(format!("Stream `{}` is incremental and has no cursor field", self.name))
                .with_hint(
                    "Set `cursor_field` to one column whose value grows with every change, or use a full refresh",
                ));
        };
        self.relation.column(field).ok_or_else(|| {
            Error::config(format!("Stream `{}`: the table has no column `{field}`, which is the cursor", self.name))
                .with_hint("Choose another cursor field, or bring the column back")
        })
    }

    async fn warn_of_nulls(&mut self, column: &TableColumn) -> Result<()> {
        if column.not_null {
            return Ok(());
        }
        let sql =
            format!("SELECT count(*) FROM {} WHERE {} IS NULL", self.relation.sql_name(), identifier(&column.name));
        let count = self.count(&sql).await?;
        if count > 0 {
            let message = format!(
                "Stream `{}`: {count} rows have no value in the cursor `{}`; changes of such rows are not seen",
                self.name, column.name
            );
            self.output.log(Level::WARN, message).await?;
        }
        Ok(())
    }

    async fn count(&mut self, sql: &str) -> Result<i64> {
        let text = self.session().value(sql).await?;
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.readers.coordinator.nonsense("no count"))
    }

    fn literal_of(&self, column: &TableColumn, value: &str) -> String {
        format!("{}::{}", literal(value), column.of.declared)
    }

    async fn ties(&mut self, column: &TableColumn, value: &str) -> Result<i64> {
        let name = identifier(&column.name);
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {name} = {}",
            self.relation.sql_name(),
            self.literal_of(column, value)
        );
        self.count(&sql).await
    }

    /// The greatest cursor value of the snapshot, in the form of states.
    async fn top(&mut self, column: &TableColumn) -> Result<Option<String>> {
        let name = identifier(&column.name);
        let sql = format!(
            "SELECT {name}::text FROM {} AS {ALIAS} WHERE {name} IS NOT NULL ORDER BY {ALIAS}.{name} DESC LIMIT 1",
            self.relation.sql_name()
        );
        let top = self.session().value(&sql).await.map_err(|error| self.unordered(column, error))?;
        let top = top.map(|text| cursor::state_text(&column.of.name, text));
        if let Some(end @ ("infinity" | "Infinity" | "NaN")) = top.as_deref() {
            let message = format!(
                "Stream `{}`: the cursor `{}` has reached {end}; no later change can be greater",
                self.name, column.name
            );
            self.output.log(Level::WARN, message).await?;
        }
        Ok(top)
    }

    fn unordered(&self, column: &TableColumn, error: Error) -> Error {
        if fault::code(&error) != Some("42883") {
            return error;
        }
        Error::config(format!("The cursor `{}` has the type {}, which has no order", column.name, column.of.declared))
            .with_hint("Choose a number, a date or a timestamp that grows with every change")
            .with_source(error)
    }

    /// Incremental for the first time: all pages, with the bound that the next sync goes on from.
    async fn first(&mut self, column: &TableColumn, extent: Extent) -> Result<(i64, Position)> {
        let value = self.top(column).await?;
        let count = match &value {
            Some(value) => self.ties(column, value).await?,
            None => 0,
        };
        let cursor = Cursor { field: column.name.clone(), value, count: Some(count) };
        // `pg_current_snapshot` came with 13, ranges with 14.
        let xmin = self.count("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").await?;
        let chunks = pages::chunks(extent, (0, 0), None, |after| {
            Position::Pages(Pages { after, file: extent.file, snapshot_xmin: Some(xmin), then: Some(cursor.clone()) })
        });
        Ok((self.send(chunks).await?, Position::Cursor(cursor)))
    }

    /// The rest of the pages of an earlier attempt. Rows beyond the bound are left to the next sync, which finds them by
    /// their cursor.
    async fn go_on(&mut self, column: &TableColumn, extent: Extent, pages: Pages) -> Result<(i64, Position)> {
        let Some(cursor) = pages.then.clone() else { return self.first(column, extent).await };
        if pages.file != extent.file {
            let message = format!(
                "Stream `{}`: the table was rewritten (VACUUM FULL, TRUNCATE, ALTER) since the read that was broken off; \
                 reading everything again",
                self.name
            );
            self.output.log(Level::WARN, message).await?;
            return self.first(column, extent).await;
        }
        let name = identifier(&column.name);
        let known = match &cursor.value {
            Some(value) => format!("({name} <= {} OR {name} IS NULL)", self.literal_of(column, value)),
            None => format!("{name} IS NULL"),
        };
        let mut chunks =
            pages::chunks(extent, pages.after, Some(&known), |after| Position::Pages(Pages { after, ..pages.clone() }));
        if let Some(xmin) = pages.snapshot_xmin {
            chunks.push(Self::repair(pages.after, xmin, &known));
        }
        Ok((self.send(chunks).await?, Position::Cursor(cursor)))
    }

    /// Rows that lie on pages which an earlier attempt has read, and were written since its snapshot: an update may have
    /// moved them there from a page that was not read yet. Those with a newer cursor come with the next sync; this
    /// finds the ones whose cursor stayed as it was.
    fn repair(after: (u32, u16), xmin: i64, known: &str) -> Chunk {
        // `xmin` has 32 bits: compared by how many transactions ago it was. 1 and 2 are older than all.
        let now = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)";
        let newer = format!("mod({now} - xmin::text::bigint, 4294967296) <= {now} - {xmin}");
        let condition =
            format!("ctid <= '({},{})' AND xmin::text::bigint > 2 AND {newer} AND {known}", after.0, after.1);
        Chunk { leaf: None, condition: Some(condition), mark: None }
    }

    /// Incremental: what came after the cursor of the last sync.
    async fn delta(&mut self, column: &TableColumn, from: Cursor) -> Result<(i64, Position)> {
        let name = identifier(&column.name);
        let Some(top) = self.top(column).await? else {
            return Ok((0, Position::Cursor(Cursor { count: from.count.or(Some(0)), ..from })));
        };
        let upper = self.literal_of(column, &top);
        let mut conditions = vec![format!("{name} <= {upper}")];
        let mut ended = Cursor { field: column.name.clone(), value: Some(top.clone()), count: None };
        if let Some(value) = &from.value {
            let lower = self.literal_of(column, value);
            let grown = self.session().value(&format!("SELECT {upper} > {lower}")).await;
            let grown = grown.map_err(|error| self.unreadable(column, value, error))?.as_deref() == Some("t");
            let equal = match from.count {
                Some(count) if count > 0 => Some((count, self.ties(column, value).await?)),
                _ => None,
            };
            let again = equal.filter(|(before, now)| *now > 0 && before != now);
            if let Some((before, now)) = again {
                let message = match before {
                    i64::MAX => format!("Stream `{}`: {now} rows whose cursor is {value} are sent again", self.name),
                    _ => format!(
                        "Stream `{}`: {now} rows whose cursor is {value} are sent again, because there were {before} of them \
                         at the last sync",
                        self.name
                    ),
                };
                self.output.log(Level::INFO, message).await?;
            }
            let operator = if again.is_some() { ">=" } else { ">" };
            conditions.push(format!("{name} {operator} {lower}"));
            if !grown {
                let count = match (again, equal) {
                    (Some((_, now)), _) => now,
                    (None, Some((before, _))) => before,
                    (None, None) => self.ties(column, value).await?,
                };
                ended = Cursor { count: Some(count), ..from.clone() };
            }
        }
        if ended.count.is_none() {
            ended.count = Some(self.ties(column, &top).await?);
        }
        let marks = types::marks(&column.of);
        let plain = cursor::column_of(&self.expressions, &name, &column.name);
        let (_, kind) =
            types::selection(&column.of, &column.name, protocol::ColumnType::of(&types::json_schema(&column.of)));
        let hidden = (marks && plain.is_none()).then(|| Column { name: column.name.as_str().into(), kind });
        let sent = self.columns.len();
        let selection = self.selection(hidden);
        let delta =
            Delta { selection: &selection, field: &column.name, marks: marks.then(|| plain.unwrap_or(sent)), sent };
        let sql = selection.copy(None, &format!("WHERE {} ORDER BY {ALIAS}.{name}", conditions.join(" AND ")));
        let read = delta.send(&mut self.readers.coordinator, &sql, self.output).await?;
        Ok((read, Position::Cursor(ended)))
    }

    fn unreadable(&self, column: &TableColumn, value: &str, error: Error) -> Error {
        if error.kind != ErrorKind::Config {
            return error;
        }
        let value: String = value.chars().take(60).collect();
        state::bad(
            self.name,
            &format!("has the cursor `{}`, which is no value of the type {}", value.escape_debug(), column.of.declared),
        )
        .with_source(error)
    }
}
