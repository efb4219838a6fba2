//! One avatar: its state, how it ages, and how it is written down and read back.

use std::time::Duration;

use selvedge_protocol::action::ActionNumber;
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::snapshot::{SnapshotView, SnapshotWriter, Transform, Vitals};

use super::deed::ITEMS_MAX;
use super::kit::Kit;
use super::{ItemShown, Ledger};

/// The opaque blobs, as a game engine would serialize its own parts.
const BLOBS: [&str; 3] = ["engine.movement", "engine.animation", "engine.quests"];
const INVENTORY: &str = "inventory";
/// The ledger and what else changes all the time.
const LEDGER: &str = "ledger";
/// How often each blob changes, in ticks: movement, animation, quests.
const BLOB_PERIODS: [u64; 3] = [1, 150, 900];
/// Items on their way to others.
const ESCROW: &str = "escrow";
const ESCROW_BYTES: usize = 4 + 8 + ITEM_BYTES;
const INVENTORY_PERIOD: u64 = 60;
/// How long a cooldown or effect lasts once it begins anew, in microseconds.
const LASTS_US: u64 = 8_000_000;
const ITEM_BYTES: usize = 22;
const HEALTH_MAX: f32 = 100.0;

/// A thing in an inventory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) id: u128,
    pub(super) kind: u16,
    pub(super) count: u32,
}

impl Item {
    pub(super) fn encode(self) -> [u8; ITEM_BYTES] {
        let mut bytes = [0; ITEM_BYTES];
        bytes[..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.kind.to_le_bytes());
        bytes[18..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    /// What others say is an item.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes.try_into().ok()?)
    }

    fn decode(bytes: &[u8; ITEM_BYTES]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (kind, count) = rest.split_first_chunk()?;
        Some(Self {
            id: u128::from_le_bytes(*id),
            kind: u16::from_le_bytes(*kind),
            count: u32::from_le_bytes(count.try_into().ok()?),
        })
    }
}

/// A component's body and version.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part<T> {
    version: u64,
    body: T,
}

impl<T> Part<T> {
    const fn new(body: T) -> Self {
        Self { version: 1, body }
    }
}

/// A source of chance that travels with the avatar (xorshift64*): its next steps are the same wherever it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        // Neighbouring seeds must not begin alike: no two items may have one id. (The finisher of splitmix64.)
        let mut mixed = seed.wrapping_add(STEP);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // Zero is the one state that it never leaves.
        Self(if mixed == 0 { STEP } else { mixed })
    }

    pub(super) const fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) const fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Somebody on the plain.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Avatar {
    name: String,
    level: u32,
    pub(super) motion: Motion,
    pub(super) health: f32,
    pub(super) chance: Chance,
    pub(super) ledger: Ledger,
    /// Ticks lived, on whatever node.
    age: u64,
    ledger_version: u64,
    inventory: Part<Vec<Item>>,
    /// Given away, and not answered yet. Version 0: it never was.
    escrow: Part<Vec<(ActionNumber, Item)>>,
    /// Whether a player plays it.
    pub(super) player: bool,
    blobs: [Part<Vec<u8>>; 3],
    cooldowns_us: Vec<u64>,
    effects: Vec<(u64, u32)>,
}

/// A snapshot that is no avatar's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the component {0} is missing or malformed")]
pub(super) struct NoAvatar(&'static str);

impl Avatar {
    pub(super) fn new(name: &str, motion: Motion, kit: Kit, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut item = |kind| Item {
            id: u128::from(chance.draw()) << 64 | u128::from(chance.draw()),
            kind,
            count: 1 + u32::from(kind),
        };
        let items: Vec<_> = (0..u16::try_from(kit.items).unwrap_or(u16::MAX)).map(&mut item).collect();
        let blobs =
            kit.blobs.map(|bytes| Part::new((0..bytes).map(|_| chance.draw().to_le_bytes()[0]).collect()));
        Self {
            name: name.to_owned(),
            level: 1,
            motion,
            health: HEALTH_MAX,
            ledger: Ledger::default(),
            age: 0,
            ledger_version: 1,
            inventory: Part::new(items),
            escrow: Part { version: 0, body: Vec::new() },
            player: false,
            blobs,
            cooldowns_us: (0..kit.cooldowns).map(|_| chance.draw() % LASTS_US).collect(),
            effects: (0..kit.effects).map(|_| (chance.draw() % LASTS_US, 1)).collect(),
            chance,
        }
    }

    /// Where it looks: along its velocity, as a rotation around the vertical.
    fn rotation(&self) -> [f32; 4] {
        let Velocity { x, y, .. } = self.motion.velocity;
        let half = y.atan2(x) / 2.0;
        [0.0, 0.0, half.sin(), half.cos()]
    }

    pub(super) const fn ticks_lived(&self) -> u64 {
        self.age
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The item whose turn it is: the next one with each input.
    pub(super) fn item_shown(&self) -> ItemShown {
        let shown = &self.inventory.body;
        let items = u8::try_from(shown.len()).unwrap_or(u8::MAX);
        let turn = self.ledger.last_seq.checked_rem(u32::from(items)).unwrap_or(0);
        let index = u8::try_from(turn).unwrap_or(0);
        ItemShown { items, index, id: shown.get(usize::from(index)).map_or(0, |item| item.id) }
    }

    /// Puts an item aside for somebody else: the first, if it isn't the last.
    pub(super) fn item_to_give(&self) -> Option<Item> {
        self.inventory.body.first().copied().filter(|_| self.inventory.body.len() > 1)
    }

    /// The item is on its way to somebody else.
    pub(super) fn give(&mut self, item: Item, number: ActionNumber) {
        self.inventory.body.retain(|known| known.id != item.id);
        self.inventory.version += 1;
        self.escrow.body.push((number, item));
        self.escrow.version += 1;
    }

    /// What became of it: somebody has taken it, perhaps for something else, or it is back.
    pub(super) fn given(&mut self, number: ActionNumber, taken: bool, in_return: Option<Item>) {
        let Some(index) = self.escrow.body.iter().position(|(known, _)| *known == number) else { return };
        let (_, item) = self.escrow.body.swap_remove(index);
        self.escrow.version += 1;
        if let Some(item) = if taken { in_return } else { Some(item) } {
            self.inventory.body.push(item);
            self.inventory.version += 1;
        }
    }

    /// Takes an item, if there is room for it.
    pub(super) fn take(&mut self, item: Item) -> bool {
        let takes = self.player && self.inventory.body.len() + self.escrow.body.len() < ITEMS_MAX;
        if takes {
            self.inventory.body.push(item);
            self.inventory.version += 1;
        }
        takes
    }

    /// Takes an item for one of its own, if it has one to give: the answer carries that one, and it is here no more.
    pub(super) fn swap(&mut self, item: Item) -> Option<Item> {
        let in_return = self.item_to_give().filter(|_| self.player)?;
        self.inventory.body.retain(|known| known.id != in_return.id);
        self.inventory.body.push(item);
        self.inventory.version += 1;
        Some(in_return)
    }

    /// Suffers a hit; who has no health left begins anew.
    pub(super) fn suffer(&mut self, hit: f32) {
        self.health -= hit;
        if self.health <= 0.0 {
            self.health = HEALTH_MAX;
        }
        self.has_changed();
    }

    pub(super) const fn has_changed(&mut self) {
        self.ledger_version += 1;
    }

    /// Lets a tick's time pass over everything but the position.
    pub(super) fn age(&mut self, dt: Duration) {
        self.age += 1;
        self.has_changed();
        let dt_us = u64::try_from(dt.as_micros()).unwrap_or(u64::MAX);
        let pass = |remaining: &mut u64| *remaining = remaining.checked_sub(dt_us).unwrap_or(LASTS_US);
        self.cooldowns_us.iter_mut().for_each(pass);
        self.effects.iter_mut().for_each(|(remaining, _)| pass(remaining));
        for (part, period) in self.blobs.iter_mut().zip(BLOB_PERIODS) {
            if self.age.is_multiple_of(period) && !part.body.is_empty() {
                // A small part of the blob changes; all of it counts as changed.
                let at = usize::try_from(self.age / period).unwrap_or(0) % part.body.len();
                part.body[at] = part.body[at].wrapping_add(1);
                part.version += 1;
            }
        }
        if self.age.is_multiple_of(INVENTORY_PERIOD) && !self.inventory.body.is_empty() {
            let at = usize::try_from(self.age / INVENTORY_PERIOD).unwrap_or(0) % self.inventory.body.len();
            let item = &mut self.inventory.body[at];
            item.count = item.count.wrapping_add(1);
            self.inventory.version += 1;
        }
    }

    /// Starts a new stay in the world with the old luggage: the numbering of inputs begins anew. Nothing is on its way to
    /// anybody: a player leaves only when that is settled.
    pub(super) fn begin_stay(&mut self, name: &str, motion: Motion) {
        name.clone_into(&mut self.name);
        self.motion = motion;
        self.ledger = Ledger::default();
        self.has_changed();
    }

    pub(super) fn capture(&self, out: &mut SnapshotWriter) {
        out.name(&self.name);
        out.class("wanderer");
        out.level(self.level);
        let full = Vitals { health: HEALTH_MAX, mana: 50.0, stamina: 50.0 };
        out.vitals(Vitals { health: self.health, ..full }, full);
        out.motion(self.motion);
        out.rotation(self.rotation());
        out.persisted(Transform { position: self.motion.position, rotation: self.rotation() });
        out.component(LEDGER, self.ledger_version, &self.encode_ledger());
        if out.wants(INVENTORY, self.inventory.version) {
            out.component(INVENTORY, self.inventory.version, &encode_items(&self.inventory.body));
        } else {
            out.component(INVENTORY, self.inventory.version, &[]);
        }
        if self.escrow.version > 0 {
            out.component(ESCROW, self.escrow.version, &encode_escrow(&self.escrow.body));
        }
        for (name, part) in BLOBS.into_iter().zip(&self.blobs) {
            out.component(name, part.version, &part.body);
        }
        for (index, &remaining_us) in self.cooldowns_us.iter().enumerate() {
            out.cooldown(&format!("ability.{index:02}"), remaining_us);
        }
        for (index, &(remaining_us, stacks)) in self.effects.iter().enumerate() {
            out.effect(&format!("effect.{index:02}"), remaining_us, stacks);
        }
    }

    /// Builds an avatar from its snapshot, exactly as it was captured.
    pub(super) fn restore(snapshot: &SnapshotView<'_>) -> Result<Self, NoAvatar> {
        let part =
            |name| snapshot.component(name).map(|(version, body)| Part { version, body: body.to_vec() });
        let blob = |name| part(name).ok_or(NoAvatar(name));
        let (inventory_version, items) = snapshot.component(INVENTORY).ok_or(NoAvatar(INVENTORY))?;
        let mut avatar = Self {
            name: snapshot.name().to_owned(),
            level: snapshot.level(),
            motion: snapshot.motion(),
            health: snapshot.vitals().health,
            chance: Chance::new(0),
            ledger: Ledger::default(),
            age: 0,
            ledger_version: 0,
            inventory: Part { version: inventory_version, body: decode_items(items)? },
            escrow: read_escrow(snapshot)?,
            player: snapshot.session().is_some(),
            blobs: [blob(BLOBS[0])?, blob(BLOBS[1])?, blob(BLOBS[2])?],
            cooldowns_us: snapshot.cooldowns().map(|cooldown| cooldown.remaining_us).collect(),
            effects: snapshot.effects().map(|effect| (effect.remaining_us, effect.stacks)).collect(),
        };
        avatar.read_ledger(snapshot)?;
        Ok(avatar)
    }

    /// Brings an avatar that was built from an older snapshot up to date; copies only what has changed.
    pub(super) fn update(&mut self, snapshot: &SnapshotView<'_>) -> Result<(), NoAvatar> {
        for (name, part) in BLOBS.into_iter().zip(&mut self.blobs) {
            let (version, body) = snapshot.component(name).ok_or(NoAvatar(name))?;
            if version != part.version {
                *part = Part { version, body: body.to_vec() };
            }
        }
        let (version, items) = snapshot.component(INVENTORY).ok_or(NoAvatar(INVENTORY))?;
        if version != self.inventory.version {
            self.inventory = Part { version, body: decode_items(items)? };
        }
        self.escrow = read_escrow(snapshot)?;
        self.player = snapshot.session().is_some();
        self.level = snapshot.level();
        self.motion = snapshot.motion();
        self.health = snapshot.vitals().health;
        self.cooldowns_us.clear();
        self.cooldowns_us.extend(snapshot.cooldowns().map(|cooldown| cooldown.remaining_us));
        self.effects.clear();
        self.effects.extend(snapshot.effects().map(|effect| (effect.remaining_us, effect.stacks)));
        self.read_ledger(snapshot)
    }

    fn encode_ledger(&self) -> Vec<u8> {
        [self.ledger.encode().as_slice(), &self.chance.0.to_le_bytes(), &self.age.to_le_bytes()].concat()
    }

    fn read_ledger(&mut self, snapshot: &SnapshotView<'_>) -> Result<(), NoAvatar> {
        let no_ledger = NoAvatar(LEDGER);
        let (version, body) = snapshot.component(LEDGER).ok_or(no_ledger)?;
        let (rest, age) = body.split_last_chunk().ok_or(no_ledger)?;
        let (ledger, chance) = rest.split_last_chunk().ok_or(no_ledger)?;
        self.ledger = Ledger::decode(ledger).ok_or(no_ledger)?;
        self.chance = Chance(u64::from_le_bytes(*chance));
        self.age = u64::from_le_bytes(*age);
        self.ledger_version = version;
        Ok(())
    }

    /// Moves it for `dt`, but not out of the box from `min` to `max`. Says at which walls it met its end: x, y.
    pub(super) fn walk(&mut self, dt: Duration, min: Position, max: Position) -> [bool; 2] {
        let to = self.motion.after(dt);
        let inside = Position::new(to.x.clamp(min.x, max.x), to.y.clamp(min.y, max.y), to.z);
        self.motion.position = inside;
        [inside.x != to.x, inside.y != to.y]
    }
}

fn encode_items(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.len() * ITEM_BYTES);
    for item in items {
        bytes.extend_from_slice(&item.encode());
    }
    bytes
}

fn decode_items(bytes: &[u8]) -> Result<Vec<Item>, NoAvatar> {
    let (items, []) = bytes.as_chunks::<ITEM_BYTES>() else { return Err(NoAvatar(INVENTORY)) };
    items.iter().map(|bytes| Item::decode(bytes).ok_or(NoAvatar(INVENTORY))).collect()
}

fn encode_escrow(escrow: &[(ActionNumber, Item)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(escrow.len() * ESCROW_BYTES);
    for (ActionNumber { generation, count }, item) in escrow {
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&item.encode());
    }
    bytes
}

/// What is on its way to others; nothing where nothing ever was.
fn read_escrow(snapshot: &SnapshotView<'_>) -> Result<Part<Vec<(ActionNumber, Item)>>, NoAvatar> {
    let (version, bytes) = snapshot.component(ESCROW).unwrap_or((0, &[]));
    let (entries, []) = bytes.as_chunks::<ESCROW_BYTES>() else { return Err(NoAvatar(ESCROW)) };
    let entry = |bytes: &[u8; ESCROW_BYTES]| {
        let (generation, rest) = bytes.split_first_chunk()?;
        let (count, item) = rest.split_first_chunk()?;
        let number =
            ActionNumber { generation: u32::from_le_bytes(*generation), count: u64::from_le_bytes(*count) };
        Some((number, Item::decode(item.try_into().ok()?)?))
    };
    let body = entries.iter().map(|bytes| entry(bytes).ok_or(NoAvatar(ESCROW))).collect::<Result<_, _>>()?;
    Ok(Part { version, body })
}
