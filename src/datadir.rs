//! The data directory (0700) and the small files in it (0600; DISK-1). The streams and the index are `drivers::store`'s.
//!
//! | file | holds |
//! | --- | --- |
//! | `lock` | locked while a process uses the directory |
//! | `serving` | locked while a peer runs; holds its HTTP address |
//! | `peer.key`, `realm.key`, `token.key` | 32 bytes as hex: who this peer is, the realm it owns, the key of route tokens |
//! | `http.token` | the bearer token of the HTTP API |
//! | `me.password` | the generated password, where standard output is no terminal |
//! | `known-peers` | the peers that this one was connected to, to find the network by after a start |
//! | `ports` | the ports that were free at the first start, kept so that phones stay right |

use crate::failure::Failure;
use data_encoding::{BASE32_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use dots_wire::SecretKey;
use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// 20 characters of base32: 100 bits (design §3.4 wants at least 80).
const PASSWORD_BYTES: usize = 12;
const PASSWORD_CHARS: usize = 20;
const SMALL_FILE_MAX: u64 = 4_096;
/// Longer than a command on a stopped peer takes, than a peer needs from its lock to its HTTP address, and from SIGTERM to
/// its end.
const LOCK_WAIT: Duration = Duration::from_secs(15);
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// A data directory that this process holds; the lock ends with the value.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Closed before the lock, so that whoever has the directory next does not find it locked.
    serving: File,
    _lock: File,
}

/// The choices of an earlier start, where nothing was said on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ports {
    pub sip: Option<u16>,
    pub http: Option<u16>,
    /// TCP and UDP (QUIC) alike.
    pub p2p: Option<u16>,
    /// The realms of the last start, the default one first: what `dots account` means while no peer runs.
    #[serde(default)]
    pub realms: Vec<String>,
}

/// Who has a data directory.
#[derive(Debug)]
pub enum Held {
    /// This process, as of now.
    Here(DataDir),
    /// A peer that runs.
    Peer { http: String, token: String },
}

impl DataDir {
    /// As [`DataDir::open`], but a short command that has the lock is waited for, and so is a peer that starts and has
    /// not yet said where it is.
    pub fn take(path: &Path) -> Result<Held, Failure> {
        let start = Instant::now();
        loop {
            match DataDir::open(path) {
                Err(Failure::InUse(dir)) => {
                    if let Some((http, token)) = running(path)? {
                        return Ok(Held::Peer { http, token });
                    }
                    if start.elapsed() > LOCK_WAIT {
                        return Err(Failure::InUse(dir));
                    }
                    std::thread::sleep(LOCK_LOOK);
                }
                opened => return opened.map(Held::Here),
            }
        }
    }

    /// Makes it where it is missing, and locks it.
    pub fn open(path: &Path) -> Result<DataDir, Failure> {
        if !path.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|e| Failure::data(path, format!("cannot make the data directory: {e}")))?;
        }
        let lock = lockable(&path.join("lock"))?;
        if !FileExt::try_lock_exclusive(&lock).map_err(|e| Failure::data(path.join("lock"), e))? {
            return Err(Failure::InUse(path.to_owned()));
        }
        let serving = lockable(&path.join("serving"))?;
        // What a peer that was killed left there.
        serving.set_len(0).map_err(|e| Failure::data(path.join("serving"), e))?;
        Ok(DataDir { path: path.to_owned(), _lock: lock, serving })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves word of the running peer's HTTP address, for the commands that talk to it. The address is whole before its
    /// file is locked: see [`running`].
    pub fn publish(&self, http: &str) -> Result<(), Failure> {
        let write = || {
            (&self.serving).write_all(http.as_bytes())?;
            // Somebody may be looking whether it is locked.
            FileExt::lock_exclusive(&self.serving)
        };
        write().map_err(|e| Failure::data(self.path.join("serving"), e))
    }

    /// The peer answers no more: commands wait for the directory instead of asking it.
    pub fn withdraw(&self) -> Result<(), Failure> {
        FileExt::unlock(&self.serving).map_err(|e| Failure::data(self.path.join("serving"), e))
    }

    /// The peer's key: its PeerId, and the signature under its log.
    pub fn peer_key(&self) -> Result<SecretKey, Failure> {
        self.signing_key("peer.key")
    }
    /// The key of the self-certifying realm.
    pub fn realm_key(&self) -> Result<SecretKey, Failure> {
        self.signing_key("realm.key")
    }
    /// HMAC key of route tokens; survives a restart so that dialogs do.
    pub fn token_key(&self) -> Result<Zeroizing<[u8; 32]>, Failure> {
        self.key("token.key")
    }

    /// The bearer token of the HTTP API: made at the first call.
    pub fn http_token(&self) -> Result<String, Failure> {
        let path = self.path.join("http.token");
        if let Some(token) = read(&path)? {
            let token = token.trim();
            if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Failure::data(path, "not a token; remove the file to get a new one"));
            }
            return Ok(token.to_owned());
        }
        let token = HEXLOWER.encode(&rand::random::<[u8; 24]>());
        write_secret(&path, format!("{token}\n").as_bytes())?;
        Ok(token)
    }

    pub fn ports(&self) -> Result<Ports, Failure> {
        let path = self.path.join("ports");
        match read(&path)? {
            Some(text) => serde_json::from_str(&text).map_err(|e| Failure::data(path, e)),
            None => Ok(Ports::default()),
        }
    }
    pub fn keep_ports(&self, ports: &Ports) -> Result<(), Failure> {
        let text = serde_json::to_vec(ports).map_err(|e| Failure::Other(e.to_string()))?;
        write_secret(&self.path.join("ports"), &text)
    }

    pub fn password_file(&self) -> PathBuf {
        self.path.join("me.password")
    }
    /// Where the generated password goes if nobody watches. Answers the file.
    pub fn keep_password(&self, password: &str) -> Result<PathBuf, Failure> {
        let path = self.password_file();
        write_secret(&path, format!("{password}\n").as_bytes())?;
        Ok(path)
    }

    fn signing_key(&self, name: &str) -> Result<SecretKey, Failure> {
        let bytes = self.key(name)?;
        SecretKey::from_bytes(&bytes)
            .ok_or_else(|| Failure::data(self.path.join(name), "not a secp256k1 key"))
    }

    fn key(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, Failure> {
        let path = self.path.join(name);
        if let Some(text) = read(&path)? {
            let text = Zeroizing::new(text);
            let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok().map(Zeroizing::new);
            let bytes = bytes.and_then(|b| <[u8; 32]>::try_from(b.as_slice()).ok());
            return bytes
                .map(Zeroizing::new)
                .ok_or_else(|| Failure::data(path, "not a key: 64 hex digits are wanted"));
        }
        let key = SecretKey::generate(&mut rand::rng()).to_bytes();
        write_secret(&path, Zeroizing::new(HEXLOWER.encode(&key[..]) + "\n").as_bytes())?;
        Ok(key)
    }
}

/// A password with 100 bits of chance in it, easy to read out: `k3fm-…` in lower case without 0, 1, 8, 9.
pub fn generate_password() -> String {
    let text = BASE32_NOPAD.encode(&rand::random::<[u8; PASSWORD_BYTES + 1]>()).to_ascii_lowercase();
    text.chars().take(PASSWORD_CHARS).collect()
}

/// What a command needs to talk to the peer that holds `path`: its HTTP address and the token.
pub fn running(path: &Path) -> Result<Option<(String, String)>, Failure> {
    let file = path.join("serving");
    let free = match File::open(&file) {
        Ok(serving) => FileExt::try_lock_shared(&serving).map_err(|e| Failure::data(&file, e))?,
        Err(e) if e.kind() == ErrorKind::NotFound => true,
        Err(e) => return Err(Failure::data(&file, e)),
    };
    if free {
        return Ok(None);
    }
    // Empty: that peer has just gone.
    let Some(address) = read_plain(&file)?.filter(|address| !address.is_empty()) else { return Ok(None) };
    let token = read(&path.join("http.token"))?.unwrap_or_default();
    Ok(Some((address, token.trim().to_owned())))
}

/// A file to lock.
fn lockable(path: &Path) -> Result<File, Failure> {
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|e| Failure::data(path, e))
}

/// The text of a secret file; refused where others may read it.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let Some(text) = read_plain(path)? else { return Ok(None) };
    let mode = fs::metadata(path).map_err(|e| Failure::data(path, e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let reason = format!("others may read it (mode {mode:03o}); run chmod 600 on it");
        return Err(Failure::data(path, reason));
    }
    Ok(Some(text))
}

fn read_plain(path: &Path) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    match File::open(path).and_then(|f| f.take(SMALL_FILE_MAX).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::data(path, e)),
    }
}

/// Whole or not at all, synced, 0600.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let tmp = path.with_extension("tmp");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&tmp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&tmp, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(|e: std::io::Error| Failure::data(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_are_nobody_elses() {
        let tmp = tempfile::tempdir().expect("a dir");
        let path = tmp.path().join("a/dots");
        let dir = DataDir::open(&path).expect("made");
        let first = (dir.peer_key().expect("key").public(), dir.realm_key().expect("key").public());
        let token = (dir.token_key().expect("key").to_vec(), dir.http_token().expect("token"));
        assert_ne!(first.0, first.1);
        dir.keep_ports(&Ports { sip: Some(5070), p2p: Some(1), ..Ports::default() }).expect("kept");
        drop(dir);
        let dir = DataDir::open(&path).expect("opened");
        assert_eq!(first, (dir.peer_key().expect("key").public(), dir.realm_key().expect("key").public()));
        assert_eq!(token, (dir.token_key().expect("key").to_vec(), dir.http_token().expect("token")));
        assert_eq!(dir.ports().expect("kept").sip, Some(5070));
        let mode = |p: &Path| fs::metadata(p).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for entry in fs::read_dir(&path).expect("a dir") {
            assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
        }
        fs::set_permissions(path.join("peer.key"), fs::Permissions::from_mode(0o644)).expect("set");
        assert_eq!(dir.peer_key().expect_err("others may read it").code(), 5);
        fs::write(path.join("realm.key"), "xyz").expect("written");
        assert_eq!(dir.realm_key().expect_err("no key").code(), 5);
    }

    /// DISK-1.
    #[test]
    fn two_cannot_use_it_and_the_second_learns_where_the_first_is() {
        let tmp = tempfile::tempdir().expect("a dir");
        let dir = DataDir::open(tmp.path()).expect("opened");
        let token = dir.http_token().expect("token");
        assert_eq!(running(tmp.path()), Ok(None));
        dir.publish("127.0.0.1:8080").expect("published");
        assert_eq!(DataDir::open(tmp.path()).expect_err("in use"), Failure::InUse(tmp.path().to_owned()));
        assert_eq!(running(tmp.path()), Ok(Some(("127.0.0.1:8080".into(), token))));
        dir.withdraw().expect("withdrawn");
        assert_eq!(running(tmp.path()), Ok(None), "it stops: wait for its end");
        drop(dir);
        assert_eq!(running(tmp.path()), Ok(None), "nobody keeps the word of a peer that is gone");
        // Whoever has the directory next has not looked around yet.
        let lock = lockable(&tmp.path().join("lock")).expect("opened");
        FileExt::lock_exclusive(&lock).expect("locked");
        assert_eq!(running(tmp.path()), Ok(None));
        drop(lock);
        DataDir::open(tmp.path()).expect("free again");
    }

    #[test]
    fn a_password_is_long_and_never_the_same() {
        let (a, b) = (generate_password(), generate_password());
        assert_eq!(a.len(), PASSWORD_CHARS);
        assert!(a.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_ne!(a, b);
    }
}
