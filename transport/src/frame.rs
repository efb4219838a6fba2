//! Length-prefixed messages on a stream, and the header of a message that has a stream of its own.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};

/// Bytes of the length before each message on an ordered stream.
pub(crate) const PREFIX_BYTES: usize = 4;
/// Bytes of the header of a message that has a stream of its own: the lane and the length.
pub(crate) const HEADER_BYTES: usize = 5;
/// Messages up to this many bytes are copied into one buffer: cheaper than several pieces.
const COALESCE_BYTES_MAX: usize = 2048;

/// Why the next message of an ordered stream couldn't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message of {bytes} bytes, where {bytes_max} are allowed")]
    Oversized { bytes: usize, bytes_max: usize },
    #[error("the stream ended inside a message")]
    Truncated,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Reads messages off an ordered stream. Cancel-safe: what was read stays here.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvStream,
    buffered: BytesMut,
    bytes_max: usize,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream, bytes_max: usize) -> Self {
        Self { stream, buffered: BytesMut::new(), bytes_max }
    }

    /// Changes the limit, once the hello is over.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next message, or nothing when the peer finished the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(message) = take_message(&mut self.buffered, self.bytes_max)? {
                return Ok(Some(message));
            }
            match self.stream.read_chunk(usize::MAX, true).await? {
                Some(chunk) => self.buffered.extend_from_slice(&chunk.bytes),
                None if self.buffered.is_empty() => return Ok(None),
                None => return Err(FrameError::Truncated),
            }
        }
    }
}

/// Takes one whole message out of what was read so far.
fn take_message(buffered: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buffered.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let bytes = u32::from_le_bytes(*prefix) as usize;
    if bytes > bytes_max {
        return Err(FrameError::Oversized { bytes, bytes_max });
    }
    if buffered.len() - PREFIX_BYTES < bytes {
        return Ok(None);
    }
    buffered.advance(PREFIX_BYTES);
    // A copy, so that a message kept by the consumer doesn't keep its neighbours in memory.
    let message = Bytes::copy_from_slice(&buffered[..bytes]);
    buffered.advance(bytes);
    Ok(Some(message))
}

/// A message as pieces to write, in reverse order: the next to write is the last.
pub(crate) type Pieces = Vec<Bytes>;

/// An ordered stream's message: length, head, blob.
pub(crate) fn prefixed(head: Bytes, blob: Bytes) -> Pieces {
    let length = wire_length(head.len() + blob.len());
    pieces(&length, head, blob)
}

/// A message for a stream of its own: lane, length, head, blob.
pub(crate) fn headed(lane: u8, head: Bytes, blob: Bytes) -> Pieces {
    let mut header = [lane; HEADER_BYTES];
    header[1..].copy_from_slice(&wire_length(head.len() + blob.len()));
    pieces(&header, head, blob)
}

fn wire_length(bytes: usize) -> [u8; 4] {
    // The callers have checked the lane's limit, which is far below.
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn pieces(header: &[u8], head: Bytes, blob: Bytes) -> Pieces {
    let coalesce_blob = head.len() + blob.len() <= COALESCE_BYTES_MAX;
    let coalesce_head = coalesce_blob || head.len() <= COALESCE_BYTES_MAX;
    let mut first = BytesMut::with_capacity(header.len() + COALESCE_BYTES_MAX.min(head.len() + blob.len()));
    first.put_slice(header);
    let mut pieces = Pieces::with_capacity(3);
    if coalesce_blob {
        first.put_slice(&head);
        first.put_slice(&blob);
    } else if coalesce_head {
        first.put_slice(&head);
        pieces.push(blob);
    } else {
        pieces.push(blob);
        pieces.push(head);
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces.push(first.freeze());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(mut pieces: Pieces) -> Vec<u8> {
        pieces.reverse();
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        pieces.concat()
    }

    #[test]
    fn pieces_hold_header_head_and_blob_in_order_at_every_size() {
        for head in [0, 1, 2048, 2049, 5000] {
            for blob in [0, 1, 2048, 5000] {
                let (head, blob) = (Bytes::from(vec![1; head]), Bytes::from(vec![2; blob]));
                let length = u32::try_from(head.len() + blob.len()).unwrap().to_le_bytes();
                let expected = [&[9], length.as_slice(), &head, &blob].concat();
                assert_eq!(joined(headed(9, head.clone(), blob.clone())), expected);
                assert_eq!(joined(prefixed(head, blob)), expected[1..]);
            }
        }
    }

    #[test]
    fn messages_are_taken_whole_and_in_order() {
        let mut buffered = BytesMut::new();
        for byte in joined(prefixed(Bytes::from_static(b"ab"), Bytes::new())) {
            assert!(take_message(&mut buffered, 9).unwrap().is_none());
            buffered.put_u8(byte);
        }
        buffered.extend_from_slice(&joined(prefixed(Bytes::new(), Bytes::new())));
        assert_eq!(take_message(&mut buffered, 9).unwrap().unwrap(), "ab");
        assert_eq!(take_message(&mut buffered, 9).unwrap().unwrap(), "");
        assert!(take_message(&mut buffered, 9).unwrap().is_none());
    }

    #[test]
    fn an_oversized_message_is_refused_by_its_length_alone() {
        let mut buffered = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(matches!(take_message(&mut buffered, 9), Err(FrameError::Oversized { bytes_max: 9, .. })));
    }
}
