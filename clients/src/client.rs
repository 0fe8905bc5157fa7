//! A blocking client. One method per route; lists come whole (the pages are fetched one after another).

use crate::types::*;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, time::Duration};

/// How many items to ask for at once.
const PAGE: usize = 1_000;
/// Most items that a list method gathers: a runaway peer ends somewhere.
const LIST_MAX: usize = 10_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error("no peer answers at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    /// The peer said no; the sentence is its own.
    #[error("{error}")]
    Refused { status: u16, error: String },
    #[error("the peer's answer is not what this version understands: {0}")]
    Malformed(String),
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// A peer's HTTP API.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    address: String,
    token: Option<String>,
}

impl Client {
    /// `address`: `127.0.0.1:8080`, as in the ready file. `token`: the content of `http.token`.
    pub fn new(address: impl Into<String>, token: Option<String>) -> Client {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let token = token.map(|t| t.trim().to_owned());
        Client { agent: config.into(), address: address.into(), token }
    }

    pub fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status")
    }
    /// 200 where the peer is ready.
    pub fn healthy(&self) -> bool {
        self.get::<serde_json::Value>("/healthz").is_ok()
    }
    pub fn peers(&self) -> Result<Vec<PeerInfo>, ClientError> {
        self.list("peers", "")
    }
    pub fn bindings(&self) -> Result<Vec<BindingInfo>, ClientError> {
        self.list("bindings", "")
    }
    pub fn lookup(&self, aor: &str) -> Result<LookupInfo, ClientError> {
        self.get(&format!("/v1/lookup/{}", escape(aor)))
    }
    pub fn calls(&self) -> Result<Vec<CallInfo>, ClientError> {
        self.list("calls", "")
    }
    pub fn receipts(&self, verify: bool) -> Result<Vec<ReceiptInfo>, ClientError> {
        self.list("receipts", if verify { "&verify=true" } else { "" })
    }
    pub fn accounts(&self) -> Result<Vec<AccountInfo>, ClientError> {
        self.list("accounts", "")
    }
    pub fn account_put(&self, aor: &str, password: &str, roaming: bool) -> Result<Changed, ClientError> {
        let change = AccountChange { aor: None, password: password.to_owned(), roaming: Some(roaming) };
        self.put(&format!("/v1/accounts/{}", escape(aor)), &change)
    }
    pub fn account_remove(&self, aor: &str) -> Result<Changed, ClientError> {
        self.delete(&format!("/v1/accounts/{}", escape(aor)))
    }
    /// New accounts, or none of them where one would change an account that is there. At most [`Client::IMPORT_MAX`] at
    /// once.
    pub fn account_import(&self, import: &AccountImport) -> Result<(), ClientError> {
        self.account_import_as(import, false, false).map(drop)
    }
    /// `is_ha1`: what stands for the passwords is H(user:realm:password). `replace`: accounts that are there change.
    pub fn account_import_as(
        &self,
        import: &AccountImport,
        is_ha1: bool,
        replace: bool,
    ) -> Result<Imported, ClientError> {
        self.import(import, &format!("?ha1={is_ha1}&replace={replace}"))
    }
    /// Stores nothing: what would the import change?
    pub fn account_import_check(
        &self,
        import: &AccountImport,
        is_ha1: bool,
    ) -> Result<Imported, ClientError> {
        self.import(import, &format!("?ha1={is_ha1}&check=true"))
    }
    fn import(&self, import: &AccountImport, how: &str) -> Result<Imported, ClientError> {
        let request = self.agent.post(self.url(&format!("/v1/accounts/import{how}")));
        let request = self.authorized(request);
        self.read(request.send_json(import))
    }
    pub fn aliases(&self) -> Result<Vec<AliasInfo>, ClientError> {
        self.list("aliases", "")
    }
    pub fn alias_put(&self, alias: &str, target: &str) -> Result<Changed, ClientError> {
        self.put(&format!("/v1/aliases/{}", escape(alias)), &AliasChange { target: target.to_owned() })
    }
    pub fn alias_remove(&self, alias: &str) -> Result<Changed, ClientError> {
        self.delete(&format!("/v1/aliases/{}", escape(alias)))
    }
    pub fn realms(&self) -> Result<Vec<RealmInfo>, ClientError> {
        self.list("realms", "")
    }
    pub fn realm_pin(&self, name: &str, key: &str) -> Result<Changed, ClientError> {
        self.put(&format!("/v1/realms/{}", escape(name)), &RealmChange { key: key.to_owned() })
    }
    pub fn realm_forget(&self, name: &str) -> Result<Changed, ClientError> {
        self.delete(&format!("/v1/realms/{}", escape(name)))
    }

    /// Most accounts in one `account_import`.
    pub const IMPORT_MAX: usize = 2_000;

    /// One page of `/v1/<word>`; `after` is the `next` of the page before.
    pub fn page<T: DeserializeOwned>(
        &self,
        word: &str,
        limit: usize,
        after: Option<&str>,
        more: &str,
    ) -> Result<Page<T>, ClientError> {
        let after = after.map(|a| format!("&after={}", escape(a))).unwrap_or_default();
        let mut body: BTreeMap<String, serde_json::Value> =
            self.get(&format!("/v1/{word}?limit={limit}{after}{more}"))?;
        let items =
            body.remove(word).ok_or_else(|| ClientError::Malformed(format!("no \"{word}\" in it")))?;
        let items = serde_json::from_value(items).map_err(|e| ClientError::Malformed(e.to_string()))?;
        let next = body.get("next").and_then(|n| n.as_str()).map(str::to_owned);
        Ok(Page { items, next })
    }

    fn list<T: DeserializeOwned>(&self, word: &str, more: &str) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.page(word, PAGE, after.as_deref(), more)?;
            all.extend(page.items);
            match page.next {
                Some(next) if all.len() < LIST_MAX && after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(all),
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }
    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.agent.get(self.url(path));
        let request = self.authorized(request);
        self.read(request.call())
    }
    fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let request = self.agent.put(self.url(path));
        let request = self.authorized(request);
        self.read(request.send_json(body))
    }
    fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.agent.delete(self.url(path));
        let request = self.authorized(request);
        self.read(request.call())
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let unreachable = |e: ureq::Error| ClientError::Unreachable {
            address: self.address.clone(),
            reason: e.to_string(),
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            let body = answer.body_mut().read_to_vec().map_err(|e| match e {
                ureq::Error::BodyExceedsLimit(_) => ClientError::Malformed(e.to_string()),
                // A peer that dies in the middle of its answer.
                e => unreachable(e),
            })?;
            return serde_json::from_slice(&body).map_err(|e| ClientError::Malformed(e.to_string()));
        }
        let problem: Option<Problem> = answer.body_mut().read_json().ok();
        let error = problem.map(|p| p.error).filter(|e| !e.is_empty());
        Err(ClientError::Refused { status, error: error.unwrap_or_else(|| format!("HTTP status {status}")) })
    }
}

/// RFC 3986 §2.1 percent-encoding of one path segment or query value.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~@:".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_keeps_what_is_legal_in_it() {
        assert_eq!(escape("alice@a.test"), "alice@a.test");
        assert_eq!(escape("a/b?c d%"), "a%2Fb%3Fc%20d%25");
        assert_eq!(escape("jörg"), "j%C3%B6rg");
    }

    #[test]
    fn nobody_there_is_said_with_the_address() {
        let error = Client::new("127.0.0.1:1", None).status().expect_err("port 1 is closed");
        assert!(matches!(&error, ClientError::Unreachable { address, .. } if address == "127.0.0.1:1"));
    }
}
