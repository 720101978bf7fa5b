//! The streams of a connection: its entries, matched against what the source offers.

use control::catalog::{RequestedCatalog, RequestedConfig, RequestedEntry};
use protocol::{Catalog, Stream};

use super::{Connection, Mode, Refused, StreamEntry, nearest};

/// The catalog to sync, in the order of the source, and remarks for the user. The first entry that fits a stream counts.
pub fn catalog(connection: &Connection, offered: &Catalog) -> Result<(RequestedCatalog, Vec<String>), Refused> {
    let mut catalog = RequestedCatalog::default();
    let mut remarks = Vec::new();
    let Some(entries) = &connection.streams else {
        for stream in &offered.streams {
            catalog.streams.push(RequestedEntry { stream: stream.clone(), config: config(Mode::DEFAULT, None) });
        }
        if catalog.streams.is_empty() {
            remarks.push(format!("source `{}` has no streams", connection.source));
        }
        return Ok((catalog, remarks));
    };
    for (index, entry) in entries.iter().enumerate() {
        if offered.streams.iter().any(|stream| fits(entry, stream)) {
            continue;
        }
        let place = format!("connections.{}.streams[{index}]", connection.name);
        if entry.name.contains(['*', '?']) {
            remarks.push(format!("{place}: no stream is named like `{}` now", entry.name));
            continue;
        }
        let names = offered.streams.iter().map(|stream| stream.descriptor.name.as_str());
        let near = match nearest(&entry.name, names) {
            Some(near) if near == entry.name => "it is there, but in another namespace".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => "`leat discover FILE SOURCE` lists what there is".to_owned(),
        };
        let namespace = entry.namespace.as_ref().map(|namespace| format!(" in namespace `{namespace}`"));
        return Err(Refused(format!(
            "{place}: source `{}` has no stream `{}`{}; {near}",
            connection.source,
            entry.name,
            namespace.unwrap_or_default()
        )));
    }
    for stream in &offered.streams {
        if let Some(entry) = entries.iter().find(|entry| fits(entry, stream)) {
            let config = config(entry.mode, Some(entry));
            catalog.streams.push(RequestedEntry { stream: stream.clone(), config });
        }
    }
    Ok((catalog, remarks))
}

fn config(mode: Mode, entry: Option<&StreamEntry>) -> RequestedConfig {
    let fields = entry.and_then(|entry| entry.fields.as_ref());
    RequestedConfig {
        sync_mode: mode.sync,
        destination_sync_mode: mode.destination,
        cursor_field: entry.and_then(|entry| entry.cursor.clone()),
        primary_key: entry.and_then(|entry| entry.key.clone()),
        selected: Some(true),
        field_selection_enabled: Some(fields.is_some()),
        selected_fields: fields.map(|fields| fields.iter().map(|field| vec![field.clone()]).collect()),
    }
}

fn fits(entry: &StreamEntry, stream: &Stream) -> bool {
    let namespace = stream.descriptor.namespace.as_deref().unwrap_or_default();
    is_like(&entry.name, &stream.descriptor.name)
        && entry.namespace.as_ref().is_none_or(|pattern| is_like(pattern, namespace))
}

/// `*` stands for any characters, `?` for one.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how far it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|expected| *expected == '?' || *expected == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, reach)) = star {
            p = at + 1;
            t = reach + 1;
            star = Some((at, reach + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}")
        };
        check("users", "users", true);
        check("users", "Users", false);
        check("audit_*", "audit_", true);
        check("audit_*", "audit_log", true);
        check("audit_*", "audit", false);
        check("*_*", "a_b_c", true);
        check("*b", "abab", true);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("**", "", true);
        check("", "", true);
        check("", "a", false);
    }
}
