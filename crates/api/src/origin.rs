//! Keeps web pages of others away. A browser lets any page POST to this machine without asking, because no Content-Type is
//! needed here; it says so in `Origin`, which programs do not send. Only pages served from this machine may call.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use control::{Error, ErrorKind};

use crate::error::ApiError;

/// Refuses with 403 what a page from elsewhere sends.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    match request.headers().get(header::ORIGIN) {
        Some(origin) if !is_of_this_machine(origin) => {
            let error =
                Error::new(ErrorKind::Invalid, "foreign_origin", "A web page from elsewhere may not call this API.")
                    .with_hint("Call it from a program, or from a page that is served from localhost.");
            ApiError::with_status(StatusCode::FORBIDDEN, error).into_response()
        }
        _ => next.run(request).await,
    }
}

fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let Some(uri) = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok()) else { return false };
    let Some(host) = uri.host().filter(|_| uri.scheme().is_some()) else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_pass() {
        let cases = [
            ("http://localhost:8000", true),
            ("https://LOCALHOST", true),
            ("http://127.0.0.1:8000", true),
            ("http://[::1]:3000", true),
            ("https://example.org", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("http://10.0.0.1", false),
            ("null", false),
            ("localhost", false),
            ("", false),
        ];
        for (origin, expected) in cases {
            assert_eq!(is_of_this_machine(&HeaderValue::from_static(origin)), expected, "{origin}");
        }
    }
}
