//! `POST /v1/accounts/import`. New accounts go to the store with one sync, and what is there as it is already is left alone;
//! a changed password is the peer's business, for it voids grants.

use super::{
    App,
    handlers::{blocking, now_ms, own, read},
    reply::{answer, good, problem},
};
use crate::{
    drivers::store::{self, Home},
    peer::api::{Reply, Request},
};
use axum::{
    body::Bytes,
    extract::{Query, State},
    response::Response,
};
use dots_clients::types::{AccountImport, Imported};
use serde::Deserialize;

/// Accounts in one import; the client sends the next ones in the next request.
const IMPORT_MAX: usize = dots_clients::Client::IMPORT_MAX;
/// What is wrong with an import is told of so many accounts.
const WRONG_MAX: usize = 10;

/// `?replace=&check=&ha1=`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct How {
    /// Accounts that are there with another password get this one; else the import is refused.
    replace: bool,
    /// Nothing is stored.
    check: bool,
    /// What stands for the password is H(user:realm:password).
    ha1: bool,
}

pub async fn account_import(
    State(app): State<App>,
    how: Result<Query<How>, axum::extract::rejection::QueryRejection>,
    body: Bytes,
) -> Response {
    let how = match how {
        Ok(Query(how)) => how,
        Err(e) => return answer(problem(400, format!("{}: true or false is wanted", e.body_text()))),
    };
    answer(import(&app, &how, &body).await.unwrap_or_else(|refused| refused))
}

async fn import(app: &App, how: &How, body: &[u8]) -> Result<Reply, Reply> {
    let import = read::<AccountImport>(body)?;
    if import.accounts.len() > IMPORT_MAX {
        return Err(problem(413, format!("at most {IMPORT_MAX} accounts in one import")));
    }
    let (realms, aliases) = own(app).await?;
    let home = Home { realms: &realms, aliases: &aliases };
    let accounts = store::prepare(&import.accounts, how.ha1, &home, now_ms()).map_err(|wrong| {
        let told = wrong.iter().take(WRONG_MAX).map(|(place, why)| format!("account {}: {why}", place + 1));
        let told = told.collect::<Vec<_>>().join("; ");
        problem(400, format!("{told}; none was imported"))
    })?;
    let count = accounts.len() as u64;
    let accounts_store = app.accounts.clone();
    let (replace, check) = (how.replace, how.check);
    let done = blocking(move || {
        let differ = store::differing(&accounts_store, &accounts)?;
        let changed = match check || (!replace && !differ.is_empty()) {
            true => Vec::new(),
            false => accounts_store.import(accounts, false)?,
        };
        Ok((differ, changed))
    });
    let (differ, changed) = done.await?;
    let differ: Vec<String> = differ.into_iter().collect();
    if check {
        return Ok(good(&Imported { imported: 0, differ }));
    }
    if !replace && !differ.is_empty() {
        let some = differ.iter().take(WRONG_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        let told =
            format!("{} are there with another password ({some}): ?replace=true changes them", differ.len());
        return Err(problem(409, format!("{told}; none was imported")));
    }
    for account in changed {
        let reply = app.api.ask(Request::AccountPut { account }).await;
        if reply.status >= 300 {
            return Err(reply);
        }
    }
    Ok(good(&Imported { imported: count, differ }))
}
