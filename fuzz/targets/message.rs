//! Any line as a message of the protocol: it is read or refused, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Message;

fuzz_target!(|line: &str| {
    let Ok(message) = Message::parse(line) else { return };
    let written = serde_json::to_string(&message).expect("a message can be written");
    // Not compared as text: a double in an unknown property may lose its last digit each time.
    let again = Message::parse(&written).expect("what was written can be read");
    assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&message));
});
