//! `dots account …`. Where no peer holds the data directory the command takes the lock and works on the store itself;
//! else it asks the peer. Either way the change is durable when the command returns.

use super::{
    Common,
    import::{self, Column, Lines},
    table::{table, utc},
};
use crate::{
    config::Settings,
    datadir::{self, DataDir, Held},
    drivers::store::{self, AccountStore, Home, StoreError, Stores, Wanted, Wrong},
    failure::Failure,
    peer::{Stream, notes},
};
use clap::Subcommand;
use dots_clients::{
    Client,
    types::{AccountChange, AccountImport, AccountInfo},
};
use dots_overlay::names::self_certifying;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader, Read, Write},
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
    /// Lines of user@realm,password ("-": standard input); all of them, or none where one is wrong
    Import {
        file: String,
        /// Give accounts that are there the passwords of the file
        #[arg(long)]
        replace: bool,
        /// The second column is H(user:realm:password) in hex, MD5 or SHA-256: phones of these accounts answer with that
        /// algorithm, and with the user name alone
        #[arg(long)]
        ha1: bool,
        /// The second column is passwords, even where they look like digests
        #[arg(long, conflicts_with = "ha1")]
        plain: bool,
    },
}

const PASSWORD_MAX: u64 = 1_024;
const LIST_CHUNK: usize = 4_096;

enum Accounts {
    Here { store: Box<AccountStore>, realms: Vec<String>, lock: DataDir },
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
            // An account of an earlier version may have a name that none gets any more.
            let aor = match accounts.find(&aor)? {
                Some(found) => found.aor,
                None => accounts.aor(&aor)?,
            };
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
        Command::Import { file, replace, ha1, plain } => {
            let column = match (ha1, plain) {
                (true, _) => Column::Ha1,
                (_, true) => Column::Plain,
                _ => Column::Passwords,
            };
            import_all(common, &file, column, replace)
        }
    }
}

fn import_all(common: &Common, file: &str, column: Column, replace: bool) -> Result<(), Failure> {
    let lines = read_import(file, column)?;
    let file = said_file(file);
    let weak = lines.iter().filter(|(_, c)| column != Column::Ha1 && is_weak(&c.password)).count();
    let count = lines.len();
    Accounts::open(common)?.import(file, lines, column == Column::Ha1, replace)?;
    if weak > 0 {
        warn(common, &format!("{weak} of these passwords are weak: {WEAK}"));
    }
    common.print(&json!({ "imported": count }), || format!("imported {count} accounts\n"))
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
    if is_weak(&password) {
        warn(common, &format!("that password is weak: {WEAK}"));
    }
    accounts.put(aor, &password, roaming)?;
    if !told {
        return common.print(&json!({ "aor": aor }), || format!("{aor}\n"));
    }
    common.print(&json!({ "aor": aor, "password": password }), || format!("{aor}\npassword: {password}\n"))
}

const WEAK: &str = "a peer at which the phone registers could guess it offline";
/// Characters of a password that is not weak.
const STRONG_CHARS: usize = 10;

fn is_weak(password: &str) -> bool {
    password.chars().count() < STRONG_CHARS
}

/// To people only: whoever asks for JSON reads no advice.
fn warn(common: &Common, advice: &str) {
    if !common.json {
        let _ = writeln!(std::io::stderr(), "dots: {advice}");
    }
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
        // What the next start will be home of, as far as that is written down.
        let mut realms = options.realms.clone();
        if realms.is_empty() {
            realms = lock.ports()?.realms;
        }
        let own = self_certifying(&lock.realm_key()?.public());
        if !realms.contains(&own) {
            realms.push(own);
        }
        let store = AccountStore::open(&options.data).map_err(|e| broken(lock.path(), e))?;
        Ok(Accounts::Here { store: Box::new(store), realms, lock })
    }

    /// `alice` is `alice@<default realm>`.
    fn aor(&self, text: &str) -> Result<String, Failure> {
        let full = match self {
            _ if text.contains('@') => text.to_owned(),
            Accounts::Here { realms, .. } => {
                format!("{text}@{}", realms.first().map(String::as_str).unwrap_or_default())
            }
            Accounts::Peer(client) => format!("{text}@{}", client.status()?.default_realm),
        };
        store::canonical(&full).map_err(|e| Failure::Usage(e.to_string()))
    }

    fn find(&self, aor: &str) -> Result<Option<AccountInfo>, Failure> {
        match self {
            Accounts::Here { store, lock, .. } => {
                let found = store.get(aor).map_err(|e| broken(lock.path(), e))?;
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
            Accounts::Here { store, realms, lock } => {
                let aliases = aliases(lock)?;
                let home = Home { realms, aliases: &aliases };
                let known = store.get(aor).map_err(|e| broken(lock.path(), e))?;
                let wanted = Wanted { aor, password, is_ha1: false, roaming: Some(roaming) };
                let account = home.put(known.as_ref(), &wanted, now_ms()).map_err(|e| match e {
                    Wrong::Account(e) => Failure::Usage(e.to_string()),
                    e => Failure::Refused(e.to_string()),
                })?;
                store.put(&account).map(drop).map_err(|e| broken(lock.path(), e))
            }
            Accounts::Peer(client) => Ok(client.account_put(aor, password, roaming).map(drop)?),
        }
    }

    fn remove(&self, aor: &str) -> Result<bool, Failure> {
        match self {
            Accounts::Here { store, lock, .. } => {
                store.remove(aor, now_ms()).map_err(|e| broken(lock.path(), e))
            }
            Accounts::Peer(client) => Ok(client.account_remove(aor)?.existed),
        }
    }

    fn list(&self) -> Result<Vec<AccountInfo>, Failure> {
        let (store, lock) = match self {
            Accounts::Peer(client) => return Ok(client.accounts()?),
            Accounts::Here { store, lock, .. } => (store, lock),
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

    /// `lines` are right by themselves; here they are looked at beside the peer's realms, aliases and accounts.
    fn import(&self, file: &str, lines: Lines, is_ha1: bool, replace: bool) -> Result<(), Failure> {
        let (numbers, changes): (Vec<usize>, Vec<AccountChange>) = lines.into_iter().unzip();
        let refuse = |why: &dyn Fn(&str) -> Option<String>| {
            let line = |(number, change): (&usize, &AccountChange)| {
                Some((*number, why(change.aor.as_deref().unwrap_or_default())?))
            };
            let wrong: Vec<_> = numbers.iter().zip(&changes).filter_map(line).collect();
            if wrong.is_empty() { Ok(()) } else { Err(Failure::Refused(import::told(file, &wrong))) }
        };
        let there = |aor: &str| format!("{aor} is there with another password; --replace changes it");
        let (realms, aliases) = self.home()?;
        let home = Home { realms: &realms, aliases: &aliases };
        refuse(&|aor| home.admit(aor).err().map(|why| why.to_string()))?;
        match self {
            Accounts::Here { store, lock, .. } => {
                let accounts = store::prepare(&changes, is_ha1, &home, now_ms());
                let accounts = accounts.map_err(|wrong| {
                    let first = wrong.first().map(|(_, why)| why.to_string()).unwrap_or_default();
                    Failure::Refused(first)
                })?;
                let differ = store::differing(store, &accounts).map_err(|e| broken(lock.path(), e))?;
                refuse(&|aor| (!replace && differ.contains(aor)).then(|| there(aor)))?;
                store.import(accounts, true).map(drop).map_err(|e| broken(lock.path(), e))
            }
            Accounts::Peer(client) => {
                let chunks =
                    || changes.chunks(Client::IMPORT_MAX).map(|c| AccountImport { accounts: c.to_vec() });
                // All of them are looked at before the first is stored.
                let mut differ = BTreeSet::new();
                for chunk in chunks() {
                    differ.extend(client.account_import_check(&chunk, is_ha1)?.differ);
                }
                refuse(&|aor| (!replace && differ.contains(aor)).then(|| there(aor)))?;
                for chunk in chunks() {
                    client.account_import_as(&chunk, is_ha1, replace)?;
                }
                Ok(())
            }
        }
    }

    /// Realms and aliases of the peer, running or not.
    fn home(&self) -> Result<(Vec<String>, BTreeMap<String, String>), Failure> {
        match self {
            Accounts::Here { realms, lock, .. } => Ok((realms.clone(), aliases(lock)?)),
            Accounts::Peer(client) => {
                let aliases = client.aliases()?.into_iter().map(|a| (a.alias, a.target)).collect();
                Ok((client.status()?.realms, aliases))
            }
        }
    }
}

/// What is dialled for what, as the stopped peer wrote it down.
fn aliases(lock: &DataDir) -> Result<BTreeMap<String, String>, Failure> {
    let stores = Stores::open(lock.path()).map_err(|e| Failure::data(lock.path(), e))?;
    let notes = stores.recover(Stream::Realms).map_err(|e| Failure::data(lock.path(), e))?;
    Ok(notes::replay(&notes).aliases)
}

/// Every line is read before anything is stored.
fn read_import(file: &str, column: Column) -> Result<Lines, Failure> {
    let reader: Box<dyn BufRead> = if file == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(Path::new(file));
        Box::new(BufReader::new(opened.map_err(|e| Failure::Usage(format!("cannot read {file}: {e}")))?))
    };
    import::parse(reader, column).map_err(|wrong| Failure::Usage(import::told(said_file(file), &wrong)))
}

fn said_file(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

fn broken(path: &Path, error: StoreError) -> Failure {
    Failure::data(path, error)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
