//! Names of realms.

use dots_wire::PublicKey;

/// Characters of the key's hash in a self-certifying name: 100 bits.
const NAME_CHARS: usize = 20;

/// `<base32 of SHA-256(realm key), 20 characters>.dots`: owned by whoever holds the key, in no registry.
pub fn self_certifying(key: &PublicKey) -> String {
    let label = key.label().base32();
    format!("{}.dots", label.get(..NAME_CHARS).unwrap_or(&label))
}

#[cfg(test)]
#[test]
fn names_follow_from_keys() {
    let key = dots_wire::SecretKey::from_bytes(&[5; 32]).expect("a scalar").public();
    let name = self_certifying(&key);
    assert_eq!(name.len(), NAME_CHARS + 5);
    assert_eq!(name, self_certifying(&key));
}
