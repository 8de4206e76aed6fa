//! Messages in a stream of bytes, and what may happen to one of them.
//!
//! A system that tells its [`Framing`] can lose, repeat, delay or reorder one message while the stream around it stays well
//! formed. What is no message (what the dialler says first, a beginning without a rest at the end of the stream) passes as
//! it is, and so does everything behind a length that no message has.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng;
use rand_pcg::Pcg64;
use tokio::time::Instant;

use super::rule::Odds;

/// The longest message; a length above it means that the stream is framed otherwise.
const MESSAGE_LIMIT_BYTES: usize = 16 << 20;
/// The length in front of a message.
pub(super) const LENGTH_BYTES: usize = 4;

/// How a system puts messages into the connections between its nodes, in the direction from who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// What the dialler says before its first message.
    pub preamble_bytes: usize,
    /// What stands in front of each message, at least four bytes: it begins with the length of what follows it, as a
    /// little-endian number of 32 bits.
    pub header_bytes: usize,
}

impl Framing {
    /// A message in its frame, with zeroes where the system may have a checksum.
    pub(super) fn frame(&self, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("invariant: messages of ours are short");
        let mut framed = vec![0; self.header_bytes];
        framed[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        framed.extend(message);
        framed
    }
}

/// A message that was taken out of the stream.
#[derive(Debug)]
struct Aside {
    message: Vec<u8>,
    /// When it goes on at the latest.
    due: Instant,
    /// Whether it goes on behind the next one.
    swapped: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Lost,
    Repeated,
    Swapped,
    Late,
}

impl Fate {
    fn draw(odds: Odds, dice: &mut Pcg64) -> Self {
        let fates = [
            (odds.lost, Self::Lost),
            (odds.repeated, Self::Repeated),
            (odds.swapped, Self::Swapped),
            (odds.late, Self::Late),
        ];
        let mut hits = |one_in: u16| one_in > 0 && dice.next_u32().is_multiple_of(u32::from(one_in));
        fates.into_iter().find(|(one_in, _)| hits(*one_in)).map_or(Self::Passes, |(_, fate)| fate)
    }
}

/// The messages of one direction of one connection.
#[derive(Debug)]
pub(super) struct Messages {
    framing: Framing,
    preamble_left: usize,
    /// Bytes of a message whose rest has not come yet.
    begun: Vec<u8>,
    /// In the order in which they were taken.
    aside: VecDeque<Aside>,
    aside_bytes: usize,
    /// The stream is framed otherwise.
    unknown: bool,
}

/// What goes on of the bytes that were read.
#[derive(Debug, Default)]
pub(super) struct Going {
    /// Whole messages, and bytes that are none.
    pub(super) bytes: Vec<u8>,
    /// How many messages something happened to.
    pub(super) hit: usize,
}

impl Messages {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            preamble_left: framing.preamble_bytes,
            begun: Vec::new(),
            aside: VecDeque::new(),
            aside_bytes: 0,
            unknown: false,
        }
    }

    /// Takes bytes in as they were read.
    pub(super) fn take(&mut self, bytes: &[u8], odds: Odds, dice: &mut Pcg64) -> Going {
        let (preamble, bytes) = bytes.split_at(self.preamble_left.min(bytes.len()));
        self.preamble_left -= preamble.len();
        let mut going = Going { bytes: preamble.to_vec(), hit: 0 };
        self.begun.extend(bytes);
        let begun = std::mem::take(&mut self.begun);
        let mut rest = &begun[..];
        while let Some((message, behind)) = self.split(rest) {
            self.meet(message, odds, dice, &mut going);
            rest = behind;
        }
        if self.unknown {
            going.bytes.extend(rest);
        } else {
            self.begun = rest.to_vec();
        }
        going
    }

    /// Messages whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<u8> {
        self.let_go(|aside| aside.due <= now)
    }

    /// When the next message goes on that was taken out.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.aside.iter().map(|aside| aside.due).min()
    }

    /// How much was taken out.
    pub(super) fn aside_bytes(&self) -> usize {
        self.aside_bytes
    }

    /// Everything that is left at the end of the stream, with the times at which it goes on.
    pub(super) fn finish(&mut self) -> Vec<(Vec<u8>, Option<Instant>)> {
        self.aside_bytes = 0;
        let mut left: Vec<Aside> = self.aside.drain(..).collect();
        left.sort_by_key(|aside| aside.due);
        let messages = left.into_iter().map(|aside| (aside.message, Some(aside.due)));
        let begun = std::mem::take(&mut self.begun);
        messages.chain((!begun.is_empty()).then_some((begun, None))).collect()
    }

    /// The first message with its header, if it is whole, and what is behind it.
    fn split<'a>(&mut self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let length = u32::from_le_bytes(*bytes.first_chunk::<LENGTH_BYTES>()?) as usize;
        self.unknown |= length > MESSAGE_LIMIT_BYTES;
        let whole = self.framing.header_bytes + length;
        bytes.split_at_checked(whole).filter(|_| !self.unknown)
    }

    fn meet(&mut self, message: &[u8], odds: Odds, dice: &mut Pcg64, going: &mut Going) {
        let fate = Fate::draw(odds, dice);
        going.hit += usize::from(fate != Fate::Passes);
        match fate {
            Fate::Lost => {}
            Fate::Swapped | Fate::Late => {
                let due = Instant::now() + odds.late_by.max(Duration::from_millis(1));
                self.aside_bytes += message.len();
                self.aside.push_back(Aside {
                    message: message.to_vec(),
                    due,
                    swapped: fate == Fate::Swapped,
                });
            }
            Fate::Passes | Fate::Repeated => {
                let times = if fate == Fate::Repeated { 2 } else { 1 };
                going.bytes.extend(message.repeat(times));
                going.bytes.extend(self.let_go(|aside| aside.swapped));
            }
        }
    }

    fn let_go(&mut self, goes: impl Fn(&Aside) -> bool) -> Vec<u8> {
        if !self.aside.iter().any(&goes) {
            return Vec::new();
        }
        let (going, staying): (VecDeque<_>, VecDeque<_>) = self.aside.drain(..).partition(goes);
        self.aside = staying;
        let messages: Vec<u8> = going.into_iter().flat_map(|aside| aside.message).collect();
        self.aside_bytes -= messages.len();
        messages
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const FRAMING: Framing = Framing { preamble_bytes: 3, header_bytes: 6 };

    fn stream(messages: u8) -> Vec<u8> {
        let framed = (0..messages).flat_map(|i| FRAMING.frame(&vec![i; usize::from(i) % 5]));
        b"abc".iter().copied().chain(framed).collect()
    }

    /// Cuts what follows the preamble into messages.
    fn messages(stream: &[u8]) -> Vec<Vec<u8>> {
        let (mut messages, mut rest, mut cut) = (Vec::new(), &stream[3..], Messages::new(FRAMING));
        while let Some((message, behind)) = cut.split(rest) {
            messages.push(message.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty(), "the stream is well formed");
        messages
    }

    fn pass(bytes: &[u8], read: usize, odds: Odds) -> (Messages, Vec<u8>, usize) {
        let (mut messages, mut dice) = (Messages::new(FRAMING), Pcg64::seed_from_u64(1));
        let (mut passed, mut hit) = (Vec::new(), 0);
        for part in bytes.chunks(read) {
            let going = messages.take(part, odds, &mut dice);
            passed.extend(going.bytes);
            hit += going.hit;
        }
        (messages, passed, hit)
    }

    #[test]
    fn stream_is_unchanged_however_it_is_cut_while_nothing_happens() {
        let bytes = stream(50);
        for read in [1, 2, 7, 1000] {
            let (mut messages, passed, hit) = pass(&bytes, read, Odds::NONE);
            assert_eq!((passed, hit), (bytes.clone(), 0));
            assert_eq!(messages.finish(), []);
        }
    }

    #[test]
    fn lost_message_leaves_whole_ones() {
        let (_, passed, hit) = pass(&stream(200), 11, Odds { lost: 4, ..Odds::NONE });
        assert!((20..80).contains(&hit), "{hit} of 200");
        assert_eq!(messages(&passed).len(), 200 - hit);
    }

    #[test]
    fn swapped_message_follows_the_next_one() {
        let odds = Odds { swapped: 2, late_by: Duration::from_secs(9), ..Odds::NONE };
        let (mut left, passed, hit) = pass(&stream(200), 1000, odds);
        let left = left.finish().into_iter().map(|(message, _)| message);
        let mut all: Vec<Vec<u8>> = messages(&passed).into_iter().chain(left).collect();
        let mut sent = messages(&stream(200));
        assert!(hit > 20 && all != sent);
        all.sort();
        sent.sort();
        assert!(all == sent, "nothing is lost or repeated");
    }

    #[test]
    fn late_message_goes_on_at_its_time_only() {
        let odds = Odds { late: 1, late_by: Duration::from_secs(9), ..Odds::NONE };
        let (mut messages, passed, hit) = pass(&stream(2), 1000, odds);
        assert_eq!((passed, hit), (b"abc".to_vec(), 2));
        assert!(messages.due(Instant::now()).is_empty());
        assert_eq!(messages.aside_bytes(), 13);
        let later = messages.next_due().unwrap() + Duration::from_secs(1);
        assert_eq!(messages.due(later), stream(2)[3..].to_vec());
        assert_eq!(messages.aside_bytes(), 0);
    }

    #[test]
    fn stream_that_is_framed_otherwise_passes_as_it_is() {
        let bytes = b"abcGET / HTTP/1.1\r\n\r\n";
        let (_, passed, hit) = pass(bytes, 4, Odds { lost: 1, ..Odds::NONE });
        assert_eq!((passed, hit), (bytes.to_vec(), 0));
    }

    #[test]
    fn beginning_of_a_message_passes_at_the_end_of_the_stream() {
        let mut bytes = stream(1);
        bytes.extend([9, 0, 0, 0, 1]);
        let (mut messages, _, _) = pass(&bytes, 1000, Odds { lost: 1, ..Odds::NONE });
        assert_eq!(messages.finish(), [(vec![9, 0, 0, 0, 1], None)]);
    }
}
