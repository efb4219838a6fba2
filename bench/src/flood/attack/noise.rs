//! Packets that are none.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::attacker::{Deeds, Spec};

/// Bytes of a packet.
const PACKET_BYTES: usize = 1200;
/// Between two looks at the clock.
const BATCH: u64 = 64;

/// Sends to the client port and to the mesh port in turn: some look like the beginning of a connection, some like one that
/// exists, some like nothing.
pub(super) fn make(spec: &Spec) -> anyhow::Result<Deeds> {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0))?;
    let mut chance = ChaCha8Rng::seed_from_u64(7);
    let mut packet = [0; PACKET_BYTES];
    let mut deeds = Deeds::default();
    let until = Instant::now() + spec.duration;
    while Instant::now() < until {
        for number in 0..BATCH {
            chance.fill_bytes(&mut packet);
            match number % 3 {
                // Version 1, an Initial, with connection ids of 8 bytes each.
                0 => packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
                // A short header.
                1 => packet[0] = 0x40 | (packet[0] & 0x3f),
                _ => {}
            }
            let to = if number % 2 == 0 { spec.clients } else { spec.mesh };
            // A full socket buffer loses it, as a full line would.
            if let Ok(bytes) = socket.send_to(&packet, to) {
                deeds.sent += 1;
                deeds.bytes += bytes as u64;
            }
        }
    }
    Ok(deeds)
}
