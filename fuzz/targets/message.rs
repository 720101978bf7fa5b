//! Any line as a message of the protocol: it is read or refused, and what was read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Message;

fuzz_target!(|line: &str| {
    let Ok(message) = Message::parse(line) else { return };
    let written = serde_json::to_string(&message).expect("a message can be written");
    let again = Message::parse(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("a message can be written"), written);
});
