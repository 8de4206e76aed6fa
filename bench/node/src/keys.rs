//! Keys and values: a value says of which key it is, so that a wrong answer to a read is noticed.

use std::fmt::Write;

use bytes::Bytes;

use crate::job::Space;

impl Space {
    /// The key with this number.
    pub(crate) fn key(self, number: u64) -> String {
        format!("key-{:08}", number % self.keys)
    }

    /// A value of `key` that no other write has.
    pub(crate) fn value(self, key: &str, client: usize, sequence: u64) -> Bytes {
        let mut value = String::with_capacity(self.value_bytes);
        write!(value, "{key} {client} {sequence} ").expect("invariant: a string takes everything");
        let mut value = value.into_bytes();
        value.resize(self.value_bytes, b'.');
        value.into()
    }

    /// Whether these bytes can be a value of `key`.
    pub(crate) fn is_value_of(self, key: &str, value: &[u8]) -> bool {
        let rest = value.strip_prefix(key.as_bytes());
        value.len() == self.value_bytes && rest.is_some_and(|rest| rest.starts_with(b" "))
    }
}

/// Marsaglia's xorshift: fast, and different for each client.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn of_client(client: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(client as u64 + 1) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space { keys: 10, value_bytes: 64 };

    #[test]
    fn value_is_of_its_key_and_of_no_other() {
        let key = SPACE.key(13);
        assert_eq!(key, "key-00000003");
        let value = SPACE.value(&key, 7, 99);
        assert!(SPACE.is_value_of(&key, &value));
        assert!(!SPACE.is_value_of(&SPACE.key(4), &value));
        assert!(!SPACE.is_value_of(&key, &value[..63]));
        assert!(!SPACE.is_value_of("key-0000000", &value));
    }

    #[test]
    fn clients_draw_different_keys() {
        let drawn = |client| {
            let mut numbers = Numbers::of_client(client);
            [numbers.next(), numbers.next(), numbers.next()]
        };
        assert_ne!(drawn(0), drawn(1));
    }
}
