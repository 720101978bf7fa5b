//! Named points at which a test kills or pauses the real process, and bugs that a test plants to see itself turn red.
//!
//! Compiled in only with the feature `failpoints`; without it both functions are empty. `LEAT_FAILPOINT=NAME[:N]` kills the
//! process (SIGKILL) when the point is met for the N-th time, `LEAT_FAILPOINT=NAME[:N]=stop` pauses it (SIGSTOP);
//! `LEAT_FAILPOINT_LOG` is a file that gets one line first, so that a test can prove where the process died.
//! `LEAT_PLANT=NAME` switches a planted bug on.

/// A point of the checkpoint protocol at which a process may die.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_name: &str) {}

/// Whether a test planted this bug.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn planted(_name: &str) -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use armed::{planted, point};

#[cfg(feature = "failpoints")]
mod armed {
    use std::{
        env, fs,
        io::Write,
        process::{self, Command},
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    };

    struct Armed {
        name: String,
        hit: u64,
        signal: &'static str,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = env::var("LEAT_FAILPOINT").ok()?;
        let (text, signal) = match text.strip_suffix("=stop") {
            Some(rest) => (rest, "-STOP"),
            None => (text.as_str(), "-KILL"),
        };
        let (name, hit) = text.split_once(':').unwrap_or((text, "1"));
        Some(Armed { name: name.to_owned(), hit: hit.parse().unwrap_or(1), signal })
    });
    static HITS: AtomicU64 = AtomicU64::new(0);
    static PLANTED: LazyLock<Option<String>> = LazyLock::new(|| env::var("LEAT_PLANT").ok());

    pub fn point(name: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        if HITS.fetch_add(1, Ordering::SeqCst) + 1 != armed.hit {
            return;
        }
        if let Some(mut log) = env::var_os("LEAT_FAILPOINT_LOG")
            .and_then(|path| fs::OpenOptions::new().create(true).append(true).open(path).ok())
        {
            let _ = writeln!(log, "{name}");
            let _ = log.sync_all();
        }
        let _ = Command::new("kill").args([armed.signal, &process::id().to_string()]).status();
        // SIGKILL is on its way; after a pause the caller goes on from here.
        if armed.signal == "-KILL" {
            #[allow(clippy::disallowed_methods)]
            thread::sleep(Duration::from_secs(60));
        }
    }

    pub fn planted(name: &str) -> bool {
        PLANTED.as_deref() == Some(name)
    }
}
