//! Grants signed in batches by a home, and checked by whoever is shown one.
//!
//! What a grant proves, honestly: the account's phone answered somebody within 300 s, and the serving peer named in it
//! holds that answer. It is worth nothing to any other peer, for any other phone or target, or after its time.

use crate::records::{
    RealmRecord,
    grant::{
        CALL_LIFE_MAX, GRANT_DOMAIN, GRANT_VERSION, Grant, GrantProof, GrantRoot, ON_BEHALF_MAX, OnBehalf,
        Permit, Scope,
    },
};
use dots_wire::{
    Checked, Hash, Label20, MerkleTree, PeerId, SecretKey, Signed, Timestamp,
    bounded::{Book, Cause, Limits, Promises},
    decode, encode, merkle_verify, sha256,
};
use serde_bytes::ByteBuf;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Grants asked for within this time share one signature.
pub const BATCH: Duration = Duration::from_millis(2);
/// Leaves of one tree: a path of at most ten hashes.
const BATCH_MAX: usize = 1_024;
/// Grants that wait to be signed, for 2 ms and what signing takes. Each belongs to a request that a phone or peer waits for,
/// and is charged to the peer that asks for it.
pub(crate) const PENDING: Limits = Limits::new(6 << 20, 16_384);
/// A grant with its texts, and the hashes of its path.
const PENDING_BYTES: usize = 512;
/// A proof that is longer is not looked at.
pub const PROOF_MAX: usize = 1_536;
/// A record from further ahead is refused.
const FUTURE_MAX: Duration = Duration::from_secs(60);

/// Collects grants and signs them together.
pub struct GrantBatcher<Tag> {
    pending: VecDeque<(Tag, Grant, Cause)>,
    book: Book,
    due: Option<Instant>,
}

impl<Tag> Default for GrantBatcher<Tag> {
    fn default() -> Self {
        GrantBatcher { pending: VecDeque::new(), book: Book::new(PENDING), due: None }
    }
}

impl<Tag> GrantBatcher<Tag> {
    /// `tag` comes back with the proof. Gives it back where too many of this cause wait.
    pub fn push(&mut self, now: Instant, tag: Tag, grant: Grant, cause: Cause) -> Result<(), Tag> {
        let weight = self.book.weight(PENDING_BYTES);
        if self.book.admits(cause, weight).is_err() {
            return Err(tag);
        }
        self.book.charge(cause, weight);
        self.pending.push_back((tag, grant, cause));
        let due = self.due.get_or_insert(now + BATCH);
        if self.pending.len() >= BATCH_MAX {
            *due = now;
        }
        Ok(())
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What is due, signed.
    pub fn sign_due(&mut self, now: Instant, home: &SecretKey) -> Vec<(Tag, GrantProof)> {
        if self.due.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.due = None;
        let mut signed = Vec::with_capacity(self.pending.len());
        while !self.pending.is_empty() {
            let (mut tags, mut grants) = (Vec::new(), Vec::new());
            for (tag, grant, cause) in self.pending.drain(..self.pending.len().min(BATCH_MAX)) {
                self.book.discharge(cause, self.book.weight(PENDING_BYTES));
                tags.push(tag);
                grants.push(grant);
            }
            signed.extend(tags.into_iter().zip(sign(home, &grants)));
        }
        signed
    }
}

/// REC-7: one signature over all `grants`.
pub fn sign(home: &SecretKey, grants: &[Grant]) -> Vec<GrantProof> {
    let leaves: Vec<Vec<u8>> = grants.iter().map(encode).collect();
    let tree = MerkleTree::of(&leaves);
    let root = GrantRoot {
        version: GRANT_VERSION,
        home: home.peer_id(),
        root: tree.root(),
        count: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
    };
    let root = Signed::new(home, GRANT_DOMAIN, &root);
    let proof = |(index, leaf): (usize, &Vec<u8>)| GrantProof {
        grant: ByteBuf::from(leaf.clone()),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        path: tree.path(index),
        root: root.clone(),
    };
    leaves.iter().enumerate().map(proof).collect()
}

/// Why a grant is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    #[error("it is not a grant of a version that we know")]
    Unreadable,
    #[error("its signature or its place in the batch is wrong")]
    Signature,
    #[error("its signer is no home of that realm")]
    NotHome,
    #[error("it is for another serving peer")]
    OtherPeer,
    #[error("the realm lets that peer serve nobody")]
    NotServing,
    #[error("it is expired, of the future, or lives too long")]
    Time,
    #[error("its scope is one that no home may give yet")]
    Scope,
    #[error("the home has revoked it")]
    Revoked,
}

/// REC-8: the grant in `proof`, if a home of `realm` gave it to `serving` and it still holds. `revoked`: what a home said of
/// an AOR's older grants. The caller checks that permit and scope fit what is asked. Grants of one batch cost one check of a
/// signature, and a grant that is shown again costs none.
pub fn verify(
    checked: &mut Checked,
    proof: &[u8],
    serving: PeerId,
    realm: &RealmRecord,
    now: Timestamp,
    revoked: impl Fn(Hash, PeerId) -> Option<Timestamp>,
) -> Result<Grant, BadGrant> {
    if proof.len() > PROOF_MAX {
        return Err(BadGrant::Unreadable);
    }
    let proof: GrantProof = decode(proof).map_err(|_| BadGrant::Unreadable)?;
    let grant: Grant = decode(&proof.grant).map_err(|_| BadGrant::Unreadable)?;
    let root: GrantRoot = proof.root.peek().map_err(|_| BadGrant::Unreadable)?;
    if root.version != GRANT_VERSION {
        return Err(BadGrant::Unreadable);
    }
    holds(&grant, serving, realm, now, revoked)?;
    if grant.home != root.home {
        return Err(BadGrant::NotHome);
    }
    let placed = merkle_verify(&proof.grant, proof.index, root.count, &proof.path, &root.root);
    let Signed { payload, signature } = &proof.root;
    if !placed || !checked.holds(&grant.home.0, GRANT_DOMAIN, payload, signature) {
        return Err(BadGrant::Signature);
    }
    Ok(grant)
}

/// Everything about a grant but who says so.
fn holds(
    grant: &Grant,
    serving: PeerId,
    realm: &RealmRecord,
    now: Timestamp,
    revoked: impl Fn(Hash, PeerId) -> Option<Timestamp>,
) -> Result<(), BadGrant> {
    if grant.version != GRANT_VERSION {
        return Err(BadGrant::Unreadable);
    }
    if grant.serving != serving {
        return Err(BadGrant::OtherPeer);
    }
    if grant.realm != realm.id() || !realm.is_home(grant.home) {
        return Err(BadGrant::NotHome);
    }
    if !realm.may_serve(serving) {
        return Err(BadGrant::NotServing);
    }
    let timely = grant.not_after > now
        && grant.not_after.since(grant.time) <= grant.permit.life_max()
        && grant.time.since(now) <= FUTURE_MAX;
    if !timely {
        return Err(BadGrant::Time);
    }
    let Scope::Aor(aor_id) = &grant.scope else { return Err(BadGrant::Scope) };
    let void = |home: &PeerId| revoked(*aor_id, *home).is_some_and(|before| grant.time < before);
    if realm.homes.iter().any(void) {
        return Err(BadGrant::Revoked);
    }
    Ok(())
}

/// A grant that a peer has shown on its own connection, for what it does itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Signed by a home, whoever that is.
    Signed(Grant),
    /// The home itself says so.
    Spoken(Grant),
}

impl Heard {
    pub fn grant(&self) -> &Grant {
        match self {
            Heard::Signed(grant) | Heard::Spoken(grant) => grant,
        }
    }

    pub fn is_signed(&self) -> bool {
        matches!(self, Heard::Signed(_))
    }
}

/// What the authenticated peer `from` shows: a proof as [`verify`] has it; or, REC-11, the bare word of a home for a phone that it
/// serves itself, which is worth nothing out of any other mouth.
pub fn hear(
    checked: &mut Checked,
    shown: &[u8],
    from: PeerId,
    realm: &RealmRecord,
    now: Timestamp,
    revoked: impl Fn(Hash, PeerId) -> Option<Timestamp>,
) -> Result<Heard, BadGrant> {
    let Some(grant) = bare(shown) else {
        return verify(checked, shown, from, realm, now, revoked).map(Heard::Signed);
    };
    holds(&grant, from, realm, now, revoked)?;
    if grant.home != from {
        return Err(BadGrant::Signature);
    }
    // A home needs no word of its own to bind a phone.
    match grant.permit {
        Permit::Call { .. } => Ok(Heard::Spoken(grant)),
        Permit::Bind { .. } => Err(BadGrant::Scope),
    }
}

/// A grant without a proof around it. No bytes are both.
fn bare(shown: &[u8]) -> Option<Grant> {
    if shown.len() > PROOF_MAX { None } else { decode(shown).ok() }
}

/// The realm record by which the home says it granted, unchecked. Where ours is older, its homes may be others.
pub fn claimed_seq(proof: &[u8]) -> Option<u64> {
    if proof.len() > PROOF_MAX {
        return None;
    }
    let proof: GrantProof = decode(proof).ok()?;
    decode::<Grant>(&proof.grant).ok().map(|grant| grant.realm_seq)
}

/// REC-10: the second part of a grant, if it may be one: as deep as calls are forwarded, and each part of the version that we know.
pub fn read_on_behalf(parts: &[Signed]) -> Option<Vec<OnBehalf>> {
    if parts.len() > ON_BEHALF_MAX {
        return None;
    }
    let read = |part: &Signed| part.peek::<OnBehalf>().ok().filter(|p| p.version == GRANT_VERSION);
    parts.iter().map(read).collect()
}

/// What a grant is remembered by: its own bytes, which its batch can't change.
pub fn fingerprint(proof: &[u8]) -> Option<Hash> {
    let proof: GrantProof = decode(proof).ok()?;
    Some(sha256(&proof.grant))
}

/// Call grants that were shown to us: each is good for one request. Charged to the serving peer that shows them
/// and to the realm of the caller; a peer that shows too many is refused alone.
pub struct Shown {
    seen: Promises<Hash, ()>,
    by_age: VecDeque<(Instant, Hash)>,
}

/// Call grants of the last minute: 1,000 a second.
pub(crate) const SHOWN: Limits = Limits::new(6 << 20, 65_536).reserving([0, 300, 150, 0]);

impl Default for Shown {
    fn default() -> Shown {
        Shown { seen: Promises::new(SHOWN), by_age: VecDeque::new() }
    }
}

impl Shown {
    /// The first time? `cause`: whoever calls, behind the network of the peer that shows it. `false` also where it has shown
    /// too many to be remembered.
    pub fn is_first(&mut self, now: Instant, proof: &[u8], cause: Cause) -> bool {
        let life = CALL_LIFE_MAX + FUTURE_MAX;
        while self.by_age.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > life) {
            if let Some((_, old)) = self.by_age.pop_front() {
                self.seen.remove(&old);
            }
        }
        let Some(name) = fingerprint(proof) else { return false };
        if self.seen.contains(&name) {
            return false;
        }
        let is_kept = self.seen.insert(cause, name, ()).is_ok();
        if is_kept {
            self.by_age.push_back((now, name));
        }
        is_kept
    }
}

/// The realm whose home is said to have signed it, unchecked.
pub fn claimed_realm(proof: &[u8]) -> Option<Label20> {
    if proof.len() > PROOF_MAX {
        return None;
    }
    let signed = || decode::<Grant>(&decode::<GrantProof>(proof).ok()?.grant).ok();
    bare(proof).or_else(signed).map(|grant| grant.realm)
}

impl Grant {
    pub fn is_for(&self, aor: Hash) -> bool {
        self.scope == Scope::Aor(aor)
    }
    /// A registration of `instance` by `aor`?
    pub fn allows_bind(&self, aor: Hash, instance: Hash) -> bool {
        self.is_for(aor) && self.permit == Permit::Bind { instance }
    }
    pub fn is_bind(&self) -> bool {
        matches!(self.permit, Permit::Bind { .. })
    }
    /// This request by `aor`?
    pub fn allows_call(&self, aor: Hash, method: &str, target: Hash) -> bool {
        self.is_for(aor)
            && matches!(&self.permit, Permit::Call { method: m, target: t, .. } if m == method && *t == target)
    }
}

#[cfg(test)]
mod tests;
