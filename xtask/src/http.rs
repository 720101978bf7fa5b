//! As much HTTP as a chore needs: one JSON POST at a time to a server on this machine.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Sends one request and returns the status and the body.
pub fn request(address: &str, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("no server at {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let text = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer has no body")?;
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer has no status")?;
    let body = &answer[split + 4..];
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body)? } else { body.to_vec() };
    if body.is_empty() {
        return Ok((status, Value::Null));
    }
    Ok((status, serde_json::from_slice(&body).context("the answer is no JSON")?))
}

/// A call of `/api/v1/...` that must succeed.
pub fn post(address: &str, operation: &str, body: &Value) -> Result<Value> {
    let (status, answer) = request(address, "POST", &format!("/api/v1/{operation}"), Some(body))?;
    if !(200..300).contains(&status) {
        bail!("{operation} answered {status}: {answer}");
    }
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("a chunk has no size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size).context("a chunk is cut short")?);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
}
