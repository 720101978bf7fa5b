//! Cases of strangers, as data: what confused clients of other tools, with the right answer. `data/*/case.json` says what
//! to do and what to expect; conditions in words are coded here, by the id of the case.

use std::{collections::BTreeMap, fs, path::Path, sync::mpsc, thread, time::Duration};

use control::schedule;
use serde_json::{Value, json};
use xtask::server::pause;

use crate::ground::{Ground, Job, sample};

/// What happened: the named answers, the jobs in order, the statuses that polling saw.
#[derive(Default)]
struct Run {
    variables: BTreeMap<String, String>,
    answers: BTreeMap<String, Answer>,
    jobs: Vec<Job>,
    /// Job statuses, in the order seen, each with whether the cancel had been answered by then.
    statuses: Vec<(String, bool)>,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    body: Value,
    millis: u128,
}

fn run(id: &str) -> (Value, Run) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(id).join("case.json");
    let case: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let ground = Ground::new(10);
    let mut run = Run::default();
    let polls = |step: &Value| step.get("poll").is_some();
    let mut polling = None;
    for step in case["setup"].as_array().unwrap() {
        if polls(step) {
            let job = run.variables["JOB"].parse::<i64>().unwrap();
            polling = Some(poll(ground.server().address.clone(), job));
            continue;
        }
        take(&ground, step, &mut run);
        if step["name"] == "cancel"
            && let Some(polling) = &polling
        {
            // What is seen from here on is seen after the answer.
            polling.0.send(()).unwrap();
        }
    }
    if let Some((sender, thread)) = polling {
        drop(sender);
        run.statuses = thread.join().unwrap();
    }
    (case["expect"]["result"].clone(), run)
}

type Polling = (mpsc::Sender<()>, thread::JoinHandle<Vec<(String, bool)>>);

/// Asks for the job's status until the other end is dropped; a message marks the cancel's answer.
fn poll(address: String, job: i64) -> Polling {
    let (sender, receiver) = mpsc::channel();
    let handle = thread::spawn(move || {
        let (mut seen, mut answered) = (Vec::new(), false);
        loop {
            match receiver.recv_timeout(Duration::from_millis(10)) {
                Ok(()) => answered = true,
                Err(mpsc::RecvTimeoutError::Disconnected) => return seen,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let info = xtask::http::post(&address, "jobs/get_light", &json!({ "id": job })).unwrap();
            seen.push((info["job"]["status"].as_str().unwrap().to_owned(), answered));
        }
    });
    (sender, handle)
}

fn take(ground: &Ground, step: &Value, run: &mut Run) {
    if let Some(kind) = step["ground"].as_str() {
        assert_eq!(kind, "sample_to_sqlite");
        run.variables.insert("WS".into(), ground.workspace.clone());
        run.variables.insert("SRC".into(), ground.source.clone());
        run.variables.insert("DST".into(), ground.destination.clone());
    } else if let Some(operation) = step["api"].as_str() {
        let body = fill(ground, &step["body"], run);
        let began = std::time::Instant::now();
        let (status, body) = ground.server().request(operation, &body).unwrap();
        let answer = Answer { status, body, millis: began.elapsed().as_millis() };
        for (name, path) in step["save"].as_object().into_iter().flatten() {
            let value = at(&answer.body, path.as_str().unwrap());
            run.variables.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Some(name) = step["name"].as_str() {
            run.answers.insert(name.to_owned(), answer);
        }
    } else if step["edit"] == "SRC" {
        let count = step["note"].as_str().unwrap().trim_start_matches("count ").parse().unwrap();
        ground.configure(sample(count));
    } else if let Some(millis) = step["sleep_ms"].as_u64() {
        pause(Duration::from_millis(millis));
    } else if let Some(connection) = step["sync"].as_str() {
        let Value::String(connection) = fill(ground, &json!(connection), run) else { panic!("no connection") };
        run.jobs.push(ground.sync(&connection));
    } else {
        panic!("unknown step {step}");
    }
}

/// Puts saved values in; `${CATALOG:users}` is the discovered catalog with that stream only. `${...}` of other names stays.
fn fill(ground: &Ground, value: &Value, run: &Run) -> Value {
    match value {
        Value::String(text) => {
            if let Some(stream) = text.strip_prefix("${CATALOG:").and_then(|rest| rest.strip_suffix('}')) {
                return json!({ "streams": ground.streams(&[(stream, "full_refresh", "overwrite")]) });
            }
            let mut text = text.clone();
            for (name, value) in &run.variables {
                text = text.replace(&format!("${{{name}}}"), value);
            }
            match text.parse::<i64>() {
                Ok(number) => json!(number),
                Err(_) => json!(text),
            }
        }
        Value::Array(items) => items.iter().map(|item| fill(ground, item, run)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), fill(ground, member, run))).collect()
        }
        other => other.clone(),
    }
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// Checks everything that is data; returns the conditions in words.
fn check(expected: &Value, run: &Run) -> Vec<Value> {
    let mut in_words = Vec::new();
    for check in expected.as_array().unwrap() {
        if let Some(number) = check["job"].as_u64() {
            // The first job of the case was started by an `api` step, the others by `sync` steps.
            let job = &run.jobs[usize::try_from(number).unwrap() - 2];
            assert_eq!(job.status, check["status"].as_str().unwrap(), "{job:#?}");
        } else if let Some(name) = check["fire_times"].as_str() {
            fire_times(&run.answers[name].body, check);
        } else if let Some(name) = check["api"].as_str() {
            answer(&run.answers[name], check, run);
            if check.get("body_is").is_some() {
                in_words.push(check.clone());
            }
        } else {
            in_words.push(check.clone());
        }
    }
    in_words
}

fn answer(answer: &Answer, check: &Value, run: &Run) {
    match &check["status"] {
        Value::Number(status) => assert_eq!(json!(answer.status), json!(status), "{check}: {}", answer.body),
        Value::Array(any) => assert!(any.contains(&json!(answer.status)), "{check}: {}", answer.body),
        _ => assert!(answer.status < 300, "{check}: {}", answer.body),
    }
    for (path, value) in check["body_has"].as_object().into_iter().flatten() {
        assert_eq!(at(&answer.body, path), value, "{check}");
    }
    if let Some(seconds) = check["within_s"].as_u64() {
        assert!(answer.millis <= u128::from(seconds) * 1000, "{check}: took {} ms", answer.millis);
    }
    let connections = answer.body["connections"].as_array();
    if let Some(ids) = check["ids"].as_array() {
        let found: Vec<&Value> = connections.unwrap().iter().map(|connection| &connection["connectionId"]).collect();
        let wanted: Vec<Value> =
            ids.iter().map(|id| json!(run.variables[id.as_str().unwrap().trim_matches(['$', '{', '}'])])).collect();
        assert_eq!(found, wanted.iter().collect::<Vec<_>>(), "{check}");
    }
    if let Some(count) = check["count"].as_u64() {
        assert_eq!(connections.unwrap().len() as u64, count, "{check}");
    }
}

fn fire_times(connection: &Value, check: &Value) {
    let cron = &connection["scheduleData"]["cron"];
    let text = |name: &str| cron[name].as_str().unwrap();
    let cron = schedule::Cron::parse(text("cronExpression"), text("cronTimeZone")).unwrap();
    let mut after = check["after"].as_str().unwrap().parse().unwrap();
    for expected in check["are"].as_array().unwrap() {
        after = cron.next_after(after).unwrap();
        assert_eq!(after, expected.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    }
}

#[test]
fn case_02_a_cron_zone_has_its_own_field() {
    let (expected, run) = run("02-cron-zone-in-its-own-field");
    assert_eq!(check(&expected, &run).len(), 2);
    let message = |name: &str| run.answers[name].body["message"].as_str().unwrap().to_owned();
    let pasted = message("pasted");
    for part in ["0 27 * * * ? * US/Pacific", "cronTimeZone", "6 or 7"] {
        assert!(pasted.contains(part), "{part}: {pasted}");
    }
    assert!(message("nowhere").contains("Mars/Olympus"));
}

#[test]
fn case_06_a_cancelled_job_stays_cancelled() {
    let (expected, run) = run("06-cancelled-stays-cancelled");
    assert_eq!(check(&expected, &run).len(), 4);
    for (status, after_cancel) in &run.statuses {
        let allowed: &[&str] = if *after_cancel { &["cancelled"] } else { &["pending", "running", "cancelled"] };
        assert!(allowed.contains(&status.as_str()), "{status} (after the cancel: {after_cancel})");
    }
    assert!(run.statuses.iter().any(|(status, _)| status == "running"));
    let listed = &run.answers["list"].body["jobs"][0];
    assert_eq!(listed["job"]["status"], "cancelled");
    assert_eq!(listed["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(listed["attempts"][0]["status"], "failed");
    let failure = &listed["attempts"][0]["failureSummary"]["failures"][0];
    assert_eq!(failure["failureType"], "manual_cancellation", "{listed}");
    assert_eq!(run.answers["last"].body.get("job"), None);
}

#[test]
fn case_08_search_finds_the_right_one() {
    let (expected, run) = run("08-search-finds-the-right-one");
    assert_eq!(check(&expected, &run).len(), 0);
}
