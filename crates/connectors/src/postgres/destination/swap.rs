//! New rows in the place of the old ones, within the caller's transaction: readers see the old rows or the new rows, never
//! an empty table (Invariant 5).
//!
//! Where the table stands for itself the staging table takes its place and name, with the grants, comments, indexes,
//! constraints, triggers and further columns of the old one ([`replace_table`]). Where something depends on it (a view, a
//! foreign key, a publication, a policy, ...: `swap.sql`) the table stays and its rows are replaced ([`replace_rows`]) by
//! DELETE and INSERT. Never by TRUNCATE, after which a reader with an older snapshot sees no row.

use connector::{Error, Result};

use super::{
    merge::{KEY_INDEX, try_index},
    names::{Place, list, quoted},
    table::{self, Existing},
    types::Wire,
};
use crate::postgres::client::{Row, Session, literal};

/// What keeps a table from being replaced by another one, if anything does.
pub async fn tie(session: &mut Session, existing: &Existing) -> Result<Option<String>> {
    let required = "('_airbyte_raw_id', '_airbyte_extracted_at', '_airbyte_meta')";
    let oid = format!("{}::oid", literal(&existing.oid));
    session.value(&include_str!("swap.sql").replace("{oid}", &oid).replace("{required}", required)).await
}

/// Puts the rows of `from`, which is consumed, in the place of those of `name`. Says how.
pub async fn swap(session: &mut Session, from: &Existing, name: &Place, rows: i64) -> Result<String> {
    let mut old = table::owned(session, name).await?;
    if old.is_none() && from.place.schema != name.schema {
        // Default privileges are those of the schema in which a table is made.
        table::create(session, name, &[], table::Making::FINAL).await?;
        old = table::owned(session, name).await?;
    }
    let Some(old) = old else {
        settle(session, from, name).await?;
        return Ok(format!("made its table with {rows} rows"));
    };
    if let Some(tie) = tie(session, &old).await? {
        replace_rows(session, from, &old, rows, &tie).await?;
        return Ok(format!("replaced the rows of its table with {rows} rows, in place because {tie}"));
    }
    replace_table(session, from, &old).await?;
    Ok(format!("replaced its table with {rows} rows"))
}

async fn replace_rows(session: &mut Session, from: &Existing, old: &Existing, rows: i64, tie: &str) -> Result<()> {
    let target = old.place.sql();
    session.execute(&format!("LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")).await?;
    for held in &from.columns {
        let Some(kept) = old.column(&held.name) else {
            session
                .execute(&format!("ALTER TABLE {target} ADD COLUMN {} {}", quoted(&held.name), held.declared))
                .await?;
            continue;
        };
        // Any other cast between them may round in silence or fail half way.
        let is_safe = kept.declared == held.declared
            || matches!(
                (held.wire, kept.wire),
                (Some(Wire::Text(_)), Some(Wire::Text(None))) | (Some(Wire::Jsonb), Some(Wire::Json))
            );
        if !is_safe {
            return Err(Error::transient(format!(
                "Column `{}` of table `{}` is {} and the new rows have {}, but the table must stay as it is because {tie}",
                held.name, old.place, kept.declared, held.declared
            ))
            .with_hint("The next run loads the rows for the column as it is; where that does not fit, drop what depends on the table"));
        }
    }
    let all = list(from.columns.iter().map(|held| held.name.as_str()));
    session.execute(&format!("DELETE FROM {}", old.rows())).await?;
    let arrived =
        session.execute(&format!("INSERT INTO {target} ({all}) SELECT {all} FROM {}", from.place.sql())).await?;
    if arrived != rows {
        return Err(Error::system(format!("{arrived} rows arrived in `{}`, {rows} were staged", old.place)));
    }
    table::drop(session, &from.place).await
}

async fn replace_table(session: &mut Session, from: &Existing, old: &Existing) -> Result<()> {
    let new = from.place.sql();
    // Invariant 10: columns that left the catalog stay, and are NULL in the new rows.
    for held in old.columns.iter().filter(|held| from.column(&held.name).is_none()) {
        session.execute(&format!("ALTER TABLE {new} ADD COLUMN {} {}", quoted(&held.name), held.declared)).await?;
    }
    grants(session, from, old).await?;
    // From here on every name that the server writes carries its schema.
    let path = session.value("SELECT pg_catalog.current_setting('search_path')").await?.unwrap_or_default();
    session.execute("SET LOCAL search_path = pg_catalog, pg_temp").await?;
    carry(session, from, old).await?;
    session.execute(&format!("SELECT pg_catalog.set_config('search_path', {}, true)", literal(&path))).await?;
    Ok(())
}

/// Comments, indexes, constraints and triggers, around the moment in which the tables change places.
async fn carry(session: &mut Session, from: &Existing, old: &Existing) -> Result<()> {
    let (new, target) = (from.place.sql(), old.place.sql());
    let oid = format!("{}::oid", literal(&old.oid));
    let carried = session
        .query(&format!(
            "SELECT 'COMMENT ON TABLE {new_text} IS ' || pg_catalog.quote_literal(d.description)
             FROM pg_catalog.pg_description d
             WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = {oid} AND d.objsubid = 0
             UNION ALL
             SELECT 'COMMENT ON COLUMN {new_text}.' || pg_catalog.quote_ident(a.attname) || ' IS ' || pg_catalog.quote_literal(d.description)
             FROM pg_catalog.pg_description d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
             WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = {oid} AND NOT a.attisdropped",
            new_text = new.replace('\'', "''")
        ))
        .await?;
    all(session, carried).await?;
    let indexes = indexes(session, from, old).await?;
    // Constraints and triggers are made again when their table has its name; their text is read while they are there.
    let later = session
        .query(&format!(
            "SELECT sql FROM (
                 SELECT 1 AS place, k.oid, 'ALTER TABLE {table} ADD CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' '
                     || pg_catalog.pg_get_constraintdef(k.oid) AS sql
                 FROM pg_catalog.pg_constraint k WHERE k.conrelid = {oid} AND k.contype IN ('p', 'u', 'c', 'x', 'f')
                 UNION ALL
                 SELECT 2, t.oid, pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t
                 WHERE t.tgrelid = {oid} AND NOT t.tgisinternal AND t.tgconstraint = 0
                 UNION ALL
                 SELECT 3, d.objoid, 'COMMENT ON CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' ON {table} IS '
                     || pg_catalog.quote_literal(d.description)
                 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_description d
                     ON d.classoid = 'pg_catalog.pg_constraint'::regclass AND d.objoid = k.oid WHERE k.conrelid = {oid}
                 UNION ALL
                 SELECT 3, d.objoid, 'COMMENT ON TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON {table} IS '
                     || pg_catalog.quote_literal(d.description)
                 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_description d
                     ON d.classoid = 'pg_catalog.pg_trigger'::regclass AND d.objoid = t.oid WHERE t.tgrelid = {oid}
             ) made ORDER BY place, oid",
            table = target.replace('\'', "''")
        ))
        .await?;
    session.execute(&format!("DROP TABLE {target}")).await?;
    settle(session, from, &old.place).await?;
    for (made, name, comment) in indexes {
        let place = Place::new(&old.place.schema, made);
        session.execute(&format!("ALTER INDEX {} RENAME TO {}", place.sql(), quoted(&name))).await?;
        if let Some(comment) = comment {
            let index = Place::new(&old.place.schema, name);
            session.execute(&format!("COMMENT ON INDEX {} IS {}", index.sql(), literal(&comment))).await?;
        }
    }
    for text in later.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
        session.execute(&text).await.map_err(|error| unfit(old, &text, error))?;
    }
    Ok(())
}

/// Gives a table that stood beside another one its name, and back to the server's care.
async fn settle(session: &mut Session, from: &Existing, name: &Place) -> Result<()> {
    session.execute(&format!("ALTER TABLE {} RESET (autovacuum_enabled)", from.place.sql())).await?;
    let mut place = from.place.clone();
    if place.schema != name.schema {
        session.execute(&format!("ALTER TABLE {} SET SCHEMA {}", place.sql(), quoted(&name.schema))).await?;
        place.schema.clone_from(&name.schema);
    }
    session.execute(&format!("ALTER TABLE {} RENAME TO {}", place.sql(), quoted(&name.name))).await?;
    Ok(())
}

/// The grants of the old table, and no other ones: what default privileges gave to staging goes.
async fn grants(session: &mut Session, from: &Existing, old: &Existing) -> Result<()> {
    let given = |oid: &str| {
        format!(
            "SELECT g.privilege_type, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
                 g.is_grantable, g.attname
             FROM (SELECT x.*, NULL::name AS attname, c.relowner FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x
                   WHERE c.oid = {0}::oid
                   UNION ALL
                   SELECT x.*, a.attname, 0 FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) x
                   WHERE a.attrelid = {0}::oid AND NOT a.attisdropped) g
             WHERE g.grantee <> g.relowner",
            literal(oid)
        )
    };
    let table = from.place.sql();
    for row in session.query(&given(&from.oid)).await? {
        if let [_, Some(grantee), _, None] = row.as_slice() {
            session.execute(&format!("REVOKE ALL ON {table} FROM {grantee}")).await?;
        }
    }
    for row in session.query(&given(&old.oid)).await? {
        let [Some(privilege), Some(grantee), grantable, column] = row.as_slice() else { continue };
        let column = column.as_deref().map(|column| format!(" ({})", quoted(column))).unwrap_or_default();
        let option = if grantable.as_deref() == Some("t") { " WITH GRANT OPTION" } else { "" };
        session.execute(&format!("GRANT {privilege}{column} ON {table} TO {grantee}{option}")).await?;
    }
    Ok(())
}

/// Builds the old table's indexes (those of constraints apart) on the new one, while readers still have the old one. Their
/// names for the time being, their own, their comments.
async fn indexes(
    session: &mut Session,
    from: &Existing,
    old: &Existing,
) -> Result<Vec<(String, String, Option<String>)>> {
    let rows = session
        .query(&format!(
            "SELECT i.relname, pg_catalog.pg_get_indexdef(i.oid), x.indisunique,
                 pg_catalog.quote_ident(i.relname) || ' ON ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
                 pg_catalog.obj_description(i.oid, 'pg_class')
             FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
             JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE x.indrelid = {}::oid AND x.indisvalid
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid AND k.conrelid = x.indrelid)
             ORDER BY i.oid",
            literal(&old.oid)
        ))
        .await?;
    let mut made = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        let mut cells = row.into_iter();
        let mut next = || cells.next().flatten();
        let (Some(name), Some(text), unique, Some(at), comment) = (next(), next(), next(), next(), next()) else {
            continue;
        };
        let sort = if unique.as_deref() == Some("t") { "UNIQUE INDEX" } else { "INDEX" };
        let Some(rest) = text.strip_prefix(&format!("CREATE {sort} {at} ")) else {
            return Err(Error::system(format!("The index `{name}` is described in a way that is not known: {text}")));
        };
        let temporary = format!("{}_{number}", from.place.name);
        let text = format!("CREATE {sort} {} ON {} {rest}", quoted(&temporary), from.place.sql());
        if name.starts_with(KEY_INDEX) {
            if !try_index(session, &text).await? {
                continue;
            }
        } else {
            session.execute(&text).await.map_err(|error| unfit(old, &name, error))?;
        }
        made.push((temporary, name, comment));
    }
    Ok(made)
}

fn unfit(old: &Existing, what: &str, error: Error) -> Error {
    if crate::postgres::fault::code(&error).is_none_or(|code| !code.starts_with("23")) {
        return error;
    }
    Error::config(format!("`{what}` of table `{}` does not fit the new rows", old.place))
        .with_hint("Drop the index, the constraint or the trigger, or make it fit what the source sends")
        .with_source(error)
}

async fn all(session: &mut Session, statements: Vec<Row>) -> Result<()> {
    for text in statements.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
        session.execute(&text).await?;
    }
    Ok(())
}
