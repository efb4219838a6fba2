//! Ghost replication of 2,000 entities of mixed motion, a tick at a time: who is in sight, what is sent, what is taken in;
//! each part alone, and the sending side as a whole.
//!
//! The throughput counts entity-ticks: a million a second is a microsecond for each.

use core::hint::black_box;
use core::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use selvedge_protocol::ghost::{
    BorderInterest, Bound, EntityClass, Facing, GhostReceiver, GhostSender, GhostTable, NoFloors, Region,
    Sample, Scene, SenderSettings, SightRules, State, Subject, TableSettings, ViewInterest, predict,
    put_delta,
};
use selvedge_protocol::grid::{Bounds, Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::time::{Tick, Time};

const ENTITIES: u32 = 2_000;
const INTERVAL: Duration = Duration::from_micros(33_333);
const DT: f64 = 0.033_333;
/// Ticks that are played over and over.
const TICKS: u64 = 240;
/// Ticks from a baseline to the sample that is a delta against it.
const SAMPLED_AFTER: usize = 4;
/// A bound that nobody exceeds.
const ANY: Bound = Bound { near: 1e6, near_reach_m: 0.0, per_m: 0.0, max: 1e6 };

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ghost");
    group.throughput(Throughput::Elements(u64::from(ENTITIES)));

    let mut stage = Stage::new();
    group.bench_function("scene", |bencher| bencher.iter(|| stage.publish()));
    let mut stage = Stage::new();
    group.bench_function("interest", |bencher| {
        bencher.iter_custom(|ticks| (0..ticks).map(|_| stage.time_interest()).sum());
    });
    let mut view = ViewInterest::new(SightRules::within(60.0));
    let centre = Position::new(-50.0, 200.0, 0.0);
    group.bench_function("interest of one player", |bencher| {
        bencher.iter(|| black_box(view.look(&stage.scene, centre, None).len()));
    });
    let deltas = deltas(&stage.film);
    let settings = SenderSettings::default();
    let mut bytes = Vec::new();
    group.bench_function("delta", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            for (distance_m, baseline, is) in &deltas {
                put_delta(&settings, *distance_m, (baseline, SAMPLED_AFTER as f64 * DT), is, &mut bytes);
            }
            black_box(bytes.len())
        });
    });
    // Acknowledged at once, as over a quick link; each side's work is timed alone.
    let mut stage = Stage::new();
    group.bench_function("packing, with the deltas of whoever errs", |bencher| {
        bencher.iter_custom(|ticks| (0..ticks).map(|_| stage.time_packing()).sum());
    });
    // Who is in sight and as foreseen is looked at and vouched for, and that is all.
    let mut stage = Stage::with(SenderSettings { position: ANY, facing: ANY, ..Stage::settings() });
    let samples = stage.sender.stats().samples;
    group.bench_function("packing, of nobody's deltas", |bencher| {
        bencher.iter_custom(|ticks| (0..ticks).map(|_| stage.time_packing()).sum());
    });
    assert_eq!(stage.sender.stats().samples, samples, "nobody errs by so much");
    let mut stage = Stage::new();
    group.bench_function("scene, interest, delta, packing, acknowledgement", |bencher| {
        bencher.iter_custom(|ticks| (0..ticks).map(|_| stage.time_sending()).sum());
    });
    let mut stage = Stage::new();
    group.bench_function("receiving", |bencher| {
        bencher.iter_custom(|ticks| (0..ticks).map(|_| stage.time_receiving()).sum());
    });
    let sights = stage.table.len();
    group.bench_function("showing", |bencher| {
        let at = stage.table.display_time(Tick(stage.tick).start(INTERVAL));
        bencher.iter(|| stage.table.shown_at(at).map(|ghost| ghost.motion.position.x).sum::<f64>());
    });
    assert_eq!(sights, ENTITIES as usize, "everybody is in sight");
    group.finish();

    let turning = Sample { turn: 500, ..sample(5.0, 1.0) };
    let mut group = criterion.benchmark_group("ghost, one");
    group.bench_function("predict straight", |bencher| {
        bencher.iter(|| predict(black_box(&sample(5.0, 1.0)), black_box(0.3)));
    });
    group.bench_function("predict an arc", |bencher| {
        bencher.iter(|| predict(black_box(&turning), black_box(0.3)))
    });
    group.finish();
}

fn sample(vx: f32, vy: f32) -> Sample {
    let motion = Motion { position: Position::new(-3.0, 70.0, 0.0), velocity: Velocity::new(vx, vy, 0.0) };
    Sample::of(&motion, Facing::default())
}

/// A sender, a receiver, and a crowd that moves in a cycle made beforehand.
struct Stage {
    film: Vec<Vec<Subject>>,
    scene: Scene,
    interest: BorderInterest,
    sender: GhostSender,
    receiver: GhostReceiver,
    table: GhostTable,
    tick: u64,
}

impl Stage {
    fn new() -> Self {
        Self::with(Self::settings())
    }

    fn settings() -> SenderSettings {
        SenderSettings { budget_bytes: 1 << 20, ..SenderSettings::default() }
    }

    fn with(settings: SenderSettings) -> Self {
        let neighbour = Bounds {
            min: Position::new(0.0, -1e6, f64::NEG_INFINITY),
            max: Position::new(1e6, 1e6, f64::INFINITY),
        };
        let mut stage = Self {
            film: film(),
            scene: Scene::new(INTERVAL),
            interest: BorderInterest::new(SightRules::within(150.0), Region::of_boxes(vec![neighbour])),
            sender: GhostSender::new(1, settings),
            receiver: GhostReceiver::new(1, 1),
            table: GhostTable::new(TableSettings { interval: INTERVAL, ..TableSettings::default() }),
            tick: 0,
        };
        (0..30).for_each(|_| stage.send());
        stage
    }

    /// The next tick of the film; once in its length everybody is back at the start.
    fn publish(&mut self) {
        self.tick += 1;
        let frame = usize::try_from(self.tick % TICKS).unwrap_or(0);
        self.scene.begin(Tick(self.tick));
        self.film[frame].iter().for_each(|subject| self.scene.put(subject));
    }

    fn send_only(&mut self) -> (Vec<Bytes>, Vec<Bytes>) {
        self.publish();
        let now = self.now();
        self.sender.tick(&self.scene, self.interest.look(&self.scene), now);
        let stream = core::iter::from_fn(|| self.sender.poll_stream()).collect();
        (stream, core::iter::from_fn(|| self.sender.poll_datagram()).collect())
    }

    fn now(&self) -> Time {
        Tick(self.tick).start(INTERVAL)
    }

    fn receive(&mut self, stream: &[Bytes], datagrams: &[Bytes]) -> Option<Bytes> {
        for piece in stream {
            self.receiver.on_stream(&mut self.table, &NoFloors, piece, Tick(self.tick)).expect("it is sound");
        }
        for datagram in datagrams {
            self.receiver.on_datagram(&mut self.table, datagram, Tick(self.tick)).expect("it is sound");
        }
        self.receiver.tick(&mut self.table, &NoFloors, Tick(self.tick));
        self.table.tick(Tick(self.tick));
        self.table.take_events();
        self.receiver.poll_ack()
    }

    fn send(&mut self) {
        let (stream, datagrams) = self.send_only();
        let ack = self.receive(&stream, &datagrams);
        let now = self.now();
        ack.into_iter().for_each(|ack| self.sender.on_ack(&ack, now).expect("it is sound"));
    }

    fn time_interest(&mut self) -> Duration {
        self.publish();
        let begun = std::time::Instant::now();
        black_box(self.interest.look(&self.scene).len());
        begun.elapsed()
    }

    /// With what is in sight found out beforehand, and acknowledged afterwards.
    fn time_packing(&mut self) -> Duration {
        self.publish();
        let now = self.now();
        let sights = self.interest.look(&self.scene).to_vec();
        let begun = std::time::Instant::now();
        self.sender.tick(&self.scene, &sights, now);
        let took = begun.elapsed();
        let stream: Vec<Bytes> = core::iter::from_fn(|| self.sender.poll_stream()).collect();
        let datagrams: Vec<Bytes> = core::iter::from_fn(|| self.sender.poll_datagram()).collect();
        let ack = self.receive(&stream, &datagrams);
        ack.into_iter().for_each(|ack| self.sender.on_ack(&ack, now).expect("it is sound"));
        took
    }

    fn time_receiving(&mut self) -> Duration {
        let (stream, datagrams) = self.send_only();
        let begun = std::time::Instant::now();
        let ack = self.receive(&stream, &datagrams);
        let took = begun.elapsed();
        let now = self.now();
        ack.into_iter().for_each(|ack| self.sender.on_ack(&ack, now).expect("it is sound"));
        took
    }

    fn time_sending(&mut self) -> Duration {
        let begun = std::time::Instant::now();
        let (stream, datagrams) = self.send_only();
        let took = begun.elapsed();
        let ack = self.receive(&stream, &datagrams);
        let now = self.now();
        let begun = std::time::Instant::now();
        ack.into_iter().for_each(|ack| self.sender.on_ack(&ack, now).expect("it is sound"));
        took + begun.elapsed()
    }
}

/// For everybody how far from the border they are, where they were, and where they are some ticks later.
fn deltas(film: &[Vec<Subject>]) -> Vec<(f64, Sample, Sample)> {
    let of = |subject: &Subject| Sample::of(&subject.motion, Facing::of(subject.rotation));
    let pairs = film[0].iter().zip(&film[SAMPLED_AFTER]);
    pairs.map(|(was, is)| (-is.motion.position.x, of(was), of(is))).collect()
}

/// A quarter each stand, run, turn and jump.
fn film() -> Vec<Vec<Subject>> {
    (0..TICKS).map(|tick| (0..ENTITIES).map(|id| subject(id, tick as f64 * DT)).collect()).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "few legs, and velocities and turns are f32")]
fn subject(id: u32, seconds: f64) -> Subject {
    let spread = f64::from(id % 997) / 997.0;
    let (x0, y0) = (-2.0 - 100.0 * spread, f64::from(id) * 0.2);
    let speed = 3.0 + 4.0 * f64::from(id % 13) / 13.0;
    let (x, y, z, vx, vy, vz) = match id % 4 {
        0 => (x0, y0, 0.0, 0.0, 0.0, 0.0),
        // A new heading every 1.7 s, each at a moment of its own.
        1 => {
            let heading = |leg: f64| leg * 2.4 + spread;
            let time = seconds + spread * 1.7;
            let whole = (time / 1.7).floor();
            let way =
                |leg: f64, part: f64| (heading(leg).cos() * part * speed, heading(leg).sin() * part * speed);
            let (mut x, mut y) = (x0, y0);
            for leg in 0..=(whole as u32) {
                let part = if f64::from(leg) < whole { 1.7 } else { time - whole * 1.7 };
                let (dx, dy) = way(f64::from(leg), part);
                (x, y) = (x + dx, y + dy);
            }
            let (vx, vy) = way(whole, 1.0);
            (x.min(-0.5), y, 0.0, vx, vy, 0.0)
        }
        2 => {
            let rate = 0.4 + spread;
            let (angle, radius) = (rate * seconds + f64::from(id), speed / rate);
            let (sin, cos) = angle.sin_cos();
            (x0 + radius * (sin - f64::from(id).sin()), y0 - radius * cos, 0.0, speed * cos, speed * sin, 0.0)
        }
        _ => {
            // 0.9 s in the air, 0.5 s on the ground.
            let time = (seconds + spread * 1.4) % 1.4;
            let up = if time < 0.9 { (4.4 * time - 4.9 * time * time, 4.4 - 9.8 * time) } else { (0.0, 0.0) };
            (x0 + 0.5 * seconds, y0 + 2.0 * seconds, up.0.max(0.0), 0.5, 2.0, up.1)
        }
    };
    let half = vy.atan2(vx) / 2.0;
    Subject {
        entity: EntityId::from_u128(u128::from(id) * 7_919 + 1),
        epoch: AuthorityEpoch::FIRST,
        class: EntityClass::default(),
        owned: true,
        motion: Motion {
            position: Position::new(x, y, z),
            velocity: Velocity::new(vx as f32, vy as f32, vz as f32),
        },
        rotation: [0.0, 0.0, half.sin() as f32, half.cos() as f32],
        state: State::new(),
    }
}
