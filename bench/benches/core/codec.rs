//! Messages to bytes and back: small ones, and a `Transfer` with 4 KiB behind it.

use core::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{
    AuthorityEpoch, EntityId, HandoffId, Incarnation, InputSeq, NodeId, Peer, ReservationId,
};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::{
    ClientMessage, InputMessage, Message, ServerMessage, decode_client, decode_mesh, decode_server,
    encode_client, encode_mesh, encode_server,
};

use crate::snapshot::captured;

const ENTITY: EntityId = EntityId::from_u128(7);
const EPOCH: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 3 };
const MOTION: Motion =
    Motion { position: Position::new(99.0, 50.0, 0.0), velocity: Velocity::new(6.0, 0.0, 0.0) };

pub(crate) fn bench(criterion: &mut Criterion) {
    let id = HandoffId { entity: ENTITY, epoch: EPOCH };
    let source = Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) };
    let reservation = ReservationId { entity: ENTITY, source, attempt: 1 };
    let transfer = Message::Transfer {
        id,
        reservation,
        last_tick: Tick(1_000),
        pending: inputs(),
        asked_at: Time::from_micros(1_000_000),
        members: Vec::new(),
    };

    let mut group = criterion.benchmark_group("codec");
    let accepted = Message::Accepted { id, token: None, members: Vec::new() };
    mesh(&mut group, "Accepted", &accepted, &Bytes::new());
    mesh(&mut group, "Transfer with 4 KiB", &transfer, &captured(4 << 10).bytes);
    clients(&mut group);
    group.finish();
}

/// The sender's way from message to frame, and the receiver's back.
fn mesh(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, message: &Message, blob: &Bytes) {
    let frame = || {
        let mut frame = BytesMut::from(&encode_mesh(black_box(message))[..]);
        frame.put_slice(blob);
        frame.freeze()
    };
    let whole = frame();
    group.throughput(Throughput::Bytes(whole.len() as u64));
    // A transport sends head and blob one after the other: the blob isn't copied for that.
    group
        .bench_function(format!("encode {name}"), |bencher| bencher.iter(|| encode_mesh(black_box(message))));
    group.bench_function(format!("decode {name}"), |bencher| bencher.iter(|| decode_mesh(black_box(&whole))));
}

fn clients(group: &mut BenchmarkGroup<'_, WallTime>) {
    let acts = ClientMessage::Inputs { entity: ENTITY, inputs: inputs() };
    let state = ServerMessage::State {
        entity: ENTITY,
        epoch: EPOCH,
        tick: Tick(1_000),
        applied: InputSeq(40),
        durable: InputSeq(40),
        motion: MOTION,
        own: vec![7; 16],
    };
    let (acts_frame, state_frame) = (encode_client(&acts), encode_server(&state));
    group.throughput(Throughput::Bytes(acts_frame.len() as u64));
    group.bench_function("encode 3 inputs", |bencher| bencher.iter(|| encode_client(black_box(&acts))));
    group.bench_function("decode 3 inputs", |bencher| bencher.iter(|| decode_client(black_box(&acts_frame))));
    group.throughput(Throughput::Bytes(state_frame.len() as u64));
    group.bench_function("encode State", |bencher| bencher.iter(|| encode_server(black_box(&state))));
    group.bench_function("decode State", |bencher| {
        bencher.iter(|| decode_server(black_box(&state_frame)));
    });
}

fn inputs() -> Vec<InputMessage> {
    (41..44).map(|seq| InputMessage { seq: InputSeq(seq), bytes: vec![1; 13] }).collect()
}
