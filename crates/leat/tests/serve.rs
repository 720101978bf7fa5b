//! `leat serve`: the start, the end, and what it refuses.

use std::{process::Command, time::Duration};

use serde_json::json;

use crate::ground::{Ground, leat};

#[test]
fn help_says_how_to_start() {
    let output = Command::new(leat()).args(["serve", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["--listen", "--data-dir", "--database-url"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn an_address_of_the_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(leat())
        .args(["serve", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("sign-in"));
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let ground = Ground::new(1);
    let output = Command::new(leat())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(ground.server().data())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"), "{output:?}");
}

#[test]
fn a_killed_server_goes_on_with_its_job_within_seconds() {
    let mut ground = Ground::new(400_000);
    let connection = ground.connection(&[("users", "incremental", "append")]);
    let job = ground.start_sync(&connection);
    ground.server_mut().kill().unwrap();
    ground.restart(&[]);
    let job = ground.wait(job);
    assert_eq!((job.status.as_str(), job.attempts), ("succeeded", 2), "{:#?}", job.info["job"]);
    assert_eq!(ground.number("select count(*) from users"), 400_000);
    assert_eq!(ground.number("select count(distinct id) from users"), 400_000);
}

/// SIGTERM checkpoints and ends; the job is not failed by it.
#[test]
fn an_orderly_stop_costs_the_job_nothing() {
    let mut ground = Ground::new(400_000);
    let connection = ground.connection(&[("users", "incremental", "append_dedup")]);
    let job = ground.start_sync(&connection);
    let process = ground.server().process().to_string();
    assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    ground.server_mut().ended(Duration::from_secs(25)).unwrap();
    ground.restart(&[]);
    let job = ground.wait(job);
    assert_eq!(job.status, "succeeded", "{:#?}", job.info);
    assert_eq!(ground.number("select count(*) from users"), 400_000);
}

#[test]
fn secrets_and_data_are_where_help_says() {
    let ground = Ground::new(1);
    for file in ["leat.db", "secret.key", "local"] {
        assert!(ground.server().data().join(file).exists(), "{file}");
    }
    let (status, _) = ground.server().request("connections/get", &json!({})).unwrap();
    assert_eq!(status, 422);
}
