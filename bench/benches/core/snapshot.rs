//! A snapshot's life: archived by the source, validated by the target, read in place by its game.

use core::hint::black_box;

use criterion::{Criterion, Throughput};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{EntityId, InputSeq};
use selvedge_protocol::snapshot::{
    Assembled, CapturedSnapshot, ComponentVersions, SnapshotArchive, SnapshotWriter,
};

const COMPONENTS: usize = 8;
const SIZES: [(&str, usize); 2] = [("4 KiB", 4 << 10), ("64 KiB", 64 << 10)];

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    for (name, bytes) in SIZES {
        let whole = captured(bytes).bytes;
        let archive = SnapshotArchive::validate(whole.clone()).expect("it is valid");
        let mut assembled = Assembled::new();
        assembled.apply(archive.clone()).expect("it is whole");
        group.throughput(Throughput::Bytes(whole.len() as u64));
        group
            .bench_function(format!("archive {name}"), |bencher| bencher.iter(|| captured(black_box(bytes))));
        group.bench_function(format!("validate {name}"), |bencher| {
            bencher.iter(|| SnapshotArchive::validate(black_box(whole.clone())));
        });
        group.bench_function(format!("assemble {name}"), |bencher| {
            bencher.iter(|| {
                let mut assembled = Assembled::new();
                assembled.apply(black_box(archive.clone())).map(|()| assembled)
            });
        });
        group.bench_function(format!("read {name}"), |bencher| bencher.iter(|| read(black_box(&assembled))));
    }
    group.finish();
}

/// A snapshot of about so many bytes in eight components.
pub(crate) fn captured(bytes: usize) -> CapturedSnapshot {
    let mut writer = SnapshotWriter::new(EntityId::from_u128(7), None, &ComponentVersions::new());
    writer.schema(1);
    writer.name("walker");
    writer
        .motion(Motion { position: Position::new(99.0, 50.0, 0.0), velocity: Velocity::new(6.0, 0.0, 0.0) });
    let body = [7; 64 << 10];
    for name in NAMES {
        writer.component(name, 1, &body[..bytes / COMPONENTS]);
    }
    writer.finish(InputSeq(40)).expect("it is within the limits")
}

const NAMES: [&str; COMPONENTS] =
    ["inventory", "skills", "quests", "vitals", "effects", "looks", "friends", "marks"];

/// Touches every byte of every component, as a game that rebuilds an entity does.
fn read(assembled: &Assembled) -> u64 {
    let view = assembled.view().expect("it is whole");
    let bodies = view.components().map(|component| {
        component.body.iter().fold(component.version, |sum, byte| sum.wrapping_add(u64::from(*byte)))
    });
    bodies.fold(0, u64::wrapping_add)
}
