//! Both halves of an entity's memory of its actions, and the form in which they travel in its snapshot.

use std::collections::BTreeMap;

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use super::outbox::{Closing, Outbox, Pending};
use super::window::{FromSender, Remembered, Window};
use super::{ActError, ActionId, ActionNumber, Offer, Outcome, Request, Settled, Terms};
use crate::id::EntityId;
use crate::limits::{
    ACTION_BYTES_MAX, ACTIONS_PENDING_MAX, ACTIONS_REMEMBERED_MAX, ANSWER_BYTES_MAX, SENDERS_REMEMBERED_MAX,
};
use crate::time::Tick;

/// What an entity remembers of its actions.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ActionBook {
    /// Grows with each change: the version of the snapshot's component.
    version: u64,
    pub(super) outbox: Outbox,
    window: Window,
}

/// Numbers that only grow by one end long before this: what claims more would soon have no next one.
const COUNT_MAX: u64 = u64::MAX / 2;

/// Bytes that are no book.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an entity's account of its actions is malformed: {0}")]
pub struct BookError(&'static str);

#[derive(Archive, Serialize, Deserialize)]
struct BookImage {
    issued: u64,
    pending: Vec<PendingImage>,
    closing: Vec<(ActionNumber, EntityId, Tick)>,
    senders: Vec<SenderImage>,
}

#[derive(Archive, Serialize, Deserialize)]
struct PendingImage {
    number: ActionNumber,
    to: EntityId,
    durable: bool,
    at: Tick,
    deadline: Tick,
    bytes: Vec<u8>,
}

#[derive(Archive, Serialize, Deserialize)]
struct SenderImage {
    from: EntityId,
    floor: ActionNumber,
    floor_until: Tick,
    answers: Vec<AnswerImage>,
}

#[derive(Archive, Serialize, Deserialize)]
struct AnswerImage {
    number: ActionNumber,
    durable: bool,
    at: Tick,
    deadline: Tick,
    outcome: Outcome,
}

impl ActionBook {
    /// Of an entity that never acted.
    #[must_use]
    pub const fn new() -> Self {
        let outbox = Outbox { issued: 0, pending: BTreeMap::new(), closing: BTreeMap::new() };
        Self { version: 0, outbox, window: Window { senders: BTreeMap::new() } }
    }

    /// Whether the entity never acted and remembers nothing: then nothing of it travels.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.version == 0
    }

    /// Grows with each change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The sender's half.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether a durable action, the entity's own or one to it, isn't settled to its end: the entity must not end now.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.outbox.is_bound() || self.window.is_bound()
    }

    /// See [`Outbox::issue`].
    ///
    /// # Errors
    /// As there.
    pub fn issue(
        &mut self,
        from: EntityId,
        generation: u32,
        to: EntityId,
        bytes: &[u8],
        terms: Terms,
        tick: Tick,
    ) -> Result<ActionNumber, ActError> {
        let number = self.outbox.issue(from, generation, to, bytes, terms, tick)?;
        self.version += 1;
        Ok(number)
    }

    /// See [`Outbox::settle`].
    pub fn settle(&mut self, number: ActionNumber, outcome: &Outcome, tick: Tick) -> Option<Settled> {
        let settled = self.outbox.settle(number, outcome, tick)?;
        self.version += 1;
        Some(settled)
    }

    /// See [`Outbox::closed`].
    pub fn closed(&mut self, number: ActionNumber) -> bool {
        let known = self.outbox.closed(number);
        self.version += u64::from(known);
        known
    }

    /// See [`Window::offer`].
    pub fn offer(&mut self, request: &Request, tick: Tick) -> Offer {
        // The floor may have risen.
        self.version += 1;
        self.window.offer(request, tick)
    }

    /// See [`Window::remember`].
    pub fn remember(&mut self, request: &Request, outcome: Outcome, tick: Tick) {
        self.version += 1;
        self.window.remember(request, outcome, tick);
    }

    /// See [`Window::close`].
    pub fn close(&mut self, id: ActionId) -> bool {
        let known = self.window.close(id);
        self.version += u64::from(known);
        known
    }

    /// See [`Window::unclosed`].
    pub fn unclosed(&self, tick: Tick) -> impl Iterator<Item = EntityId> + '_ {
        self.window.unclosed(tick)
    }

    /// See [`Window::forsake`].
    pub fn forsake(&mut self, from: EntityId, tick: Tick) {
        self.version += u64::from(self.window.forsake(from, tick));
    }

    /// See [`Window::forget_old`].
    pub fn forget_old(&mut self, tick: Tick) {
        self.version += u64::from(self.window.forget_old(tick));
    }

    /// The book as it travels.
    ///
    /// # Panics
    /// Never: archiving to memory can't fail.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let image = BookImage::of(self);
        match rkyv::to_bytes::<rancor::Error>(&image) {
            Ok(bytes) => bytes.into_vec(),
            Err(error) => unreachable!("archiving to memory can't fail: {error}"),
        }
    }

    /// Reads a book that came in a snapshot, whose component had this version.
    ///
    /// # Errors
    /// If the bytes are no book, or one past the limits.
    pub fn decode(version: u64, bytes: &[u8]) -> Result<Self, BookError> {
        let image: BookImage =
            rkyv::from_bytes::<BookImage, rancor::Error>(bytes).map_err(|_| BookError("not an archive"))?;
        image.check()?;
        if version > COUNT_MAX {
            return Err(BookError("its version is absurd"));
        }
        Ok(image.into_book(version))
    }
}

impl BookImage {
    fn of(book: &ActionBook) -> Self {
        let ActionBook { version: _, outbox: Outbox { issued, pending, closing }, window } = book;
        let pending = pending.iter().map(|(&number, pending)| {
            let &Pending { to, durable, at, deadline, ref bytes } = pending;
            PendingImage { number, to, durable, at, deadline, bytes: bytes.clone() }
        });
        let senders = window.senders.iter().map(|(&from, known)| {
            let &FromSender { floor, floor_until, ref answers } = known;
            let answers = answers.iter().map(|(&number, remembered)| {
                let Remembered { durable, at, deadline, outcome } = remembered.clone();
                AnswerImage { number, durable, at, deadline, outcome }
            });
            SenderImage { from, floor, floor_until, answers: answers.collect() }
        });
        Self {
            issued: *issued,
            pending: pending.collect(),
            closing: closing.iter().map(|(&number, closing)| (number, closing.to, closing.at)).collect(),
            senders: senders.collect(),
        }
    }

    fn check(&self) -> Result<(), BookError> {
        let require = |ok: bool, what| if ok { Ok(()) } else { Err(BookError(what)) };
        require(self.issued <= COUNT_MAX, "more actions issued than anybody can")?;
        let unsettled = self.pending.len() + self.closing.len();
        require(unsettled <= ACTIONS_PENDING_MAX, "too many actions")?;
        require(self.pending.iter().all(|it| it.bytes.len() <= ACTION_BYTES_MAX), "an action is too long")?;
        let mut numbers = self.pending.iter().map(|it| it.number).chain(self.closing.iter().map(|it| it.0));
        require(
            numbers.all(|number| (1..=self.issued).contains(&number.count)),
            "an action was never issued",
        )?;
        require(self.senders.len() <= SENDERS_REMEMBERED_MAX, "too many senders")?;
        let answers = self.senders.iter().map(|sender| sender.answers.len()).sum::<usize>();
        require(answers <= ACTIONS_REMEMBERED_MAX, "too many answers")?;
        let mut outcomes = self.senders.iter().flat_map(|sender| &sender.answers);
        require(outcomes.all(|answer| is_short(&answer.outcome)), "an answer is too long")
    }

    fn into_book(self, version: u64) -> ActionBook {
        let pending = self.pending.into_iter().map(|it| {
            let PendingImage { number, to, durable, at, deadline, bytes } = it;
            (number, Pending { to, durable, at, deadline, bytes })
        });
        let closing = self.closing.into_iter().map(|(number, to, at)| (number, Closing { to, at }));
        let senders = self.senders.into_iter().map(|sender| {
            let SenderImage { from, floor, floor_until, answers } = sender;
            let answers = answers.into_iter().map(|it| {
                let AnswerImage { number, durable, at, deadline, outcome } = it;
                (number, Remembered { durable, at, deadline, outcome })
            });
            (from, FromSender { floor, floor_until, answers: answers.collect() })
        });
        ActionBook {
            // A book that travels was written in: its version is never that of a blank one.
            version: version.max(1),
            outbox: Outbox { issued: self.issued, pending: pending.collect(), closing: closing.collect() },
            window: Window { senders: senders.collect() },
        }
    }
}

/// Whether an outcome is within the limits.
pub(crate) fn is_short(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done(bytes) | Outcome::Refused(bytes) => bytes.len() <= ANSWER_BYTES_MAX,
        Outcome::Failed(_) => true,
    }
}
