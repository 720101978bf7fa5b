//! From a JSON value to a [`File`], member by member, so that every error names its place.

use std::path::PathBuf;

use control::connections::{
    ConnectionStatus, CronText, Interval, NamespaceDefinition, ResourceRequirements, ScheduleKind, ScheduleRequest,
    TimeUnit, resources,
};
use serde_json::{Map, Value};

use super::{Actor, Connection, Connector, File, Mode, Refused, StreamEntry};

type Result<T> = std::result::Result<T, Refused>;

pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The known word that is most like this one, if it is like it at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, known), known));
    let (distance, best) = rated.min_by_key(|(distance, _)| *distance)?;
    (distance <= best.len().max(word.len()).div_ceil(3)).then_some(best)
}

fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(word, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<_> = known.into_iter().map(|known| format!("`{known}`")).collect();
    if all.is_empty() { "there are none".to_owned() } else { format!("known are {}", all.join(", ")) }
}

/// The members of an object that are still to be read.
struct Members {
    path: String,
    members: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Members {
    fn of(path: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(members) => Ok(Self { path: path.to_owned(), members, asked: Vec::new() }),
            _ if path.is_empty() => Err(Refused("must hold `sources`, `destinations` and `connections`".to_owned())),
            _ => Err(Refused(format!("{path}: must hold names and values"))),
        }
    }

    /// Null counts as absent.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    fn require(&mut self, name: &'static str) -> Result<Value> {
        if let Some(value) = self.take(name) {
            return Ok(value);
        }
        // Misspelled rather than forgotten.
        let misspelled = self.members.keys().find(|member| nearest(member, [name]).is_some());
        Err(match misspelled {
            Some(member) => Refused(format!("{}: is not known; did you mean `{name}`?", join(&self.path, member))),
            None => Refused(format!("{}: is missing", join(&self.path, name))),
        })
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let path = join(&self.path, name);
        self.take(name).map(|value| text(value, &path)).transpose()
    }

    /// Refuses what nobody asked for.
    fn end(self) -> Result<()> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(name) => {
                let near = did_you_mean(name, self.asked.iter().copied());
                Err(Refused(format!("{}: is not known; {near}", join(&self.path, name))))
            }
        }
    }
}

fn text(value: Value, path: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Refused(format!("{path}: must be a text; put it into quotes"))),
    }
}

fn list(value: Value, path: &str) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        Value::String(_) => Ok(vec![value]),
        _ => Err(Refused(format!("{path}: must be a list"))),
    }
}

fn texts(value: Value, path: &str) -> Result<Vec<String>> {
    list(value, path)?.into_iter().enumerate().map(|(index, item)| text(item, &format!("{path}[{index}]"))).collect()
}

/// One of these words.
fn word<T: Copy>(text: &str, path: &str, known: &[(&'static str, T)]) -> Result<T> {
    match known.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let near = did_you_mean(text, known.iter().map(|(word, _)| *word));
            Err(Refused(format!("{path}: `{text}` is not known; {near}")))
        }
    }
}

pub fn file(value: Value, folder: PathBuf) -> Result<File> {
    let mut members = Members::of("", value)?;
    let sources = actors(members.require("sources")?, "sources")?;
    let destinations = actors(members.require("destinations")?, "destinations")?;
    let given = members.require("connections")?;
    members.end()?;
    let mut connections = Vec::new();
    for (name, value) in Members::of("connections", given)?.members {
        connections.push(connection(name, value, &sources, &destinations)?);
    }
    Ok(File { folder, sources, destinations, connections })
}

fn actors(value: Value, path: &str) -> Result<Vec<Actor>> {
    let mut actors = Vec::new();
    for (name, value) in Members::of(path, value)?.members {
        let mut members = Members::of(&join(path, &name), value)?;
        let connector_path = join(&members.path, "connector");
        let connector = connector(&text(members.require("connector")?, &connector_path)?, &connector_path)?;
        let config = members.take("config").unwrap_or_else(|| Value::Object(Map::new()));
        if !config.is_object() {
            return Err(Refused(format!("{}: must hold names and values", join(&members.path, "config"))));
        }
        members.end()?;
        actors.push(Actor { name, connector, config });
    }
    Ok(actors)
}

fn connector(word: &str, path: &str) -> Result<Connector> {
    let (kind, rest) = match word.split_once(':') {
        None => return Ok(Connector::Native(word.to_owned())),
        Some(parts) => parts,
    };
    if rest.trim().is_empty() {
        return Err(Refused(format!("{path}: something must follow `{kind}:`")));
    }
    match kind {
        "exec" => Ok(Connector::Exec(rest.to_owned())),
        "python" => Ok(Connector::Python(rest.to_owned())),
        "image" | "manifest" => Err(Refused(format!("{path}: `{kind}:` cannot be run yet; use `exec:` or `python:`"))),
        _ => Err(Refused(format!("{path}: `{kind}:` is not known; known are `exec:`, `python:` and native names"))),
    }
}

fn connection(name: String, value: Value, sources: &[Actor], destinations: &[Actor]) -> Result<Connection> {
    let mut members = Members::of(&join("connections", &name), value)?;
    let path = members.path.clone();
    let at = |member: &str| join(&path, member);
    let source = actor_name(members.require("source")?, &at("source"), "source", sources)?;
    let destination = actor_name(members.require("destination")?, &at("destination"), "destination", destinations)?;
    if let Some(value) = members.take("schedule") {
        check_schedule(value, &at("schedule"))?;
    }
    let status = match members.text("status")? {
        None => ConnectionStatus::Active,
        Some(text) => {
            let known = [("active", ConnectionStatus::Active), ("inactive", ConnectionStatus::Inactive)];
            word(&text, &at("status"), &known)?
        }
    };
    let namespace = match members.text("namespace")? {
        None => NamespaceDefinition::Source,
        Some(text) => {
            let known = [
                ("source", NamespaceDefinition::Source),
                ("destination", NamespaceDefinition::Destination),
                ("custom", NamespaceDefinition::Customformat),
            ];
            word(&text, &at("namespace"), &known)?
        }
    };
    let namespace_format = members.text("namespace_format")?;
    if (namespace == NamespaceDefinition::Customformat) != namespace_format.is_some() {
        let message = "goes together with `namespace: custom`, and only with it";
        return Err(Refused(format!("{}: {message}", at("namespace_format"))));
    }
    let prefix = members.text("prefix")?;
    let resources = match members.take("resources") {
        None => ResourceRequirements::default(),
        Some(value) => requirements(value, &at("resources"))?,
    };
    // What a server shows. Here a connection is known by its key: a new title must not cost its state.
    members.text("name")?;
    let streams = match members.take("streams") {
        None => None,
        Some(value) => {
            let path = at("streams");
            let entries = list(value, &path)?.into_iter().enumerate();
            Some(entries.map(|(index, value)| stream(value, &format!("{path}[{index}]"))).collect::<Result<_>>()?)
        }
    };
    members.end()?;
    Ok(Connection { name, source, destination, status, prefix, namespace, namespace_format, resources, streams })
}

fn actor_name(value: Value, path: &str, kind: &str, actors: &[Actor]) -> Result<String> {
    let name = text(value, path)?;
    if actors.iter().any(|actor| actor.name == name) {
        return Ok(name);
    }
    let near = did_you_mean(&name, actors.iter().map(|actor| actor.name.as_str()));
    Err(Refused(format!("{path}: there is no {kind} `{name}`; {near}")))
}

/// A schedule is for a server; here it only has to make sense.
fn check_schedule(value: Value, path: &str) -> Result<()> {
    let mut members = Members::of(path, value)?;
    let every = members.text("every")?;
    let cron = members.text("cron")?;
    let zone = members.text("zone")?;
    members.end()?;
    let request = match (every, cron) {
        (Some(every), None) if zone.is_none() => {
            let interval = interval(&every, &join(path, "every"))?;
            ScheduleRequest { kind: Some(ScheduleKind::Basic), basic: Some(interval), ..ScheduleRequest::default() }
        }
        (None, Some(expression)) => {
            let cron = CronText { expression, zone: zone.unwrap_or_else(|| "UTC".to_owned()) };
            ScheduleRequest { kind: Some(ScheduleKind::Cron), cron: Some(cron), ..ScheduleRequest::default() }
        }
        _ => return Err(Refused(format!("{path}: give either `every`, as in `6 hours`, or `cron` with its `zone`"))),
    };
    match request.for_create() {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = error.violations.first().map_or(error.message.as_str(), |violation| &violation.message);
            Err(Refused(format!("{path}: {why}")))
        }
    }
}

fn interval(text: &str, path: &str) -> Result<Interval> {
    let units = [
        ("minutes", TimeUnit::Minutes),
        ("minute", TimeUnit::Minutes),
        ("hours", TimeUnit::Hours),
        ("hour", TimeUnit::Hours),
        ("days", TimeUnit::Days),
        ("day", TimeUnit::Days),
        ("weeks", TimeUnit::Weeks),
        ("week", TimeUnit::Weeks),
        ("months", TimeUnit::Months),
        ("month", TimeUnit::Months),
    ];
    let parts: Vec<&str> = text.split_whitespace().collect();
    let (number, unit) = match parts.as_slice() {
        [unit] => ("1", *unit),
        [number, unit] => (*number, *unit),
        _ => return Err(Refused(format!("{path}: must be a number and a unit, as in `6 hours`"))),
    };
    let number = number.parse().map_err(|_| Refused(format!("{path}: `{number}` is not a whole number")))?;
    Ok(Interval { units: number, unit: word(unit, path, &units)? })
}

fn requirements(value: Value, path: &str) -> Result<ResourceRequirements> {
    let mut members = Members::of(path, value)?;
    let requirements = ResourceRequirements {
        cpu_request: members.text("cpu_request")?,
        cpu_limit: members.text("cpu_limit")?,
        memory_request: members.text("memory_request")?,
        memory_limit: members.text("memory_limit")?,
    };
    members.end()?;
    resources::check(&requirements).map_err(|error| Refused(format!("{path}: {error}")))?;
    Ok(requirements)
}

fn stream(value: Value, path: &str) -> Result<StreamEntry> {
    // A name alone is enough.
    let value = match value {
        Value::String(name) => Value::Object(Map::from_iter([("name".to_owned(), Value::String(name))])),
        other => other,
    };
    let mut members = Members::of(path, value)?;
    let at = |member: &str| join(path, member);
    let name = text(members.require("name")?, &at("name"))?;
    let namespace = members.text("namespace")?;
    let mode = match members.text("mode")? {
        None => Mode::DEFAULT,
        Some(text) => word(&text, &at("mode"), &Mode::ALL)?,
    };
    let cursor = members.take("cursor").map(|value| texts(value, &at("cursor"))).transpose()?;
    let key = match members.take("key") {
        None => None,
        Some(value) => {
            let path = at("key");
            let parts = list(value, &path)?.into_iter().enumerate();
            Some(parts.map(|(index, part)| texts(part, &format!("{path}[{index}]"))).collect::<Result<_>>()?)
        }
    };
    let fields = members.take("fields").map(|value| texts(value, &at("fields"))).transpose()?;
    members.end()?;
    Ok(StreamEntry { name, namespace, mode, cursor, key, fields })
}
