//! The secret behind the pseudonyms.

use std::hash::Hasher as _;
use std::io::{self, Read as _};

use siphasher::sip::SipHasher24;

/// A random secret. It is stored nowhere: without it a pseudonym cannot be turned back, nor compared with that of another trace.
#[derive(Clone, Copy)]
pub struct Key([u8; 16]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// What a hash is for, so that equal bytes of different kinds have nothing in common.
#[derive(Clone, Copy, Debug)]
pub(super) enum Domain {
    V4 = 1,
    V6 = 2,
    Label = 3,
    Socket = 4,
}

impl Key {
    /// A new one from the kernel's random numbers.
    pub fn random() -> io::Result<Self> {
        let mut key = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Self(key))
    }

    /// A given one, for tests and for redacting several traces alike.
    pub const fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// A pseudorandom number for these bytes (SipHash-2-4, Aumasson and Bernstein 2012).
    pub(super) fn hash(&self, domain: Domain, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&[domain as u8]);
        hasher.write(bytes);
        hasher.finish()
    }
}
