//! Whether anything was lost or doubled, once everything stands still.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_node::NodeReport;
use selvedge_protocol::id::{EntityId, NodeId};
use serde::Serialize;

use super::args::ChaosArgs;
use super::phase::Reports;
use super::plan::Fault;
use crate::figures::{difference, figures};
use crate::{BotAccount, CensusView, Inventory, Standing};

/// What became of the items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Items {
    /// Items that all players together had before the first fault, and have after the last.
    pub(crate) before: usize,
    pub(crate) after: usize,
    /// Nobody has them any more.
    pub(crate) vanished: Vec<String>,
    /// Two players have them, or one has them twice.
    pub(crate) doubled: Vec<String>,
    /// Nobody had them before.
    pub(crate) appeared: Vec<String>,
    /// Players whose inventory could not be read to the end, before or after.
    pub(crate) players_unread: usize,
}

/// Inventories by player.
pub(crate) type Inventories = [(EntityId, Inventory)];

/// What is wrong if several players were to trade all the time and nothing changed hands: then it shows nothing that all
/// items are where they were.
pub(crate) fn judge_trades(players: usize, durable_done: u64) -> Option<String> {
    let vain = players > 1 && durable_done == 0;
    vain.then(|| "nothing changed hands: that no item was lost or doubled shows nothing".to_owned())
}

/// Compares the inventories.
pub(crate) fn judge_items(before: &Inventories, after: &Inventories) -> Items {
    let count = |inventories: &Inventories| {
        let mut held: BTreeMap<u128, usize> = BTreeMap::new();
        for id in inventories.iter().flat_map(|(_, inventory)| inventory.ids()) {
            *held.entry(id).or_default() += 1;
        }
        held
    };
    let unread = |inventories: &Inventories| -> BTreeSet<EntityId> {
        inventories
            .iter()
            .filter(|(_, inventory)| !inventory.is_complete())
            .map(|(entity, _)| *entity)
            .collect()
    };
    let (had, has) = (count(before), count(after));
    let text = |ids: Vec<u128>| ids.into_iter().map(|id| format!("{id:032x}")).collect();
    Items {
        before: had.values().sum(),
        after: has.values().sum(),
        vanished: text(had.keys().filter(|id| !has.contains_key(id)).copied().collect()),
        doubled: text(has.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect()),
        appeared: text(has.keys().filter(|id| !had.contains_key(id)).copied().collect()),
        players_unread: unread(before).union(&unread(after)).count(),
    }
}

/// The entities without a player that a census shows to be simulated.
pub(crate) fn npcs(census: &CensusView) -> BTreeSet<EntityId> {
    let held = census.nodes.values().flatten();
    held.filter(|held| held.session.is_none() && held.standing == Standing::Active)
        .map(|held| held.entity)
        .collect()
}

/// How far apart checkpoints are, in milliseconds.
pub(crate) const CHECKPOINT_MS: f64 = 1000.0;
/// Nodes report so often: a checkpoint may have grown older since by so much, in milliseconds.
const REPORT_MS: f64 = 1000.0;

/// The oldest that any node's newest safe checkpoint was since these reports, in milliseconds.
pub(crate) fn checkpoint_age_ms(since: &Reports, now: &Reports) -> f64 {
    let none = NodeReport::default();
    let age = |(node, report): (&NodeId, &NodeReport)| {
        let after = &report.histograms.checkpoint_age_us;
        let before = &since.get(node).unwrap_or(&none).histograms.checkpoint_age_us;
        // What shrank was started anew: all that it has measured is new.
        let new = difference(before, after).or_else(|_| after.decode().map_err(anyhow::Error::from));
        new.map_or(0.0, |ages| figures(&ages, 1000.0).max)
    };
    now.iter().map(age).fold(0.0, f64::max)
}

/// How much of what players did a recovery from this fault may take back: one checkpoint interval, or what the nodes
/// measured where copies took longer. Who is cut off from everybody goes on for up to a lease and reaches no buddy.
pub(crate) fn allowed_back_ms(fault: Fault, args: &ChaosArgs, checkpoint_age_ms: f64, beside: bool) -> f64 {
    let alone = match fault {
        Fault::Isolation { .. } => args.lease.as_secs_f64() * 1000.0,
        Fault::Kill { .. } | Fault::Pause { .. } | Fault::Partition { .. } | Fault::Loss { .. } => 0.0,
    };
    // What goes on beside it may have held copies up since the last report.
    let held_up = if beside { REPORT_MS } else { 0.0 };
    let ticks_ms = 2.0 * 1000.0 / f64::from(args.local.tick_hz.max(1));
    CHECKPOINT_MS.max(checkpoint_age_ms) + ticks_ms + alone + held_up
}

/// What is wrong if a recovery took back more of what some players did, in milliseconds each, than it may.
pub(crate) fn judge_taken_back(taken_back_ms: &[f64], allowed_ms: f64) -> Option<String> {
    let most = taken_back_ms.iter().copied().max_by(f64::total_cmp)?;
    let count = taken_back_ms.iter().filter(|&&taken| taken > allowed_ms).count();
    (count > 0).then(|| {
        format!(
            "{count} players were restored from copies older than one checkpoint interval: {most:.0} ms of inputs were \
             taken back, {allowed_ms:.0} may be"
        )
    })
}

/// What is wrong with the inputs of all bots, bot by bot: a lost one isn't made up for by another's doubled one.
pub(crate) fn judge_inputs(bots: &[BotAccount]) -> Vec<String> {
    let wrong = bots.iter().filter(|bot| bot.lost() > 0 || bot.doubled_in_all() > 0 || bot.over_unasked);
    wrong
        .map(|bot| {
            let ended = if bot.over_unasked { ", its session ended" } else { "" };
            let (lost, doubled) = (bot.lost(), bot.doubled_in_all());
            format!("{}: {lost} inputs lost, {doubled} doubled{ended}", bot.name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use selvedge_node::HistogramText;
    use selvedge_protocol::id::SessionId;

    use super::*;
    use crate::figures::empty;
    use crate::local::LocalArgs;
    use crate::{Epoch, HeldView, judge};

    fn inventories(of: &[&[u128]]) -> Vec<(EntityId, Inventory)> {
        (1..).map(EntityId::from_u128).zip(of.iter().map(|ids| ids.iter().copied().collect())).collect()
    }

    #[test]
    fn items_that_stay_or_change_hands_are_conserved() {
        let before = inventories(&[&[1, 2], &[3]]);
        let after = inventories(&[&[2], &[3, 1]]);
        let items = judge_items(&before, &after);
        assert_eq!(items, Items { before: 3, after: 3, ..Items::default() });
    }

    #[test]
    fn a_run_without_a_trade_shows_nothing_of_items() {
        assert!(judge_trades(2, 0).unwrap().contains("nothing changed hands"));
        assert_eq!(judge_trades(2, 1), None);
        assert_eq!(judge_trades(1, 0), None, "nobody is there to trade with");
    }

    #[test]
    fn a_vanished_a_doubled_and_a_new_item_are_named() {
        let before = inventories(&[&[1, 2], &[0xabc]]);
        let after = inventories(&[&[2, 7], &[2]]);
        let items = judge_items(&before, &after);
        assert_eq!(items.vanished, [format!("{:032x}", 1), format!("{:032x}", 0xabc)]);
        assert_eq!(items.doubled, [format!("{:032x}", 2)]);
        assert_eq!(items.appeared, [format!("{:032x}", 7)]);
        assert_eq!(items.players_unread, 0);
    }

    #[test]
    fn an_inventory_that_nobody_could_read_is_not_taken_for_an_empty_one() {
        let before = inventories(&[&[1], &[2]]);
        let mut after = inventories(&[&[1], &[2]]);
        after[1].1 = Inventory::default();
        assert_eq!(judge_items(&before, &after).players_unread, 1);
    }

    fn bot(sent: u64, applied: u64, doubled: u64) -> BotAccount {
        BotAccount {
            name: "bot-1".to_owned(),
            entity: Some(EntityId::from_u128(1)),
            sent,
            applied,
            doubled,
            skipped: 0,
            drained: true,
            over_unasked: false,
            logged_out: true,
        }
    }

    #[test]
    fn a_lost_and_a_doubled_input_are_told_with_the_bots_name() {
        assert_eq!(judge_inputs(&[bot(9, 9, 0)]), [""; 0]);
        assert_eq!(judge_inputs(&[bot(9, 8, 0)]), ["bot-1: 1 inputs lost, 0 doubled"]);
        assert_eq!(judge_inputs(&[bot(9, 9, 2)]), ["bot-1: 0 inputs lost, 2 doubled"]);
        let over = BotAccount { over_unasked: true, ..bot(9, 9, 0) };
        assert_eq!(judge_inputs(&[over]), ["bot-1: 0 inputs lost, 0 doubled, its session ended"]);
    }

    #[test]
    fn a_copy_that_is_older_than_one_checkpoint_interval_is_told() {
        let local = LocalArgs { tick_hz: 20, ..LocalArgs::default() };
        let args = ChaosArgs { local, ..ChaosArgs::default() };
        let lease = args.lease;
        let allowed = |fault, age_ms, beside| allowed_back_ms(fault, &args, age_ms, beside);
        let kill = Fault::Kill { place: 1, down: lease };
        let isolation = Fault::Isolation { node: 1, players: false, length: lease };
        assert_eq!(allowed(kill, 400.0, false), 1100.0, "an interval and two ticks");
        assert_eq!(allowed(kill, 1700.0, false), 1800.0, "as the nodes measured");
        assert_eq!(allowed(kill, 400.0, true), 2100.0);
        assert_eq!(allowed(isolation, 400.0, false), 4100.0, "it goes on for a lease");
        assert_eq!(judge_taken_back(&[], 1100.0), None);
        assert_eq!(judge_taken_back(&[0.0, 1100.0], 1100.0), None);
        let told = judge_taken_back(&[1150.0, 3000.0, 20.0], 1100.0).unwrap();
        assert!(told.starts_with("2 players") && told.contains("3000 ms"), "{told}");
    }

    #[test]
    fn the_oldest_checkpoint_of_any_node_since_the_last_look_counts() {
        let report = |ages_us: &[u64]| {
            let mut histogram = empty();
            ages_us.iter().for_each(|&age| histogram.record(age).unwrap());
            let mut report = NodeReport::default();
            report.histograms.checkpoint_age_us = HistogramText::encode(&histogram);
            report
        };
        let reports = Reports::from([
            (NodeId::from_u128(1), report(&[300_000, 1_500_000])),
            (NodeId::from_u128(2), report(&[900_000])),
            (NodeId::from_u128(3), NodeReport::default()),
        ]);
        assert!((checkpoint_age_ms(&Reports::new(), &reports) - 1500.0).abs() < 2.0);
        let since = Reports::from([(NodeId::from_u128(1), report(&[1_500_000]))]);
        assert!((checkpoint_age_ms(&since, &reports) - 900.0).abs() < 2.0, "the old one is past");
        let restarted = Reports::from([(NodeId::from_u128(2), report(&[2_000_000, 2_000_000]))]);
        assert!((checkpoint_age_ms(&restarted, &reports) - 1500.0).abs() < 2.0);
    }

    #[test]
    fn a_lost_and_a_doubled_player_and_a_lost_npc_show_in_a_census() {
        let held = |entity: u128, player: bool| HeldView {
            entity: EntityId::from_u128(entity),
            session: player.then(|| SessionId::from_u128(entity)),
            epoch: Epoch { generation: 0, step: 0 },
            standing: Standing::Active,
        };
        let (one, two) = (vec![held(1, true), held(8, false)], vec![held(1, true)]);
        let nodes = [(NodeId::from_u128(1), one), (NodeId::from_u128(2), two)].into();
        let census = CensusView { nodes, missing: Vec::new() };
        let judgement = judge(&census, &[1, 2].map(EntityId::from_u128).into());
        assert_eq!(judgement.missing, [EntityId::from_u128(2)]);
        assert_eq!(judgement.twice, [EntityId::from_u128(1)]);
        let before = BTreeSet::from([8, 9].map(EntityId::from_u128));
        assert_eq!(before.difference(&npcs(&census)).collect::<Vec<_>>(), [&EntityId::from_u128(9)]);
    }
}
