//! The verdicts against independent oracles, on the litmus tests of the literature, and on long histories.

mod litmus;
mod long;
mod oracle;
mod play;
