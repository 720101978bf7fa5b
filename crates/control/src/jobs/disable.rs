//! When a connection that keeps failing is switched off: both 30 failed jobs in a row and 7 days without a success, as
//! today's server does. Cancelled jobs do not count.

/// Failed jobs in a row.
pub(crate) const FAILURES: i64 = 30;
const WITHOUT_SUCCESS_MS: i64 = 7 * 24 * 3_600_000;

/// `without_success_since_ms`: the last success, else the first job; epoch milliseconds.
pub fn is_hopeless(failed_in_a_row: i64, without_success_since_ms: i64, now_ms: i64) -> bool {
    failed_in_a_row >= FAILURES && now_ms.saturating_sub(without_success_since_ms) >= WITHOUT_SUCCESS_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_must_hold() {
        let now = 1_000 * WITHOUT_SUCCESS_MS;
        for (failures, since, hopeless) in [
            (30, now - WITHOUT_SUCCESS_MS, true),
            (29, now - WITHOUT_SUCCESS_MS, false),
            (300, now - WITHOUT_SUCCESS_MS + 1, false),
            (30, i64::MIN, true),
            (0, 0, false),
        ] {
            assert_eq!(is_hopeless(failures, since, now), hopeless, "{failures} since {since}");
        }
    }
}
