//! The names of the models that histories can be judged against.

use std::fmt;
use std::str::FromStr;

/// A model by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spec {
    /// Read, write, compare-and-set.
    Register,
    /// The same, with versions that are observed.
    VersionedRegister,
    /// Strings: get, put, append, compare-and-set, delete.
    Kv,
    /// Add, remove, contains, read.
    Set,
    /// Add a number, read the sum.
    Counter,
    /// First in, first out.
    Queue,
    /// A queue that promises no order.
    UnorderedQueue,
    /// Last in, first out.
    Stack,
    /// A lock with fencing tokens.
    Mutex,
    /// A list that grows at its end.
    AppendList,
}

impl Spec {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Register,
        Self::VersionedRegister,
        Self::Kv,
        Self::Set,
        Self::Counter,
        Self::Queue,
        Self::UnorderedQueue,
        Self::Stack,
        Self::Mutex,
        Self::AppendList,
    ];

    /// The name on the command line and in headers of histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::VersionedRegister => "versioned-register",
            Self::Kv => "kv",
            Self::Set => "set",
            Self::Counter => "counter",
            Self::Queue => "queue",
            Self::UnorderedQueue => "unordered-queue",
            Self::Stack => "stack",
            Self::Mutex => "mutex",
            Self::AppendList => "append-list",
        }
    }

    /// What clients call, with what, and what they observe.
    pub fn functions(self) -> &'static str {
        match self {
            Self::Register => "read → value or null; write value; cas [expected, new] → true or false",
            Self::VersionedRegister => {
                "read → [value, version]; write value → version; cas [expected version, new] → version or false"
            }
            Self::Kv => {
                "get → string or null; put string; append string; cas [expected, new] → true or false; delete"
            }
            Self::Set => "add element; remove element; contains element → true or false; read → list",
            Self::Counter => "add integer; read → integer",
            Self::Queue | Self::UnorderedQueue => "enqueue value; dequeue → value, or null when empty",
            Self::Stack => "push value; pop → value, or null when empty",
            Self::Mutex => "acquire → fencing token, null, or false when refused; release",
            Self::AppendList => "append element; read → list",
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no model has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown model `{0}`; known are register (also cas-register), versioned-register, kv, set, counter, queue, unordered-queue, stack, mutex, append-list"
)]
pub struct UnknownSpec(String);

impl FromStr for Spec {
    type Err = UnknownSpec;

    fn from_str(name: &str) -> Result<Self, UnknownSpec> {
        match name {
            "cas-register" => Ok(Self::Register),
            _ => Self::ALL
                .into_iter()
                .find(|spec| spec.name() == name)
                .ok_or_else(|| UnknownSpec(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_understood_and_an_unknown_one_lists_them_all() {
        for spec in Spec::ALL {
            assert_eq!(spec.name().parse(), Ok(spec));
        }
        let error = "tree".parse::<Spec>().unwrap_err().to_string();
        assert!(Spec::ALL.iter().all(|spec| error.contains(spec.name())), "{error}");
    }
}
