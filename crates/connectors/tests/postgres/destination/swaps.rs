//! Swaps: what a table carries over, what its readers see, and where its rows are replaced in place.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use DestinationSyncMode::{Append, AppendDedup, Overwrite};
use connector::ErrorKind;

use super::*;

#[tokio::test]
async fn a_table_that_stands_for_itself_is_exchanged_with_all_that_it_has() {
    let database = Database::new().await;
    database.role("swap_reader");
    load(&database, 1, target(Overwrite, 1), vec![users(1..=3)]).await.unwrap();
    database.sql(
        "ALTER TABLE users ADD COLUMN note text;
         UPDATE users SET note = 'mine';
         GRANT SELECT ON users TO swap_reader;
         GRANT UPDATE (name) ON users TO swap_reader WITH GRANT OPTION;
         COMMENT ON TABLE users IS 'it''s \\ here';
         COMMENT ON COLUMN users.name IS 'a name';
         CREATE UNIQUE INDEX \"By Id\" ON users (id) WHERE id > 0;
         COMMENT ON INDEX \"By Id\" IS 'one';
         CREATE INDEX lower_name ON users (lower(name) DESC) INCLUDE (id);
         ALTER TABLE users ADD CONSTRAINT positive CHECK (id > 0);
         CREATE TABLE log (id bigint);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (new.id); RETURN new; END';
         CREATE TRIGGER on_insert AFTER INSERT ON users FOR EACH ROW WHEN (new.id > 5) EXECUTE FUNCTION note();
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT DELETE ON TABLES TO swap_reader",
    );
    let looks = || {
        database.sql(
            "SELECT relacl FROM pg_class WHERE relname = 'users';
             SELECT attacl FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'name';
             SELECT obj_description('users'::regclass), col_description('users'::regclass, 6);
             SELECT indexdef, obj_description(quote_ident(indexname)::regclass) FROM pg_indexes WHERE tablename = 'users' ORDER BY 1;
             SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass;
             SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'users'::regclass;
             SELECT reloptions FROM pg_class WHERE relname = 'users'",
        )
    };
    let (before, oid) = (looks(), database.sql("SELECT 'users'::regclass::oid"));
    assert!(before.contains("By Id") && before.contains("swap_reader=r/owner"), "{before}");
    let told = load(&database, 2, target(Overwrite, 2), vec![users(2..=7)]).await.unwrap();
    assert!(told.contains("replaced its table with 6 rows"), "{told}");
    assert_eq!(looks(), before);
    assert_ne!(database.sql("SELECT 'users'::regclass::oid"), oid, "another table took its place");
    assert_eq!(database.sql("SELECT count(*), count(note) FROM users"), "6|0", "a column that left stays and is NULL");
    assert_eq!(database.sql("SELECT count(*) FROM log"), "0", "an exchange inserts nothing into the table");
    database.sql("INSERT INTO users SELECT 'x', now(), '{}', 1, 77, 'n', NULL");
    assert_eq!(database.sql("SELECT max(id) FROM log"), "77", "the trigger works");
    // A unique index that the new rows break is named, and the old rows stay.
    let error = load(&database, 3, target(Overwrite, 3), vec![users(1..=2), users(2..=2)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("By Id"), "{error}");
    assert_eq!(database.sql("SELECT count(*) FROM users"), "7");
}

#[tokio::test]
async fn where_something_depends_on_the_table_its_rows_are_replaced() {
    for (number, make, tie) in [
        (1, "CREATE VIEW v AS SELECT name FROM users", "view v"),
        (2, "CREATE MATERIALIZED VIEW v AS SELECT name FROM users", "materialized view v"),
        (
            3,
            "CREATE UNIQUE INDEX u ON users (id); CREATE TABLE child (id bigint REFERENCES users (id))",
            "child refers",
        ),
        (4, "ALTER TABLE users REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE users", "publication"),
        (5, "ALTER TABLE users ENABLE ROW LEVEL SECURITY", "settings"),
        (6, "CREATE TABLE other (x users)", "other"),
        (7, "ALTER TABLE users ALTER COLUMN name SET DEFAULT 'x'", "default"),
        (8, "CREATE STATISTICS s ON id, name FROM users", "statistics"),
        (9, "CREATE RULE r AS ON UPDATE TO users DO ALSO NOTHING", "rule"),
        (10, "CREATE TABLE heir () INHERITS (users); INSERT INTO heir SELECT 'x', now(), '{}', 1, 99, 'mine'", "heir"),
    ] {
        let database = Database::new().await;
        load(&database, 1, target(Overwrite, 1), vec![users(1..=3)]).await.unwrap();
        database.sql(make);
        let oid = database.sql("SELECT 'users'::regclass::oid");
        let mut wider = target(Overwrite, 2);
        wider.columns.push(("size".into(), ColumnType::Number));
        let told = load(&database, 2, wider, vec![users(2..=5)]).await.unwrap();
        assert!(told.contains("in place because") && told.contains(tie), "{number}: {told}");
        assert_eq!(database.sql("SELECT 'users'::regclass::oid"), oid);
        assert_eq!(database.sql("SELECT count(*), min(id), count(size) FROM ONLY users"), "4|2|0");
        assert!(number != 10 || database.sql("SELECT name FROM heir") == "mine", "rows of an heir are not ours");
    }
}

#[tokio::test]
async fn partitioned_tables_are_written_where_they_are() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE users (_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL,
             _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint, id bigint, name varchar) PARTITION BY HASH (id);
         CREATE TABLE p0 PARTITION OF users FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE p1 PARTITION OF users FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    );
    let seen = || {
        database.sql("SELECT count(*), count(DISTINCT id), min(id), max(id), max(_airbyte_generation_id) FROM users")
    };
    for (number, mode, ids, expected) in [
        (1, AppendDedup, 1..=100, "100|100|1|100|1"),
        (2, AppendDedup, 51..=150, "150|150|1|150|2"),
        (3, Overwrite, 3..=40, "38|38|3|40|3"),
        (4, Append, 41..=42, "40|40|3|42|4"),
    ] {
        load(&database, number, target(mode, number), vec![users(ids)]).await.unwrap();
        assert_eq!(seen(), expected);
    }
    assert_eq!(database.sql("SELECT bool_and(name = 'n' || id), count(DISTINCT tableoid) FROM users"), "t|2");
}

#[tokio::test]
async fn a_table_with_a_view_keeps_the_types_that_it_has() {
    let database = Database::new().await;
    load(&database, 1, target(Overwrite, 1), vec![users(1..=3)]).await.unwrap();
    database.sql("ALTER TABLE users ALTER COLUMN id TYPE numeric(5,0), ALTER COLUMN name TYPE varchar(2); CREATE VIEW v AS SELECT * FROM users");
    load(&database, 2, target(Overwrite, 2), vec![users(9..=10)]).await.unwrap();
    assert_eq!(
        database.sql("SELECT id, name, _airbyte_meta->'changes'->0->>'change' FROM v ORDER BY id"),
        "9|n9|\n10|n1|TRUNCATED"
    );
    let mut other = target(Overwrite, 3);
    other.columns[1].1 = ColumnType::Boolean;
    let error = load(&database, 3, other, vec![]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("`name`") && error.message.contains("view v"), "{error}");
}

#[tokio::test]
async fn readers_see_old_rows_or_new_rows() {
    for has_view in [false, true] {
        let database = Database::new().await;
        load(&database, 1, target(Overwrite, 1), vec![users(1..=500)]).await.unwrap();
        let from = if has_view { "v" } else { "users" };
        if has_view {
            database.sql("CREATE VIEW v AS SELECT * FROM users");
        }
        let mut reader = database.shell();
        let mut answers = BufReader::new(reader.stdout.take().unwrap()).lines();
        let mut questions = reader.stdin.take().unwrap();
        let query = format!("SELECT count(*), count(DISTINCT _airbyte_generation_id) FROM {from};\n");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let looking = stop.clone();
        let reading = std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while !looking.load(std::sync::atomic::Ordering::Relaxed) {
                questions.write_all(query.as_bytes()).unwrap();
                seen.insert(answers.next().unwrap().unwrap());
            }
            seen
        });
        for number in 2..12 {
            load(&database, number, target(Overwrite, number), vec![users(1..=500)]).await.unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = reading.join().unwrap();
        let _ = reader.kill();
        let _ = reader.wait();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["500|1"], "old rows or new rows, all of them");
    }
}

#[tokio::test]
async fn tables_that_were_changed_under_the_attempt_are_noticed() {
    let database = Database::new().await;
    for (number, mode, change) in [
        (1, Overwrite, "DROP TABLE {staging}"),
        (2, Overwrite, "DELETE FROM {staging} WHERE id = 1"),
        (3, AppendDedup, "DELETE FROM {staging} WHERE id = 1"),
        (4, Append, "TRUNCATE {staging}"),
        (5, Append, "DROP TABLE _leat_fence"),
        (6, Append, "DELETE FROM _leat_commits"),
    ] {
        let mut job = job(database.config(), number, target(mode, number)).await.unwrap();
        job.start().await.unwrap();
        let scope = Scope::Stream(job.target.stream.clone());
        let piece = StreamCommit {
            scope,
            batches: vec![users(1..=3)],
            point: Point { origin: number, seq: 1 },
            state: None,
            counts: vec![],
        };
        job.writer.commit(connector::Commit { streams: vec![piece] }).await.unwrap();
        let staging =
            database.sql("SELECT relname FROM pg_class WHERE relname LIKE '\\_leat\\_staging%' AND relkind = 'r'");
        database.sql(&change.replace("{staging}", &staging));
        let error = job.complete(vec![users(4..=4)]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Moved, "{change}: {error}");
        assert_eq!(database.sql("SELECT to_regclass('users')"), "", "{change}");
    }
}

#[tokio::test]
async fn cancel_interrupts_a_merge() {
    let database = Database::new().await;
    load(&database, 1, target(AppendDedup, 1), vec![users(1..=2)]).await.unwrap();
    database.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN new; END';
         CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let mut job = job(database.config(), 2, target(AppendDedup, 2)).await.unwrap();
    job.start().await.unwrap();
    let cancel = job.cancel.clone();
    let sleeping =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'", database.name);
    let watch = async {
        while database.sql(&sleeping) != "1" {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(job.complete(vec![users(2..=3)]), watch);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    while database.sql(&sleeping) != "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(database.sql("SELECT count(*) FROM users"), "2");
}

impl Database {
    /// A client that answers line by line.
    fn shell(&self) -> std::process::Child {
        self.client().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }
}
