//! Small typed state beside the transform: health, animation, team. Up to sixteen fields, numbered by the game.
//!
//! A state is kept in the form in which it travels, so that comparing two is comparing bytes, and only the fields that
//! changed are sent. A field: `number << 4 | kind`, then the value. The kinds: 0 removed, 1 unsigned (varint), 2 signed
//! (zigzag varint), 3 real (`f32` LE), 4 bytes (length, bytes), 5 false, 6 true. Fields stand in ascending order.

use core::fmt;

use super::varint::{Reader, put_signed, put_unsigned};
use super::wire::GhostWireError;
use crate::limits::STATE_BYTES_MAX;

/// Fields of a state: numbered 0 to 15.
pub const FIELDS_MAX: u8 = 16;
/// The longest value of bytes.
pub const FIELD_BYTES_MAX: usize = 32;
/// The most that all fields at their longest take: what a receiver may have to keep.
const FIELDS_BYTES_MAX: usize = FIELDS_MAX as usize * (2 + FIELD_BYTES_MAX);

const REMOVED: u8 = 0;
const UNSIGNED: u8 = 1;
const SIGNED: u8 = 2;
const REAL: u8 = 3;
const BYTES: u8 = 4;
const FALSE: u8 = 5;
const TRUE: u8 = 6;

/// The value of a field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// Yes or no.
    Flag(bool),
    /// A number of things, a bit set, an id of the game's.
    Unsigned(u64),
    /// A signed number.
    Signed(i64),
    /// A real number; any bits, also infinities and NaNs, are the game's own affair.
    Real(f32),
    /// Up to [`FIELD_BYTES_MAX`] bytes.
    Bytes(&'a [u8]),
}

/// Why a field can't be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// No such field.
    #[error("there is no field {field}: fields are numbered from 0 to 15")]
    Field {
        /// The number given.
        field: u8,
    },
    /// The value is too long.
    #[error("field {field} has {bytes} bytes, at most {FIELD_BYTES_MAX} are possible")]
    Value {
        /// Which field.
        field: u8,
        /// How many bytes.
        bytes: usize,
    },
    /// All fields together are too long.
    #[error(
        "with field {field} the state has {bytes} bytes, at most {STATE_BYTES_MAX} are possible: publish less"
    )]
    Full {
        /// Which field.
        field: u8,
        /// How many bytes it would take.
        bytes: usize,
    },
}

/// What a game publishes of an entity beside its transform.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Invariant: valid fields in ascending order, none removed.
    bytes: [u8; STATE_BYTES_MAX],
    len: u8,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.view().fields()).finish()
    }
}

impl State {
    /// Makes a state without fields.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; STATE_BYTES_MAX], len: 0 }
    }

    /// Sets a field, whatever it was before.
    ///
    /// # Errors
    /// If there is no such field or no room; then nothing changes.
    pub fn set(&mut self, field: u8, value: Value<'_>) -> Result<(), StateError> {
        if field >= FIELDS_MAX {
            return Err(StateError::Field { field });
        }
        if let Value::Bytes(bytes) = value
            && bytes.len() > FIELD_BYTES_MAX
        {
            return Err(StateError::Value { field, bytes: bytes.len() });
        }
        let mut next = Vec::with_capacity(STATE_BYTES_MAX);
        replace(&mut next, self.as_bytes(), field, |out| put_field(out, field, value));
        if next.len() > STATE_BYTES_MAX {
            return Err(StateError::Full { field, bytes: next.len() });
        }
        self.take(&next);
        Ok(())
    }

    /// Removes a field, if it is there.
    pub fn remove(&mut self, field: u8) {
        let mut next = Vec::with_capacity(STATE_BYTES_MAX);
        replace(&mut next, self.as_bytes(), field, |_| ());
        self.take(&next);
    }

    /// What it holds.
    #[must_use]
    pub fn view(&self) -> StateView<'_> {
        StateView { bytes: self.as_bytes() }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let (Some(room), Ok(len)) = (self.bytes.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            room.copy_from_slice(bytes);
            self.len = len;
            // Equal states are equal bytes.
            self.bytes.iter_mut().skip(bytes.len()).for_each(|byte| *byte = 0);
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Which fields differ, a bit each.
    pub(super) fn changed_from(&self, older: &Self) -> u16 {
        if self == older {
            return 0;
        }
        let mut mask = 0;
        for field in 0..FIELDS_MAX {
            if self.view().encoded(field) != older.view().encoded(field) {
                mask |= 1 << field;
            }
        }
        mask
    }

    /// The fields that it has, a bit each.
    pub(super) fn mask(&self) -> u16 {
        Self::default().changed_from(self)
    }

    /// Writes the fields of `mask`, those that aren't there as removed, behind their length.
    pub(super) fn put_changes(&self, out: &mut Vec<u8>, mask: u16) {
        let mut changes = [0; STATE_BYTES_MAX + FIELDS_MAX as usize];
        let mut len = 0;
        for field in (0..FIELDS_MAX).filter(|field| mask & (1 << field) != 0) {
            let removed = [field << 4 | REMOVED];
            let encoded = self.view().encoded(field).unwrap_or(&removed);
            if let Some(room) = changes.get_mut(len..len + encoded.len()) {
                room.copy_from_slice(encoded);
                len += encoded.len();
            }
        }
        put_unsigned(out, len as u64);
        out.extend_from_slice(changes.get(..len).unwrap_or_default());
    }
}

/// A look at a state: of an own entity or of a ghost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StateView<'a> {
    /// Invariant: valid fields in ascending order, none removed.
    bytes: &'a [u8],
}

impl fmt::Debug for StateView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields()).finish()
    }
}

impl<'a> StateView<'a> {
    /// The value of a field, if it is there.
    #[must_use]
    pub fn field(&self, field: u8) -> Option<Value<'a>> {
        self.fields().find(|(number, _)| *number == field).map(|(_, value)| value)
    }

    /// Every field with its number, ascending.
    pub fn fields(&self) -> impl Iterator<Item = (u8, Value<'a>)> + use<'a> {
        Fields { reader: Reader::new(self.bytes) }.filter_map(|(number, value, _)| Some((number, value?)))
    }

    /// A copy. What is merged from several ticks may be too long for one: then the highest fields are left out.
    #[must_use]
    pub fn to_state(&self) -> State {
        let mut state = State::default();
        let mut len = 0;
        for (_, _, encoded) in (Fields { reader: Reader::new(self.bytes) }) {
            let Some(room) = state.bytes.get_mut(len..len + encoded.len()) else {
                break;
            };
            room.copy_from_slice(encoded);
            len += encoded.len();
        }
        state.len = u8::try_from(len).unwrap_or(0);
        state
    }

    fn encoded(&self, field: u8) -> Option<&'a [u8]> {
        Fields { reader: Reader::new(self.bytes) }
            .find(|(number, _, _)| *number == field)
            .map(|(_, _, encoded)| encoded)
    }
}

/// Fields that came in, as they were sent: valid, in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Changes<'a> {
    bytes: &'a [u8],
}

impl<'a> Changes<'a> {
    /// Reads what [`State::put_changes`] wrote.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, GhostWireError> {
        let bad = GhostWireError::Range { what: "state" };
        let len = reader.at_most(FIELDS_BYTES_MAX as u64, "state")?;
        let bytes = reader.slice(usize::try_from(len).map_err(|_| bad)?)?;
        let (mut fields, mut above) = (Reader::new(bytes), None);
        while !fields.is_empty() {
            let (number, _) = read_field(&mut fields)?;
            if above >= Some(number) {
                return Err(bad);
            }
            above = Some(number);
        }
        Ok(Self { bytes })
    }
}

/// A ghost's state: each field from the newest tick that told it.
#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    bytes: Vec<u8>,
    ticks: [u64; FIELDS_MAX as usize],
}

impl Merged {
    pub(super) fn view(&self) -> StateView<'_> {
        StateView { bytes: &self.bytes }
    }

    /// Takes a state whole.
    pub(super) fn set(&mut self, state: &State, tick: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(state.as_bytes());
        self.ticks = [tick; FIELDS_MAX as usize];
    }

    /// Takes what changed by `tick`; whether that says anything new.
    pub(super) fn merge(&mut self, changes: Changes<'_>, tick: u64) -> bool {
        let mut news = false;
        for (number, value, encoded) in (Fields { reader: Reader::new(changes.bytes) }) {
            let Some(told) = self.ticks.get_mut(usize::from(number)).filter(|told| **told <= tick) else {
                continue;
            };
            *told = tick;
            if self.view().encoded(number) == value.map(|_| encoded) {
                continue;
            }
            let mut next = Vec::with_capacity(self.bytes.len() + encoded.len());
            replace(&mut next, &self.bytes, number, |out| {
                if value.is_some() {
                    out.extend_from_slice(encoded);
                }
            });
            self.bytes = next;
            news = true;
        }
        news
    }
}

struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, Option<Value<'a>>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.reader;
        let (number, value) = read_field(&mut self.reader).ok()?;
        let mut whole = start;
        let encoded = whole.slice(start.remaining() - self.reader.remaining()).ok()?;
        Some((number, value, encoded))
    }
}

fn read_field<'a>(reader: &mut Reader<'a>) -> Result<(u8, Option<Value<'a>>), GhostWireError> {
    let head = reader.byte()?;
    let value = match head & 0xf {
        REMOVED => None,
        UNSIGNED => Some(Value::Unsigned(reader.unsigned()?)),
        SIGNED => Some(Value::Signed(reader.signed()?)),
        REAL => Some(Value::Real(f32::from_le_bytes(reader.array()?))),
        BYTES => {
            let len = usize::from(reader.byte()?);
            if len > FIELD_BYTES_MAX {
                return Err(GhostWireError::Range { what: "state" });
            }
            Some(Value::Bytes(reader.slice(len)?))
        }
        FALSE => Some(Value::Flag(false)),
        TRUE => Some(Value::Flag(true)),
        _ => return Err(GhostWireError::Range { what: "state" }),
    };
    Ok((head >> 4, value))
}

fn put_field(out: &mut Vec<u8>, field: u8, value: Value<'_>) {
    let head = field << 4;
    match value {
        Value::Flag(false) => out.push(head | FALSE),
        Value::Flag(true) => out.push(head | TRUE),
        Value::Unsigned(number) => {
            out.push(head | UNSIGNED);
            put_unsigned(out, number);
        }
        Value::Signed(number) => {
            out.push(head | SIGNED);
            put_signed(out, number);
        }
        Value::Real(number) => {
            out.push(head | REAL);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(head | BYTES);
            out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(bytes);
        }
    }
}

/// Writes `fields` with what `put` writes in the place of one of them.
fn replace(out: &mut Vec<u8>, fields: &[u8], field: u8, put: impl FnOnce(&mut Vec<u8>)) {
    let mut put = Some(put);
    for (number, _, encoded) in (Fields { reader: Reader::new(fields) }) {
        if number >= field
            && let Some(put) = put.take()
        {
            put(out);
        }
        if number != field {
            out.extend_from_slice(encoded);
        }
    }
    if let Some(put) = put {
        put(out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(pick: u8, number: i64, bytes: &[u8]) -> Value<'_> {
        match pick {
            0 => Value::Flag(number > 0),
            1 => Value::Unsigned(number.unsigned_abs()),
            2 => Value::Signed(number),
            3 => Value::Real(0.5),
            _ => Value::Bytes(bytes),
        }
    }

    fn states() -> impl Strategy<Value = State> {
        let field = (0..16_u8, 0..5_u8, any::<i64>(), prop::collection::vec(any::<u8>(), 0..12));
        prop::collection::vec(field, 0..12).prop_map(|fields| {
            let mut state = State::new();
            for (field, pick, number, bytes) in fields {
                let _ = state.set(field, value(pick, number, &bytes));
            }
            state
        })
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_state_to_the_next(from in states(), to in states()) {
            let mut merged = Merged::default();
            merged.set(&from, 1);
            let mut out = Vec::new();
            to.put_changes(&mut out, to.changed_from(&from));
            let changes = Changes::read(&mut Reader::new(&out)).unwrap();
            prop_assert_eq!(merged.merge(changes, 2), from != to);
            prop_assert_eq!(merged.view(), to.view());
            prop_assert_eq!(merged.view().to_state(), to);
            prop_assert!(!merged.merge(changes, 2));
        }

        #[test]
        fn any_bytes_are_fields_or_refused(bytes: Vec<u8>) {
            if let Ok(changes) = Changes::read(&mut Reader::new(&bytes)) {
                let mut merged = Merged::default();
                merged.merge(changes, 1);
                prop_assert!(merged.bytes.len() <= FIELDS_BYTES_MAX);
                prop_assert!(merged.view().fields().count() <= usize::from(FIELDS_MAX));
            }
        }
    }

    #[test]
    fn a_late_change_does_not_undo_a_newer_one() {
        let (mut old, mut new) = (State::new(), State::new());
        old.set(3, Value::Unsigned(70)).unwrap();
        new.set(3, Value::Unsigned(60)).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        old.put_changes(&mut first, 1 << 3);
        new.put_changes(&mut second, 1 << 3);
        let mut merged = Merged::default();
        assert!(merged.merge(Changes::read(&mut Reader::new(&second)).unwrap(), 9));
        assert!(!merged.merge(Changes::read(&mut Reader::new(&first)).unwrap(), 8));
        assert_eq!(merged.view().field(3), Some(Value::Unsigned(60)));
    }

    #[test]
    fn what_does_not_fit_changes_nothing_and_says_so() {
        let mut state = State::new();
        state.set(0, Value::Bytes(&[1; 30])).unwrap();
        let error = state.set(1, Value::Bytes(&[2; 32])).unwrap_err();
        assert_eq!(error, StateError::Full { field: 1, bytes: 66 });
        assert_eq!(state.view().fields().count(), 1);
        assert_eq!(state.set(16, Value::Flag(true)), Err(StateError::Field { field: 16 }));
        assert_eq!(state.set(2, Value::Bytes(&[0; 33])), Err(StateError::Value { field: 2, bytes: 33 }));
        state.remove(0);
        assert_eq!(state, State::new());
    }
}
