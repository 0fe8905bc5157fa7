//! `dots` as a user types it: words in, an exit code and two texts out.

use crate::{Error, Result, poll, process::binary};
use serde_json::Value;
use std::{
    io::{Read, Seek, Write},
    process::{Command, Stdio},
    time::Duration,
};

/// A command that has not ended by then is killed. Importing a hundred thousand accounts may take its time.
const LIMIT: Duration = Duration::from_secs(180);

/// How a command ended, and what it said.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// `dots` with these words, without a peer of the test's own.
pub fn dots(words: &[&str], stdin: &str) -> Result<Said> {
    Said::of(Command::new(binary()?).args(words), stdin)
}

impl Said {
    /// Runs it to its end. Its texts go through files, so that no full pipe can hold it up.
    pub fn of(command: &mut Command, stdin: &str) -> Result<Said> {
        let file = || tempfile::tempfile().map_err(Error::io("temporary file"));
        let (mut input, mut out, mut err) = (file()?, file()?, file()?);
        let written = input.write_all(stdin.as_bytes()).and_then(|()| input.rewind());
        written.map_err(Error::io("standard input"))?;
        let copies =
            (out.try_clone().map_err(Error::io("copy"))?, err.try_clone().map_err(Error::io("copy"))?);
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::from(input))
            .stdout(copies.0)
            .stderr(copies.1)
            .spawn()
            .map_err(Error::io(what.clone()))?;
        let ended = poll(&what, LIMIT, || child.try_wait().map_err(Error::io("wait")));
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let mut texts = [String::new(), String::new()];
        for (file, text) in [&mut out, &mut err].into_iter().zip(&mut texts) {
            file.rewind().and_then(|()| file.read_to_string(text)).map_err(Error::io("what it said"))?;
        }
        let [out, err] = texts;
        let status = ended.map_err(|e| Error::Other(format!("{e}\n{out}{err}")))?;
        Ok(Said { code: status.code(), out, err })
    }

    /// Its standard output, where it ended well.
    pub fn ok(self) -> Result<String> {
        if self.code == Some(0) { Ok(self.out) } else { Err(Error::Other(format!("{self:?}"))) }
    }

    /// The same, read as JSON.
    pub fn json(self) -> Result<Value> {
        let text = self.ok()?;
        serde_json::from_str(&text).map_err(|e| Error::Other(format!("{e}: {text}")))
    }

    /// The items of `{"<key>": […], "next": null}`, which every list is, whole.
    pub fn list(self, key: &str) -> Result<Vec<Value>> {
        let value = self.json()?;
        let fields = value.as_object().filter(|fields| fields.len() == 2);
        let whole = fields.is_some_and(|f| f.get("next").is_some_and(Value::is_null));
        let items = value[key].as_array().filter(|_| whole).cloned();
        items.ok_or_else(|| Error::Other(format!("not a list of {key}: {value}")))
    }
}
