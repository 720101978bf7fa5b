//! Rules that no lint knows: which crate may import which, how long a file may be, that every file says what it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The walls of ARCHITECTURE.md. A crate may also import what its imports may import.
const WALLS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("connector", &["protocol"]),
    ("connectors", &["connector"]),
    ("engine", &["connector"]),
    ("store", &["protocol"]),
    ("control", &["store"]),
    ("api", &["control"]),
    ("leat", &["api", "engine", "connectors"]),
    ("xtask", &[]),
];
/// Tests may start what they test against.
const TEST_ONLY: &[(&str, &str)] = &[("engine", "connectors"), ("api", "store"), ("leat", "xtask")];
const HARD_LIMIT: usize = 1000;
const VAGUE: &[&str] = &["utils", "util", "common", "types_", "helpers", "helper", "manager", "misc"];

pub fn run() -> Result<()> {
    let mut problems = Vec::new();
    edges(&mut problems)?;
    files(&mut problems)?;
    if problems.is_empty() {
        println!("tidy: crate edges, file sizes, module docs and names are in order");
        return Ok(());
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    bail!("{} problems", problems.len())
}

fn reachable(name: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let direct = WALLS.iter().find(|(crate_name, _)| *crate_name == name).map_or(&[][..], |(_, imports)| imports);
    for import in direct {
        found.insert(*import);
        found.extend(reachable(import));
    }
    found
}

fn edges(problems: &mut Vec<String>) -> Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .context("cargo metadata does not run")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata answers no JSON")?;
    let packages = metadata["packages"].as_array().context("no packages in cargo metadata")?;
    let names: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if !WALLS.iter().any(|(known, _)| *known == name) {
            problems.push(format!("crate `{name}` is not in the table of walls"));
            continue;
        }
        let allowed = reachable(name);
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let test_only = dependency["kind"] == "dev" && (TEST_ONLY.contains(&(name, target)) || target == name);
            if names.contains(target) && !allowed.contains(target) && !test_only {
                problems.push(format!("crate `{name}` may not import `{target}`"));
            }
        }
    }
    Ok(())
}

fn files(problems: &mut Vec<String>) -> Result<()> {
    let mut sources = Vec::new();
    for root in ["crates", "xtask"] {
        collect(Path::new(root), &mut sources)?;
    }
    let mut lengths: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for path in sources {
        let text = fs::read_to_string(&path)?;
        if !text.starts_with("//!") {
            problems.push(format!("{}: does not begin with `//!` (what, why, where to start)", path.display()));
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if VAGUE.contains(&stem) {
            problems.push(format!("{}: name the module after a word of the field", path.display()));
        }
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        lengths.insert(path, code.lines().count());
    }
    for (path, length) in lengths {
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if length > HARD_LIMIT && !is_test {
            problems.push(format!("{}: {length} lines, the hard limit is {HARD_LIMIT}", path.display()));
        }
    }
    Ok(())
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
