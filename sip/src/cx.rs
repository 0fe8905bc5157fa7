//! What every layer of the SIP core may use: who we are, what time it is, chance, and the way out.

use crate::{
    Flow, Output,
    address::Addressing,
    auth::DigestOffer,
    border::Border,
    hop::{Hop, PeerLabel, host_of},
    ids::{AskId, Branch, Secret, Shard},
    listening::Ours,
    message::{Message, Reply},
    output::{About, Nonce},
    registrar::ExpiryRules,
    status::Status,
    token::TokenKey,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

#[derive(Clone, Debug)]
pub struct Config {
    pub addressing: Addressing,
    /// Our label and so our host on the overlay leg: `p<label>.peer.dots`. Empty for a core that has no overlay.
    pub label: PeerLabel,
    /// What Via and Record-Route name instead of the local address, `host[:port]`.
    pub advertise: Option<String>,
    pub expiry: ExpiryRules,
    /// Ports at which this peer listens, for whatever: no phone makes us send there.
    pub ports: BTreeSet<u16>,
    /// Realms of ours whose accounts may register Contacts at other hosts than the one that registers them.
    pub contacts_any: BTreeSet<String>,
    /// Whose phones may register and call here.
    pub serve: Serve,
    /// What the phones of these realms are offered; of others [`DigestOffer::Both`].
    pub digest: BTreeMap<String, DigestOffer>,
}

impl Config {
    pub(crate) fn digest_of(&self, realm: &str) -> DigestOffer {
        self.digest.get(realm).copied().unwrap_or_default()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            addressing: Addressing::default(),
            label: "".into(),
            advertise: None,
            expiry: ExpiryRules::default(),
            ports: BTreeSet::new(),
            contacts_any: BTreeSet::new(),
            serve: Serve::All,
            digest: BTreeMap::new(),
        }
    }
}

/// Whose phones this peer serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serve {
    /// Everybody's, as every peer may ask of every other.
    #[default]
    All,
    /// Those of the realms that this peer is home of. Calls from elsewhere still reach them, across the overlay.
    Own,
}

impl Serve {
    /// `own`, `all`.
    pub fn parse(text: &str) -> Option<Serve> {
        [Serve::All, Serve::Own].into_iter().find(|serve| serve.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Serve::All => "all",
            Serve::Own => "own",
        }
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub mono: Instant,
    /// UTC, ms.
    pub wall_ms: u64,
}

/// What a core keeps of itself between two inputs.
pub(crate) struct Base {
    pub config: Config,
    pub shard: Shard,
    /// Signs route tokens; survives restarts.
    pub token_key: TokenKey,
    /// Hashes what strangers write; made from the token key, so tags of answers survive restarts too.
    pub secret: Secret,
    pub border: Border,
    rng: ChaCha20Rng,
    next: u64,
    pub out: VecDeque<Output>,
    /// Own phones asked for, `Output::Locate` for those of another shard.
    pub wanted: VecDeque<(AskId, Arc<str>)>,
}

impl Base {
    pub fn new(config: Config, token_key: [u8; 32], seed: u64, shard: Shard) -> Base {
        let secret = |purpose: &[u8]| {
            let mut hash = Sha256::new();
            hash.update(purpose);
            hash.update(token_key);
            Secret::new(hash.finalize().into())
        };
        let border = Border::new(secret(b"dots/sip/border/1"), host_of(&config.label));
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(shard));
        Base {
            config,
            shard,
            token_key: TokenKey::new(&token_key),
            secret: secret(b"dots/sip/names/1"),
            border,
            rng,
            next: 0,
            out: VecDeque::new(),
            wanted: VecDeque::new(),
        }
    }
}

/// [`Base`] during one input.
pub(crate) struct Cx<'a> {
    pub now: Now,
    /// What came with the message that is being handled.
    pub nonce: Option<Nonce>,
    pub base: &'a mut Base,
}

impl Cx<'_> {
    pub fn config(&self) -> &Config {
        &self.base.config
    }
    pub fn addressing(&self) -> &Addressing {
        &self.base.config.addressing
    }

    /// May phones of this realm register and call here?
    pub fn serves(&self, realm: &str) -> bool {
        self.config().serve == Serve::All || self.addressing().local_realms.contains(realm)
    }

    pub fn ours(&self) -> Ours<'_> {
        Ours { addressing: self.addressing(), ports: &self.config().ports }
    }

    /// The number of a new session: the questions that it asks carry it.
    pub fn session(&mut self) -> AskId {
        self.base.next += 1;
        AskId::new(self.base.shard, self.base.next)
    }

    pub fn branch(&mut self) -> Branch {
        Branch::new(self.base.shard, self.base.rng.random())
    }

    pub fn random_text(&mut self) -> String {
        data_encoding::HEXLOWER.encode(&self.base.rng.random::<[u8; 8]>())
    }

    pub fn own_host(&self) -> &str {
        self.base.border.own_host()
    }

    /// Does a Route with this host name us?
    pub fn is_own_route(&self, host: &str) -> bool {
        self.addressing().is_own_host(host) || host.eq_ignore_ascii_case(self.own_host())
    }

    /// Is this host the name of a realm of ours? Phones write it for the proxy that they were told.
    pub fn is_own_realm(&self, host: &str) -> bool {
        self.addressing().local_realms.contains(&self.addressing().plain_realm(host))
    }

    /// `host:port` that stands for us toward this flow.
    pub fn sent_by(&self, flow: &Flow) -> String {
        self.config().advertise.clone().unwrap_or_else(|| flow.local.to_string())
    }

    pub fn out(&mut self, output: Output) {
        self.base.out.push_back(output);
    }

    /// An account has answered for what came on this flow. Only of a connection does anybody have to know.
    pub fn proved(&mut self, flow: &Flow) {
        if flow.transport.is_reliable() {
            self.out(Output::Proved { flow: *flow });
        }
    }

    pub fn count(&mut self, name: &'static str) {
        self.out(Output::Count(name));
    }

    /// Where are the phones of this AOR? Answered by `Input::Located`, or at once where they are ours.
    pub fn locate(&mut self, id: AskId, aor: &str) {
        self.base.wanted.push_back((id, aor.into()));
    }

    /// A message that no grant goes with: responses, ACK, CANCEL, what is in a dialog.
    pub fn send(&mut self, hop: &Hop, message: Message) {
        self.send_with(hop, message, None, About::Other);
    }

    /// `grant` and `about`: see [`Output::SendPeer`].
    pub fn send_with(&mut self, hop: &Hop, message: Message, grant: Option<Arc<[u8]>>, about: About) {
        self.out(match hop {
            Hop::Phone(flow) => Output::Send { flow: *flow, bytes: message.into_bytes() },
            Hop::Peer(peer) => Output::SendPeer { peer: peer.clone(), message, grant, about },
        });
    }

    /// An answer of our own to `request`; its To-tag is a hash of the request.
    pub fn answer(&self, request: &Message, status: Status, headers: &[(&str, String)]) -> Message {
        let tag = self.base.secret.to_tag(request, self.base.shard);
        let reply = Reply { request, status: status.0, reason: status.1, to_tag: Some(&tag), source: None };
        reply.finish(headers.iter().map(|(name, value)| (*name, value.as_str())))
    }
}
