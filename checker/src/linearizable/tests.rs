//! The verdicts against independent oracles, and against what must hold for histories of any size.

mod agreement;
mod cores;
mod hints;
mod large;
mod oracle;
mod simulate;
mod toys;
