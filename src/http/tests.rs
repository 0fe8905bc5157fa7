use super::*;
use crate::peer::api::{Reply, Request};
use dots_clients::{Client, ClientError, types::*};
use dots_trust::accounts::account;
use serde_json::{Value, json};
use std::io::{Read, Write};
use tokio::net::TcpListener;

const TOKEN: &str = "0123456789abcdef";

/// The API on a real socket, before a peer that knows five phones and keeps accounts.
struct Served {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn served() -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let dir = tempfile::tempdir().expect("a dir");
    let accounts = Arc::new(AccountStore::open(dir.path()).expect("opens"));
    let metrics = Arc::new(Metrics::default());
    let (api, mut asked) = ApiHandle::channel();
    let store = accounts.clone();
    runtime.spawn(async move {
        while let Some((request, answer)) = asked.recv().await {
            let _ = answer.send(peer(&store, request));
        }
    });
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let app =
        App::new(api, accounts, metrics.clone(), TOKEN.into(), address, Some("Sip.Office.example".into()));
    runtime.spawn(serve(listener, app, std::future::pending()));
    Served { address, metrics, _dir: dir, _runtime: runtime }
}

fn peer(store: &AccountStore, request: Request) -> Reply {
    let phone =
        |n: u32| BindingInfo { aor: format!("u{n}@a.test"), instance: "i".into(), ..Default::default() };
    let body = match request {
        Request::Status => json!(Status {
            default_realm: "a.test".into(),
            realms: vec!["a.test".into()],
            ..Default::default()
        }),
        Request::Lookup { aor } => json!(LookupInfo { aor, ..Default::default() }),
        // Out of order, as a peer may.
        Request::Bindings => json!([phone(3), phone(1), phone(5), phone(2), phone(4)]),
        Request::Peers | Request::Calls | Request::Receipts { .. } | Request::Aliases | Request::Realms => {
            json!([])
        }
        Request::AccountWanted { aor, password, .. } => match account(&aor, &password.0, true, 1) {
            Ok(account) => json!(Changed { existed: store.put(&account).expect("put") }),
            Err(why) => return Reply::problem(400, why.to_string()),
        },
        Request::AccountPut { account } => json!(Changed { existed: store.put(&account).expect("put") }),
        Request::AccountRemove { aor } => json!(Changed { existed: store.remove(&aor, 1).expect("removed") }),
        _ => json!(Changed { existed: true }),
    };
    Reply { status: 200, body }
}

/// One raw request; (status, body).
fn raw(at: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(at).expect("listening");
    write!(stream, "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n")
        .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
    (status, text.split_once("\r\n\r\n").map(|(_, b)| b.to_owned()).unwrap_or_default())
}

#[test]
fn foreign_hosts_are_refused() {
    let s = served();
    let port = s.address.port();
    for (host, status) in [
        (format!("Host: 127.0.0.1:{port}\r\n"), 200),
        ("Host: localhost\r\n".into(), 200),
        ("Host: LOCALHOST:80\r\n".into(), 200),
        ("Host: [::1]:8080\r\n".into(), 200),
        ("Host: sip.office.example:1\r\n".into(), 200),
        ("Host: evil.example\r\n".into(), 403),
        ("Host: localhost.evil.example\r\n".into(), 403),
        ("Host: 192.0.2.1\r\n".into(), 403),
        ("Host: [::1]evil\r\n".into(), 403),
        ("Host: \r\n".into(), 403),
        (String::new(), 403),
    ] {
        assert_eq!(raw(s.address, "GET", "/v1/status", &host).0, status, "{host}");
    }
}

#[test]
fn the_table_the_router_and_the_document_are_one() {
    let s = served();
    let document = openapi::document(routes::ROUTES);
    let paths = document["paths"].as_object().expect("paths");
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (path, item) in paths {
        let concrete =
            path.replace("{aor}", "u1@a.test").replace("{alias}", "12").replace("{name}", "a.test");
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let told = item.get(method.to_ascii_lowercase());
            let (bare, _) = raw(s.address, method, &concrete, "Host: localhost\r\n");
            let Some(told) = told else {
                // `import` is also a name that an account's path takes.
                assert!(
                    bare == 405 || concrete.ends_with("/import"),
                    "{method} {path}: {bare}, undocumented"
                );
                continue;
            };
            let secured = told.get("security").is_some();
            assert_eq!(bare == 401, secured, "{method} {path}: {bare}");
            let with = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
            let (status, body) = raw(s.address, method, &concrete, &with);
            let wants_body = told.get("requestBody").is_some();
            assert_eq!(status, if wants_body { 400 } else { 200 }, "{method} {path}: {body}");
            if path != "/metrics" {
                let schema = if wants_body { "/responses/default" } else { "/responses/200" };
                let schema = told.pointer(&format!("{schema}/content/application~1json/schema"));
                holds(&body, schema.expect("a schema"), schemas);
            }
        }
    }
    let listed: usize = paths.values().map(|i| i.as_object().map_or(0, |o| o.len())).sum();
    assert_eq!(listed, routes::ROUTES.len());
    assert_eq!(raw(s.address, "GET", "/v1/nothing", "Host: localhost\r\n").0, 404);
}

/// Every field of the body is in the schema, and every required one in the body.
fn holds(body: &str, schema: &Value, schemas: &serde_json::Map<String, Value>) {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let schema = match schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        Some(name) => schemas.get(name).expect("a known schema"),
        None => schema,
    };
    let (Some(body), Some(properties)) = (body.as_object(), schema["properties"].as_object()) else { return };
    for field in body.keys() {
        assert!(properties.contains_key(field), "{field} is not in {properties:?}");
    }
    for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(body.contains_key(field), "{field} is missing in {body:?}");
    }
}

#[test]
fn pages_follow_each_other_and_the_token_is_wanted() {
    let s = served();
    let client = Client::new(s.address.to_string(), Some(TOKEN.into()));
    let names = |items: Vec<BindingInfo>| items.into_iter().map(|b| b.aor).collect::<Vec<_>>().join(" ");
    let one = client.page::<BindingInfo>("bindings", 2, None, "").expect("a page");
    let two = client.page::<BindingInfo>("bindings", 2, one.next.as_deref(), "").expect("a page");
    let three = client.page::<BindingInfo>("bindings", 2, two.next.as_deref(), "").expect("a page");
    assert_eq!(names(one.items), "u1@a.test u2@a.test");
    assert_eq!(names(two.items), "u3@a.test u4@a.test");
    assert_eq!((names(three.items), three.next), ("u5@a.test".into(), None));
    for token in [None, Some("0123456789abcdeF".to_owned())] {
        let stranger = Client::new(s.address.to_string(), token);
        assert!(stranger.status().is_ok() && stranger.healthy());
        for refused in [
            stranger.bindings().map(drop),
            stranger.account_remove("a@a.test").map(drop),
            stranger.aliases().map(drop),
            // Whether there is such an account or not.
            stranger.lookup("sip:u1@a.test").map(drop),
            stranger.lookup("sip:nobody@a.test").map(drop),
        ] {
            assert!(matches!(refused, Err(ClientError::Refused { status: 401, .. })));
        }
    }
}

#[test]
fn accounts_through_the_api() {
    let s = served();
    let client = Client::new(s.address.to_string(), Some(TOKEN.into()));
    assert!(!client.account_put("alice@A.test", "a password", true).expect("put").existed);
    assert!(client.account_put("alice@a.test", "another", false).expect("put").existed);
    assert!(client.account_put("alice", "no realm", true).is_err());
    let change =
        |n: u32| AccountChange { aor: Some(format!("u{n:04}@a.test")), password: "p".into(), roaming: None };
    client.account_import(&AccountImport { accounts: (0..1_500).map(change).collect() }).expect("imported");
    let foreign = AccountChange { aor: Some("mallory@b.test".into()), password: "p".into(), roaming: None };
    let refused = client.account_import(&AccountImport { accounts: vec![change(2_000), foreign] });
    assert!(refused.expect_err("this peer is not its home").to_string().contains("none was imported"));
    let names: Vec<String> = client.accounts().expect("listed").into_iter().map(|a| a.aor).collect();
    assert_eq!(
        (names.len(), names[0].as_str(), names[1500].as_str()),
        (1_501, "alice@a.test", "u1499@a.test")
    );
    assert!(client.account_remove("alice@a.test").expect("removed").existed);
    assert_eq!(client.lookup("sip:bob@a.test").expect("found").aor, "bob@a.test");
}

#[test]
fn what_is_counted_is_told() {
    let s = served();
    s.metrics.count("register_ok");
    s.metrics.count("register_ok");
    s.metrics.level("calls", 3);
    let (status, text) = raw(s.address, "GET", "/metrics", "Host: localhost\r\n");
    assert_eq!(status, 200);
    assert!(text.contains("dots_events_total{name=\"register_ok\"} 2"), "{text}");
    assert!(text.contains("dots_level{name=\"calls\"} 3"), "{text}");
}

#[test]
fn a_peer_that_is_gone_is_503() {
    let (api, asked) = ApiHandle::channel();
    drop(asked);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    assert_eq!(runtime.block_on(api.ask(Request::Status)).status, 503);
}

#[test]
fn a_limit_that_is_no_number_is_answered_with_a_sentence() {
    let s = served();
    let (status, body) = raw(s.address, "GET", "/v1/peers?limit=abc", "Host: localhost\r\n");
    assert_eq!(status, 400);
    let problem: Problem = serde_json::from_str(&body).expect("JSON");
    assert!(problem.error.contains("limit"), "{}", problem.error);
}

#[test]
fn three_thousand_half_requests_keep_nobody_out() {
    crate::drivers::descriptors::raise();
    let served = served();
    let half: Vec<std::net::TcpStream> = (0..3_000)
        .map_while(|_| {
            let mut stream = std::net::TcpStream::connect(served.address).ok()?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").ok()?;
            Some(stream)
        })
        .collect();
    assert!(half.len() > 600, "more than there are places: {}", half.len());
    let host = format!("Host: {}\r\n", served.address);
    let (status, _) = raw(served.address, "GET", "/healthz", &host);
    assert_eq!(status, 200);
}
