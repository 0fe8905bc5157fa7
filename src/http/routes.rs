//! The table of routes: the router and the OpenAPI document are both made from it.

use super::{App, guard, handlers, import};
use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodRouter, delete, get, post, put},
};
use utoipa::openapi::HttpMethod;

pub struct Route {
    pub method: fn() -> HttpMethod,
    pub path: &'static str,
    pub summary: &'static str,
    /// Needs the bearer token.
    pub token: bool,
    pub body: Option<&'static str>,
    pub answer: Answer,
    pub serve: fn() -> MethodRouter<App>,
}

/// What comes back: names of schemas in `dots_clients::types`.
pub enum Answer {
    One(&'static str),
    /// (key of the list, item)
    List(&'static str, &'static str),
    Object,
    Text,
}

use Answer::{List, Object, One, Text};

const GET: fn() -> HttpMethod = || HttpMethod::Get;
const PUT: fn() -> HttpMethod = || HttpMethod::Put;
const POST: fn() -> HttpMethod = || HttpMethod::Post;
const DELETE: fn() -> HttpMethod = || HttpMethod::Delete;

const fn read(
    path: &'static str,
    summary: &'static str,
    token: bool,
    answer: Answer,
    serve: fn() -> MethodRouter<App>,
) -> Route {
    Route { method: GET, path, summary, token, body: None, answer, serve }
}
const fn change(
    method: fn() -> HttpMethod,
    path: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
    serve: fn() -> MethodRouter<App>,
) -> Route {
    Route { method, path, summary, token: true, body, answer: One("Changed"), serve }
}

pub const ROUTES: &[Route] = &[
    read("/healthz", "Whether the peer answers", false, Object, || get(handlers::health)),
    read("/metrics", "Counters, as OpenMetrics text", false, Text, || get(handlers::metrics)),
    read("/v1/openapi.json", "This document", false, Object, || get(handlers::openapi)),
    read("/v1/status", "The peer itself", false, One("Status"), || get(handlers::status)),
    read("/v1/peers", "Peers that this one knows", false, List("peers", "PeerInfo"), || get(handlers::peers)),
    // What names an account, or says that there is one, wants the token: everybody on this machine reaches the port.
    read("/v1/lookup/{aor}", "Where an address of record is", true, One("LookupInfo"), || {
        get(handlers::lookup)
    }),
    read("/v1/bindings", "Phones registered here", true, List("bindings", "BindingInfo"), || {
        get(handlers::bindings)
    }),
    read("/v1/calls", "Calls through this peer", true, List("calls", "CallInfo"), || get(handlers::calls)),
    read(
        "/v1/receipts",
        "Receipts of calls; ?verify=true checks each",
        true,
        List("receipts", "ReceiptInfo"),
        || get(handlers::receipts),
    ),
    read("/v1/accounts", "Accounts at this home", true, List("accounts", "AccountInfo"), || {
        get(handlers::accounts)
    }),
    change(
        PUT,
        "/v1/accounts/{aor}",
        "Make an account, or change its password",
        Some("AccountChange"),
        || put(handlers::account_put),
    ),
    change(DELETE, "/v1/accounts/{aor}", "Remove an account", None, || delete(handlers::account_remove)),
    Route {
        method: POST,
        path: "/v1/accounts/import",
        summary: "Many accounts at once: new ones, or ?replace=true; ?check=true stores nothing, ?ha1=true takes digests",
        token: true,
        body: Some("AccountImport"),
        answer: One("Imported"),
        serve: || post(import::account_import),
    },
    read("/v1/aliases", "Short names and what they dial", true, List("aliases", "AliasInfo"), || {
        get(handlers::aliases)
    }),
    change(PUT, "/v1/aliases/{alias}", "Make or change an alias", Some("AliasChange"), || {
        put(handlers::alias_put)
    }),
    change(DELETE, "/v1/aliases/{alias}", "Remove an alias", None, || delete(handlers::alias_remove)),
    read(
        "/v1/realms",
        "Realm names and whose they are believed to be",
        false,
        List("realms", "RealmInfo"),
        || get(handlers::realms),
    ),
    change(PUT, "/v1/realms/{name}", "Pin a realm name to a key", Some("RealmChange"), || {
        put(handlers::realm_pin)
    }),
    change(DELETE, "/v1/realms/{name}", "Forget what is believed of a realm name", None, || {
        delete(handlers::realm_forget)
    }),
];

pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let mut serve = (route.serve)();
        if route.token {
            serve = serve.route_layer(from_fn_with_state(app.clone(), guard::token));
        }
        router = router.route(route.path, serve);
    }
    let router = router.fallback(handlers::nothing).method_not_allowed_fallback(handlers::not_so);
    router
        .layer(from_fn_with_state(app.clone(), guard::host))
        .layer(from_fn(guard::refusals_in_json))
        .layer(from_fn(guard::no_scripts))
        .with_state(app)
}
