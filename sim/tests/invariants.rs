//! Each invariant, shown what it must see and what it must let pass.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use core::time::Duration;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{
    AuthorityEpoch, ClientId, EntityId, HandoffId, Incarnation, NodeId, Peer, SessionId,
};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::Captured;
use selvedge_sim::invariant::{
    Convergence, ExactlyOnce, Fact, Held, Inspection, Invariant, Ledger, NothingLost, OwnLease, PlayerView,
    SentCopy, SingleAuthority, Step, TokenTarget, Tokens, Violation,
};

const ENTITY: EntityId = EntityId::from_u128(7);
const SESSION: SessionId = SessionId::from_u128(9);
const BOUND: Duration = Duration::from_secs(10);

const fn epoch(step: u32) -> AuthorityEpoch {
    AuthorityEpoch { generation: 0, step }
}

fn observe(check: &mut impl Invariant, facts: &[Fact]) -> Result<(), Violation> {
    check.observe(&Step { number: 1, at: Time::ZERO, facts })
}

const fn active(node: usize, step: u32) -> Fact {
    Fact::Standing { node, entity: ENTITY, standing: Some(Standing::Active(epoch(step))) }
}

const fn frozen(step: u32) -> Standing {
    let to = Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) };
    Standing::Frozen { id: HandoffId { entity: ENTITY, epoch: epoch(step) }, to }
}

const fn published(node: usize, step: u32, tick: u64, ledger: Option<Ledger>) -> Fact {
    let applied = match ledger {
        Some(ledger) => ledger.last_seq,
        None => 0,
    };
    Fact::Published { node, entity: ENTITY, epoch: epoch(step), tick: Tick(tick), applied, ledger }
}

#[test]
fn a1_lets_a_handoff_and_a_thaw_pass() {
    let mut check = SingleAuthority::default();
    let freeze = |node, step| Fact::Standing { node, entity: ENTITY, standing: Some(frozen(step)) };
    let gone = Fact::Standing { node: 0, entity: ENTITY, standing: None };
    let facts =
        [active(0, 1), published(0, 1, 5, None), freeze(0, 2), active(1, 2), gone, published(1, 2, 6, None)];
    observe(&mut check, &facts).unwrap();
    observe(&mut check, &[freeze(1, 3), active(1, 3), published(1, 3, 7, None)]).unwrap();
}

#[test]
fn a1_sees_two_authorities_epochs_that_go_back_and_ticks_that_come_twice() {
    observe(&mut SingleAuthority::default(), &[active(0, 1), active(1, 2)]).unwrap_err();
    let gone = Fact::Standing { node: 0, entity: ENTITY, standing: None };
    observe(&mut SingleAuthority::default(), &[active(0, 2), gone.clone(), active(1, 1)]).unwrap_err();
    observe(&mut SingleAuthority::default(), &[active(0, 2), gone, active(1, 2)]).unwrap_err();
    let twice = [published(0, 1, 5, None), published(1, 2, 5, None)];
    observe(&mut SingleAuthority::default(), &twice).unwrap_err();
    let event = ClientEvent::TwoAuthorities { epoch: epoch(2) };
    observe(&mut SingleAuthority::default(), &[Fact::Client { player: 0, event }]).unwrap_err();
}

#[test]
fn a1_lets_a_recovery_undo_a_tick_but_no_handoff() {
    let mut check = SingleAuthority::default();
    let epoch = AuthorityEpoch { generation: 1, step: 0 };
    let restored =
        Fact::Published { node: 1, entity: ENTITY, epoch, tick: Tick(5), applied: 0, ledger: None };
    observe(&mut check, &[published(0, 1, 5, None), restored]).unwrap();
    observe(&mut check, &[published(0, 2, 6, None)]).unwrap_err();
}

#[test]
fn a1_lets_another_take_over_from_who_stands_still_but_not_from_who_goes_on() {
    let mut check = SingleAuthority::default();
    let restored = AuthorityEpoch { generation: 1, step: 0 };
    let taken = Fact::Standing { node: 1, entity: ENTITY, standing: Some(Standing::Active(restored)) };
    observe(&mut check, &[active(0, 1), Fact::StoodStill { node: 0 }, taken.clone()]).unwrap();
    let gone = Fact::Standing { node: 0, entity: ENTITY, standing: None };
    observe(&mut check, &[Fact::Stirred { node: 0 }, gone]).unwrap();

    let mut check = SingleAuthority::default();
    observe(&mut check, &[active(0, 1), Fact::StoodStill { node: 0 }, taken.clone()]).unwrap();
    observe(&mut check, &[Fact::Stirred { node: 0 }, active(0, 1)]).unwrap_err();

    let mut check = SingleAuthority::default();
    observe(&mut check, &[active(0, 1), Fact::Ended { node: 0 }, taken]).unwrap();
}

const fn ledger(last_seq: u32, digest: u64) -> Ledger {
    Ledger { session: SESSION.as_u128(), last_seq, applied: last_seq, doubled: 0, skipped: 0, digest }
}

/// A player who sent two inputs, with digests 11 and 22.
fn after_two_inputs() -> ExactlyOnce {
    let mut check = ExactlyOnce::default();
    let event = ClientEvent::Entered { session: SESSION, entity: ENTITY };
    let facts = [
        Fact::PlayerBegan { player: 0 },
        Fact::Client { player: 0, event },
        Fact::Acted { player: 0, seq: 1, digest: 11 },
        Fact::Acted { player: 0, seq: 2, digest: 22 },
    ];
    observe(&mut check, &facts).unwrap();
    check
}

#[test]
fn a3_follows_numbers_that_fell_when_safe_inputs_were_lost_and_no_others() {
    let renumbered = Fact::Renumbered { player: 0, applied: 0, lost: 1, digests: vec![33] };
    let safe = |keeper, last| {
        let copies = vec![sent(Some((SESSION, last)))];
        Fact::CutSafe { node: 0, keeper, tick: Tick(4), copies, gone: Vec::new() }
    };
    let after = |facts: &[Fact], applied| {
        let mut check = after_two_inputs();
        observe(&mut check, facts)?;
        observe(&mut check, &[published(0, 1, 5, Some(applied))])
    };
    for keeper in [None, Some(1)] {
        after(&[safe(keeper, 1), renumbered.clone()], ledger(1, 33)).unwrap();
    }
    after(&[safe(Some(1), 1)], ledger(1, 33)).unwrap_err();
    after(&[safe(Some(1), 1), renumbered.clone()], ledger(1, 11)).unwrap_err();
    after(core::slice::from_ref(&renumbered), ledger(1, 33)).unwrap_err();
    after(&[safe(Some(1), 0), renumbered.clone()], ledger(1, 33)).unwrap_err();
    after(&[safe(Some(1), 1), renumbered.clone(), renumbered], ledger(1, 33)).unwrap_err();
}

#[test]
fn a3_lets_inputs_in_order_pass() {
    let facts = [published(0, 1, 1, Some(ledger(1, 11))), published(1, 2, 2, Some(ledger(2, 22)))];
    observe(&mut after_two_inputs(), &facts).unwrap();
}

#[test]
fn a3_sees_what_is_skipped_doubled_undone_altered_or_invented() {
    let skipped = Ledger { applied: 1, skipped: 1, ..ledger(2, 22) };
    let doubled = Ledger { doubled: 1, ..ledger(2, 22) };
    for wrong in [skipped, doubled, ledger(2, 99), ledger(3, 33)] {
        observe(&mut after_two_inputs(), &[published(0, 1, 1, Some(wrong))]).unwrap_err();
    }
    let undone = [published(0, 1, 1, Some(ledger(2, 22))), published(1, 2, 2, Some(ledger(1, 11)))];
    observe(&mut after_two_inputs(), &undone).unwrap_err();
}

fn inspection(calm_for: Duration, standing: Standing, unacknowledged: usize) -> Fact {
    let held = Held { node: 0, entity: ENTITY, standing, simulated: true, belongs_to: None };
    let player = PlayerView {
        player: 0,
        session: Some(SESSION),
        entity: Some(ENTITY),
        wants_in: true,
        attached: true,
        sent: 2,
        unacknowledged,
    };
    let (held, players) = (vec![held], vec![player]);
    Fact::Inspected(Inspection {
        margin_m: 30.0,
        ghosts: Vec::new(),
        unseen: Vec::new(),
        calm_for,
        bound: BOUND,
        held,
        players,
        unheld: Vec::new(),
        unsettled: Vec::new(),
        purses: Vec::new(),
        ownerless: Vec::new(),
        recovering: Vec::new(),
        waiting: false,
    })
}

#[test]
fn a3_waits_for_inputs_to_drain_but_not_for_ever() {
    let active = Standing::Active(epoch(1));
    let mut check = after_two_inputs();
    observe(&mut check, &[published(0, 1, 1, Some(ledger(1, 11))), inspection(Duration::ZERO, active, 1)])
        .unwrap();
    assert!(!check.is_settled());
    observe(&mut check, &[inspection(BOUND, active, 1)]).unwrap_err();
    observe(&mut check, &[published(0, 1, 2, Some(ledger(2, 22))), inspection(BOUND, active, 0)]).unwrap();
    assert!(check.is_settled());
}

#[test]
fn a4_waits_for_what_is_frozen_but_not_for_ever() {
    let mut check = Convergence::default();
    observe(&mut check, &[inspection(Duration::ZERO, frozen(2), 0)]).unwrap();
    assert!(!check.is_settled());
    observe(&mut check, &[inspection(BOUND, frozen(2), 0)]).unwrap_err();
    observe(&mut check, &[inspection(BOUND, Standing::Active(epoch(2)), 0)]).unwrap();
    assert!(check.is_settled());
}

#[test]
fn a4_wants_every_node_to_hear_that_a_round_is_closed() {
    let in_a_round = |calm_for| {
        let Fact::Inspected(inspection) = empty(calm_for) else { panic!("it is an inspection") };
        Fact::Inspected(Inspection { recovering: vec![1], ..inspection })
    };
    let mut check = Convergence::default();
    observe(&mut check, &[in_a_round(Duration::ZERO)]).unwrap();
    assert!(!check.is_settled());
    observe(&mut check, &[in_a_round(BOUND)]).unwrap_err();
    observe(&mut check, &[empty(BOUND)]).unwrap();
}

#[test]
fn a2_sees_what_is_lost_and_what_should_be_gone() {
    let active = Standing::Active(epoch(1));
    let mut check = NothingLost::default();
    let other = EntityId::from_u128(8);
    observe(&mut check, &[Fact::Born { node: 0, entity: ENTITY }, Fact::Born { node: 0, entity: other }])
        .unwrap();
    observe(&mut check, &[inspection(BOUND, active, 0)]).unwrap_err();
    observe(&mut check, &[Fact::Gone { node: 0, entity: other }, inspection(BOUND, active, 0)]).unwrap();
    observe(&mut check, &[Fact::Gone { node: 0, entity: ENTITY }, inspection(BOUND, active, 0)]).unwrap_err();
}

const fn sent(inputs: Option<(SessionId, u32)>) -> SentCopy {
    SentCopy { entity: ENTITY, epoch: epoch(1), inputs, attached_to: None }
}

/// Node 1 has confirmed a cut of node 0's with the entity in it.
fn cut_with_it(tick: u64) -> Fact {
    let (copies, gone) = (vec![sent(None)], Vec::new());
    Fact::CutSafe { node: 0, keeper: Some(1), tick: Tick(tick), copies, gone }
}

/// Node 1 has confirmed a cut of node 0's that the entity is no longer in.
fn cut_without_it() -> Fact {
    let (copies, gone) = (Vec::new(), vec![ENTITY]);
    Fact::CutSafe { node: 0, keeper: Some(1), tick: Tick(10), copies, gone }
}

const fn restored(step: u32, tick: u64) -> Fact {
    let contents = Captured { epoch: epoch(step), tick: Tick(tick) };
    Fact::Restored { entity: ENTITY, contents, ride: None }
}

/// An entity that lives at node 0; node 1 keeps a copy as it was after tick 9.
fn with_a_copy_at_1() -> NothingLost {
    let mut check = NothingLost::default();
    let safe = cut_with_it(9);
    let born = Fact::Born { node: 0, entity: ENTITY };
    observe(&mut check, &[born, active(0, 1), published(0, 1, 12, None), safe]).unwrap();
    check
}

fn empty(calm_for: Duration) -> Fact {
    let (held, players) = (Vec::new(), Vec::new());
    let (unheld, ownerless) = (Vec::new(), Vec::new());
    let (unsettled, purses) = (Vec::new(), Vec::new());
    Fact::Inspected(Inspection {
        calm_for,
        bound: BOUND,
        held,
        players,
        unheld,
        unsettled,
        purses,
        ownerless,
        margin_m: 30.0,
        ghosts: Vec::new(),
        unseen: Vec::new(),
        recovering: Vec::new(),
        waiting: false,
    })
}

#[test]
fn a2_wants_back_what_was_safe_when_its_node_died() {
    for death in [Fact::Ended { node: 0 }, Fact::LifeOver { node: 0 }] {
        observe(&mut with_a_copy_at_1(), &[death, empty(BOUND)]).unwrap_err();
    }
    let (first, second) = (Fact::Ended { node: 0 }, Fact::Ended { node: 1 });
    observe(&mut with_a_copy_at_1(), &[first, second, empty(BOUND)]).unwrap();
}

#[test]
fn a2_lets_go_what_was_never_safe_when_its_node_died() {
    let mut check = NothingLost::default();
    observe(&mut check, &[Fact::Born { node: 0, entity: ENTITY }, Fact::Ended { node: 0 }]).unwrap();
    observe(&mut check, &[empty(BOUND)]).unwrap();
}

#[test]
fn a2_counts_a_tombstones_contents_as_safe_only_once_they_are_confirmed_again() {
    let mut check = with_a_copy_at_1();
    // Node 2 has it, and dies; node 0 goes on from what it froze, and dies as well; what node 1 keeps is older.
    let facts =
        [active(2, 2), Fact::LifeOver { node: 2 }, restored(1, 12), active(0, 3), Fact::LifeOver { node: 0 }];
    observe(&mut check, &facts).unwrap();
    observe(&mut check, &[restored(1, 9)]).unwrap();
    let mut check = with_a_copy_at_1();
    observe(&mut check, &facts).unwrap();
    observe(&mut check, &[restored(1, 8)]).unwrap_err();
}

#[test]
fn a2_sees_a_copy_older_than_the_one_that_was_safe() {
    observe(&mut with_a_copy_at_1(), &[Fact::Ended { node: 0 }, restored(1, 8)]).unwrap_err();
    observe(&mut with_a_copy_at_1(), &[Fact::Ended { node: 0 }, restored(1, 9)]).unwrap();
}

#[test]
fn a2_lets_an_older_holder_forget_what_a_later_ones_tombstone_has_safe() {
    let lost = [Fact::LifeOver { node: 3 }, Fact::LifeOver { node: 2 }, empty(BOUND)];
    let tombstone = |node, keeper| {
        let copies = vec![SentCopy { epoch: epoch(2), ..sent(None) }];
        Fact::CutSafe { node, keeper: Some(keeper), tick: Tick(20), copies, gone: Vec::new() }
    };
    // From node 0, whose cuts node 1 keeps, to node 2, and on to node 3, which keeps node 2's cuts.
    let crossings = [active(2, 2), active(3, 3)];
    let mut check = with_a_copy_at_1();
    observe(&mut check, &crossings).unwrap();
    observe(&mut check, &[tombstone(2, 3)]).unwrap();
    observe(&mut check, &lost).unwrap();
    // Without that cut, or if another node kept it, it must come back.
    let mut check = with_a_copy_at_1();
    observe(&mut check, &crossings).unwrap();
    observe(&mut check, &lost).unwrap_err();
    let mut check = with_a_copy_at_1();
    observe(&mut check, &crossings).unwrap();
    observe(&mut check, &[tombstone(2, 4)]).unwrap();
    observe(&mut check, &lost).unwrap_err();
}

#[test]
fn a2_goes_by_the_epoch_of_a_copy_before_its_tick() {
    let handed_back = [active(1, 2), published(1, 2, 13, None), active(0, 3)];
    let cut = |epoch, tick| {
        let copies = vec![SentCopy { epoch, ..sent(None) }];
        Fact::CutSafe { node: 0, keeper: Some(1), tick: Tick(tick), copies, gone: Vec::new() }
    };
    for (contents, holds) in [(restored(3, 12), true), (restored(3, 11), false), (restored(1, 13), false)] {
        let mut check = with_a_copy_at_1();
        observe(&mut check, &handed_back).unwrap();
        observe(&mut check, &[cut(epoch(3), 12), Fact::Ended { node: 0 }]).unwrap();
        assert_eq!(observe(&mut check, &[contents]).is_ok(), holds);
    }
}

#[test]
fn a2_takes_a_copy_of_what_stood_frozen_for_as_old_as_its_contents() {
    let mut check = NothingLost::default();
    let safe = cut_with_it(9);
    let born = Fact::Born { node: 0, entity: ENTITY };
    observe(&mut check, &[born, active(0, 1), published(0, 1, 7, None), safe, Fact::Ended { node: 0 }])
        .unwrap();
    observe(&mut check, &[restored(1, 7)]).unwrap();
    observe(&mut with_a_copy_at_1(), &[Fact::Ended { node: 0 }, restored(1, 7)]).unwrap_err();
}

#[test]
fn a2_lets_what_was_despawned_after_the_last_cut_come_back_with_a_death_and_not_without() {
    let (gone, back) = (Fact::Gone { node: 0, entity: ENTITY }, active(1, 1));
    let held = inspection(BOUND, Standing::Active(epoch(1)), 0);
    let facts = [gone.clone(), Fact::Ended { node: 0 }, back.clone(), held.clone()];
    observe(&mut with_a_copy_at_1(), &facts).unwrap();
    observe(&mut with_a_copy_at_1(), &[gone.clone(), back.clone(), held.clone()]).unwrap_err();
    let said = cut_without_it();
    let facts = [gone, said, Fact::Ended { node: 0 }, back, held];
    observe(&mut with_a_copy_at_1(), &facts).unwrap_err();
}

#[test]
fn a2_lets_what_is_gone_come_back_if_all_who_knew_it_died() {
    let held = inspection(BOUND, Standing::Active(epoch(1)), 0);
    let gone = || {
        let mut check = with_a_copy_at_1();
        observe(&mut check, &[Fact::Gone { node: 0, entity: ENTITY }, cut_without_it()]).unwrap();
        check
    };
    let back = active(2, 1);
    for (first, second) in [(0, 1), (1, 0)] {
        let deaths = [Fact::Ended { node: first }, Fact::LifeOver { node: second }];
        let mut check = gone();
        observe(&mut check, &deaths).unwrap();
        observe(&mut check, &[back.clone(), held.clone()]).unwrap();
    }
    for death in [0, 1] {
        observe(&mut gone(), &[Fact::Ended { node: death }, back.clone(), held.clone()]).unwrap_err();
        observe(&mut gone(), &[Fact::Ended { node: death }, restored(1, 9)]).unwrap_err();
    }
}

#[test]
fn a_lease_that_is_outlived_is_seen() {
    let (node, expired_for) = (0, Duration::from_millis(1));
    observe(&mut OwnLease, &[Fact::LeaseOutlived { node, entity: ENTITY, expired_for }]).unwrap_err();
    observe(&mut OwnLease, &[active(0, 1)]).unwrap();
}

const TOKEN: [u8; 32] = [1; 32];

fn granted() -> Tokens {
    let mut check = Tokens::default();
    let (to, expires_at) = (TokenTarget::Entity(ENTITY), Time::from_micros(100));
    observe(&mut check, &[Fact::TokenGranted { node: 0, token: TOKEN, to, expires_at }]).unwrap();
    check
}

const fn shown(node: usize, client: u64, at: u64) -> Fact {
    Fact::TokenShown { node, client: ClientId(client), token: TOKEN, at: Time::from_micros(at) }
}

const fn admitted(node: usize, client: u64, entity: EntityId) -> Fact {
    Fact::Admitted { node, client: ClientId(client), entity }
}

#[test]
fn a5_lets_a_token_be_used_once_and_its_connection_be_told_twice() {
    let facts = [shown(0, 1, 99), admitted(0, 1, ENTITY), admitted(0, 1, ENTITY), shown(0, 2, 99)];
    observe(&mut granted(), &facts).unwrap();
}

#[test]
fn a5_sees_a_token_used_twice_too_late_elsewhere_or_for_another() {
    let twice = [shown(0, 1, 9), admitted(0, 1, ENTITY), shown(0, 2, 9), admitted(0, 2, ENTITY)];
    observe(&mut granted(), &twice).unwrap_err();
    observe(&mut granted(), &[shown(0, 1, 100), admitted(0, 1, ENTITY)]).unwrap_err();
    observe(&mut granted(), &[shown(1, 1, 9), admitted(1, 1, ENTITY)]).unwrap_err();
    observe(&mut granted(), &[shown(0, 1, 9), admitted(0, 1, EntityId::from_u128(8))]).unwrap_err();
    observe(&mut Tokens::default(), &[shown(0, 1, 9), admitted(0, 1, ENTITY)]).unwrap_err();
}
