//! The objects that histories can be judged against, one file each: what recorded operations mean, and shortcuts.

pub(super) mod register;
