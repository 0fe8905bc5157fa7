//! `dots account …`. Where no peer holds the data directory the command takes the lock and works on the store itself;
//! else it asks the peer. Either way the change is durable when the command returns.

use super::{Common, table::table, table::utc};
use crate::{
    config::Settings,
    datadir::{self, DataDir, Held},
    drivers::store::{self, AccountStore, BadAccount, Imported, StoreError},
    failure::Failure,
};
use clap::Subcommand;
use dots_clients::{
    Client,
    types::{AccountChange, AccountImport, AccountInfo},
};
use dots_overlay::names::self_certifying;
use serde_json::json;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account; without --password-stdin a password is generated and printed
    Add {
        /// user@realm; without a realm it is the default one
        aor: String,
        #[arg(long)]
        password_stdin: bool,
        /// The account may register at this home only
        #[arg(long)]
        no_roaming: bool,
    },
    /// Change a password
    Passwd {
        aor: String,
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove an account
    Remove { aor: String },
    /// All accounts
    List,
    /// Lines of user@realm,password ("-": standard input)
    Import { file: String },
}

const LINE_MAX: usize = 1_024;
const PASSWORD_MAX: u64 = 1_024;
const LIST_CHUNK: usize = 4_096;

enum Accounts {
    Here { store: Box<AccountStore>, realm: String, _lock: DataDir },
    Peer(Client),
}

/// What is typed is read first: nobody waits for the data directory while a person thinks.
pub fn run(common: &Common, command: Command) -> Result<(), Failure> {
    let accounts = || Accounts::open(common);
    match command {
        Command::Add { aor, password_stdin, no_roaming } => {
            let password = password_stdin.then(read_password).transpose()?;
            let accounts = accounts()?;
            let aor = accounts.aor(&aor)?;
            if accounts.find(&aor)?.is_some() {
                return Err(Failure::Refused(format!(
                    "there is an account {aor}: `dots account passwd` changes it"
                )));
            }
            set(common, &accounts, &aor, password, !no_roaming)
        }
        Command::Passwd { aor, password_stdin } => {
            let password = password_stdin.then(read_password).transpose()?;
            let accounts = accounts()?;
            let aor = accounts.aor(&aor)?;
            let found = accounts.find(&aor)?.ok_or_else(|| absent(&aor))?;
            set(common, &accounts, &aor, password, found.roaming)
        }
        Command::Remove { aor } => {
            let accounts = accounts()?;
            let aor = accounts.aor(&aor)?;
            if !accounts.remove(&aor)? {
                return Err(absent(&aor));
            }
            common.print(&json!({ "aor": aor }), || format!("removed {aor}\n"))
        }
        Command::List => {
            let list = accounts()?.list()?;
            let rows = |a: &AccountInfo| {
                vec![a.aor.clone(), if a.roaming { "yes" } else { "no" }.into(), utc(a.changed_at_ms)]
            };
            common.print(&json!({ "accounts": list, "next": null }), || {
                let rows: Vec<_> = list.iter().map(rows).collect();
                table(&["ACCOUNT", "ROAMING", "CHANGED (UTC)"], &rows, "no accounts")
            })
        }
        Command::Import { file } => {
            let changes = read_import(&file)?;
            let count = changes.len();
            accounts()?.import(changes)?;
            common.print(&json!({ "imported": count }), || format!("imported {count} accounts\n"))
        }
    }
}

fn absent(aor: &str) -> Failure {
    Failure::Refused(format!("there is no account {aor}"))
}

/// Without a password one is generated and told.
fn set(
    common: &Common,
    accounts: &Accounts,
    aor: &str,
    given: Option<String>,
    roaming: bool,
) -> Result<(), Failure> {
    let told = given.is_none();
    let password = given.unwrap_or_else(datadir::generate_password);
    if password.chars().count() < 10 && !common.json {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"dots: that password is weak: a peer at which the phone registers could guess it offline\n",
        );
    }
    accounts.put(aor, &password, roaming)?;
    if !told {
        return common.print(&json!({ "aor": aor }), || format!("{aor}\n"));
    }
    common.print(&json!({ "aor": aor, "password": password }), || format!("{aor}\npassword: {password}\n"))
}

fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(PASSWORD_MAX).read_to_string(&mut text);
    read.map_err(|e| Failure::Usage(format!("--password-stdin: {e}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Accounts {
    fn open(common: &Common) -> Result<Accounts, Failure> {
        let options = common.options(Settings::default())?;
        let lock = match DataDir::take(&options.data)? {
            Held::Here(lock) => lock,
            Held::Peer { http, token } => return Ok(Accounts::Peer(Client::new(http, Some(token)))),
        };
        let kept = lock.ports()?.realms;
        let realm = match options.realms.first().or(kept.first()) {
            Some(realm) => realm.clone(),
            None => self_certifying(&lock.realm_key()?.public()),
        };
        let store = AccountStore::open(&options.data).map_err(|e| broken(lock.path(), e))?;
        Ok(Accounts::Here { store: Box::new(store), realm, _lock: lock })
    }

    /// `alice` is `alice@<default realm>`.
    fn aor(&self, text: &str) -> Result<String, Failure> {
        let full = match self {
            _ if text.contains('@') => text.to_owned(),
            Accounts::Here { realm, .. } => format!("{text}@{realm}"),
            Accounts::Peer(client) => format!("{text}@{}", client.status()?.default_realm),
        };
        store::canonical(&full).map_err(|e| Failure::Usage(e.to_string()))
    }

    fn find(&self, aor: &str) -> Result<Option<AccountInfo>, Failure> {
        match self {
            Accounts::Here { store, _lock, .. } => {
                let found = store.get(aor).map_err(|e| broken(_lock.path(), e))?;
                Ok(found.map(|a| AccountInfo {
                    aor: a.aor,
                    roaming: a.roaming,
                    changed_at_ms: a.changed_at_ms,
                }))
            }
            Accounts::Peer(client) => {
                // The page that begins just before this name.
                let before = aor.strip_suffix(|_: char| true).unwrap_or_default();
                let mut after = Some(before.to_owned());
                loop {
                    let page = client.page::<AccountInfo>("accounts", 1_000, after.as_deref(), "")?;
                    if let Some(found) = page.items.iter().find(|a| a.aor == aor) {
                        return Ok(Some(found.clone()));
                    }
                    let past = page.items.last().is_none_or(|a| a.aor.as_str() > aor);
                    match page.next {
                        Some(next) if !past => after = Some(next),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn put(&self, aor: &str, password: &str, roaming: bool) -> Result<(), Failure> {
        match self {
            Accounts::Here { store, _lock, .. } => {
                let account = store::account(aor, password, roaming, now_ms());
                let account = account.map_err(|e| Failure::Usage(e.to_string()))?;
                store.put(&account).map(drop).map_err(|e| broken(_lock.path(), e))
            }
            Accounts::Peer(client) => Ok(client.account_put(aor, password, roaming).map(drop)?),
        }
    }

    fn remove(&self, aor: &str) -> Result<bool, Failure> {
        match self {
            Accounts::Here { store, _lock, .. } => {
                store.remove(aor, now_ms()).map_err(|e| broken(_lock.path(), e))
            }
            Accounts::Peer(client) => Ok(client.account_remove(aor)?.existed),
        }
    }

    fn list(&self) -> Result<Vec<AccountInfo>, Failure> {
        let (store, lock) = match self {
            Accounts::Peer(client) => return Ok(client.accounts()?),
            Accounts::Here { store, _lock, .. } => (store, _lock),
        };
        let mut all: Vec<AccountInfo> = Vec::new();
        loop {
            let after = all.last().map(|a| a.aor.clone());
            let chunk = store.list(after.as_deref(), LIST_CHUNK).map_err(|e| broken(lock.path(), e))?;
            let last = chunk.len() < LIST_CHUNK;
            all.extend(chunk.into_iter().map(|a| AccountInfo {
                aor: a.aor,
                roaming: a.roaming,
                changed_at_ms: a.changed_at_ms,
            }));
            if last {
                return Ok(all);
            }
        }
    }

    fn import(&self, changes: Vec<AccountChange>) -> Result<(), Failure> {
        match self {
            Accounts::Here { store, _lock, .. } => {
                let now = now_ms();
                let account = |c: AccountChange| {
                    let aor = c.aor.as_deref().unwrap_or_default();
                    let account = store::account(aor, &c.password, c.roaming.unwrap_or(true), now)?;
                    Ok(Imported { account, keeps_roaming: c.roaming.is_none() })
                };
                let accounts: Result<Vec<_>, BadAccount> = changes.into_iter().map(account).collect();
                let accounts = accounts.map_err(|e| Failure::Usage(e.to_string()))?;
                store.import(accounts, true).map(drop).map_err(|e| broken(_lock.path(), e))
            }
            Accounts::Peer(client) => {
                for chunk in changes.chunks(Client::IMPORT_MAX) {
                    client.account_import(&AccountImport { accounts: chunk.to_vec() })?;
                }
                Ok(())
            }
        }
    }
}

/// Every line is checked before anything is stored.
fn read_import(file: &str) -> Result<Vec<AccountChange>, Failure> {
    let reader: Box<dyn BufRead> = if file == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(Path::new(file));
        Box::new(BufReader::new(opened.map_err(|e| Failure::Usage(format!("cannot read {file}: {e}")))?))
    };
    parse_import(reader).map_err(|(line, why)| Failure::Usage(format!("{file} line {line}: {why}")))
}

pub(super) fn parse_import(reader: impl BufRead) -> Result<Vec<AccountChange>, (usize, String)> {
    let mut changes = Vec::new();
    for (i, line) in reader.lines().enumerate() {
        let bad = |why: String| (i + 1, why);
        let line = line.map_err(|e| bad(e.to_string()))?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // The password is all behind the first comma: it may have commas in it.
        let (aor, password) =
            line.split_once(',').ok_or_else(|| bad("user@realm,password is wanted".into()))?;
        if line.len() > LINE_MAX {
            return Err(bad(format!("longer than {LINE_MAX} bytes")));
        }
        let aor = store::canonical(aor.trim()).map_err(|e| bad(e.to_string()))?;
        let password = password.trim_end_matches('\r').to_owned();
        if password.is_empty() || password.chars().any(char::is_control) {
            return Err(bad("the password is empty or has a control character in it".into()));
        }
        changes.push(AccountChange { aor: Some(aor), password, roaming: None });
    }
    Ok(changes)
}

fn broken(path: &Path, error: StoreError) -> Failure {
    Failure::data(path, error)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
