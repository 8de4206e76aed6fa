//! Strings as places in the sorted list of everything that was observed.
//!
//! What a string is matters only as far as somebody observed it: two strings that are no beginning of anything that was ever
//! observed behave alike for ever, because appending never makes them one. So a string is the first observed one that
//! begins with it and a length, or *dead*. This is exact: strings are compared, never hashed. Their first eight bytes lie
//! beside them as a number, so that most comparisons do not look at the string itself.

use history::{ValueId, Values};

/// What a key holds, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Text {
    /// Nothing.
    Absent,
    /// The first `len` bytes of an observed string.
    Beginning { of: u32, len: u32 },
    /// Something that nobody observed and that no append makes observable.
    Dead,
}

/// The strings of a history.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    /// Every string that somebody observed or expected, in the order of its bytes.
    observed: Vec<Headed<'a>>,
    /// What a key holds that holds a value; `None` for what is no string.
    texts: Vec<Option<Text>>,
}

/// A string behind its first bytes, so that it compares like the string alone.
type Headed<'a> = (u64, &'a [u8]);

impl<'a> Texts<'a> {
    /// The strings of a history in which some values are observed.
    pub(super) fn new(values: &'a Values, is_observed: &[bool]) -> Self {
        let strings = || (0..values.len()).map(|id| values.str(ValueId(id as u32)).map(str::as_bytes));
        let observed = strings().zip(is_observed).filter(|(_, is_observed)| **is_observed);
        let mut observed: Vec<Headed<'_>> =
            observed.filter_map(|(string, _)| string.map(|string| (head(string), string))).collect();
        observed.sort_unstable();
        let mut object = Self { observed, texts: Vec::new() };
        object.texts = strings().map(|string| string.map(|string| object.text(string))).collect();
        object
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        (self.observed.capacity() * size_of::<Headed<'_>>()
            + self.texts.capacity() * size_of::<Option<Text>>()) as u64
    }

    /// What a key holds that holds a string.
    pub(super) fn text(&self, string: &[u8]) -> Text {
        let headed = (head(string), string);
        let of = self.observed.partition_point(|observed| *observed < headed);
        match self.observed.get(of) {
            Some((_, observed)) if observed.starts_with(string) => {
                Text::Beginning { of: of as u32, len: string.len() as u32 }
            }
            _ => Text::Dead,
        }
    }

    /// What a key holds that holds a value, which is a string or absent.
    pub(super) fn of(&self, id: ValueId) -> Text {
        if id.is_absent() { Text::Absent } else { self.get(id).unwrap_or(Text::Dead) }
    }

    /// Whether the value is a string.
    pub(super) fn is_text(&self, id: ValueId) -> bool {
        self.get(id).is_some()
    }

    fn get(&self, id: ValueId) -> Option<Text> {
        self.texts.get(id.0 as usize).copied().flatten()
    }

    /// The bytes of a beginning.
    pub(super) fn bytes_of(&self, of: u32, len: u32) -> &'a [u8] {
        &self.observed[of as usize].1[..len as usize]
    }

    /// The beginning that is `suffix` behind another one: again the first observed string that begins with it. It is not far,
    /// because everything that begins with the longer one lies among what begins with the shorter.
    pub(super) fn longer(&self, of: u32, len: u32, suffix: &[u8]) -> Text {
        let prefix = self.bytes_of(of, len);
        let from = &self.observed[of as usize..];
        let rest = |at: usize| from.get(at).and_then(|(_, observed)| observed.strip_prefix(prefix));
        let is_before = |at: usize| rest(at).is_some_and(|rest| rest < suffix);
        let (mut before, mut beyond) = (0, 1);
        while is_before(beyond - 1) {
            (before, beyond) = (beyond, 2 * beyond);
        }
        // What ends a doubling is not before: the answer is its last place or an earlier one.
        let mut last = beyond - 1;
        while before < last {
            let middle = usize::midpoint(before, last);
            if is_before(middle) { before = middle + 1 } else { last = middle }
        }
        match rest(last).filter(|rest| rest.starts_with(suffix)) {
            Some(_) => Text::Beginning { of: of + last as u32, len: len + suffix.len() as u32 },
            None => Text::Dead,
        }
    }
}

/// The first eight bytes, where a string that is shorter ends in zeros: whose head is less is less.
fn head(string: &[u8]) -> u64 {
    let mut head = [0; size_of::<u64>()];
    let len = string.len().min(head.len());
    head[..len].copy_from_slice(&string[..len]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the first observed string, by bytes, that begins with it.
    fn plainly(observed: &[&str], string: &str) -> Text {
        let mut sorted = observed.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        match sorted.iter().position(|observed| observed.starts_with(string)) {
            Some(of) => Text::Beginning { of: of as u32, len: string.len() as u32 },
            None => Text::Dead,
        }
    }

    fn string() -> impl Strategy<Value = String> {
        "[ab\u{0}]{0,11}|é?a{0,3}b{0,3}"
    }

    proptest! {
        #[test]
        fn string_is_the_first_observed_one_that_begins_with_it(
            all in proptest::collection::vec((string(), any::<bool>()), 1..30),
            suffixes in proptest::collection::vec(string(), 1..4),
        ) {
            let mut values = Values::default();
            let ids: Vec<ValueId> = all.iter().map(|(string, _)| values.intern(&serde_json::Value::from(string.as_str()))).collect();
            let mut is_observed = vec![false; values.len()];
            ids.iter().zip(&all).for_each(|(id, (_, seen))| is_observed[id.0 as usize] |= seen);
            let texts = Texts::new(&values, &is_observed);
            let observed: Vec<&str> = all.iter().filter(|(_, seen)| *seen).map(|(s, _)| s.as_str()).collect();
            for (id, (string, _)) in ids.iter().zip(&all) {
                prop_assert_eq!(texts.of(*id), plainly(&observed, string));
                let Text::Beginning { of, len } = texts.of(*id) else { continue };
                for suffix in &suffixes {
                    let longer = plainly(&observed, &format!("{string}{suffix}"));
                    prop_assert_eq!(texts.longer(of, len, suffix.as_bytes()), longer);
                }
            }
        }
    }
}
