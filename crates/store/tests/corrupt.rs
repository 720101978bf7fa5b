//! Invariant 7: whatever stands in the store, reading it is an error that says so, never a panic.

use protocol::checkpoint::Place;
use store::{Error, ErrorKind, JobFilter, Priority, testing::TestStore};
use uuid::Uuid;

use crate::fixture::{NOW, claim, connection, entry, job, raw, worker};

on_both!(rows, secrets);

async fn rows(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let own = claim(&test.store, &lease, job.id, &[]).await.claim;
    test.store.append_entries(&own, &[entry(&own, "users", (1, 1), Place::Final, 1)], NOW).await.unwrap();
    let check = async |sql: &'static str, back: &'static str, read: &dyn Fn() -> Reading| {
        raw(&test, sql).await;
        let found = read().await;
        assert_eq!(found.map_err(|error| error.kind), Err(ErrorKind::Corrupt), "{sql}");
        raw(&test, back).await;
        read().await.unwrap();
    };
    let store = test.store.clone();
    let of_connection = || reading(store.clone(), async move |tx| tx.connection(id).await.map(drop));
    let of_jobs = || reading(store.clone(), async move |tx| tx.jobs(&JobFilter::default()).await.map(drop));
    let of_attempts = || reading(store.clone(), async move |tx| tx.attempts(1).await.map(drop));
    let of_chains = || reading(store.clone(), async move |tx| tx.chains(id).await.map(drop));
    check("update connections set selection = '{'", "update connections set selection = '[]'", &of_connection).await;
    check("update connections set status = 'odd'", "update connections set status = 'active'", &of_connection).await;
    check("update jobs set kind = 'odd'", "update jobs set kind = 'sync'", &of_jobs).await;
    check("update attempts set outcome = 'x'", "update attempts set outcome = null", &of_attempts).await;
    let good = "update state_blobs set state = '{\"type\":\"LEGACY\",\"data\":1}'";
    for bad in [
        "update state_blobs set state = '{\"type\":\"ODD\"}'",
        "update state_blobs set state = ''",
        "update state_blobs set state = '{\"type\":\"STREAM\"}'",
    ] {
        check(bad, good, &of_chains).await;
    }
    check("update ledger_lines set place = 'moon'", "update ledger_lines set place = 'final'", &of_chains).await;
}

type Reading = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>>>>;

fn reading(store: store::Store, read: impl AsyncFnOnce(&mut store::Tx) -> Result<(), Error> + 'static) -> Reading {
    Box::pin(async move { read(&mut store.read().await?).await })
}

/// A sealed value that was changed, or moved to another row, is not opened.
async fn secrets(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let ids = [
        tx.put_secret(Uuid::nil(), "hunter2", NOW).await.unwrap(),
        tx.put_secret(Uuid::nil(), "hunter3", NOW).await.unwrap(),
    ];
    tx.commit().await.unwrap();
    for (sql, expected) in [
        // Both rows hold the same value now: only the one that it was sealed for opens.
        (
            "update secrets set sealed = (select s.sealed from secrets s order by s.id limit 1), \
             nonce = (select s.nonce from secrets s order by s.id limit 1)",
            1,
        ),
        ("update secrets set nonce = sealed", 0),
        ("update secrets set sealed = nonce", 0),
    ] {
        raw(&test, sql).await;
        let mut tx = test.store.read().await.unwrap();
        let mut opened = 0;
        for id in ids {
            match tx.secret(id).await {
                Ok(clear) => opened += usize::from(clear.is_some()),
                Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt),
            }
        }
        assert_eq!(opened, expected, "{sql}");
    }
}
