//! What the switch knows of a frame: Ethernet II with IPv4 (RFC 791) inside.

use std::net::Ipv4Addr;

use crate::dice::Dice;

/// The UDP port of canaries, on every host.
pub(super) const CANARY_PORT: u16 = 20_012;
/// Destination, source and type of Ethernet; the header of IP begins behind them.
const ETHERNET_BYTES: usize = 14;
const PROTOCOL_AT: usize = ETHERNET_BYTES + 9;
const DESTINATION_AT: usize = ETHERNET_BYTES + 16;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;

/// Where a frame goes to; `None` when it is none of IPv4.
pub(super) fn destination(frame: &[u8]) -> Option<Ipv4Addr> {
    let version = frame.get(ETHERNET_BYTES)? >> 4;
    let octets: [u8; 4] = frame.get(DESTINATION_AT..DESTINATION_AT + 4)?.try_into().ok()?;
    (version == 4).then(|| octets.into())
}

/// Whether it carries a canary.
pub(super) fn is_canary(frame: &[u8]) -> bool {
    let port_at = payload_at(frame) + 2;
    frame.get(PROTOCOL_AT) == Some(&UDP)
        && frame.get(port_at..port_at + 2) == Some(&CANARY_PORT.to_be_bytes())
}

/// The bytes that a program sent with it: none in what kernels say to each other, such as acknowledgements.
pub(super) fn carried_bytes(frame: &[u8]) -> usize {
    let begin = payload_at(frame);
    let header = match frame.get(PROTOCOL_AT) {
        // The header of TCP says its own length, in words of four bytes.
        Some(&TCP) => frame.get(begin + 12).map(|byte| usize::from(byte >> 4) * 4),
        Some(&UDP) => Some(UDP_HEADER_BYTES),
        _ => None,
    };
    let Some(header) = header else { return 0 };
    frame.len().saturating_sub(begin + header)
}

/// Flips a bit behind the header of IP. The checksums of TCP and UDP, which cover everything there, find every single bit.
pub(super) fn corrupt(frame: &mut [u8], dice: &mut Dice) {
    let begin = payload_at(frame);
    let length = frame.len().saturating_sub(begin);
    if length > 0 {
        frame[begin + dice.below(length)] ^= 1 << dice.below(8);
    }
}

/// Where the header of IP ends, whose length is counted in words of four bytes.
fn payload_at(frame: &[u8]) -> usize {
    let words = frame.get(ETHERNET_BYTES).map_or(0, |byte| byte & 0xf);
    ETHERNET_BYTES + usize::from(words) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram to 10.99.0.2, with two bytes of payload.
    fn datagram(port: u16) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_BYTES + 20 + 8 + 2];
        frame[ETHERNET_BYTES] = 0x45;
        frame[PROTOCOL_AT] = UDP;
        frame[DESTINATION_AT..DESTINATION_AT + 4].copy_from_slice(&[10, 99, 0, 2]);
        frame[ETHERNET_BYTES + 22..ETHERNET_BYTES + 24].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn destination_and_canaries_are_read() {
        assert_eq!(destination(&datagram(1)), Some(Ipv4Addr::new(10, 99, 0, 2)));
        assert!(is_canary(&datagram(CANARY_PORT)) && !is_canary(&datagram(53)));
        for torn in 0..datagram(1).len() {
            assert!(!is_canary(&datagram(1)[..torn]));
        }
        assert_eq!(destination(&[0; 60]), None);
    }

    #[test]
    fn acknowledgement_carries_nothing() {
        assert_eq!(carried_bytes(&datagram(7)), 2);
        let mut segment = vec![0; ETHERNET_BYTES + 20 + 32 + 5];
        segment[ETHERNET_BYTES] = 0x45;
        segment[PROTOCOL_AT] = TCP;
        segment[ETHERNET_BYTES + 20 + 12] = 8 << 4;
        assert_eq!(carried_bytes(&segment), 5);
        segment.truncate(segment.len() - 5);
        assert_eq!(carried_bytes(&segment), 0);
        for torn in 0..segment.len() {
            assert_eq!(carried_bytes(&segment[..torn]), 0);
        }
    }

    #[test]
    fn one_bit_is_flipped_and_never_in_the_header_of_ip() {
        let whole = datagram(7);
        for seed in 0..200 {
            let mut frame = whole.clone();
            corrupt(&mut frame, &mut Dice::new(seed));
            let flipped: u32 = frame.iter().zip(&whole).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!(flipped, 1);
            assert_eq!(frame[..ETHERNET_BYTES + 20], whole[..ETHERNET_BYTES + 20]);
        }
    }
}
