//! One handler per route: read the request, ask the peer (or the account store), cut the page.

use super::{App, ask::problem, openapi, page};
use crate::{
    drivers::store::{self, Imported},
    peer::{
        account::Account,
        api::{Reply, Request},
    },
};
use axum::{
    body::Bytes,
    extract::{FromRequestParts, Path, Query, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use dots_clients::types::{AccountChange, AccountImport, AccountInfo, AliasChange, RealmChange, Status};
use dots_sip::address::realm_of;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// Accounts in one import; the client sends the next ones in the next request.
pub const IMPORT_MAX: usize = dots_clients::Client::IMPORT_MAX;

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

pub fn answer(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(reply.body)).into_response()
}

pub async fn health(State(app): State<App>) -> Response {
    let reply = app.api.ask(Request::Status).await;
    match reply.status {
        200 => answer(Reply { status: 200, body: json!({ "ok": true }) }),
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

pub async fn openapi() -> Response {
    answer(Reply { status: 200, body: openapi::document() })
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
    match read::<AliasChange>(&body) {
        Ok(change) => answer(app.api.ask(Request::AliasPut { alias, target: change.target }).await),
        Err(reply) => answer(reply),
    }
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
    let known = match store::canonical(&aor) {
        Ok(aor) => {
            let store = app.accounts.clone();
            blocking(move || store.get(&aor)).await
        }
        Err(e) => Err(problem(400, e.to_string())),
    };
    let roaming = match known {
        Ok(known) => change.roaming.unwrap_or(known.is_none_or(|account| account.roaming)),
        Err(reply) => return answer(reply),
    };
    match store::account(&aor, &change.password, roaming, now_ms()) {
        Ok(account) => answer(app.api.ask(Request::AccountPut { account }).await),
        Err(e) => answer(problem(400, e.to_string())),
    }
}

pub async fn account_remove(State(app): State<App>, Path(aor): Path<String>) -> Response {
    match store::canonical(&aor) {
        Ok(aor) => answer(app.api.ask(Request::AccountRemove { aor }).await),
        Err(e) => answer(problem(400, e.to_string())),
    }
}

/// New accounts go to the store with one sync, and what is there as it is already is left alone; a changed password is the
/// peer's business, for it voids grants.
pub async fn account_import(State(app): State<App>, body: Bytes) -> Response {
    let import = match read::<AccountImport>(&body) {
        Ok(import) if import.accounts.len() <= IMPORT_MAX => import,
        Ok(_) => return answer(problem(413, format!("at most {IMPORT_MAX} accounts in one import"))),
        Err(reply) => return answer(reply),
    };
    let status = app.api.ask(Request::Status).await;
    if status.status >= 300 {
        return answer(status);
    }
    let own = serde_json::from_value::<Status>(status.body).unwrap_or_default().realms;
    let is_own = |account: &Account| own.iter().any(|realm| realm_of(&account.aor) == realm);
    let mut accounts = Vec::with_capacity(import.accounts.len());
    for (i, change) in import.accounts.iter().enumerate() {
        let aor = change.aor.as_deref().unwrap_or_default();
        match store::account(aor, &change.password, change.roaming.unwrap_or(true), now_ms()) {
            Ok(account) if is_own(&account) => {
                accounts.push(Imported { account, keeps_roaming: change.roaming.is_none() });
            }
            Ok(_) => {
                let why = "this peer is not home of that realm; start it with --realm; none was imported";
                return answer(problem(400, format!("account {}: {aor}: {why}", i + 1)));
            }
            Err(e) => return answer(problem(400, format!("account {}: {e}; none was imported", i + 1))),
        }
    }
    let count = accounts.len();
    let store = app.accounts.clone();
    let stored = blocking(move || store.import(accounts, false));
    match stored.await {
        Err(reply) => answer(reply),
        Ok(changed) => {
            for account in changed {
                let reply = app.api.ask(Request::AccountPut { account }).await;
                if reply.status >= 300 {
                    return answer(reply);
                }
            }
            answer(Reply { status: 200, body: json!({ "imported": count }) })
        }
    }
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, store::StoreError> + Send + 'static,
) -> Result<T, Reply> {
    match tokio::task::spawn_blocking(f).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(problem(500, e.to_string())),
        Err(_) => Err(problem(500, "the account store failed")),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|e| problem(400, format!("the body is not what is wanted: {e}")))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub async fn nothing() -> Response {
    answer(problem(404, "there is no such path; /v1/openapi.json lists them"))
}
pub async fn not_so() -> Response {
    answer(problem(405, "that method is not for this path; /v1/openapi.json lists them"))
}
