//! Several SIP cores that share the work, behind the same face as one.
//!
//! [`Dispatch`] says which core a message belongs to. It is one pure function, and all that belongs together meets in one
//! core: a response goes to the shard in our Via branch; a REGISTER to the shard of the AOR in To, where its bindings are;
//! a PUBLISH or SUBSCRIBE outside a dialog to the shard of the AOR that it is about; everything else by a keyed hash of the
//! Call-ID. So an INVITE, its repetitions, its CANCEL, both of its ACKs, the requests in its dialog, merged requests and
//! spirals are one core's, with or without our Route.
//!
//! What cores ask each other is where the phones of an AOR are ([`Output::Locate`]). [`Shards`] carries that in one thread;
//! threads need only a queue in its place.

use crate::{
    Input, Now, Output,
    address::Addressing,
    border::call_id::CallIdMask,
    core::{Config, Core},
    ids::{AskId, Branch, Method, Secret, Shard},
    message::Message,
    registrar::Bound,
};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

/// Which of several cores something belongs to.
#[derive(Clone)]
pub struct Dispatch {
    secret: Secret,
    /// A dialog has two names where it crosses the border: here it goes by the one that its caller's phone knows.
    mask: CallIdMask,
    shards: Shard,
}

impl Dispatch {
    pub fn new(secret: Secret, mask: CallIdMask, shards: Shard) -> Dispatch {
        assert!(shards > 0, "somebody has to do the work");
        Dispatch { secret, mask, shards }
    }

    /// The shard that holds the bindings of this AOR.
    pub fn of_aor(&self, aor: &str) -> Shard {
        self.of_text("shard of an AOR", aor)
    }

    pub fn of_message(&self, message: &Message, addressing: &Addressing) -> Shard {
        if !message.is_request() {
            let branch = message.via().and_then(|via| via.branch()).and_then(Branch::read);
            return branch.map_or(0, Branch::shard) % self.shards;
        }
        let has_to_tag = message.to().and_then(|to| to.tag()).is_some();
        let aor = match Method::of(message) {
            Method::Register => message.to().map(|to| to.uri()),
            Method::Publish | Method::Subscribe if !has_to_tag => message.uri(),
            _ => None,
        };
        match aor.and_then(|uri| addressing.canonical_aor(uri).ok()) {
            Some(aor) => self.of_aor(&aor),
            None => self.of_call(message.call_id().unwrap_or_default()),
        }
    }

    /// The shard that asked.
    pub fn of_answer(&self, id: AskId) -> Shard {
        id.shard() % self.shards
    }

    fn of_call(&self, call_id: &str) -> Shard {
        let shown = self.mask.unproved(call_id);
        self.of_text("shard of a call", shown.as_deref().unwrap_or(call_id))
    }

    fn of_text(&self, purpose: &str, text: &str) -> Shard {
        if self.shards == 1 {
            return 0;
        }
        let mut hash = self.secret.hash(purpose);
        hash.text(text);
        (hash.finish() % u128::from(self.shards)) as Shard
    }
}

/// Cores side by side.
pub struct Shards {
    cores: Vec<Core>,
    dispatch: Dispatch,
    addressing: Addressing,
    /// Cores that had something to do.
    used: BTreeSet<Shard>,
    out: VecDeque<Output>,
}

impl Shards {
    /// As [`Core::new`], for `shards` of them.
    pub fn new(config: Config, token_key: [u8; 32], seed: u64, shards: Shard) -> Shards {
        let core = |shard| Core::shard(config.clone(), token_key, seed, (shard, shards));
        let cores: Vec<Core> = (0..shards).map(core).collect();
        let dispatch = cores.first().expect("there is one core at least").dispatch().clone();
        let addressing = config.addressing;
        Shards { cores, dispatch, addressing, used: BTreeSet::new(), out: VecDeque::new() }
    }

    /// As [`Core::handle`].
    pub fn handle(&mut self, now: Now, input: Input) {
        match self.owner(&input) {
            Some(shard) => self.give(now, shard, input),
            None => {
                for shard in 0..self.cores.len() as Shard {
                    self.give(now, shard, input.clone());
                }
            }
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cores.iter().filter_map(Core::poll_timeout).min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        for core in &mut self.cores {
            core.handle_timeout(now);
        }
        self.carry(now);
    }

    pub fn set_addressing(&mut self, addressing: &Addressing) {
        self.addressing = addressing.clone();
        for core in &mut self.cores {
            core.set_addressing(addressing.clone());
        }
    }

    pub fn bindings(&self) -> impl Iterator<Item = Bound<'_>> {
        self.cores.iter().flat_map(|core| core.bindings().iter())
    }

    pub fn is_idle(&self) -> bool {
        self.cores.iter().all(Core::is_idle)
    }

    pub fn is_quiet(&self) -> bool {
        self.cores.iter().all(Core::is_quiet)
    }

    /// The cores that have had something to do so far.
    pub fn used(&self) -> &BTreeSet<Shard> {
        &self.used
    }

    /// `None`: it is everybody's.
    fn owner(&self, input: &Input) -> Option<Shard> {
        if self.cores.len() == 1 {
            return Some(0);
        }
        let by_message = |bytes: &[u8]| {
            // What cannot be read is answered by whoever gets it.
            let message = Message::parse_lenient(bytes.to_vec());
            message.map_or(0, |message| self.dispatch.of_message(&message, &self.addressing))
        };
        match input {
            Input::Message { bytes, .. } => Some(by_message(bytes)),
            Input::Overlay { message, .. } => Some(self.dispatch.of_message(message, &self.addressing)),
            Input::Unframed { head, .. } => Some(by_message(head)),
            Input::OverlayRefused { message } => {
                message.via().and_then(|via| via.branch()).and_then(Branch::read).map(Branch::shard)
            }
            Input::FlowClosed { .. } | Input::OverlayDown { .. } | Input::Gone { .. } | Input::Drain => None,
            Input::Challenge { id, .. }
            | Input::Verified { id, .. }
            | Input::Journaled { id }
            | Input::Located { id, .. }
            | Input::Resolved { id, .. } => Some(self.dispatch.of_answer(*id)),
            Input::Unbind { aor } | Input::Ping { aor, .. } => Some(self.dispatch.of_aor(aor)),
            Input::Restore { binding } => Some(self.dispatch.of_aor(&binding.aor)),
        }
    }

    fn give(&mut self, now: Now, shard: Shard, input: Input) {
        let core =
            self.cores.get_mut(usize::from(shard)).expect("the dispatch rule names cores that are there");
        core.handle(now, input);
        self.used.insert(shard);
        self.carry(now);
    }

    /// Takes what the cores say; what one asks another is answered at once.
    fn carry(&mut self, now: Now) {
        let mut asked = VecDeque::new();
        loop {
            for core in &mut self.cores {
                while let Some(output) = core.poll_output() {
                    match output {
                        Output::Locate { id, aor } => asked.push_back((id, aor)),
                        output => self.out.push_back(output),
                    }
                }
            }
            let Some((id, aor)) = asked.pop_front() else { return };
            let holder = self.dispatch.of_aor(&aor);
            let places =
                self.cores.get(usize::from(holder)).map(|core| core.places(&aor, now)).unwrap_or_default();
            self.used.insert(holder);
            if let Some(core) = self.cores.get_mut(usize::from(self.dispatch.of_answer(id))) {
                core.handle(now, Input::Located { id, aor, places });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(text.replace('\n', "\r\n").into_bytes()).expect("a message")
    }

    fn request(method: &str, call_id: &str, to_tag: &str) -> Message {
        message(&format!(
            "{method} sip:bob@b.test SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK{method}\nFrom: <sip:a@a.test>;tag=1\n\
             To: <sip:carol@b.test>{to_tag}\nCall-ID: {call_id}\nCSeq: 7 {method}\nContent-Length: 0\n\n"
        ))
    }

    #[test]
    fn what_belongs_together_meets_in_one_core() {
        let mask = CallIdMask::new(Secret::new([2; 32]));
        let dispatch = Dispatch::new(Secret::new([1; 32]), mask.clone(), 4);
        let addressing = Addressing::default();
        let of = |message: &Message| dispatch.of_message(message, &addressing);
        let mut used = BTreeSet::new();
        for n in 0..40 {
            let call = format!("call-{n}");
            let shard = of(&request("INVITE", &call, ""));
            used.insert(shard);
            for (method, tag) in
                [("ACK", ";tag=x"), ("CANCEL", ""), ("BYE", ";tag=x"), ("INVITE", ";tag=y"), ("MESSAGE", "")]
            {
                assert_eq!(of(&request(method, &call, tag)), shard, "{method} of {call}");
            }
            for aor in [("REGISTER", "carol@b.test"), ("SUBSCRIBE", "bob@b.test"), ("PUBLISH", "bob@b.test")]
            {
                assert_eq!(of(&request(aor.0, &call, "")), dispatch.of_aor(aor.1), "{}", aor.0);
            }
            assert_eq!(of(&request("SUBSCRIBE", &call, ";tag=x")), shard, "in a dialog");
            let (wrote, hidden) = (format!("{n}@10.0.0.1"), mask.hide(&format!("{n}@10.0.0.1"), "a.test"));
            let crossed = of(&request("BYE", &hidden.expect("an address"), ";tag=x"));
            assert_eq!(crossed, of(&request("INVITE", &wrote, "")), "by its other name");
        }
        assert_eq!(used.len(), 4, "calls are spread");
        let branch = Branch::new(2, 77).text(Some("00000000"));
        let response = message(&format!(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h;branch={branch}\nFrom: <sip:a@a.test>;tag=1\nTo: <sip:b@b.test>;tag=2\n\
             Call-ID: c\nCSeq: 7 INVITE\nContent-Length: 0\n\n"
        ));
        assert_eq!(of(&response), 2, "to whoever asked");
    }
}
