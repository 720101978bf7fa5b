//! `{"connections":[…]}`, written piece by piece: the catalogs of ten thousand connections never lie in memory at once.

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use control::{Control, Error, ErrorKind, connections::Connections};
use futures::stream;

use super::wire::ConnectionRead;

const HEAD: &str = r#"{"connections":["#;
const TAIL: &str = "]}";

/// The first piece is made before the answer begins, so that most troubles still get a status of their own.
pub async fn answer(control: Control, mut connections: Connections) -> Result<Response, Error> {
    let mut first = HEAD.as_bytes().to_vec();
    let is_last = !piece(&control, &mut connections, &mut first, true).await?;
    if is_last {
        first.extend_from_slice(TAIL.as_bytes());
        return Ok(([(header::CONTENT_TYPE, "application/json")], first).into_response());
    }
    let rest = stream::try_unfold(Some((control, connections)), |state| async move {
        let Some((control, mut connections)) = state else { return Ok(None) };
        let mut text = Vec::new();
        // An error here cuts the body off, which a client sees; the status is long gone.
        let more = piece(&control, &mut connections, &mut text, false).await.inspect_err(|error| {
            tracing::error!(code = error.code, "a list of connections broke off: {error}");
        })?;
        if more {
            return Ok(Some((Bytes::from(text), Some((control, connections)))));
        }
        text.extend_from_slice(TAIL.as_bytes());
        Ok(Some((Bytes::from(text), None)))
    });
    let body = stream::once(async move { Ok::<_, Error>(Bytes::from(first)) });
    let body = Body::from_stream(futures::StreamExt::chain(body, rest));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Writes the next few connections; false at the end.
async fn piece(
    control: &Control,
    connections: &mut Connections,
    text: &mut Vec<u8>,
    is_first: bool,
) -> Result<bool, Error> {
    let next = connections.next(control).await?;
    let more = !next.is_empty();
    for (index, (connection, catalog)) in next.into_iter().enumerate() {
        if !is_first || index > 0 {
            text.push(b',');
        }
        let read = ConnectionRead::of(connection, &catalog)?;
        serde_json::to_writer(&mut *text, &read).map_err(|error| {
            Error::new(ErrorKind::Internal, "unwritable_answer", "A connection cannot be written as JSON")
                .with_source(error)
        })?;
    }
    Ok(more)
}
