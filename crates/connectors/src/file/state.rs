//! Which files were read: `{"history": {"name": "time"}}`, as upstream's file sources keep it.

use std::collections::BTreeMap;

use connector::{Error, Result};
use protocol::{Json, StateMessage, StreamDescriptor};
use serde::{Deserialize, Serialize};

use super::files::{Found, stamp};

/// Files that are no longer there are remembered as long as no more than these are known.
const MOST_GONE: usize = 10_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default)]
    history: BTreeMap<String, String>,
}

impl History {
    pub fn read(stream: &StreamDescriptor, state: Option<&Json>) -> Result<Self> {
        let Some(json) = state.filter(|json| !json.is_null()) else { return Ok(Self::default()) };
        // serde would also read an array as the fields in their order.
        if !json.text().trim_start().starts_with('{') {
            return Err(bad(stream));
        }
        json.to().map_err(|error| bad(stream).with_source(error))
    }

    pub fn knows(&self, file: &Found) -> bool {
        self.history.get(&file.name).is_some_and(|time| *time == stamp(file.modified))
    }

    pub fn add(&mut self, file: &Found) {
        self.history.insert(file.name.clone(), stamp(file.modified));
    }

    /// Forgets the oldest files that are gone, so that the state does not grow for ever.
    pub fn forget(&mut self, there: &[Found]) {
        if self.history.len() <= MOST_GONE {
            return;
        }
        let there: std::collections::HashSet<&str> = there.iter().map(|file| file.name.as_str()).collect();
        let mut gone: Vec<(String, String)> = self
            .history
            .iter()
            .filter(|(name, _)| !there.contains(name.as_str()))
            .map(|(name, time)| (time.clone(), name.clone()))
            .collect();
        gone.sort();
        let surplus = self.history.len() - MOST_GONE;
        for (_, name) in gone.into_iter().take(surplus) {
            self.history.remove(&name);
        }
    }

    pub fn state(&self, stream: &StreamDescriptor) -> Result<StateMessage> {
        let json =
            Json::from_value(self).map_err(|error| Error::system("A state cannot be encoded").with_source(error))?;
        Ok(StateMessage::stream(stream.clone(), Some(json)))
    }
}

fn bad(stream: &StreamDescriptor) -> Error {
    Error::config(format!("The state of stream `{stream}` is not one of the file source"))
        .with_hint("Reset the stream, or set a state with the key history: file names and their times")
}
