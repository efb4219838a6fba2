//! What a body is made of, and how it travels.

use bytes::{Buf, BufMut};
use selvedge_protocol::ghost::{Look, State, Value};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{InputSeq, SessionId};
use selvedge_protocol::snapshot::{Assembled, CapturedSnapshot, SnapshotView, SnapshotWriter};

use super::{Marks, Purse};
use crate::trace::input_digest;

const LEDGER: &str = "ledger";
const INVENTORY: &str = "inventory";
const PURSE: &str = "purse";
const MARKS: &str = "marks";
/// The schema that every node reads and writes.
const SCHEMA: u32 = 1;

/// What a player's input says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Action {
    /// Move at this speed, in this direction.
    Steer { speed: f32, heading: f32, climb: f32 },
    /// Be somewhere else.
    Blink { x: f64, y: f64, z: f64 },
    /// Change the inventory.
    Rummage,
}

impl Action {
    /// As it travels.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25);
        match self {
            Self::Steer { speed, heading, climb } => {
                bytes.put_u8(0);
                bytes.put_f32_le(speed);
                bytes.put_f32_le(heading);
                bytes.put_f32_le(climb);
            }
            Self::Blink { x, y, z } => {
                bytes.put_u8(1);
                bytes.put_f64_le(x);
                bytes.put_f64_le(y);
                bytes.put_f64_le(z);
            }
            Self::Rummage => bytes.put_u8(2),
        }
        bytes
    }

    /// Reads it back.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        match kind {
            0 => Some(Self::Steer {
                speed: bytes.try_get_f32_le().ok()?,
                heading: bytes.try_get_f32_le().ok()?,
                climb: bytes.try_get_f32_le().ok()?,
            }),
            1 => Some(Self::Blink {
                x: bytes.try_get_f64_le().ok()?,
                y: bytes.try_get_f64_le().ok()?,
                z: bytes.try_get_f64_le().ok()?,
            }),
            2 => Some(Self::Rummage),
            _ => None,
        }
    }
}

/// What became of a player's inputs: kept by the game, so that it doesn't trust the core's own account.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ledger {
    /// The session whose inputs they are; 0 for none.
    pub session: u128,
    /// The number of the last one applied.
    pub last_seq: u32,
    /// How many were applied.
    pub applied: u32,
    /// How many came again.
    pub doubled: u32,
    /// How many were passed over.
    pub skipped: u32,
    /// A digest of all of them in order.
    pub digest: u64,
}

impl Ledger {
    /// The length of an encoded ledger.
    const BYTES: usize = 16 + 4 * 4 + 8;

    fn apply(&mut self, seq: InputSeq, bytes: &[u8]) {
        if seq.0 <= self.last_seq {
            self.doubled += 1;
            return;
        }
        self.skipped += seq.0 - self.last_seq - 1;
        self.applied += 1;
        self.last_seq = seq.0;
        self.digest = input_digest(self.digest, seq.0, bytes);
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.put_u128_le(self.session);
        for number in [self.last_seq, self.applied, self.doubled, self.skipped] {
            bytes.put_u32_le(number);
        }
        bytes.put_u64_le(self.digest);
        bytes
    }

    /// Reads a ledger from what the game published; none if it isn't a player's.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        Some(Self {
            session: bytes.try_get_u128_le().ok()?,
            last_seq: bytes.try_get_u32_le().ok()?,
            applied: bytes.try_get_u32_le().ok()?,
            doubled: bytes.try_get_u32_le().ok()?,
            skipped: bytes.try_get_u32_le().ok()?,
            digest: bytes.try_get_u64_le().ok()?,
        })
    }
}

/// Who moves a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The game.
    Npc,
    /// A player.
    Player {
        /// Their name.
        name: String,
    },
}

/// One moving thing.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) motion: Motion,
    pub(crate) kind: Kind,
    pub(crate) ledger: Ledger,
    pub(super) purse: Purse,
    pub(super) marks: Marks,
    inventory: Vec<u8>,
    inventory_version: u64,
}

impl Body {
    /// A new NPC.
    pub(crate) fn npc(motion: Motion) -> Self {
        let ledger = Ledger::default();
        let (purse, marks) = (Purse::default(), Marks::default());
        Self { motion, kind: Kind::Npc, ledger, purse, marks, inventory: contents(1), inventory_version: 1 }
    }

    /// A player who enters, with what the character had when it last left.
    pub(crate) fn player(
        session: SessionId,
        name: String,
        at: Position,
        baseline: Option<&Assembled>,
    ) -> Self {
        let motion = Motion { position: at, velocity: Velocity::default() };
        let ledger = Ledger { session: session.as_u128(), ..Ledger::default() };
        let mut body = Self { kind: Kind::Player { name }, ledger, ..Self::npc(motion) };
        let view = baseline.and_then(|baseline| baseline.view().ok());
        if let Some((version, inventory)) = view.and_then(|view| view.component(INVENTORY)) {
            (body.inventory_version, body.inventory) = (version, inventory.to_vec());
        }
        body
    }

    /// What arrived from another node; none if it can't be.
    pub(crate) fn arrived(snapshot: &Assembled) -> Option<Self> {
        let view: SnapshotView<'_> = snapshot.view().ok()?;
        let (inventory_version, inventory) = view.component(INVENTORY)?;
        let (kind, ledger) = match view.session() {
            None => (Kind::Npc, Ledger::default()),
            Some(_) => {
                (Kind::Player { name: view.name().to_owned() }, Ledger::decode(view.component(LEDGER)?.1)?)
            }
        };
        let inventory = inventory.to_vec();
        let purse = match view.component(PURSE) {
            Some((version, bytes)) => Purse::decode(version, bytes)?,
            None => Purse::default(),
        };
        let marks = match view.component(MARKS) {
            Some((version, bytes)) => Marks::decode(version, bytes)?,
            None => Marks::default(),
        };
        Some(Self { motion: view.motion(), kind, ledger, purse, marks, inventory, inventory_version })
    }

    /// What is wrong with a body that arrived: parts of it that don't belong together.
    pub(crate) fn torn(&self, last_input: InputSeq) -> Option<String> {
        if self.inventory != contents(self.inventory_version) {
            let (version, bytes) = (self.inventory_version, self.inventory.len());
            return Some(format!("an inventory of version {version} with {bytes} bytes of another"));
        }
        if self.ledger.last_seq != last_input.0 {
            let last_seq = self.ledger.last_seq;
            return Some(format!("a state after input {last_input} with a ledger after input {last_seq}"));
        }
        None
    }

    /// The whole body, but for what the receiver has.
    pub(crate) fn capture(&self, mut writer: SnapshotWriter) -> Option<CapturedSnapshot> {
        writer.schema(SCHEMA);
        if let Kind::Player { name } = &self.kind {
            writer.name(name);
            // The ledger's version is the number of the last input: it changes with each, and never goes back.
            writer.component(LEDGER, u64::from(self.ledger.last_seq), &self.ledger.encode());
        }
        writer.motion(self.motion);
        writer.component(INVENTORY, self.inventory_version, &self.inventory);
        if self.purse.version > 0 {
            writer.component(PURSE, self.purse.version, &self.purse.encode());
        }
        if self.marks.version > 0 {
            writer.component(MARKS, self.marks.version, &self.marks.encode());
        }
        writer.finish(InputSeq(self.ledger.last_seq)).ok()
    }

    /// How it looks: what kind it is, and how many inputs have reached it.
    pub(crate) fn look(&self) -> Look {
        let mut state = State::new();
        let player = matches!(self.kind, Kind::Player { .. });
        // Two small fields always fit.
        let _ = state.set(0, Value::Flag(player));
        let _ = state.set(1, Value::Unsigned(u64::from(self.ledger.last_seq)));
        Look::default().with_state(state)
    }

    /// What its own client alone is told.
    pub(crate) fn state(&self) -> Vec<u8> {
        match self.kind {
            Kind::Npc => Vec::new(),
            Kind::Player { .. } => self.ledger.encode(),
        }
    }

    /// Applies an input.
    pub(crate) fn input(&mut self, seq: InputSeq, bytes: &[u8]) {
        self.ledger.apply(seq, bytes);
        match Action::decode(bytes) {
            Some(Action::Steer { speed, heading, climb }) => {
                self.motion.velocity = velocity(f64::from(speed), f64::from(heading), f64::from(climb));
            }
            Some(Action::Blink { x, y, z }) => self.motion.position = Position::new(x, y, z),
            Some(Action::Rummage) => self.rummage(),
            None => {}
        }
    }

    /// Changes the inventory.
    pub(crate) fn rummage(&mut self) {
        self.inventory_version += 1;
        self.inventory = contents(self.inventory_version);
    }
}

/// The inventory of a version: its bytes prove which one it is.
fn contents(version: u64) -> Vec<u8> {
    let byte = u8::try_from(version & 0xff).unwrap_or(0);
    vec![byte; 16 + (version % 100) as usize]
}

/// A velocity of this speed, in metres a second, in this direction.
#[allow(clippy::cast_possible_truncation, reason = "a velocity of the game's own fits an f32")]
pub(crate) fn velocity(speed: f64, heading: f64, climb: f64) -> Velocity {
    Velocity::new((speed * heading.cos()) as f32, (speed * heading.sin()) as f32, (speed * climb) as f32)
}
