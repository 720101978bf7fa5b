//! The configuration of the sample source: upstream's keys, bounds checked with the field's name in the message.

use connector::{Error, Result, config};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// More ids than anybody waits for; keeps arithmetic on ids far from overflow.
pub const MOST_ROWS: i64 = 1_000_000_000_000;

/// Made-up users, products and purchases.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(title = "Sample data")]
pub struct Config {
    /// How many users to make up, and how many purchases. Products are always 100.
    #[serde(default = "one_thousand")]
    #[schemars(title = "Count", range(min = 0, max = 1_000_000_000_000_i64), extend("order" = 0))]
    pub count: i64,

    /// The same seed gives the same rows. -1 draws a seed once and keeps it in the state.
    #[serde(default = "random")]
    #[schemars(title = "Seed", extend("order" = 1))]
    pub seed: i64,

    /// Rows between two states.
    #[serde(default = "one_thousand")]
    #[schemars(title = "Records per slice", range(min = 1, max = 1_000_000_000), extend("order" = 2))]
    pub records_per_slice: i64,

    /// On: each sync sends every row again, with a new `updated_at`. Off: rows never change, and a sync sends only ids
    /// that were not sent before.
    #[serde(default = "yes")]
    #[schemars(title = "Always updated", extend("order" = 3))]
    pub always_updated: bool,

    /// How many blocks of rows are made at the same time, at most one per processor.
    #[serde(default = "four")]
    #[schemars(title = "Parallelism", range(min = 1, max = 256), extend("order" = 4))]
    pub parallelism: i64,
}

fn one_thousand() -> i64 {
    1000
}

fn random() -> i64 {
    -1
}

fn four() -> i64 {
    4
}

fn yes() -> bool {
    true
}

impl Config {
    pub fn read(value: &Value) -> Result<Self> {
        let config: Self = config::parse(value)?;
        within("count", config.count, 0, MOST_ROWS)?;
        within("records_per_slice", config.records_per_slice, 1, 1_000_000_000)?;
        within("parallelism", config.parallelism, 1, 256)?;
        if config.seed < -1 {
            return Err(Error::config("Configuration field `seed` must be -1 (random) or at least 0"));
        }
        Ok(config)
    }
}

fn within(field: &str, value: i64, least: i64, most: i64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::config(format!("Configuration field `{field}` must be between {least} and {most}")))
}
