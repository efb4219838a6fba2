//! The report of a run for people.

use selvedge_bench::{Figures, Table};

use super::report::{Actions, Events, Inputs, Players, Report, Switches, Traffic};

impl Report {
    /// The report for people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("played", format!("{:.1} s on {} cores", self.duration_s, self.machine.cores));
        let handoffs = &self.handoffs;
        row(
            "handoffs of players",
            format!(
                "{} completed ({:.1}/s), {} refused, {} failed",
                handoffs.completed, self.handoffs_per_s, handoffs.refused, handoffs.failed
            ),
        );
        row("handoffs of NPCs", format!("{} completed", handoffs.npcs_completed));
        row("of all handoffs", format!("{} warm, {} cold", handoffs.warm, handoffs.cold));
        for (what, reasons) in [("refused", &handoffs.prepares_refused), ("aborted", &handoffs.aborted)] {
            if !reasons.is_empty() {
                let reasons: Vec<_> =
                    reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
                row(what, reasons.join(", "));
            }
        }
        let Players { expected, present, missing, .. } = self.players;
        row("players", format!("{present} of {expected} present, {missing} missing"));
        let Inputs { sent, applied, lost, doubled, .. } = self.inputs;
        row("inputs", format!("{sent} sent, {applied} applied, {lost} lost, {doubled} doubled"));
        row("authority violations", self.authority_violations.to_string());
        let missed = &self.missed_ticks;
        row(
            "missed ticks",
            format!("none in {:.2} % of handoffs, max {}", missed.zero_share * 100.0, missed.max),
        );
        row("cutover", in_words(&self.cutover_us, "us"));
        row("client gap", in_words(&self.client_gap_ms, "ms"));
        row("handoff in all", in_words(&self.handoff_total_ms, "ms"));
        let Switches { all, prepared, with_unseen_ticks } = self.switches;
        row(
            "clients switched",
            format!("{all} times, {prepared} to a prepared connection; a tick unseen at {with_unseen_ticks}"),
        );
        let clients = &self.clients;
        row(
            "clients were shown",
            format!(
                "{:.1} states/s each; connections lost: {}",
                clients.states_per_second_and_player, clients.lost_connections
            ),
        );
        let ghosts = &self.ghosts;
        row("ghosts at nodes", in_words(&ghosts.staleness_ticks, "ticks stale"));
        let in_cm = |figures: &Figures| {
            let Figures { p50, p99, max, .. } = figures;
            format!("p50 {:.1}, p99 {:.1}, max {:.1} cm", p50 * 1e2, p99 * 1e2, max * 1e2)
        };
        row(
            "others were shown off",
            format!("{}; over a border {}", in_cm(&ghosts.error_m), in_cm(&ghosts.error_over_border_m)),
        );
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.ghosts.to_string()).collect();
        row("ghosts of each node", nodes.join(", "));
        for (what, traffic) in
            [("ghosts to nodes", &ghosts.to_nodes), ("ghosts to players", &ghosts.to_players)]
        {
            let Traffic { updates_per_s, bytes_per_s, .. } = traffic;
            row(what, format!("{updates_per_s:.0} updates/s, {:.1} KiB/s", bytes_per_s / 1024.0));
        }
        let Actions { done, refused, timed_out, failed, trades } = self.actions;
        row(
            "actions",
            format!(
                "{done} done ({trades} trades), {refused} refused, {timed_out} timed out, {failed} failed"
            ),
        );
        let Events { caused, reached } = self.events;
        row("events", format!("{caused} caused, {reached} entities reached"));
        let ticks = &self.ticks;
        row("ticks", format!("{} run, {} skipped, {} overran", ticks.run, ticks.skipped, ticks.overrun));
        let verdict = if self.good { "GOOD: every invariant held".to_owned() } else { self.in_short() };
        format!("{table}\n{verdict}")
    }

    fn in_short(&self) -> String {
        let mut text = "NOT GOOD:".to_owned();
        for problem in &self.problems {
            text += &format!("\n  - {problem}");
        }
        text
    }
}

fn in_words(figures: &Figures, unit: &str) -> String {
    let Figures { p50, p99, p999, max, .. } = figures;
    format!("p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1} {unit}")
}
