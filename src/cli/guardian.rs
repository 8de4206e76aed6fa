//! The hidden command `guardian`: the parent of every node, started by `run`.

pub(super) fn main() -> anyhow::Result<u8> {
    nemesis::guardian::serve()
}
