//! One handler per route: read the request, ask the peer (or the account store, for a list), cut the page.

use super::{
    App, page,
    reply::{answer, good, problem},
};
use crate::{
    drivers::store,
    peer::api::{Password, Reply, Request},
};
use axum::{
    body::Bytes,
    extract::{FromRequestParts, Path, Query, State},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use dots_clients::types::{AccountChange, AccountInfo, AliasChange, AliasInfo, RealmChange, Status};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// `?limit=&after=`, or a sentence about what is wrong with them.
pub struct Paged(page::Query);

impl<S: Send + Sync> FromRequestParts<S> for Paged {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Paged, Response> {
        match Query::<page::Query>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Paged(query)),
            Err(e) => {
                Err(answer(problem(400, format!("{}: ?limit=N&after=CURSOR is wanted", e.body_text()))))
            }
        }
    }
}

pub async fn health(State(app): State<App>) -> Response {
    let reply = app.api.ask(Request::Status).await;
    match reply.status {
        200 => answer(good(&json!({ "ok": true }))),
        _ => answer(problem(503, "the peer does not answer")),
    }
}

pub async fn metrics(State(app): State<App>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let now = app.api.ask(Request::Status).await.body;
    for level in ["peers", "bindings", "directory", "calls_active", "receipts"] {
        if let Some(value) = now.get(level).and_then(serde_json::Value::as_i64) {
            app.metrics.level(level, value);
        }
    }
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}

pub async fn openapi(State(app): State<App>) -> Response {
    answer(Reply { status: 200, body: (*app.document).clone() })
}

pub async fn status(State(app): State<App>) -> Response {
    answer(app.api.ask(Request::Status).await)
}

pub async fn lookup(State(app): State<App>, Path(aor): Path<String>) -> Response {
    match store::canonical(&aor) {
        Ok(aor) => answer(app.api.ask(Request::Lookup { aor }).await),
        Err(e) => answer(problem(400, e.to_string())),
    }
}

pub async fn peers(State(app): State<App>, Paged(q): Paged) -> Response {
    paged(&app, Request::Peers, "peers", &["peer_id"], &q).await
}
pub async fn bindings(State(app): State<App>, Paged(q): Paged) -> Response {
    paged(&app, Request::Bindings, "bindings", &["aor", "instance"], &q).await
}
pub async fn calls(State(app): State<App>, Paged(q): Paged) -> Response {
    paged(&app, Request::Calls, "calls", &["started_at_ms", "call_id"], &q).await
}
pub async fn receipts(State(app): State<App>, Paged(q): Paged) -> Response {
    let request = Request::Receipts { verify: q.verify };
    paged(&app, request, "receipts", &["start_ms", "call_id"], &q).await
}
pub async fn aliases(State(app): State<App>, Paged(q): Paged) -> Response {
    paged(&app, Request::Aliases, "aliases", &["alias"], &q).await
}
pub async fn realms(State(app): State<App>, Paged(q): Paged) -> Response {
    paged(&app, Request::Realms, "realms", &["name"], &q).await
}

async fn paged(app: &App, request: Request, key: &str, by: &[&str], query: &page::Query) -> Response {
    answer(page::cut(app.api.ask(request).await, key, by, query))
}

pub async fn alias_put(State(app): State<App>, Path(alias): Path<String>, body: Bytes) -> Response {
    let change = match read::<AliasChange>(&body) {
        Ok(change) => change,
        Err(reply) => return answer(reply),
    };
    answer(app.api.ask(Request::AliasPut { alias, target: change.target }).await)
}
pub async fn alias_remove(State(app): State<App>, Path(alias): Path<String>) -> Response {
    answer(app.api.ask(Request::AliasRemove { alias }).await)
}
pub async fn realm_pin(State(app): State<App>, Path(name): Path<String>, body: Bytes) -> Response {
    match read::<RealmChange>(&body) {
        Ok(change) => answer(app.api.ask(Request::RealmPin { name, key: change.key }).await),
        Err(reply) => answer(reply),
    }
}
pub async fn realm_forget(State(app): State<App>, Path(name): Path<String>) -> Response {
    answer(app.api.ask(Request::RealmForget { name }).await)
}

/// From the store itself: the peer need not copy 100,000 accounts to show a hundred.
pub async fn accounts(State(app): State<App>, Paged(q): Paged) -> Response {
    let limit = q.limit();
    let found = blocking(move || app.accounts.list(q.after.as_deref(), limit + 1)).await;
    let mut found = match found {
        Ok(found) => found,
        Err(reply) => return answer(reply),
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|a| a.aor.clone());
    let items = found
        .into_iter()
        .map(|a| json!(AccountInfo { aor: a.aor, roaming: a.roaming, changed_at_ms: a.changed_at_ms }));
    answer(page::list("accounts", items.collect(), next))
}

pub async fn account_put(State(app): State<App>, Path(aor): Path<String>, body: Bytes) -> Response {
    let change = match read::<AccountChange>(&body) {
        Ok(change) => change,
        Err(reply) => return answer(reply),
    };
    let (password, roaming) = (Password(change.password), change.roaming);
    answer(app.api.ask(Request::AccountWanted { aor, password, roaming }).await)
}

pub async fn account_remove(State(app): State<App>, Path(aor): Path<String>) -> Response {
    answer(app.api.ask(Request::AccountRemove { aor }).await)
}

/// Realms of which this peer is home, the default one first, and its aliases.
pub async fn own(app: &App) -> Result<(Vec<String>, BTreeMap<String, String>), Reply> {
    let status = asked::<Status>(app, Request::Status).await?;
    let aliases = asked::<Vec<AliasInfo>>(app, Request::Aliases).await?;
    Ok((status.realms, aliases.into_iter().map(|a| (a.alias, a.target)).collect()))
}

async fn asked<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Reply> {
    let reply = app.api.ask(request).await;
    if reply.status >= 300 {
        return Err(reply);
    }
    serde_json::from_value(reply.body).map_err(|e| problem(500, format!("the peer's answer: {e}")))
}

pub async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, store::StoreError> + Send + 'static,
) -> Result<T, Reply> {
    match tokio::task::spawn_blocking(f).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(problem(500, e.to_string())),
        Err(_) => Err(problem(500, "the account store failed")),
    }
}

pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|e| problem(400, format!("the body is not what is wanted: {e}")))
}

pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub async fn nothing() -> Response {
    answer(problem(404, "there is no such path; /v1/openapi.json lists them"))
}
pub async fn not_so() -> Response {
    answer(problem(405, "that method is not for this path; /v1/openapi.json lists them"))
}
