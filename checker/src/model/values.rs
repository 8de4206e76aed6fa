//! JSON values as small numbers: equal numbers exactly when the JSON is equal.
//!
//! Hashes are never compared instead of values; a verdict must not be a matter of probability.

use rustc_hash::FxHashMap;
use serde_json::Value;

/// An interned value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ValueId(pub u32);

impl ValueId {
    /// JSON `null`: nothing was ever written.
    pub const ABSENT: Self = Self(0);
}

/// The values of one history.
#[derive(Debug, Clone)]
pub struct Values {
    ids: FxHashMap<Value, ValueId>,
    values: Vec<Value>,
}

impl Default for Values {
    fn default() -> Self {
        let ids = FxHashMap::from_iter([(Value::Null, ValueId::ABSENT)]);
        Self { ids, values: vec![Value::Null] }
    }
}

impl Values {
    /// The number of a value.
    pub fn intern(&mut self, value: &Value) -> ValueId {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        let id = ValueId(
            u32::try_from(self.values.len()).expect("invariant: fewer than 2^32 values in a history"),
        );
        self.values.push(value.clone());
        self.ids.insert(value.clone(), id);
        id
    }

    /// The value of a number.
    pub fn get(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.0 as usize)
    }

    /// The value as people read it: shortened JSON, `nothing` for the absent value.
    pub fn show(&self, id: ValueId) -> String {
        match self.get(id) {
            None => "some other value".into(),
            Some(Value::Null) => "nothing".into(),
            Some(value) => shorten(value),
        }
    }
}

/// JSON, cut after some 60 characters: histories are hostile bytes, and a value may be a megabyte.
pub fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    text.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

/// How many characters of a value are shown.
const SHOWN_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_equal_exactly_when_the_json_is() {
        let mut values = Values::default();
        let one = values.intern(&json!(1));
        assert_eq!(values.intern(&json!(1)), one);
        assert_ne!(values.intern(&json!("1")), one);
        assert_eq!(values.intern(&Value::Null), ValueId::ABSENT);
        assert_eq!(values.get(one), Some(&json!(1)));
    }

    #[test]
    fn long_values_are_cut_for_people() {
        assert_eq!(shorten(&json!("é".repeat(1000))).chars().count(), SHOWN_CHARS + 1);
    }
}
