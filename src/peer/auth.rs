//! Challenges and answers. This peer mints and judges for the realms that it is home of; phones of other realms can
//! register here only once homes can be asked over the overlay.

use super::{Output, Peer, Pending, account::Account, home};
use dots_sip::{
    auth::{Answer, AuthFailure, Challenge, Vouch},
    input::AskId,
};
use dots_wire::Now;
use rand::Rng;
use std::time::Duration;

/// What a password proves lasts this long (design: bind grants live at most an hour).
pub const VOUCH_LIFE: Duration = Duration::from_secs(3600);

/// The account of an answer that a phone gave.
pub struct Asked {
    ask: AskId,
    answer: Box<Answer>,
}

impl Peer {
    pub(super) fn on_challenge(&mut self, now: Now, id: AskId, realm: String) {
        let result = if self.config.is_home(&realm) {
            let random = self.rng.random();
            Ok(Challenge { nonce: self.home.mint(now, self.me, random), realm })
        } else {
            Err(AuthFailure::UnknownRealm)
        };
        self.feed_sip(now, dots_sip::Input::Challenge { id, result });
    }

    pub(super) fn on_verify(&mut self, now: Now, ask: AskId, answer: Answer) {
        let admitted = match self.config.is_home(&answer.realm) {
            true => self.home.admit(now, &answer, self.me),
            false => Err(AuthFailure::UnknownRealm),
        };
        if let Err(failure) = admitted {
            return self.verified(now, ask, Err(failure));
        }
        let aor = home::account_name(&answer);
        let id = self.ask(Pending::Auth(Asked { ask, answer: Box::new(answer) }));
        self.out.push_back(Output::GetAccount { id, aor });
    }

    pub(super) fn on_auth_account(&mut self, now: Now, asked: Asked, account: Option<&Account>) {
        let Asked { ask, answer } = asked;
        let verdict = self.home.judge(now, &answer, self.me, account);
        let not_after_ms = now.wall.plus(VOUCH_LIFE).0;
        let result = verdict.map(|()| Vouch { aor: answer.aor.clone(), grant: [].into(), not_after_ms });
        self.verified(now, ask, result);
    }

    fn verified(&mut self, now: Now, id: AskId, result: Result<Vouch, AuthFailure>) {
        if result == Err(AuthFailure::Wrong) {
            self.out.push_back(Output::Count("auth_wrong"));
        }
        self.feed_sip(now, dots_sip::Input::Verified { id, result });
    }
}
