//! Many writers at once: nobody is refused because the store is busy, and nothing is half done.

use protocol::checkpoint::Place;
use store::{ErrorKind, Priority, testing::TestStore};

use crate::fixture::{self, NOW, claim, connection, entry, job, worker};

on_both!(
    fifty_writers,
    readers_see_a_snapshot,
    a_dropped_transaction_leaves_nothing,
    read_decide_write,
    appends_that_wait_together
);

async fn fifty_writers(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let own = claim(&test.store, &lease, job.id, &[("users", false)]).await.claim;
    let tasks = (0..50).map(|task: i64| {
        let (store, own) = (test.store.clone(), own.clone());
        tokio::spawn(async move {
            for turn in 0..4 {
                if task % 2 == 0 {
                    let at = NOW + (task * 4 + turn) * 2000;
                    store
                        .append_entries(&own, &[entry(&own, "users", (1, task * 4 + turn + 1), Place::Final, 1)], at)
                        .await?;
                } else {
                    let mut tx = store.write(Priority::Api).await?;
                    tx.insert_workspace(&fixture::workspace(&format!("w-{task}-{turn}"))).await?;
                    tx.commit().await?;
                }
                store.read().await?.workspaces(false).await?;
            }
            Ok::<(), store::Error>(())
        })
    });
    for result in futures::future::join_all(tasks).await {
        result.unwrap().unwrap();
    }
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.workspaces(false).await.unwrap().len(), 101);
    assert_eq!(tx.job_counts(job.id).await.unwrap(), [(fixture::stream("users"), fixture::counts(100))]);
}

async fn readers_see_a_snapshot(test: TestStore) {
    let mut reader = test.store.read().await.unwrap();
    assert_eq!(reader.workspaces(false).await.unwrap(), []);
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.insert_workspace(&fixture::workspace("new")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(reader.workspaces(false).await.unwrap(), []);
    drop(reader);
    assert_eq!(test.store.read().await.unwrap().workspaces(false).await.unwrap().len(), 1);
    let mut reader = test.store.read().await.unwrap();
    assert!(reader.insert_workspace(&fixture::workspace("refused")).await.is_err(), "a reader cannot write");
}

async fn a_dropped_transaction_leaves_nothing(test: TestStore) {
    for _ in 0..20 {
        let mut tx = test.store.write(Priority::Api).await.unwrap();
        tx.insert_workspace(&fixture::workspace("dropped")).await.unwrap();
        drop(tx);
    }
    // A caller that is cancelled in the middle, too.
    for _ in 0..20 {
        let store = test.store.clone();
        let task = tokio::spawn(async move {
            let mut tx = store.write(Priority::Api).await.unwrap();
            for number in 0..1000 {
                tx.insert_workspace(&fixture::workspace(&format!("cancelled-{number}"))).await.unwrap();
            }
        });
        tokio::task::yield_now().await;
        task.abort();
        let _ = task.await;
    }
    assert_eq!(test.store.read().await.unwrap().workspaces(false).await.unwrap(), []);
}

/// Two callers that read a row, decide and write it back do not overwrite each other.
async fn read_decide_write(test: TestStore) {
    let row = fixture::workspace("shop");
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.insert_workspace(&row).await.unwrap();
    tx.commit().await.unwrap();
    let tasks = (0..20).map(|_| {
        let (store, id) = (test.store.clone(), row.id);
        tokio::spawn(async move {
            let mut tx = store.write(Priority::Api).await.unwrap();
            let mut row = tx.workspace(id).await.unwrap().unwrap();
            row.updated_ms += 1;
            tx.update_workspace(&row).await.unwrap();
            tx.commit().await.unwrap();
        })
    });
    for result in futures::future::join_all(tasks).await {
        result.unwrap();
    }
    let found = test.store.read().await.unwrap().workspace(row.id).await.unwrap().unwrap();
    assert_eq!(found.updated_ms, row.updated_ms + 20);
}

/// Appends of several attempts wait for the writer at once: one lost claim spoils only its own.
async fn appends_that_wait_together(test: TestStore) {
    let lease = worker(&test.store).await;
    let mut claims = Vec::new();
    for _ in 0..6 {
        let id = connection(&test.store).await;
        let job = job(&test.store, id).await;
        claims.push((id, claim(&test.store, &lease, job.id, &[("users", false)]).await.claim));
    }
    claims[2].1.owner = "somebody else".into();
    let writer = test.store.write(Priority::Api).await.unwrap();
    let tasks: Vec<_> = claims
        .iter()
        .map(|(_, own)| {
            let (store, own) = (test.store.clone(), own.clone());
            tokio::spawn(async move {
                // The second entry of the lost one would be fine by itself.
                let entries =
                    [entry(&own, "users", (1, 1), Place::Final, 2), entry(&own, "users", (1, 2), Place::Final, 3)];
                store.append_entries(&own, &entries, NOW).await.map_err(|error| error.kind)
            })
        })
        .collect();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    drop(writer);
    for (number, result) in futures::future::join_all(tasks).await.into_iter().enumerate() {
        let expected = if number == 2 { Err(ErrorKind::Fenced) } else { Ok(()) };
        assert_eq!(result.unwrap(), expected, "claim {number}");
    }
    let mut tx = test.store.read().await.unwrap();
    for (number, (_, own)) in claims.iter().enumerate() {
        let rows: i64 = tx.job_counts(own.job).await.unwrap().iter().map(|(_, counts)| counts.written).sum();
        assert_eq!(rows, if number == 2 { 0 } else { 5 });
    }
}
