//! Round trips, limits, damage and overlays of snapshots.

use bytes::Bytes;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const ENTITY: EntityId = EntityId::from_u128(7);

fn none() -> ComponentVersions {
    ComponentVersions::new()
}

fn writer(have: &ComponentVersions) -> SnapshotWriter {
    let mut out = SnapshotWriter::new(ENTITY, Some(SessionId::from_u128(9)), have);
    out.schema(3);
    out.name("Ada of the long name, longer than what fits inline");
    out.class("weaver");
    out.level(12);
    out.persisted(Transform { position: Position::new(1.0, 2.0, 3.0), rotation: [0.0, 0.0, 1.0, 0.0] });
    let max = Vitals { health: 100.0, mana: 50.0, stamina: 25.0 };
    out.vitals(Vitals { health: 90.0, ..max }, max);
    out.position(Position::new(10.5, 20.5, 30.5));
    out.rotation([0.5, 0.5, 0.5, 0.5]);
    out.velocity(Velocity::new(1.0, -2.0, 3.0));
    out.cooldown("shuttle throw", 1_500_000);
    out.effect("haste", REMAINING_FOREVER, 2);
    out
}

fn frame(have: &ComponentVersions, components: &[(&str, u64, &[u8])]) -> CapturedSnapshot {
    let mut out = writer(have);
    components.iter().for_each(|(name, version, body)| out.component(name, *version, body));
    out.finish(InputSeq(77)).unwrap()
}

fn sample() -> Bytes {
    frame(&none(), &[("inventory, in a long name", 4, b"thread"), ("empty", 1, b""), ("quests", 9, b"one")])
        .bytes
}

fn assembled(bytes: Bytes) -> Assembled {
    let mut all = Assembled::new();
    all.apply(SnapshotArchive::validate(bytes).unwrap()).unwrap();
    all
}

fn refusal(spoil: impl FnOnce(&mut SnapshotWriter)) -> SnapshotError {
    let mut out = writer(&none());
    spoil(&mut out);
    out.finish(InputSeq(1)).unwrap_err()
}

/// A frame around a hand-made archive, past the writer's own checks.
fn forged(bodies: &[u8], spoil: impl FnOnce(&mut Snapshot)) -> Result<SnapshotArchive, SnapshotError> {
    let mut snapshot = Snapshot {
        head: SnapshotHead::new(ENTITY, None),
        name: String::new(),
        class: String::new(),
        components: vec![],
        cooldowns: vec![],
        effects: vec![],
    };
    spoil(&mut snapshot);
    let mut bytes = vec![SNAPSHOT_LAYOUT];
    bytes.extend(u32::try_from(bodies.len()).unwrap().to_le_bytes());
    bytes.extend(bodies);
    bytes.extend_from_slice(&rkyv::to_bytes::<rkyv::rancor::Error>(&snapshot).unwrap());
    SnapshotArchive::validate(bytes.into())
}

fn component(name: &str, body_len: Option<u32>) -> Component {
    Component { name: name.to_owned(), version: 1, body_len }
}

#[test]
fn every_field_comes_back() {
    let all = assembled(sample());
    let view = all.view().unwrap();
    assert_eq!((view.schema(), view.entity(), view.session()), (3, ENTITY, Some(SessionId::from_u128(9))));
    assert_eq!(view.name(), "Ada of the long name, longer than what fits inline");
    assert_eq!((view.class(), view.level(), view.last_input()), ("weaver", 12, InputSeq(77)));
    assert_eq!(view.persisted().position, Position::new(1.0, 2.0, 3.0));
    assert_eq!(view.persisted().rotation, [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(view.vitals(), Vitals { health: 90.0, mana: 50.0, stamina: 25.0 });
    assert_eq!(view.vitals_max(), Vitals { health: 100.0, mana: 50.0, stamina: 25.0 });
    assert_eq!(view.position(), Position::new(10.5, 20.5, 30.5));
    assert_eq!(view.rotation(), [0.5; 4]);
    assert_eq!(view.velocity(), Velocity::new(1.0, -2.0, 3.0));
    assert_eq!(view.component("inventory, in a long name"), Some((4, b"thread".as_slice())));
    assert_eq!(view.component("empty"), Some((1, b"".as_slice())));
    assert_eq!(view.component("nothing"), None);
    let names: Vec<&str> = view.components().map(|component| component.name).collect();
    assert_eq!(names, ["empty", "inventory, in a long name", "quests"]);
    let cooldowns: Vec<CooldownView> = view.cooldowns().collect();
    assert_eq!(cooldowns, [CooldownView { ability: "shuttle throw", remaining_us: 1_500_000 }]);
    let effects: Vec<EffectView> = view.effects().collect();
    assert_eq!(effects, [EffectView { name: "haste", remaining_us: REMAINING_FOREVER, stacks: 2 }]);
}

#[test]
fn a_slice_at_any_offset_is_read() {
    let bytes = sample();
    for offset in 0..9 {
        let mut shifted = vec![0xee; offset];
        shifted.extend_from_slice(&bytes);
        let all = assembled(Bytes::from(shifted).slice(offset..));
        assert_eq!(all.view().unwrap().component("quests"), Some((9, b"one".as_slice())));
    }
}

#[test]
fn a_bad_number_is_refused_by_its_field() {
    let bad = |field| SnapshotError::BadNumber { field };
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e9] {
        let [x, y] = [wrong, 0.0];
        let position = Position::new(f64::from(wrong), 0.0, 0.0);
        let vitals = Vitals { mana: wrong, ..Vitals::default() };
        let zero = Vitals::default();
        assert_eq!(refusal(|out| out.velocity(Velocity::new(y, x, y))), bad("velocity"));
        assert_eq!(refusal(|out| out.position(position)), bad("position"));
        assert_eq!(refusal(|out| out.rotation([y, y, y, x])), bad("rotation"));
        assert_eq!(refusal(|out| out.vitals(vitals, zero)), bad("vitals"));
        assert_eq!(refusal(|out| out.vitals(zero, vitals)), bad("maximum vitals"));
        let persisted = Transform { position, ..Transform::default() };
        assert_eq!(refusal(|out| out.persisted(persisted)), bad("persisted position"));
        let persisted = Transform { rotation: [x; 4], ..Transform::default() };
        assert_eq!(refusal(|out| out.persisted(persisted)), bad("persisted rotation"));
    }
}

#[test]
fn the_writer_reports_the_first_thing_past_a_limit() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let too_long = |field| SnapshotError::NameTooLong { field, bytes: NAME_BYTES_MAX + 1 };
    assert_eq!(refusal(|out| out.name(&long)), too_long("name"));
    assert_eq!(refusal(|out| out.class(&long)), too_long("class"));
    assert_eq!(refusal(|out| out.component(&long, 1, b"")), too_long("component name"));
    assert_eq!(refusal(|out| out.cooldown(&long, 1)), too_long("ability name"));
    assert_eq!(refusal(|out| out.effect(&long, 1, 1)), too_long("effect name"));
    let empty = refusal(|out| out.component("", 1, b""));
    assert_eq!(empty, SnapshotError::NameEmpty { field: "component name" });
    let twice = refusal(|out| (0..2).for_each(|_| out.component("a", 1, b"")));
    assert_eq!(twice, SnapshotError::DuplicateComponent { name: "a".into() });
    let many = |field, max: usize| SnapshotError::TooMany { field, count: max + 1, max };
    let spoiled = refusal(|out| (0..=COMPONENTS_MAX).for_each(|n| out.component(&n.to_string(), 1, b"")));
    assert_eq!(spoiled, many("components", COMPONENTS_MAX));
    let spoiled = refusal(|out| (0..=COOLDOWNS_MAX).for_each(|n| out.cooldown(&n.to_string(), 1)));
    assert_eq!(spoiled, many("cooldowns", COOLDOWNS_MAX));
    let spoiled = refusal(|out| (0..=EFFECTS_MAX).for_each(|n| out.effect(&n.to_string(), 1, 1)));
    assert_eq!(spoiled, many("effects", EFFECTS_MAX));
    let stacked = refusal(|out| out.effect("haste", 1, STACKS_MAX + 1));
    assert_eq!(stacked, SnapshotError::TooManyStacks { name: "haste".into(), stacks: STACKS_MAX + 1 });
    let endless = refusal(|out| out.cooldown("x", REMAINING_US_MAX + 1));
    assert!(matches!(endless, SnapshotError::RemainingTooLong { .. }));
    let heavy = refusal(|out| out.component("mesh", 1, &vec![0; BODIES_BYTES_MAX + 1]));
    assert_eq!(heavy, SnapshotError::BodiesTooLarge { bytes: BODIES_BYTES_MAX + 1 });
    let first = refusal(|out| {
        out.name(&long);
        out.class(&long);
    });
    assert_eq!(first, too_long("name"));
}

#[test]
fn a_forged_archive_is_held_to_the_same_limits() {
    assert!(forged(b"abc", |s| s.components = vec![component("a", Some(3)), component("b", None)]).is_ok());
    let mismatch = forged(b"abc", |s| s.components = vec![component("a", Some(4))]);
    assert_eq!(mismatch, Err(SnapshotError::BodiesMismatch { claimed: 4, held: 3 }));
    let unclaimed = forged(b"abc", |_| {});
    assert_eq!(unclaimed, Err(SnapshotError::BodiesMismatch { claimed: 0, held: 3 }));
    let overflow = forged(b"abc", |s| {
        s.components = vec![component("a", Some(u32::MAX)), component("b", Some(4))];
    });
    assert!(matches!(overflow, Err(SnapshotError::BodiesMismatch { .. })));
    let twice = forged(b"", |s| s.components = vec![component("a", None), component("a", None)]);
    assert_eq!(twice, Err(SnapshotError::DuplicateComponent { name: "a".into() }));
    let nameless = forged(b"", |s| s.components = vec![component("", None)]);
    assert_eq!(nameless, Err(SnapshotError::NameEmpty { field: "component name" }));
    let many = forged(b"", |s| {
        s.components = (0..=COMPONENTS_MAX).map(|n| component(&n.to_string(), None)).collect();
    });
    assert!(matches!(many, Err(SnapshotError::TooMany { field: "components", .. })));
    let effects = vec![Effect { name: String::new(), remaining_us: 0, stacks: 0 }; EFFECTS_MAX + 1];
    assert!(matches!(
        forged(b"", |s| s.effects = effects),
        Err(SnapshotError::TooMany { field: "effects", .. })
    ));
    let cooldowns = vec![Cooldown { ability: String::new(), remaining_us: 0 }; COOLDOWNS_MAX + 1];
    assert!(matches!(
        forged(b"", |s| s.cooldowns = cooldowns),
        Err(SnapshotError::TooMany { field: "cooldowns", .. })
    ));
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    assert!(matches!(forged(b"", |s| s.name = long), Err(SnapshotError::NameTooLong { field: "name", .. })));
    assert!(matches!(
        forged(b"", |s| s.head.vitals.health = f32::NAN),
        Err(SnapshotError::BadNumber { field: "vitals" })
    ));
}

#[test]
fn a_frame_of_another_layout_or_size_is_refused() {
    let mut bytes = sample().to_vec();
    bytes[0] = SNAPSHOT_LAYOUT + 1;
    let found = SNAPSHOT_LAYOUT + 1;
    assert_eq!(SnapshotArchive::validate(bytes.into()), Err(SnapshotError::UnknownLayout { found }));
    let huge = Bytes::from(vec![SNAPSHOT_LAYOUT; SNAPSHOT_BYTES_MAX + 1]);
    assert!(matches!(SnapshotArchive::validate(huge), Err(SnapshotError::TooLarge { .. })));
    assert_eq!(SnapshotArchive::validate(Bytes::new()), Err(SnapshotError::CutShort { bytes: 0 }));
    let long = Bytes::from_static(&[SNAPSHOT_LAYOUT, 0xff, 0xff, 0xff, 0xff, 0]);
    assert_eq!(SnapshotArchive::validate(long), Err(SnapshotError::CutShort { bytes: 6 }));
}

#[test]
fn a_receiver_with_the_version_gets_no_body() {
    let have: ComponentVersions = [("quests", 9), ("inventory", 3)].into_iter().collect();
    let mut out = writer(&have);
    assert!(!out.wants("quests", 9));
    assert!(out.wants("inventory", 4) && out.wants("pets", 1));
    out.component("quests", 9, b"ignored");
    out.component("inventory", 4, b"new");
    let captured = out.finish(InputSeq(1)).unwrap();
    assert!(!captured.full);
    let expected = [("inventory", 4), ("quests", 9)].into_iter().collect();
    assert_eq!(captured.versions, expected);
    let archive = SnapshotArchive::validate(captured.bytes).unwrap();
    assert!(!archive.is_full());
    assert_eq!(archive.versions(), expected);
}

#[test]
fn a_delta_lies_over_what_came_before() {
    let mut all = assembled(frame(&none(), &[("a", 1, b"one"), ("b", 1, b"two"), ("c", 1, b"three")]).bytes);
    let delta = frame(&all.versions(), &[("a", 1, b""), ("b", 2, b"TWO")]);
    all.apply(SnapshotArchive::validate(delta.bytes).unwrap()).unwrap();
    let view = all.view().unwrap();
    assert_eq!(view.component("a"), Some((1, b"one".as_slice())));
    assert_eq!(view.component("b"), Some((2, b"TWO".as_slice())));
    assert_eq!(view.component("c"), None, "no longer named");
    assert_eq!(all.versions(), delta.versions);
    assert_eq!(all.body_bytes(), 6);
}

#[test]
fn a_missing_component_changes_nothing() {
    let mut all = assembled(frame(&none(), &[("a", 1, b"one")]).bytes);
    let before = all.clone();
    for (have, version) in [(("a", 2), 2), (("b", 1), 1)] {
        let delta = frame(&[have].into_iter().collect(), &[(have.0, version, b"")]);
        let missing = SnapshotError::MissingComponent { name: have.0.into(), version };
        assert_eq!(all.apply(SnapshotArchive::validate(delta.bytes).unwrap()), Err(missing));
        assert_eq!(all, before);
    }
    let other = SnapshotWriter::new(EntityId::from_u128(8), None, &none()).finish(InputSeq(1)).unwrap();
    let refused = all.apply(SnapshotArchive::validate(other.bytes).unwrap());
    assert!(matches!(refused, Err(SnapshotError::OtherEntity { .. })));
    assert_eq!(all, before);
}

#[test]
fn bodies_too_heavy_together_are_refused() {
    let half = vec![1; BODIES_BYTES_MAX / 2 + 1];
    let mut all = assembled(frame(&none(), &[("a", 1, &half)]).bytes);
    let delta = frame(&all.versions(), &[("a", 1, b""), ("b", 1, &half)]);
    let refused = all.apply(SnapshotArchive::validate(delta.bytes).unwrap());
    assert!(matches!(refused, Err(SnapshotError::BodiesTooLarge { .. })));
    assert_eq!(all.versions().len(), 1);
    let held = BODIES_BYTES_MAX + 1;
    let heavy = forged(&vec![0; held], |s| s.components = vec![component("a", u32::try_from(held).ok())]);
    assert_eq!(heavy, Err(SnapshotError::BodiesTooLarge { bytes: held }));
}

#[test]
fn everything_at_its_limit_at_once_fits_into_a_frame() {
    let name = |n: usize| format!("{n:0width$}", width = NAME_BYTES_MAX);
    let mut out = SnapshotWriter::new(ENTITY, Some(SessionId::from_u128(9)), &none());
    out.name(&name(0));
    out.class(&name(0));
    let body = vec![1; BODIES_BYTES_MAX / COMPONENTS_MAX];
    (0..COMPONENTS_MAX).for_each(|n| out.component(&name(n), u64::MAX, &body));
    (0..COOLDOWNS_MAX).for_each(|n| out.cooldown(&name(n), REMAINING_US_MAX));
    (0..EFFECTS_MAX).for_each(|n| out.effect(&name(n), REMAINING_US_MAX, STACKS_MAX));
    let captured = out.finish(InputSeq(u32::MAX)).unwrap();
    assert_eq!(assembled(captured.bytes).body_bytes(), BODIES_BYTES_MAX);
}

#[test]
fn many_deltas_do_not_keep_their_frames_alive() {
    let mut all = assembled(frame(&none(), &[("small", 1, b"kept"), ("big", 0, b"")]).bytes);
    let big = vec![7; 300_000];
    for version in 1..40 {
        let delta = frame(&all.versions(), &[("small", 1, b""), ("big", version, &big)]);
        all.apply(SnapshotArchive::validate(delta.bytes).unwrap()).unwrap();
        assert!(all.retained_bytes() <= 4 * SNAPSHOT_BYTES_MAX);
    }
    let view = all.view().unwrap();
    assert_eq!(view.component("small"), Some((1, b"kept".as_slice())));
    assert_eq!(view.component("big"), Some((39, big.as_slice())));
}

#[test]
fn a_full_copy_stands_alone() {
    let mut all = assembled(frame(&none(), &[("a", 1, b"one"), ("b", 1, b"two")]).bytes);
    assert_eq!(all.to_full_bytes().unwrap(), all.to_full_bytes().unwrap());
    let delta = frame(&all.versions(), &[("a", 1, b""), ("b", 2, b"TWO")]);
    all.apply(SnapshotArchive::validate(delta.bytes).unwrap()).unwrap();
    let copy = assembled(all.to_full_bytes().unwrap());
    assert_eq!(copy.versions(), all.versions());
    let (copied, original) = (copy.view().unwrap(), all.view().unwrap());
    assert!(copied.components().eq(original.components()));
    assert!(copied.cooldowns().eq(original.cooldowns()) && copied.effects().eq(original.effects()));
    assert_eq!((copied.head(), copied.name()), (original.head(), original.name()));
    assert_eq!(Assembled::new().to_full_bytes(), Err(SnapshotError::Empty));
    assert_eq!(Assembled::new().view().err(), Some(SnapshotError::Empty));
}

#[test]
fn versions_from_a_peer_are_checked() {
    let good: ComponentVersions = [("a", 1), ("b", 2)].into_iter().collect();
    assert_eq!(good.check(), Ok(()));
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&good).unwrap();
    assert_eq!(rkyv::from_bytes::<ComponentVersions, rkyv::rancor::Error>(&bytes).unwrap(), good);
    let many: ComponentVersions = (0..=COMPONENTS_MAX as u64).map(|n| (n.to_string(), n)).collect();
    assert!(matches!(many.check(), Err(SnapshotError::TooMany { .. })));
    let long: ComponentVersions = [("x".repeat(NAME_BYTES_MAX + 1), 1)].into_iter().collect();
    assert!(matches!(long.check(), Err(SnapshotError::NameTooLong { .. })));
    let empty: ComponentVersions = [("", 1)].into_iter().collect();
    assert!(matches!(empty.check(), Err(SnapshotError::NameEmpty { .. })));
}

/// Reads everything; what it sees must be finite.
fn read_all(bytes: Bytes) -> bool {
    let Ok(archive) = SnapshotArchive::validate(bytes) else { return false };
    let mut all = Assembled::new();
    if all.apply(archive).is_err() {
        return false;
    }
    let view = all.view().unwrap();
    let head = view.head();
    assert!(view.motion().is_finite() && head.persisted.position.is_finite());
    let vitals = [head.vitals, head.vitals_max];
    assert!(vitals.iter().all(|v| v.health.is_finite() && v.mana.is_finite() && v.stamina.is_finite()));
    assert!(head.rotation.iter().chain(&head.persisted.rotation).all(|part| part.is_finite()));
    let _ = (view.name().len(), view.class().len(), view.components().map(|c| c.body.len()).sum::<usize>());
    assert!(view.effects().all(|effect| effect.stacks <= STACKS_MAX));
    let _ = (view.cooldowns().count(), all.to_full_bytes().unwrap());
    true
}

#[test]
fn no_truncation_panics_or_reads_past_the_checks() {
    let bytes = sample();
    assert!(read_all(bytes.clone()));
    for length in 0..bytes.len() {
        read_all(bytes.slice(..length));
        read_all(bytes.slice(bytes.len() - length..));
    }
}

#[test]
fn no_flipped_byte_panics_or_reads_past_the_checks() {
    let bytes = sample();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut read = 0;
    for round in 0..10_000 {
        let mut damaged = bytes.to_vec();
        for _ in 0..=round % 3 {
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= random.random_range(1..=255u8);
        }
        read += usize::from(read_all(damaged.into()));
    }
    assert!(read > 1_000, "most damage is to values, not to structure: {read} of 10000 could be read");
}

proptest! {
    #[test]
    fn no_noise_panics(mut noise in prop::collection::vec(any::<u8>(), 0..600), bodies in 0..300u32) {
        if noise.len() > 5 {
            noise[0] = SNAPSHOT_LAYOUT;
            noise[1..5].copy_from_slice(&bodies.to_le_bytes());
        }
        read_all(noise.into());
    }

    #[test]
    fn any_components_come_back(
        bodies in prop::collection::btree_map(".{1,16}", prop::collection::vec(any::<u8>(), 0..300), 0..20),
    ) {
        let components: Vec<(&str, u64, &[u8])> =
            bodies.iter().map(|(name, body)| (name.as_str(), 1, body.as_slice())).collect();
        let all = assembled(frame(&none(), &components).bytes);
        let view = all.view().unwrap();
        for (name, version, body) in components {
            prop_assert_eq!(view.component(name), Some((version, body)));
        }
    }
}
