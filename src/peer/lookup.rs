//! Where is this AOR? The SIP core knows its own bindings; this room answers for everybody else. Without an overlay
//! that is: whether a local realm has such an account. "No such user" is said only on the home's word.

use super::{Output, Peer, Pending};
use dots_sip::input::{AskId, Resolution};
use dots_wire::Now;
use serde_json::json;

pub enum Asked {
    Call { ask: AskId },
    Api { api: u64, aor: String },
}

impl Peer {
    pub(super) fn on_resolve(&mut self, now: Now, ask: AskId, aor: String) {
        if !self.is_local(&aor) {
            return self
                .feed_sip(now, dots_sip::Input::Resolved { id: ask, resolution: Resolution::Offline });
        }
        let id = self.ask(Pending::Lookup(Asked::Call { ask }));
        self.out.push_back(Output::GetAccount { id, aor });
    }

    pub(super) fn on_api_lookup(&mut self, now: Now, api: u64, aor: String) {
        if !self.is_local(&aor) {
            return self.reply_lookup(now, api, &aor, None);
        }
        let id = self.ask(Pending::Lookup(Asked::Api { api, aor: aor.clone() }));
        self.out.push_back(Output::GetAccount { id, aor });
    }

    pub(super) fn on_lookup_account(&mut self, now: Now, asked: Asked, exists: bool) {
        match asked {
            Asked::Call { ask } => {
                let resolution = if exists { Resolution::Offline } else { Resolution::Unknown };
                self.feed_sip(now, dots_sip::Input::Resolved { id: ask, resolution });
            }
            Asked::Api { api, aor } => self.reply_lookup(now, api, &aor, Some(exists)),
        }
    }

    fn reply_lookup(&mut self, now: Now, api: u64, aor: &str, exists: Option<bool>) {
        let me = self.me.to_string();
        let bindings: Vec<_> = self
            .sip
            .bindings()
            .of(aor)
            .filter(|b| b.expires_at_ms > now.wall.0)
            .map(|b| {
                json!({
                    "serving": me,
                    "instance": b.instance,
                    "until_ms": b.expires_at_ms,
                    "source": "own",
                    "state": "pending",
                    "attests": [],
                })
            })
            .collect();
        self.reply(api, 200, json!({ "aor": aor, "exists": exists, "bindings": bindings }));
    }

    fn is_local(&self, aor: &str) -> bool {
        aor.rsplit_once('@').is_some_and(|(_, realm)| self.config.is_home(realm))
    }
}
