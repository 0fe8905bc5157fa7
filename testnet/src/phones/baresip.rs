//! One real baresip, driven through its ctrl_tcp module: netstrings of JSON, commands one way, events the other. It
//! plays a WAV file as its microphone and records what it hears (`dump-*-dec.wav`) in its own directory.

use crate::{Error, Result, free_port, poll, process::terminate, tone};
use serde_json::Value;
use std::{
    collections::VecDeque,
    fs::{File, write},
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const MODULES: &str = "/usr/lib/baresip/modules";
/// What is taken for never. A phone that stops unregisters first.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);
/// Longest message of the control connection that is believed.
const MESSAGE_MAX: usize = 1 << 20;

pub struct Baresip {
    dir: tempfile::TempDir,
    child: Child,
    sip: u16,
    control: TcpStream,
    read: Vec<u8>,
    events: VecDeque<Value>,
}

/// What the phone is told about itself.
pub struct Account<'a> {
    pub user: &'a str,
    pub password: &'a str,
    /// `IP:PORT`: all that a phone's "server" field gets.
    pub server: &'a str,
    pub transport: &'a str,
    /// More account parameters, such as `;mediaenc=srtp`.
    pub more: &'a str,
    /// The tone that the phone speaks, in Hz.
    pub tone: f64,
}

impl Baresip {
    pub fn start(account: &Account<'_>) -> Result<Baresip> {
        let dir = tempfile::tempdir().map_err(Error::io("temporary directory"))?;
        let (sip, control) = (free_port()?, free_port()?);
        let line = configure(dir.path(), account, sip, control)?;
        let log = File::create(dir.path().join("log")).map_err(Error::io("log"))?;
        let copy = log.try_clone().map_err(Error::io("log"))?;
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(dir.path())
            .arg("-v")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .map_err(Error::io("baresip (package baresip-core)"))?;
        let connected =
            poll("baresip's control port", START, || Ok(TcpStream::connect(("127.0.0.1", control)).ok()));
        let control = match connected {
            Ok(control) => control,
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                return Err(Error::Other(format!("{e}\n{log}")));
            }
        };
        let mut phone = Baresip { dir, child, sip, control, read: Vec::new(), events: VecDeque::new() };
        // Only now: a phone with an account in its file has often registered before anybody hears its events.
        phone.command("uanew", &line)?;
        Ok(phone)
    }

    /// Where the phone itself listens for SIP.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.sip)
    }

    /// The next event of one of these types (those before it are dropped), such as `REGISTER_OK`.
    pub fn wait_for(&mut self, types: &[&str], limit: Duration) -> Result<Value> {
        let end = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            while let Some(event) = self.events.pop_front() {
                let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
                if types.contains(&kind) {
                    return Ok(event);
                }
                seen.push(kind.to_owned());
            }
            if !self.receive(end)? {
                let log = self.log();
                return Err(Error::Other(format!("no {types:?} within {limit:?}, only {seen:?}\n{log}")));
            }
        }
    }

    pub fn dial(&mut self, uri: &str) -> Result<()> {
        self.command("dial", uri)
    }
    pub fn hangup(&mut self) -> Result<()> {
        self.command("hangup", "")
    }

    pub fn command(&mut self, command: &str, params: &str) -> Result<()> {
        let message = serde_json::json!({ "command": command, "params": params }).to_string();
        let framed = format!("{}:{message},", message.len());
        self.control.write_all(framed.as_bytes()).map_err(Error::io("baresip control"))
    }

    /// What the phone heard so far; the longest recording, if a call had more than one.
    pub fn heard(&self) -> Result<tone::Sound> {
        let mut best = tone::Sound::default();
        for path in recordings(self.dir.path())? {
            // A file that was just made has no header yet.
            let Ok(sound) = tone::read(&path) else { continue };
            if sound.samples.len() > best.samples.len() {
                best = sound;
            }
        }
        Ok(best)
    }

    /// Ends the phone as a user would, so that it unregisters and closes its files.
    pub fn stop(&mut self) -> Result<()> {
        if self.child.try_wait().map_err(Error::io("wait"))?.is_some() {
            return Ok(());
        }
        terminate(&self.child)?;
        poll("baresip stops", STOP, || self.child.try_wait().map_err(Error::io("wait"))).map(drop)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Reads once; false when `end` has come. Replies to commands are not events and are dropped.
    fn receive(&mut self, end: Instant) -> Result<bool> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.control.set_read_timeout(Some(left)).map_err(Error::io("timeout"))?;
        let mut buffer = [0; 4096];
        match self.control.read(&mut buffer) {
            Ok(0) => return Err(Error::Other(format!("baresip hung up its control port\n{}", self.log()))),
            Ok(n) => self.read.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(e) => return Err(Error::Io("baresip control".into(), e)),
        }
        while let Some(message) = netstring(&mut self.read)? {
            // baresip 1.0 cuts long texts in events wherever they end, sometimes inside a character.
            let message = String::from_utf8_lossy(&message);
            let value: Value =
                serde_json::from_str(&message).map_err(|e| Error::Other(format!("baresip: {e}")))?;
            if value.get("event").and_then(Value::as_bool) == Some(true) {
                self.events.push_back(value);
            }
        }
        Ok(true)
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of baresip {}\n{}", self.dir.path().display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(dir: &Path, account: &Account<'_>, sip: u16, control: u16) -> Result<String> {
    let voice = dir.join("voice.wav");
    tone::write_sine(&voice, account.tone, 60)?;
    let mut config = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:{sip}\nnet_interface 127.0.0.1\naudio_source aufile,{}\n\
         snd_path {}\nctrl_tcp_listen 127.0.0.1:{control}\nausrc_format s16\nauplay_format s16\nauenc_format s16\n\
         audec_format s16\nrtp_ports 10000-19998\naudio_buffer 20-160\njitter_buffer_delay 5-10\nmodule_path {MODULES}\n",
        voice.display(),
        dir.display(),
    );
    for module in ["g711", "aufile", "sndfile", "srtp"] {
        config.push_str(&format!("module {module}.so\n"));
    }
    config
        .push_str("module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n");
    let Account { user, password, server, transport, more, .. } = account;
    let answer = if more.contains("answermode") { "" } else { ";answermode=auto" };
    let line = format!(
        "<sip:{user}@{server};transport={transport}>;auth_user={user};auth_pass={password}{answer};\
         audio_codecs=PCMU/8000/1;regint=60{more}"
    );
    for (name, text) in [("config", config.as_str()), ("accounts", ""), ("contacts", "")] {
        write(dir.join(name), text).map_err(Error::io(name))?;
    }
    Ok(line)
}

fn recordings(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(Error::io("recordings"))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    found.retain(|p| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.starts_with("dump-") && name.ends_with("-dec.wav")
    });
    Ok(found)
}

/// Takes one whole `LENGTH:bytes,` from the front of `read`.
fn netstring(read: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some(colon) = read.iter().position(|&b| b == b':') else { return Ok(None) };
    let length = std::str::from_utf8(&read[..colon]).ok().and_then(|t| t.parse::<usize>().ok());
    let Some(length) = length.filter(|&l| l <= MESSAGE_MAX) else {
        return Err(Error::Other("baresip control: not a netstring".into()));
    };
    let end = colon + 1 + length;
    if read.len() <= end {
        return Ok(None);
    }
    let message = read[colon + 1..end].to_vec();
    read.drain(..=end);
    Ok(Some(message))
}
