//! Users by the hundred, all behind one port: SIPp registers them, answers for them and calls from them. Two crowds on
//! two peers call each other across.

use crate::{
    Error, Result,
    flood::PASSWORD,
    free_port,
    phones::sipp::{Counts, Run, Sipp},
    process::Peer,
};
use dots_clients::{
    Client,
    types::{AccountChange, AccountImport},
};

/// `u0@realm`, `u1@realm`, …
pub struct Crowd {
    realm: String,
    users: usize,
    /// Where they register from and answer: one SIPp leaves the port, the next takes it.
    port: u16,
}

impl Crowd {
    pub fn new(realm: &str, users: usize) -> Result<Crowd> {
        Ok(Crowd { realm: realm.to_owned(), users, port: free_port()? })
    }

    pub fn users(&self) -> usize {
        self.users
    }

    /// Their accounts, at their home.
    pub fn import(&self, home: &Peer) -> Result<()> {
        let client = home.client()?;
        for start in (0..self.users).step_by(Client::IMPORT_MAX) {
            let end = (start + Client::IMPORT_MAX).min(self.users);
            let account = |n| AccountChange {
                aor: Some(format!("u{n}@{}", self.realm)),
                password: PASSWORD.to_owned(),
                roaming: Some(true),
            };
            let accounts = (start..end).map(account).collect();
            let imported = client.account_import(&AccountImport { accounts });
            imported.map_err(|e| Error::Other(format!("accounts of {}: {e}", self.realm)))?;
        }
        Ok(())
    }

    /// All of them register; `round` counts from 1, and from the second on these are refreshes.
    pub fn register(&self, server: &str, rate: usize, round: u32) -> Result<Counts> {
        let users: Vec<String> = (0..self.users).map(|n| format!("u{n};{}", credentials(n))).collect();
        let (first, second) = ((2 * round - 1).to_string(), (2 * round).to_string());
        let run = Run {
            scenario: "register",
            target: Some(server),
            users: &users,
            calls: self.users,
            rate,
            port: self.port,
            uri: &self.realm,
            keys: &[("realm", &self.realm), ("first", &first), ("second", &second)],
            call_ids: Some("register-%u@%s"),
        };
        Sipp::start(&run)?.finish()
    }

    /// All of them answer, until the SIPp is dropped.
    pub fn answer(&self) -> Result<Sipp> {
        Sipp::start(&Run {
            scenario: "answer",
            target: None,
            users: &[],
            calls: ANSWERS_MAX,
            rate: 1,
            port: self.port,
            uri: &self.realm,
            keys: &[],
            call_ids: None,
        })
    }

    /// They call `others`, who answer: the first the last, and so on.
    pub fn call(&self, server: &str, others: &Crowd, calls: usize, rate: usize) -> Result<Sipp> {
        let pairs: Vec<Pair> = (0..self.users).map(|n| (n, others.users - 1 - n % others.users)).collect();
        self.call_each(server, others, &pairs, calls, rate)
    }

    /// Who calls whom of `others`, pair by pair, and from the first again.
    pub fn call_each(
        &self,
        server: &str,
        others: &Crowd,
        pairs: &[Pair],
        calls: usize,
        rate: usize,
    ) -> Result<Sipp> {
        let line = |&(n, other): &Pair| format!("u{n};u{other};{}", credentials(n));
        let lines: Vec<String> = pairs.iter().map(line).collect();
        Sipp::start(&Run {
            scenario: "call",
            target: Some(server),
            users: &lines,
            calls,
            rate,
            port: 0,
            uri: &others.realm,
            keys: &[("realm", &self.realm), ("callee_realm", &others.realm)],
            call_ids: None,
        })
    }
}

/// The numbers of a caller and of a callee.
pub type Pair = (usize, usize);

fn credentials(n: usize) -> String {
    format!("[authentication username=u{n} password={PASSWORD}]")
}

/// SIPp wants a number of calls after which it would end.
const ANSWERS_MAX: usize = 10_000_000;
