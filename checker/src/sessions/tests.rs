//! The guarantees against an oracle that tries every order of the writes, on examples, and on long histories.

mod examples;
mod long;
mod oracle;
