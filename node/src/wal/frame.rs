//! The frame around a batch: how a whole batch is told from damage, and damage from the end.
//!
//! Frame = header (magic, length, batch number, payload checksum, header checksum) and payload, padded with zeros so that
//! every frame starts at a multiple of 8. The header has a checksum of its own, so that a batch can be recognised after
//! damage whose length field cannot be trusted.

use bytes::Bytes;

/// Frames start at multiples of this.
pub(crate) const ALIGNMENT_BYTES: usize = 8;
/// Size of the header in front of the payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

const MAGIC: u32 = 0x4241_5448;

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Size of the padded payload.
    pub(crate) length: u32,
    /// Number of the batch.
    pub(crate) batch: u64,
    payload_crc: u32,
}

/// Reserves the header in an empty buffer; the payload is appended next.
pub(crate) fn begin(buffer: &mut Vec<u8>) {
    buffer.resize(FRAME_HEADER_BYTES, 0);
}

/// Pads the payload and fills in the header.
pub(crate) fn seal(buffer: &mut Vec<u8>, batch: u64) {
    buffer.resize(buffer.len().next_multiple_of(ALIGNMENT_BYTES), 0);
    let length = (buffer.len() - FRAME_HEADER_BYTES) as u32;
    let payload_crc = crc32fast::hash(&buffer[FRAME_HEADER_BYTES..]);
    buffer[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&batch.to_le_bytes());
    buffer[16..20].copy_from_slice(&payload_crc.to_le_bytes());
    let header_crc = crc32fast::hash(&buffer[..20]);
    buffer[20..24].copy_from_slice(&header_crc.to_le_bytes());
}

/// The header at `offset`, when the bytes there are one.
pub(crate) fn header_at(bytes: &[u8], offset: usize) -> Option<FrameHeader> {
    let header = bytes.get(offset..offset + FRAME_HEADER_BYTES)?;
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("invariant: four bytes"));
    if word(0) != MAGIC || word(20) != crc32fast::hash(&header[..20]) {
        return None;
    }
    let batch = u64::from(word(8)) | u64::from(word(12)) << 32;
    Some(FrameHeader { length: word(4), batch, payload_crc: word(16) })
}

/// The payload of the batch with number `batch` at `offset`, when it is there and whole, which only a mutant does not check.
pub(crate) fn payload_at(bytes: &Bytes, offset: usize, batch: u64, is_checked: bool) -> Option<Bytes> {
    let header = header_at(bytes, offset).filter(|header| header.batch == batch)?;
    let start = offset + FRAME_HEADER_BYTES;
    let end = start.checked_add(header.length as usize).filter(|&end| end <= bytes.len())?;
    let payload = bytes.slice(start..end);
    (!is_checked || crc32fast::hash(&payload) == header.payload_crc).then_some(payload)
}

/// The first batch header at or after `from` with a number of at least `batch`.
pub(crate) fn find_batch(bytes: &[u8], from: usize, batch: u64) -> Option<usize> {
    let start = from.next_multiple_of(ALIGNMENT_BYTES);
    (start..bytes.len())
        .step_by(ALIGNMENT_BYTES)
        .find(|&offset| header_at(bytes, offset).is_some_and(|header| header.batch >= batch))
}
