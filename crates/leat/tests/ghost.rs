//! A writer that is paused while its successor recovers and commits writes nothing after it wakes up.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use xtask::server::{Launch, pause};

use crate::ground::{Ground, StoreKind, leat, sample};

/// Two processes share a Postgres store. The first is stopped in the middle of its attempt (SIGSTOP, at a named point) and
/// its lock connection is cut, as the network would; the second voids the lease and finishes the job; then the first goes on.
fn check(modes: (&str, &str), point: &str, plant: Option<&str>) {
    let mut ground = Ground::on(StoreKind::Postgres, 6_000);
    let connection = ground.connection(&[("users", modes.0, modes.1)]);
    assert_eq!(ground.sync(&connection).status, "succeeded");
    ground.configure(sample(20_000));
    let died = ground.server().data().join("died");
    let died_text = died.to_str().unwrap().to_owned();
    let stop = format!("{point}=stop");
    let mut variables = vec![("LEAT_FAILPOINT", stop.as_str()), ("LEAT_FAILPOINT_LOG", &died_text)];
    variables.extend(plant.map(|bug| ("LEAT_PLANT", bug)));
    ground.restart(&variables);
    let address = ground.server().address.clone();
    let body = json!({ "connectionId": connection });
    std::thread::spawn(move || {
        // Answered only after the pause, if at all.
        let _ = xtask::http::request(&address, "POST", "/api/v1/connections/sync", Some(&body));
    });
    let began = Instant::now();
    while !died.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "{point} was not reached");
        pause(Duration::from_millis(10));
    }
    pause(Duration::from_millis(100));
    let url = ground.database_url.clone().unwrap();
    cut_lock_connections(&url);

    // The successor works in the same data folder, as a second server would on shared files.
    let successor =
        Launch::new(leat(), ground.server().data()).unwrap().argument("--database-url").argument(&url).start().unwrap();
    let jobs = successor.post("jobs/list", &json!({ "configTypes": ["sync"], "configId": connection })).unwrap();
    let job = successor.wait(jobs["jobs"][0]["job"]["id"].as_i64().unwrap()).unwrap();
    assert_eq!(job["job"]["status"], "succeeded", "{job:#}");
    let expected = ground.fingerprint("users");
    assert_eq!(expected.1, 20_000);

    let process = ground.server().process().to_string();
    assert!(Command::new("kill").args(["-CONT", &process]).status().unwrap().success());
    pause(Duration::from_secs(3));
    assert_eq!(ground.fingerprint("users"), expected, "the ghost wrote after its successor");
    assert_eq!(ground.leftovers(), Vec::<String>::new());
    let after = successor.post("jobs/get", &json!({ "id": job["job"]["id"] })).unwrap();
    assert_eq!(after["job"]["status"], "succeeded");
    assert_eq!(after["attempts"].as_array().unwrap().len(), 2);
    assert!(!fs::read_to_string(&died).unwrap().is_empty());
}

/// Ends every session of this database that holds an advisory lock.
fn cut_lock_connections(url: &str) {
    let query = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid() \
                 and database = (select oid from pg_database where datname = current_database())";
    let output = Command::new("psql").args([url, "-Atc", query]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains('t'), "no lock connection was found: {output:?}");
}

#[test]
fn a_ghost_at_a_commit_writes_nothing() {
    check(("incremental", "append"), "ledger-after:2", None);
}

#[test]
fn a_ghost_at_the_swap_writes_nothing() {
    check(("full_refresh", "overwrite"), "complete-begin", None);
}

/// Without the fence in the transaction of the swap the ghost's table takes the place of its successor's, unless the ghost
/// learns in time that its lease is gone: a few tries are enough to see it.
#[test]
fn a_swap_without_the_fence_is_noticed() {
    let unnoticed = || {
        std::panic::catch_unwind(|| check(("full_refresh", "overwrite"), "complete-begin", Some("swap-without-fence")))
            .is_ok()
    };
    assert!((0..6).any(|_| !unnoticed()), "the bug swap-without-fence went unnoticed");
}
