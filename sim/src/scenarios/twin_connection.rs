//! A client's token is shown on two connections, or its parked connection is lost.

use super::stage::{Setting, Stage, WARMED};

/// The second connection is refused and changes nothing.
pub(super) fn second_comes_late() -> anyhow::Result<()> {
    crossing_with_a_twin(false)
}

/// The client's own connection is the second: it is refused, and attaches with the token that comes with `Accepted`.
pub(super) fn second_comes_first() -> anyhow::Result<()> {
    crossing_with_a_twin(true)
}

fn crossing_with_a_twin(ahead: bool) -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [_, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    let refused = stage.stats().tokens_refused;
    stage.twin_next_connection(ahead);
    stage.walk(10.0, 0.0);
    stage.until("one of the two is refused", |stage| stage.stats().tokens_refused == refused + 1)?;
    stage.until("the player is across", |stage| stage.holder() == Some(east) && stage.is_attached())?;
    stage.wait_ms(1_000)?;
    stage.halt();
    stage.settle()?;
    Ok(())
}

/// The parked connection is cut just before the cutover: the client attaches with the second token.
pub(super) fn parked_connection_is_lost() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    stage.walk(10.0, 0.0);
    stage.until("the target is warm", |stage| stage.arrived(WARMED, east, west) > 0)?;
    stage.wait_ms(100)?;
    stage.sever(Some(east));
    stage.until("the target holds the player", |stage| stage.holder() == Some(east))?;
    stage.until("the client is with them", |stage| stage.is_attached())?;
    stage.halt();
    stage.settle()?;
    Ok(())
}
