//! What was delivered: a hash of all of it, and the newest of it to print.

use core::fmt;
use std::collections::VecDeque;

use bytes::Bytes;
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{
    ClientMessage, LeaseMessage, Message, ServerMessage, decode_client, decode_mesh, decode_server,
    decode_session_reply, decode_session_request,
};

use crate::event::Process;

/// Lines kept; those that matter for a violation are chosen from them when they are printed.
const LINES_KEPT: usize = 6_000;
/// Characters of a printed line.
const LINE_CHARS_MAX: usize = 260;

/// A hash that doesn't change from build to build: FNV-1a over words of eight bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceHash(u64);

impl TraceHash {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    pub(crate) const fn new() -> Self {
        Self(Self::OFFSET)
    }

    pub(crate) const fn word(&mut self, word: u64) {
        // The rotation lets high bits reach low ones, which FNV's product alone does not.
        self.0 = (self.0 ^ word).wrapping_mul(Self::PRIME).rotate_left(29);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.word(word.try_into().map_or(0, u64::from_le_bytes));
        }
        for &byte in words.remainder() {
            self.word(u64::from(byte));
        }
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

/// The running digest of a player's inputs, kept by the player and by the game.
pub(crate) fn input_digest(before: u64, seq: u32, bytes: &[u8]) -> u64 {
    let mut hash = TraceHash(before);
    hash.word(u64::from(seq));
    hash.bytes(bytes);
    hash.value()
}

/// What a line shows.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// Bytes that come so often and say so little that they would push out the rest.
    Chatter(Chatter, Bytes),
    Mesh(Bytes),
    Client(Bytes),
    Server(Bytes),
    Ask(Bytes),
    Answer(Bytes),
    Note(String),
}

/// What kind of chatter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chatter {
    Mesh,
    Client,
    Server,
}

impl Said {
    pub(crate) const fn mesh(message: &Message, frame: Bytes) -> Self {
        if matches!(
            message,
            Message::Ghosts
                | Message::Heartbeat { .. }
                | Message::HeartbeatReply { .. }
                | Message::Lease(LeaseMessage::Renew { .. } | LeaseMessage::Renewed { .. })
        ) {
            Self::Chatter(Chatter::Mesh, frame)
        } else {
            Self::Mesh(frame)
        }
    }

    pub(crate) const fn client(message: &ClientMessage, frame: Bytes) -> Self {
        if matches!(message, ClientMessage::Inputs { .. } | ClientMessage::Ghosts { .. }) {
            Self::Chatter(Chatter::Client, frame)
        } else {
            Self::Client(frame)
        }
    }

    pub(crate) const fn server(message: &ServerMessage, frame: Bytes) -> Self {
        if matches!(message, ServerMessage::State { .. } | ServerMessage::Ghosts { .. }) {
            Self::Chatter(Chatter::Server, frame)
        } else {
            Self::Server(frame)
        }
    }
}

/// One line: what reached whom.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    at: Time,
    step: u64,
    from: Process,
    to: Process,
    said: Said,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.said {
            Said::Mesh(frame) | Said::Chatter(Chatter::Mesh, frame) => {
                decode_mesh(frame).map(|frame| match frame.blob.len() {
                    0 => format!("{:?}", frame.message),
                    bytes => format!("{:?} + {bytes} bytes", frame.message),
                })
            }
            Said::Client(frame) | Said::Chatter(Chatter::Client, frame) => {
                decode_client(frame).map(|message| format!("{message:?}"))
            }
            Said::Server(frame) | Said::Chatter(Chatter::Server, frame) => {
                decode_server(frame).map(|message| format!("{message:?}"))
            }
            Said::Ask(frame) => decode_session_request(frame).map(|message| format!("{message:?}")),
            Said::Answer(frame) => decode_session_reply(frame).map(|message| format!("{message:?}")),
            Said::Note(note) => Ok(note.clone()),
        };
        let mut text = text.unwrap_or_else(|error| format!("unreadable: {error}"));
        if let Some((cut, _)) = text.char_indices().nth(LINE_CHARS_MAX) {
            text.truncate(cut);
            text.push('…');
        }
        let (from, to) = (Name(self.from), Name(self.to));
        write!(f, "{:>8} {:?} {from} -> {to}: {text}", self.step, self.at)
    }
}

struct Name(Process);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Process::Coordinator => f.write_str("coordinator"),
            Process::Node(number) => write!(f, "node {number}"),
            Process::Player(number) => write!(f, "player {number}"),
        }
    }
}

/// What was delivered.
pub(crate) struct Trace {
    hash: TraceHash,
    lines: VecDeque<Line>,
    watcher: Option<Watcher>,
}

/// Who sees lines at once.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    /// Is shown each line.
    pub show: fn(&str),
    /// Whether ghosts, states, inputs and heartbeats are shown too.
    pub chatter: bool,
}

impl Trace {
    pub(crate) fn new(watcher: Option<Watcher>) -> Self {
        Self { hash: TraceHash::new(), lines: VecDeque::with_capacity(LINES_KEPT), watcher }
    }

    pub(crate) const fn hash(&mut self) -> &mut TraceHash {
        &mut self.hash
    }

    /// Notes what reached whom. What is said by bytes counts into the hash.
    pub(crate) fn line(&mut self, at: Time, step: u64, from: Process, to: Process, said: Said) {
        let chatter = matches!(said, Said::Chatter(..));
        match &said {
            Said::Mesh(bytes)
            | Said::Client(bytes)
            | Said::Server(bytes)
            | Said::Ask(bytes)
            | Said::Answer(bytes)
            | Said::Chatter(_, bytes) => self.hash.bytes(bytes),
            Said::Note(_) => {}
        }
        if chatter && !self.watcher.is_some_and(|watcher| watcher.chatter) {
            return;
        }
        let line = Line { at, step, from, to, said };
        if let Some(watcher) = self.watcher {
            (watcher.show)(&line.to_string());
        }
        if chatter {
            return;
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The newest `count` lines that hold one of these, oldest first; just the newest if none does.
    pub(crate) fn newest(&self, count: usize, about: &[String]) -> Vec<String> {
        let lines = self.lines.iter().rev().map(ToString::to_string);
        let tells = |line: &String| about.iter().any(|part| line.contains(part));
        let mut chosen: Vec<String> = lines.clone().filter(tells).take(count).collect();
        if chosen.is_empty() {
            chosen = lines.take(count).collect();
        }
        chosen.reverse();
        chosen
    }
}
