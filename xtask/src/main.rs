//! Chores of the repository: `cargo run -p xtask -- tidy | demo LEAT | bench LEAT`.

mod bench;
mod demo;
mod tidy;

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
enum Chore {
    /// Check crate edges, file sizes, module docs and names.
    Tidy,
    /// Run the main job with this binary, on an empty folder, and show it.
    Demo { leat: PathBuf },
    /// Measure this binary and print the figures.
    Bench {
        leat: PathBuf,
        /// Rows of the large sync.
        #[arg(long, default_value_t = 3_000_000)]
        rows: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Tidy => tidy::run(),
        Chore::Demo { leat } => demo::run(&leat),
        Chore::Bench { leat, rows } => bench::run(&leat, rows),
    }
}
