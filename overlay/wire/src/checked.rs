//! Signatures that were checked and hold. Many records come under one signature (grants of a home, receipts of a peer), and the
//! same record comes more than once: a signature costs the curve once, and a look into a table after that.

use crate::{
    BadSignature, Hash, PublicKey, Signature,
    bounded::{Cache, Cause, Limits, Standing},
};
use sha2::{Digest, Sha256};

/// The last ones; of a signer with many his own go first.
const REMEMBERED: Limits = Limits::new(2 << 20, 8_192);

/// Only what holds is remembered: whoever sends what does not hold is checked, and stopped by his rate.
pub struct Checked {
    good: Cache<Hash, ()>,
    count: usize,
}

impl Default for Checked {
    fn default() -> Checked {
        Checked { good: Cache::new(REMEMBERED), count: 0 }
    }
}

impl Checked {
    pub const LIMITS: Limits = REMEMBERED;

    pub fn verify(
        &mut self,
        key: &PublicKey,
        domain: &str,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let name = name(key, domain, bytes, signature);
        if self.good.contains(&name) {
            return Ok(());
        }
        self.count += 1;
        key.verify(domain, bytes, signature)?;
        self.good.insert(Cause::new(Standing::Other).by(&key.0), name, ());
        Ok(())
    }

    pub fn holds(&mut self, key: &PublicKey, domain: &str, bytes: &[u8], signature: &Signature) -> bool {
        self.verify(key, domain, bytes, signature).is_ok()
    }

    /// How many were checked on the curve since this was asked last.
    pub fn take_count(&mut self) -> usize {
        std::mem::take(&mut self.count)
    }
}

/// All that the answer depends on. A domain has no byte 0, key and signature have one length.
fn name(key: &PublicKey, domain: &str, bytes: &[u8], signature: &Signature) -> Hash {
    debug_assert!(!domain.bytes().any(|b| b == 0), "a domain is a name");
    let hash =
        Sha256::new_with_prefix(key.0).chain_update(signature.0).chain_update(domain).chain_update([0]);
    Hash(hash.chain_update(bytes).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    #[test]
    fn what_holds_is_checked_once_and_what_does_not_each_time() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let (public, signature) = (key.public(), key.sign("d/1", b"text"));
        let other = SecretKey::from_bytes(&[8; 32]).expect("a scalar").public();
        let mut checked = Checked::default();
        for _ in 0..3 {
            assert!(checked.holds(&public, "d/1", b"text", &signature));
        }
        assert_eq!(checked.take_count(), 1);
        let mut changed = signature;
        changed.0[5] ^= 1;
        for _ in 0..2 {
            assert!(!checked.holds(&other, "d/1", b"text", &signature), "another key");
            assert!(!checked.holds(&public, "d/2", b"text", &signature), "another domain");
            assert!(!checked.holds(&public, "d/1", b"texT", &signature), "other bytes");
            assert!(!checked.holds(&public, "d/1", b"text", &changed), "another signature");
        }
        assert_eq!(checked.take_count(), 8);
    }

    #[test]
    fn a_signer_of_many_takes_no_room_from_others() {
        let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
        let mut checked = Checked::default();
        let quiet = key(1).sign("d/1", b"quiet");
        assert!(checked.holds(&key(1).public(), "d/1", b"quiet", &quiet));
        // As if they had been checked: to sign so many would take a minute.
        for n in 0..20_000u32 {
            let name = crate::sha256(&n.to_be_bytes());
            checked.good.insert(Cause::new(Standing::Other).by(&key(2).public().0), name, ());
        }
        checked.take_count();
        assert!(checked.holds(&key(1).public(), "d/1", b"quiet", &quiet));
        assert_eq!(checked.take_count(), 0);
        assert!(checked.good.bytes() <= REMEMBERED.bytes);
    }
}
