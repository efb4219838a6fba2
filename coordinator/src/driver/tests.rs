//! Nothing is said that rests on what is not durable yet, and nothing at all once the disk has failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use selvedge_certs::WorldName;
use selvedge_protocol::config::CoordinatorConfig;
use selvedge_protocol::coordinator::CoordinatorImage;
use selvedge_protocol::id::NodeId;
use selvedge_protocol::time::Time;

use super::*;
use crate::authenticator::AnyName;
use crate::disk::Folder;
use crate::store::MemoryStore;

const NODE: NodeId = NodeId::from_u128(1);
const PROCESS: u64 = 11;

/// A disk that loses what it is told to sync, from some moment on.
#[derive(Debug)]
struct Disk {
    memory: InMemoryBackend,
    fails: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

fn register() -> CoordinatorInput {
    let message = Message::Register {
        node: NODE,
        process: PROCESS,
        life: 0,
        sent_at: Time::ZERO,
        mesh_addr: "10.0.0.1:1".into(),
        client_addr: "10.0.0.1:2".into(),
        server_name: "node-1".into(),
        schema_min: 1,
        schema_max: 1,
    };
    CoordinatorInput::Message { from: NODE, incarnation: None, message, blob: Bytes::new() }
}

#[tokio::test]
async fn what_rests_on_a_record_is_done_once_it_is_durable_and_never_if_the_disk_fails() {
    for fails in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), &WorldName::new("aerie").unwrap(), false).unwrap();
        let broken = Arc::new(AtomicBool::new(false));
        let disk = Disk { memory: InMemoryBackend::new(), fails: Arc::clone(&broken) };
        let ledger = Ledger::on(disk, folder);
        let clock = Clock::start();
        let image = CoordinatorImage::beginning_at(clock.floor());
        let config = CoordinatorConfig::default();
        let machine = Coordinator::restored(config, image, clock.now(), [7; 32]).unwrap();
        let errands = Errands::new(Arc::new(AnyName), Arc::new(MemoryStore::default()));
        let lives = Lives::default();
        let mut driver = Driver::new(machine, clock, lives.clone(), errands, ledger);
        // The term is kept before anything else.
        driver.work();
        let kept = driver.ledger.done().await;
        assert!(driver.on_kept(kept));

        broken.store(fails, Ordering::Relaxed);
        driver.tell(register());
        // Who is registered is refused to any other process: that the first one is would be said here.
        let is_known = || lives.judge(NODE, PROCESS + 1).is_err();
        assert!(driver.ledger.is_busy() && !is_known(), "it is not kept yet");
        // What happens meanwhile waits as well.
        driver.tell(CoordinatorInput::LinkUp { node: NODE });
        assert!(!is_known());
        let kept = driver.ledger.done().await;
        assert_eq!(driver.on_kept(kept), !fails, "a coordinator whose disk fails ends");
        assert_eq!(is_known(), !fails);
    }
}
