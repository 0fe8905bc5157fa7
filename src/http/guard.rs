//! Who may ask: the Host header, the token, and how many at once.

use super::{
    App,
    reply::{answer, problem},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use std::net::IpAddr;

/// The hosts that mean this API.
pub struct Hosts {
    pub bound: IpAddr,
    pub name: Option<String>,
}

impl Hosts {
    /// `header`: `localhost:8080`, `[::1]`, `192.0.2.1:80` (RFC 9110 §7.2).
    pub fn allow(&self, header: &str) -> bool {
        let host = match header.strip_prefix('[').and_then(|h| h.split_once(']')) {
            Some((ip, port)) if port.is_empty() || port.starts_with(':') => ip,
            Some(_) => return false,
            None => header.rsplit_once(':').map_or(header, |(host, _)| host),
        };
        match host.parse::<IpAddr>() {
            // Rebinding needs a name: an address in the header is the one that was connected to.
            Ok(ip) => ip.is_loopback() || ip == self.bound || self.bound.is_unspecified(),
            Err(_) => {
                let host = host.to_ascii_lowercase();
                host == "localhost" || self.name.as_ref() == Some(&host)
            }
        }
    }
}

/// Every request passes here first.
pub async fn host(State(app): State<App>, request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    if !named.is_some_and(|h| app.hosts.allow(h)) {
        return answer(problem(403, "this Host is not served here: use the address that `dots up` printed"));
    }
    match app.slots.clone().try_acquire_owned() {
        Ok(_slot) => next.run(request).await,
        Err(_) => answer(problem(503, "too many requests at once: try again in a moment")),
    }
}

/// Routes of the table that want the token.
pub async fn token(State(app): State<App>, request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_some_and(|t| same(t, &app.token)) {
        return next.run(request).await;
    }
    let reply = problem(401, "this needs `Authorization: Bearer` with the content of http.token");
    let mut response = answer(reply);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// In time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

/// Answers are data: a browser must not take one for a page.
pub async fn no_scripts(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let nosniff = header::HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Longest sentence of a refusal that is passed on.
const REFUSAL_MAX: usize = 1_024;

/// What the framework itself refuses (a path that is no UTF-8, a body that is too long) is answered in JSON like the rest.
pub async fn refusals_in_json(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).map(|k| k.as_bytes());
    if !response.status().is_client_error() || kind == Some(b"application/json") {
        return response;
    }
    let status = response.status().as_u16();
    let text = axum::body::to_bytes(response.into_body(), REFUSAL_MAX).await.unwrap_or_default();
    answer(problem(status, String::from_utf8_lossy(&text)))
}
