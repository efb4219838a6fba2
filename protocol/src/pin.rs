//! Pins: what holds an entity at its node for a while, by name, so that whoever asks why it doesn't move is told.

use core::time::Duration;

use crate::id::EntityId;
use crate::limits::{NAME_BYTES_MAX, PIN_US_MAX, PINS_MAX};
use crate::time::Time;

/// One reason to stay, and until when it counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Who holds: what the game called it, as `cutscene`.
    pub name: String,
    /// It ends by itself at this time of the node's own clock.
    pub until: Time,
}

/// Why a pin is refused. All are mistakes of the game.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PinError {
    /// The entity is not simulated here.
    #[error("{0} is not simulated here")]
    NotHeld(EntityId),
    /// Nobody could tell who holds.
    #[error("a pin needs a name of 1 to {NAME_BYTES_MAX} bytes; {name:?} has {}", name.len())]
    BadName {
        /// The name.
        name: String,
    },
    /// It would hold for too long.
    #[error(
        "the pin {name:?} would hold for {lasts:?}; at most {:?} at once, then pin again",
        Duration::from_micros(PIN_US_MAX)
    )]
    TooLong {
        /// Its name.
        name: String,
        /// How long.
        lasts: Duration,
    },
    /// There are too many.
    #[error("{entity} has {PINS_MAX} pins already, {name:?} would be one more")]
    TooMany {
        /// Which entity.
        entity: EntityId,
        /// The name of the one too many.
        name: String,
    },
}

/// The pins of one entity.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Pins(Vec<Pin>);

impl Pins {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets one; in the place of a former one of the same name.
    pub(crate) fn set(
        &mut self,
        entity: EntityId,
        name: &str,
        lasts: Duration,
        now: Time,
    ) -> Result<(), PinError> {
        let called = || name.to_owned();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(PinError::BadName { name: called() });
        }
        if lasts > Duration::from_micros(PIN_US_MAX) {
            return Err(PinError::TooLong { name: called(), lasts });
        }
        self.0.retain(|pin| pin.until > now && pin.name != name);
        if self.0.len() >= PINS_MAX {
            return Err(PinError::TooMany { entity, name: called() });
        }
        self.0.push(Pin { name: called(), until: now + lasts });
        Ok(())
    }

    /// Ends one. False if there is none of this name.
    pub(crate) fn end(&mut self, name: &str, now: Time) -> bool {
        let was = self.holds(now) && self.0.iter().any(|pin| pin.name == name && pin.until > now);
        self.0.retain(|pin| pin.until > now && pin.name != name);
        was
    }

    /// Whether any of them still counts.
    pub(crate) fn holds(&self, now: Time) -> bool {
        self.0.iter().any(|pin| pin.until > now)
    }

    /// Those that still count.
    pub(crate) fn at(&self, now: Time) -> impl Iterator<Item = &Pin> {
        self.0.iter().filter(move |pin| pin.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTITY: EntityId = EntityId::from_u128(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pin_holds_until_its_time_is_over_or_it_is_ended() {
        let (mut pins, now) = (Pins::new(), Time::from_micros(5));
        pins.set(ENTITY, "cutscene", SECOND, now).unwrap();
        pins.set(ENTITY, "vote", SECOND * 2, now).unwrap();
        assert!(pins.holds(now));
        assert_eq!(pins.at(now + SECOND).map(|pin| &*pin.name).collect::<Vec<_>>(), ["vote"]);
        assert!(!pins.end("cutscene", now + SECOND), "it has ended");
        assert!(pins.end("vote", now + SECOND));
        assert!(!pins.holds(now + SECOND));
    }

    #[test]
    fn the_same_name_again_takes_the_place_of_the_first() {
        let (mut pins, now) = (Pins::new(), Time::from_micros(5));
        for name in 0..PINS_MAX {
            pins.set(ENTITY, &name.to_string(), SECOND, now).unwrap();
        }
        let more = PinError::TooMany { entity: ENTITY, name: "more".to_owned() };
        assert_eq!(pins.set(ENTITY, "more", SECOND, now), Err(more));
        pins.set(ENTITY, "0", SECOND * 2, now).unwrap();
        assert_eq!(pins.at(now + SECOND).count(), 1);
        pins.set(ENTITY, "more", SECOND, now + SECOND).unwrap();
    }

    #[test]
    fn nobody_holds_without_a_name_or_for_ever() {
        let (mut pins, now) = (Pins::new(), Time::from_micros(5));
        let name = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(matches!(pins.set(ENTITY, "", SECOND, now), Err(PinError::BadName { .. })));
        assert!(matches!(pins.set(ENTITY, &name, SECOND, now), Err(PinError::BadName { .. })));
        let long = Duration::from_micros(PIN_US_MAX + 1);
        let error = pins.set(ENTITY, "sleep", long, now).unwrap_err();
        assert!(error.to_string().contains("\"sleep\""), "{error}");
        assert!(!pins.holds(now));
    }
}
