//! The coordinator's process is killed under a mesh that plays, and started again with the same command: real processes,
//! real players.
//!
//! Deliberately absent: times. Whatever takes its time is waited for.

#![allow(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::thread;
use std::time::Instant;

use selvedge_client::{Client, ClientEndpoint, ClientEvent, ClientSettings};
use serde_json::Value;
use support::{ByHand, LOOK, NODES, PAGE, PATIENCE, marked_blocks};

/// Handoffs that must happen while no coordinator is there.
const HANDOFFS_ALONE: usize = 10;
/// Looks at the status in a row that must show the same number of entities.
const STEADY_LOOKS: u32 = 40;

struct Mesh {
    by_hand: ByHand,
    coordinator: String,
}

impl Mesh {
    /// As the page says, up to the nodes; they say of each entity that they take it over.
    fn start() -> Self {
        let blocks = marked_blocks(PAGE);
        let (variables, blocks) = blocks.split_first().unwrap();
        let mut by_hand = ByHand::new(&format!("{variables}\nexport SELVEDGE_LOG=info,selvedge_node=debug"));
        let mut coordinator = None;
        for block in blocks {
            match block.strip_suffix('&').map(str::trim_end) {
                Some(command) => {
                    by_hand.start(command);
                    coordinator.get_or_insert_with(|| command.to_owned());
                }
                None if by_hand.running.len() <= NODES => by_hand.run(block),
                None => break,
            }
        }
        by_hand.wait_until_whole();
        Self { by_hand, coordinator: coordinator.unwrap() }
    }

    /// SIGKILL: nothing is said, nothing is written any more.
    fn kill_coordinator(&mut self) {
        let child = &mut self.by_hand.running[0].child;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(self.by_hand.status(), None, "nobody answers");
    }

    fn start_coordinator_again(&mut self) {
        self.by_hand.start(&self.coordinator.clone());
        let again = self.by_hand.running.pop().unwrap();
        self.by_hand.running[0] = again;
    }

    /// Entities that the nodes say they took over so far.
    fn takeovers(&self) -> usize {
        let nodes = self.by_hand.running[1..].iter();
        nodes.map(|node| fs::read_to_string(&node.log).unwrap().matches("taken over").count()).sum()
    }

    fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}\n{}", self.by_hand.logs());
            thread::sleep(LOOK);
        }
    }

    /// The status, once it is as it should be.
    fn wait_for_status(&self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(what, || self.by_hand.status().filter(|status| good(status)))
    }

    fn players(&self) -> ClientEndpoint {
        let ca = fs::read_to_string(self.by_hand.folder.path().join("ca/ca.pem")).unwrap();
        let door = self.by_hand.address("COORDINATOR_DOOR");
        ClientEndpoint::new(ClientSettings::new(door, "server-door.aerie.selvedge", ca)).unwrap()
    }
}

fn incarnations(status: &Value) -> BTreeMap<String, u64> {
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.map(|node| (node["node"].to_string(), node["incarnation"].as_u64().unwrap())).collect()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn until(client: &mut Client, what: &str, mut good: impl FnMut(&ClientEvent) -> bool) {
    let heard = async {
        loop {
            let event = client.next_event().await.expect("the client goes on");
            if good(&event) {
                return;
            }
        }
    };
    soon(what, heard).await;
}

fn shows(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::State(_))
}

#[test]
fn a_killed_coordinator_that_is_started_again_finds_its_mesh_and_its_players_as_they_are() {
    let mut mesh = Mesh::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let players = mesh.players();
    let mut ada = players.enter("ada", b"");
    let mut bob = players.enter("bob", b"");
    runtime.block_on(async {
        until(&mut ada, "ada's first state", shows).await;
        until(&mut bob, "bob's first state", shows).await;
    });
    let entities = |status: &Value| status["entities"].as_u64().unwrap();
    // The nodes report what they hold in batches: once many looks in a row show the same, they have.
    let (seen, looks) = (Cell::new(0), Cell::new(0));
    let before = mesh.wait_for_status("two sessions, and everybody reported", |status| {
        let same = status["sessions"] == 2 && seen.replace(entities(status)) == entities(status);
        looks.set(if same { looks.get() + 1 } else { 0 });
        looks.get() >= STEADY_LOOKS
    });

    mesh.kill_coordinator();
    let taken_over = mesh.takeovers();
    mesh.wait_for("handoffs without a coordinator", || {
        (mesh.takeovers() >= taken_over + HANDOFFS_ALONE).then_some(())
    });
    runtime.block_on(until(&mut ada, "a state while the coordinator is away", shows));
    assert!(ada.is_attached() && bob.is_attached());
    // Bob's line breaks meanwhile: he can't come back before the door is there again.
    let ticket = bob.ticket().unwrap();
    drop(bob);

    mesh.start_coordinator_again();
    let whole = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        let alive = nodes.iter().filter(|node| node["alive"] == true && node["linked"] == true).count();
        alive == NODES && status["directory_whole"] == true
    };
    let after = mesh.wait_for_status("every node and all that it holds", whole);
    assert_eq!(incarnations(&after), incarnations(&before), "nobody had to register again");
    assert!(after["term"].as_u64() > before["term"].as_u64(), "{after}");
    assert!(after["map_version"].as_u64() >= before["map_version"].as_u64(), "{after}");
    assert_eq!((&after["sessions"], entities(&after)), (&before["sessions"], entities(&before)));
    assert_eq!(after["cells_without_owner"], 0);

    let mut bob = players.resume(ticket);
    let mut eve = players.enter("eve", b"");
    runtime.block_on(async {
        until(&mut bob, "bob's return", shows).await;
        until(&mut eve, "somebody new", shows).await;
        until(&mut ada, "a state after all that", shows).await;
    });
    let once = entities(&before) + 1;
    let last = mesh.wait_for_status("three sessions, and bob in the world once", |status| {
        status["sessions"] == 3 && entities(status) == once
    });
    assert_eq!(last["authority_violations"], 0, "{last}");
    let handed = mesh.takeovers();
    mesh.wait_for("handoffs after the restart", || (mesh.takeovers() > handed).then_some(()));
    runtime.block_on(async {
        for client in [&mut ada, &mut bob, &mut eve] {
            soon("a log-out", client.logout()).await.unwrap();
        }
    });
    mesh.wait_for_status("nobody", |status| status["sessions"] == 0);
    mesh.by_hand.stop();
}

#[test]
fn a_damaged_store_stops_the_start_with_the_way_out_and_a_reset_takes_it() {
    let mut mesh = Mesh::start();
    let before = mesh.by_hand.status().unwrap();
    mesh.kill_coordinator();
    let file = mesh.by_hand.folder.path().join("coordinator/store/coordinator.redb");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 3]).unwrap();
    let refused = mesh.by_hand.shell(&mesh.coordinator).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("coordinator.redb") && said.contains("--store-reset"), "{said}");

    mesh.coordinator.push_str(" --store-reset");
    mesh.start_coordinator_again();
    let whole = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        let alive = nodes.iter().filter(|node| node["alive"] == true && node["linked"] == true).count();
        alive == NODES && status["cells_without_owner"] == 0
    };
    let after = mesh.wait_for_status("the nodes, in new lives", whole);
    assert!(after["term"].as_u64() > before["term"].as_u64());
    let (old, new) = (incarnations(&before), incarnations(&after));
    assert!(new.iter().all(|(node, life)| *life > old[node]), "{old:?} {new:?}");
    assert!(file.with_file_name("coordinator.redb.broken-1").exists());
}
