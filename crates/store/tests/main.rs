//! One suite, run on both back ends: every test is an async function over a [`TestStore`], named in its module's
//! `on_both!` list. What only one back end has (files, advisory locks) has tests of its own in `opening` and `workers`.
#![allow(clippy::unwrap_used)]

/// Makes a test per name and back end out of async functions that take a `TestStore`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(store::testing::TestStore::new(store::Backend::Sqlite).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(store::testing::TestStore::new(store::Backend::Postgres).await).await;
            })*
        }
    };
}

mod claims;
mod corrupt;
mod fixture;
mod jobs;
mod ledger;
mod logs;
mod opening;
mod rows;
mod secrets;
mod workers;
mod writers;
