//! What every row carries beside its own columns: its id, and the text of `_airbyte_meta`.

use std::fmt::Write as _;

/// The text of `_airbyte_meta`; changes are field, change and reason.
pub fn meta(job: i64, changes: &[(&str, &str, &str)]) -> String {
    let mut text = format!("{{\"sync_id\":{job},\"changes\":[");
    for (index, (field, change, reason)) in changes.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let field = serde_json::Value::from(*field);
        // Writing to a text cannot fail.
        let _ = write!(text, "{{\"field\":{field},\"change\":\"{change}\",\"reason\":\"{reason}\"}}");
    }
    text.push_str("]}");
    text
}

/// Random UUIDs (version 4) in a hurry: one true random number a batch, the rest by xoroshiro128++.
pub struct RowIds {
    state: (u64, u64),
    text: [u8; 36],
}

impl RowIds {
    pub fn new() -> Self {
        // Two version-4 UUIDs have enough random bits between them to fill the state.
        let seed = uuid::Uuid::new_v4().as_u64_pair().0.rotate_left(32) ^ uuid::Uuid::new_v4().as_u64_pair().1;
        let other = uuid::Uuid::new_v4().as_u64_pair().1 ^ uuid::Uuid::new_v4().as_u64_pair().0.rotate_left(32);
        Self { state: (seed, other | 1), text: [b'-'; 36] }
    }

    fn word(&mut self) -> u64 {
        let (a, mut b) = self.state;
        let word = a.wrapping_add(b).rotate_left(17).wrapping_add(a);
        b ^= a;
        self.state = (a.rotate_left(49) ^ b ^ (b << 21), b.rotate_left(28));
        word
    }

    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> &str {
        let high = self.word() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000;
        let low = self.word() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000;
        let id = uuid::Uuid::from_u64_pair(high, low);
        id.hyphenated().encode_lower(&mut self.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn row_ids_are_version_4_and_differ() {
        let mut ids = RowIds::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let id = ids.next().to_owned();
            assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
            assert!(seen.insert(id));
        }
    }
}
