//! A register whose versions are observed: etcd's modification revisions, or a counter that clients carry along.

use history::ValueId;

use super::{Effect, Model, SequentialSpec};

/// What is known of the version that the register has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// It is this.
    Is(u64),
    /// The last write did not learn its version.
    Above {
        /// It is larger than this.
        bound: u64,
        /// And none of these, because somebody expected them in vain; ascending, each larger than `bound + 1`.
        except: Vec<u64>,
    },
}

/// A value and its version; [`ValueId::ABSENT`] with version 0 at first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionedRegister {
    /// What it holds.
    pub value: ValueId,
    /// Which version that is.
    pub version: Version,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionedOp {
    /// What does it hold, in which version?
    Read,
    /// Hold this.
    Write(ValueId),
    /// Hold `new` if the version is `expected`.
    Cas {
        /// The version that must be there.
        expected: u64,
        /// The value that replaces it.
        new: ValueId,
    },
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionedRet {
    /// A value and its version.
    Read(ValueId, u64),
    /// The version of what was written.
    Written(u64),
    /// Another version was there.
    Mismatched,
}

impl Default for VersionedRegister {
    fn default() -> Self {
        Self { value: ValueId::ABSENT, version: Version::Is(0) }
    }
}

impl Version {
    /// Whether it can be this one.
    pub fn can_be(&self, version: u64) -> bool {
        match self {
            Self::Is(known) => *known == version,
            Self::Above { bound, except } => version > *bound && !except.contains(&version),
        }
    }

    /// Larger than this, and nothing else is known.
    pub fn above(bound: u64) -> Self {
        Self::Above { bound, except: Vec::new() }
    }

    /// It cannot be this one; `false` when it is.
    fn exclude(&mut self, version: u64) -> bool {
        match self {
            Self::Is(known) => *known != version,
            Self::Above { bound, except } => {
                if version > *bound
                    && let Err(at) = except.binary_search(&version)
                {
                    except.insert(at, version);
                }
                // Equal knowledge has one form.
                while except.first() == Some(&bound.saturating_add(1)) {
                    *bound = except.remove(0);
                }
                true
            }
        }
    }

    /// The smallest that it can be.
    fn least(&self) -> u64 {
        match self {
            Self::Is(known) => *known,
            Self::Above { bound, .. } => bound.saturating_add(1),
        }
    }
}

impl SequentialSpec for VersionedRegister {
    type Op = VersionedOp;
    type Ret = VersionedRet;

    /// Versions that nobody observes grow by one at least.
    fn invoke(&mut self, op: &VersionedOp) -> VersionedRet {
        let least = self.version.least();
        match *op {
            VersionedOp::Read => VersionedRet::Read(self.value, least),
            VersionedOp::Cas { expected, .. } if !self.version.can_be(expected) => VersionedRet::Mismatched,
            VersionedOp::Write(value) => {
                *self = Self { value, version: Version::above(least) };
                VersionedRet::Written(least.saturating_add(1))
            }
            VersionedOp::Cas { expected, new } => {
                *self = Self { value: new, version: Version::above(expected) };
                VersionedRet::Written(expected.saturating_add(1))
            }
        }
    }

    fn is_valid_step(&mut self, op: &VersionedOp, ret: &VersionedRet) -> bool {
        match (*op, *ret) {
            (VersionedOp::Read, VersionedRet::Read(value, version)) => {
                let fits = self.value == value && self.version.can_be(version);
                self.version = Version::Is(version);
                fits
            }
            (VersionedOp::Write(value), VersionedRet::Written(version)) => self.write(value, version),
            (VersionedOp::Cas { expected, new }, VersionedRet::Written(version)) => {
                let fits = self.version.can_be(expected) && version > expected;
                fits && self.write(new, version)
            }
            (VersionedOp::Cas { expected, .. }, VersionedRet::Mismatched) => self.version.exclude(expected),
            _ => false,
        }
    }
}

impl VersionedRegister {
    fn write(&mut self, value: ValueId, version: u64) -> bool {
        let fits = version > self.version.least();
        *self = Self { value, version: Version::Is(version) };
        fits
    }
}

impl Model for VersionedRegister {
    /// A read may tell the version of a write that did not learn it, and a mismatch what it is not.
    fn effect(op: &VersionedOp, ret: Option<&VersionedRet>) -> Effect {
        match (op, ret) {
            (VersionedOp::Read, None) => Effect::Pure,
            _ => Effect::General,
        }
    }
}
