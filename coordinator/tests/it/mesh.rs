//! A real coordinator, a fake node and a real player over real QUIC and HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_client::ClientEvent;
use selvedge_coordinator::{
    AnyName, BoxFuture, CharacterStore, CoordinatorService, DOOR_QUESTIONS_MAX, MemoryStore,
    REPORT_BYTES_MAX, StoreError,
};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, InputSeq, SessionId, Term};
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    self, AdmitOutcome, AuthorityChange, AuthorityEvent, CensusEntry, CensusStanding, ClientMessage, Delay,
    Load, Message, ServerMessage, SessionReply, SessionRequest, Stay, StayStanding, Whereabouts, WhyMessage,
};
use selvedge_transport::{ClientDialer, ClientEvent as PortEvent, DialEvent, LinkEvent, Tuning};
use serde_json::json;

use crate::support::{FakeNode, World, http, soon};

async fn coordinator(world: &World) -> CoordinatorService {
    world.coordinator(Arc::new(AnyName), Arc::new(MemoryStore::default())).await
}

/// A node that is linked and registered, and the life it got.
async fn registered(world: &World, coordinator: &CoordinatorService) -> (FakeNode, Incarnation) {
    let mut node = world.node(1, coordinator, "aerie");
    node.linked().await;
    node.register();
    let incarnation = node
        .receive("the registration", |message, _| {
            let Message::Registered { incarnation, map, .. } = message else { return None };
            assert_eq!(map.owners.len(), 16);
            Some(incarnation)
        })
        .await;
    (node, incarnation)
}

/// A heartbeat and its answer, which shows that the machine has taken all that was sent before.
async fn beat(node: &mut FakeNode, incarnation: Incarnation) -> Term {
    let sent_at = Time::from_micros(5);
    let map_version = u64::MAX;
    node.send(
        &Message::Heartbeat {
            incarnation,
            sent_at,
            map_version,
            mesh_time: None,
            reported: Term(0),
            load: Load::default(),
        },
        Bytes::new(),
    );
    node.receive("the heartbeat's answer", |message, _| {
        let Message::HeartbeatReply { term, .. } = message else { return None };
        Some(term)
    })
    .await
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_registers_and_shows_in_the_status() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let web = coordinator.addresses().http;
    assert_eq!(http(web, "GET", "/healthz").await, (200, json!({"ok": true})));
    let (mut node, incarnation) = registered(&world, &coordinator).await;
    node.send(&Message::Report, Bytes::from_static(b"{\"ticks\": 3}"));
    node.send(&Message::Report, Bytes::from(vec![b'1'; REPORT_BYTES_MAX + 1]));
    beat(&mut node, incarnation).await;

    let name = node.node.to_string();
    let (_, status) = http(web, "GET", "/status").await;
    assert_eq!((&status["cells"], &status["cells_without_owner"]), (&json!(16), &json!(0)));
    let (_, cells) = http(web, "GET", "/cells").await;
    assert_eq!(cells["cells"]["L0(3,3,0)"], json!(name));
    let (_, nodes) = http(web, "GET", "/nodes").await;
    assert_eq!((&nodes["nodes"][0]["alive"], &nodes["nodes"][0]["node"]), (&json!(true), &json!(name)));
    assert_eq!(nodes["nodes"][0]["report"], json!({"ticks": 3}));
    assert_eq!(http(web, "GET", "/reports").await.1, json!({ name: {"ticks": 3} }));

    let (code, problem) = http(web, "GET", "/nothing").await;
    assert_eq!((code, &problem["error"]), (404, &json!("not_found")));
    let (code, problem) = http(web, "GET", "/census").await;
    assert_eq!((code, &problem["error"]), (405, &json!("method_not_allowed")));
    assert!(problem["cause"].as_str().unwrap().contains("GET"));
    soon("the end", coordinator.stop()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_census_asks_every_node() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let (mut node, _) = registered(&world, &coordinator).await;
    let held = CensusEntry {
        entity: EntityId::from_u128(9),
        session: Some(SessionId::from_u128(8)),
        epoch: AuthorityEpoch::FIRST,
        standing: CensusStanding::Active,
    };
    let answer = async {
        let request = node
            .receive("the census", |message, _| {
                let Message::Census { request, .. } = message else { return None };
                Some(request)
            })
            .await;
        node.send(&Message::CensusReply { request, entries: vec![held] }, Bytes::new());
    };
    let ((code, census), ()) = tokio::join!(http(coordinator.addresses().http, "POST", "/census"), answer);
    let expected = json!({
        "nodes": { node.node.to_string(): [{
            "entity": held.entity.to_string(),
            "session": held.session.unwrap().to_string(),
            "epoch": {"generation": 0, "step": 1},
            "standing": "active",
        }] },
        "missing": [],
    });
    assert_eq!((code, census), (200, expected));
}

#[tokio::test(flavor = "current_thread")]
async fn why_an_entity_is_where_it_is_is_asked_of_the_node_that_holds_it() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let web = coordinator.addresses().http;
    let (mut node, incarnation) = registered(&world, &coordinator).await;
    let term = beat(&mut node, incarnation).await;
    let (entity, epoch) = (EntityId::from_u128(9), AuthorityEpoch::FIRST);
    let path = format!("/why?entity={entity}");
    let (code, problem) = http(web, "GET", &path).await;
    assert_eq!((code, &problem["error"]), (404, &json!("unknown_entity")));
    for (path, error) in
        [("/why", "whom"), ("/why?entity=bot", "bad_entity"), ("/why?player=a&entity=b", "whom")]
    {
        let (code, problem) = http(web, "GET", path).await;
        assert_eq!((code, &problem["error"]), (400, &json!(error)), "{path}");
    }

    let event = AuthorityEvent::Spawned;
    let change = AuthorityChange { entity, session: None, epoch, cell: None, tick: Tick(1), event };
    node.send(&Message::AuthorityChanged { term, incarnation, changes: vec![change] }, Bytes::new());
    node.receive("the acknowledgement", |message, _| {
        matches!(message, Message::AuthorityAck { .. }).then_some(())
    })
    .await;
    let stay = Stay {
        session: None,
        epoch,
        standing: StayStanding::Simulated,
        cell: None,
        position_m: [1.0, 2.0, 3.0],
        velocity_m_per_s: [0.0; 3],
        tick: Tick(40),
        held_for_us: 7,
        client: false,
    };
    let answer = async {
        let request = node
            .receive("the question", |message, _| {
                let Message::Why(WhyMessage::Ask { request, entity: whom, .. }) = message else {
                    return None;
                };
                (whom == entity).then_some(request)
            })
            .await;
        let whereabouts = Whereabouts::Here { stay, delays: vec![Delay::OutsideWorld] };
        node.send(&Message::Why(WhyMessage::Answer { request, whereabouts }), Bytes::new());
    };
    let ((code, account), ()) = tokio::join!(http(web, "GET", &path), answer);
    assert_eq!(code, 200, "{account}");
    assert_eq!(account["stay"]["position_m"], json!([1.0, 2.0, 3.0]));
    assert_eq!(account["stay"]["standing"], json!({"kind": "simulated"}));
    assert_eq!(account["delays"][0]["kind"], "outside_world");
    assert_eq!(account["delays"][0]["says"], Delay::OutsideWorld.to_string());
    assert_eq!(
        (&account["history"][0]["kind"], &account["asked"]["answer"]),
        (&json!("spawned"), &json!("told"))
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_player_enters_leaves_and_their_character_is_kept() {
    let world = World::new();
    let store = Arc::new(MemoryStore::default());
    let coordinator = world.coordinator(Arc::new(AnyName), store.clone()).await;
    let (mut node, incarnation) = registered(&world, &coordinator).await;
    let mut player = world.players(&coordinator).enter("ada", *b"");

    let (term, request, session, entity) = node
        .receive("the player's admission", |message, _| {
            let Message::Admit { term, request, session, entity, name, resume: false, .. } = message else {
                return None;
            };
            assert_eq!(name, "ada");
            Some((term, request, session, entity))
        })
        .await;
    let token = Token::from_bytes([3; 32]);
    let outcome = AdmitOutcome::Token { token, ttl_us: 10_000_000 };
    node.send(&Message::AdmitReply { request, outcome }, Bytes::new());

    let Some(PortEvent::Opened { first, connection, .. }) = soon("the player", node.clients.recv()).await
    else {
        panic!("the player did not come");
    };
    assert_eq!(wire::decode_client(&first), Ok(ClientMessage::Hello { token }));
    let (epoch, applied) = (AuthorityEpoch::FIRST, InputSeq(0));
    let attached = ServerMessage::Attached {
        entity,
        session,
        epoch,
        applied,
        durable: applied,
        tick_interval_us: 33_333,
    };
    connection.send(wire::encode_server(&attached)).unwrap();
    assert_eq!(soon("the entry", player.next_event()).await, Some(ClientEvent::Entered { session, entity }));

    let change = |event| {
        let change =
            AuthorityChange { entity, session: Some(session), epoch, cell: None, tick: Tick(1), event };
        Message::AuthorityChanged { term, incarnation, changes: vec![change] }
    };
    node.send(&change(AuthorityEvent::Spawned), Bytes::new());
    let writer = SnapshotWriter::new(entity, Some(session), &ComponentVersions::default());
    let character = writer.finish(applied).unwrap().bytes;
    node.send(&change(AuthorityEvent::Despawned), Bytes::new());
    let end = epoch.next_step();
    node.send(&Message::SaveCharacter { session, entity, incarnation, end }, character.clone());
    node.receive("the save's acknowledgement", |message, _| {
        matches!(message, Message::SaveAck { session: saved, .. } if saved == session).then_some(())
    })
    .await;
    assert_eq!(store.load("ada").await, Ok(Some(character)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_of_another_world_is_refused_with_the_reason() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let mut node = world.node(1, &coordinator, "elsewhere");
    let reason = loop {
        if let LinkEvent::DialFailed { reason, .. } = soon("the refusal", node.links.recv()).await.unwrap() {
            break reason;
        }
    };
    assert!(reason.contains("aerie") && reason.contains("elsewhere"), "{reason}");
}

#[derive(Debug)]
struct Stuck;

impl CharacterStore for Stuck {
    fn load<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(std::future::pending())
    }

    fn save<'a>(&'a self, _name: &'a str, _character: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_hangs_holds_up_its_player_and_nobody_else() {
    let world = World { entry_patience: Some(Duration::from_millis(300)), ..World::new() };
    let coordinator = world.coordinator(Arc::new(AnyName), Arc::new(Stuck)).await;
    let (mut node, incarnation) = registered(&world, &coordinator).await;
    let mut player = world.players(&coordinator).enter("ada", *b"");
    beat(&mut node, incarnation).await;
    assert_eq!(http(coordinator.addresses().http, "GET", "/healthz").await.0, 200);
    // The machine's own patience at the door ends the wait.
    let refused = soon("the refusal", player.next_event()).await;
    assert!(matches!(refused, Some(ClientEvent::Refused { retry: true, .. })), "{refused:?}");
}

/// A visitor of the door who asks what they want.
async fn visit(
    world: &World,
    coordinator: &CoordinatorService,
    first: Bytes,
) -> (ClientDialer, selvedge_transport::ClientConnection, tokio::sync::mpsc::Receiver<DialEvent>) {
    let dialer = ClientDialer::new(world.authority.ca_pem(), Tuning::for_clients()).unwrap();
    let door = coordinator.addresses().door;
    let (connection, events) = dialer.connect(door, "server-door.aerie.selvedge", first).await.unwrap();
    (dialer, connection, events)
}

fn resume() -> Bytes {
    let (session, secret) = (SessionId::from_u128(1), Token::from_bytes([0; 32]));
    wire::encode_session_request(&SessionRequest::Resume { session, secret })
}

#[tokio::test(flavor = "current_thread")]
async fn several_questions_on_one_connection_are_answered() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let (_dialer, connection, mut events) = visit(&world, &coordinator, resume()).await;
    for _ in 0..3 {
        let Some(DialEvent::Message(answer)) = soon("the answer", events.recv()).await else {
            panic!("no answer");
        };
        let reply = wire::decode_session_reply(&answer).unwrap();
        assert!(matches!(reply, SessionReply::Refused { retry: false, .. }), "{reply:?}");
        connection.send(resume()).unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn who_asks_nonsense_or_too_much_at_once_is_turned_away() {
    let world = World::new();
    let coordinator = world.coordinator(Arc::new(AnyName), Arc::new(Stuck)).await;
    let (_dialer, _connection, mut events) = visit(&world, &coordinator, Bytes::from_static(b"hello?")).await;
    let Some(DialEvent::Closed { reason, .. }) = soon("the end", events.recv()).await else {
        panic!("nonsense was answered");
    };
    assert!(reason.contains("unreadable question"), "{reason}");

    let enter =
        || wire::encode_session_request(&SessionRequest::Enter { name: "ada".into(), credential: vec![] });
    let (_dialer, connection, mut events) = visit(&world, &coordinator, enter()).await;
    for _ in 0..DOOR_QUESTIONS_MAX {
        let _ = connection.send(enter());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let Some(DialEvent::Closed { reason, .. }) = soon("the end", events.recv()).await else {
        panic!("too many questions were taken");
    };
    assert!(reason.contains("too many questions"), "{reason}");
}
