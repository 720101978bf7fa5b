//! Several processes on one Postgres store: a worker whose lock connection is gone loses its attempts to whoever notices.

use std::time::Duration;

use protocol::checkpoint::Place;
use sqlx::{Connection, PgConnection};
use store::{Backend, ErrorKind, Priority, StoreUrl, testing::TestStore};

use crate::fixture::{NOW, claim, claim_at, connection, entry, job, worker};

async fn admin(test: &TestStore) -> PgConnection {
    let StoreUrl::Postgres(url) = test.url() else { unreachable!("a Postgres store") };
    PgConnection::connect(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_lock_connection_voids_the_leases() {
    let test = TestStore::new(Backend::Postgres).await;
    let other = test.second().await;
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let first = worker(&test.store).await;
    let claimed = claim(&test.store, &first, job.id, &[("users", false)]).await;
    let (second, voided) = other.register_worker("test", NOW).await.unwrap();
    assert_eq!(voided, []);
    assert_eq!(other.sweep_dead_workers(&second, NOW).await.unwrap(), [], "the first worker lives");
    assert!(first.is_held());

    let key = i64::from_ne_bytes(uuid::Uuid::parse_str(first.id()).unwrap().as_u64_pair().0.to_ne_bytes());
    let mut admin = admin(&test).await;
    let ended = sqlx::query(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' \
         and classid::bigint = (($1::bigint >> 32) & 4294967295) and objid::bigint = ($1::bigint & 4294967295)",
    )
    .bind(key)
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(ended.len(), 1);
    tokio::time::timeout(Duration::from_secs(20), first.lost()).await.expect("the worker learns of its loss");
    assert!(!first.is_held());

    let voided = other.sweep_dead_workers(&second, NOW + 5).await.unwrap();
    assert_eq!(voided.iter().map(|lost| (lost.job, lost.attempt)).collect::<Vec<_>>(), [(job.id, 0)]);
    assert_eq!(other.sweep_dead_workers(&second, NOW + 6).await.unwrap(), []);
    let entries = [entry(&claimed.claim, "users", (1, 1), Place::Final, 5)];
    let late = test.store.append_entries(&claimed.claim, &entries, NOW + 7).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced);
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let request = store::ClaimRequest { job: job.id, worker: first.id(), streams: &[], now_ms: NOW + 8 };
    assert_eq!(tx.claim_attempt(&request).await.unwrap_err().kind, ErrorKind::Fenced, "it must register anew");
    drop(tx);

    let again = claim_at(&other, &second, job.id, &[], NOW + 8).await;
    assert_eq!(again.claim.attempt, 1);
    let (_third, voided) = test.store.register_worker("test", NOW + 9).await.unwrap();
    assert_eq!(voided, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_lease_is_taken_at_once() {
    let test = TestStore::new(Backend::Postgres).await;
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let first = worker(&test.store).await;
    claim(&test.store, &first, job.id, &[]).await;
    first.release().await;
    let (_second, voided) = test.store.register_worker("test", NOW).await.unwrap();
    assert_eq!(voided.len(), 1);
}

#[tokio::test]
async fn on_sqlite_a_lease_is_not_lost() {
    let test = TestStore::new(Backend::Sqlite).await;
    let lease = worker(&test.store).await;
    assert!(lease.is_held());
    let lost = tokio::time::timeout(Duration::from_millis(50), lease.lost()).await;
    assert!(lost.is_err(), "nobody else can have it");
}
