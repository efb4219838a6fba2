//! One bot's task.

use std::sync::Arc;
use std::time::Duration;

use selvedge_client::{ActError, Client};
use selvedge_node::arena::{DeedInput, MoveInput};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::account::lock;
use super::trail::Trails;
use super::walk::{Plain, Walk};
use super::{Phase, SharedAccount, SharedGaps};

/// Of its deeds every so many-th is a hit, ...
const HIT_EVERY: u64 = 4;
/// ... and every so many-th of those a shout instead.
const SHOUT_EVERY: u64 = 2;
/// Of the others every so many-th is a gift, the rest are trades.
const GIVE_EVERY: u64 = 2;
/// Pause between two looks at who else is there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One player without a person.
#[derive(Debug)]
pub(super) struct Bot {
    pub(super) client: Client,
    pub(super) account: SharedAccount,
    pub(super) gaps: SharedGaps,
    pub(super) trails: Arc<Trails>,
    pub(super) walk: Walk,
    pub(super) plain: Arc<Plain>,
    pub(super) speed_mps: f64,
    /// Inputs sent while acting, from a number of its own on: not all act in one tick.
    pub(super) inputs: u64,
    pub(super) looked_at: Instant,
}

impl Bot {
    /// Plays until told to leave, or the session is over. The first input is due one interval from now.
    pub(super) async fn play(mut self, interval: Duration, mut phase: watch::Receiver<Phase>) {
        let mut ticks = interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut doing = *phase.borrow_and_update();
        let mut asked = false;
        loop {
            let done = doing == Phase::Stand && lock(&self.account).stands;
            tokio::select! {
                changed = phase.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    doing = *phase.borrow_and_update();
                    if doing == Phase::Leave {
                        asked = true;
                        self.leave().await;
                        break;
                    }
                }
                event = self.client.next_event() => {
                    let Some(event) = event else { break };
                    let gap = lock(&self.account).enter(event);
                    if let Some((entity, tick, at)) = lock(&self.account).step() {
                        self.trails.step(entity, tick, at);
                    }
                    self.look_around();
                    if let Some(gap_us) = gap {
                        // The histogram grows as needed.
                        let _ = lock(&self.gaps).record(gap_us);
                    }
                }
                _ = ticks.tick(), if !done => match doing {
                    Phase::Play => self.walk_on(),
                    Phase::Act(every) => self.walk_and_act(every),
                    Phase::Stand => self.stand(),
                    Phase::Leave => break,
                },
            }
        }
        self.finish(asked);
    }

    /// Once a second.
    fn look_around(&mut self) {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.looked_at = Instant::now();
            let (seen, at) = (self.client.sights(), self.client.sight_time());
            let from = {
                let mut account = lock(&self.account);
                account.look(seen.len() as u64);
                account.at
            };
            if let (Some(from), Some(at)) = (from, at) {
                self.trails.compare(from, at, &seen);
            }
        }
    }

    fn walk_on(&mut self) {
        let mut account = lock(&self.account);
        let Some(at) = account.at else { return };
        let input = self.walk.input(&self.plain, at, self.speed_mps);
        match self.client.act(&input.encode()) {
            Ok(seq) => account.took_input(seq),
            Err(ActError::WindowFull | ActError::TooLong { .. }) => account.not_taken += 1,
            Err(ActError::NotInWorld | ActError::Over) => {}
        }
    }

    /// Every few inputs a deed: mostly a gift, now and then a hit or a shout.
    fn walk_and_act(&mut self, every: u64) {
        self.inputs += 1;
        if !self.inputs.is_multiple_of(every) {
            self.walk_on();
            return;
        }
        let deeds = self.inputs / every.max(1);
        let deed = if deeds.is_multiple_of(HIT_EVERY * SHOUT_EVERY) {
            DeedInput::Shout
        } else if deeds.is_multiple_of(HIT_EVERY) {
            DeedInput::Hit
        } else if deeds.is_multiple_of(GIVE_EVERY) {
            DeedInput::Give
        } else {
            DeedInput::Trade
        };
        let mut account = lock(&self.account);
        match self.client.act(&deed.encode()) {
            Ok(seq) => account.took_input(seq),
            Err(ActError::WindowFull | ActError::TooLong { .. }) => account.not_taken += 1,
            Err(ActError::NotInWorld | ActError::Over) => {}
        }
    }

    fn stand(&mut self) {
        let mut account = lock(&self.account);
        let standing = MoveInput { direction: [0.0; 2], speed_mps: 0.0 };
        match self.client.act(&standing.encode()) {
            Ok(seq) => {
                account.took_input(seq);
                account.stands = true;
            }
            Err(ActError::WindowFull) => {}
            Err(ActError::TooLong { .. } | ActError::NotInWorld | ActError::Over) => account.stands = true,
        }
    }

    async fn leave(&mut self) {
        let left = self.client.logout().await;
        let mut account = lock(&self.account);
        account.stands = true;
        match left {
            Ok(_) => account.logged_out = account.entity.is_some(),
            Err(error) => tracing::warn!(bot = account.name, %error, "not logged out"),
        }
    }

    /// Reads what is left, so that a state that came with the end counts, too.
    fn finish(mut self, asked: bool) {
        let mut account = lock(&self.account);
        while let Some(event) = self.client.try_event() {
            account.enter(event);
        }
        account.over_unasked = account.over && !asked;
        account.stands = true;
        account.stats = Some(self.client.stats());
    }
}
