//! What is read back, and what becomes of files that are in use, damaged, foreign or too new.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use selvedge_certs::WorldName;
use selvedge_protocol::coordinator::{CoordinatorImage, Record};
use selvedge_protocol::id::{Incarnation, Term};

use super::{DiskError, Folder, Ledger, RedbStore, file};
use crate::store::CharacterStore;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self, reset: bool) -> Result<Folder, DiskError> {
        Folder::open(self.0.path(), &WorldName::new("aerie").unwrap(), reset)
    }

    fn open(&self, reset: bool) -> Result<(Ledger, CoordinatorImage), DiskError> {
        Ledger::open(self.folder(reset)?, 7)
    }

    fn records(&self) -> PathBuf {
        self.0.path().join("coordinator.redb")
    }

    /// Leaves a store that remembers something.
    fn with_records() -> (Self, CoordinatorImage) {
        let place = Self::new();
        let (ledger, mut image) = place.open(false).unwrap();
        for number in 1..40 {
            let records = [Record::Term(Term(number)), Record::Incarnation(Incarnation(number * 3))];
            ledger.commit_now(&records).unwrap();
            records.into_iter().for_each(|record| image.apply(record));
        }
        (place, image)
    }
}

#[test]
fn what_was_committed_is_read_back_and_a_new_store_begins_at_the_floor() {
    let place = Place::new();
    assert_eq!(place.open(false).unwrap().1, CoordinatorImage::beginning_at(7));
    let (place, image) = Place::with_records();
    assert_eq!(place.open(false).unwrap().1, image);
}

#[tokio::test(flavor = "current_thread")]
async fn a_saved_character_is_there_after_a_restart() {
    let place = Place::new();
    let folder = place.folder(false).unwrap();
    let store = RedbStore::open(&folder).unwrap();
    assert_eq!(store.load("ada").await, Ok(None));
    store.save("ada", Bytes::from_static(b"one")).await.unwrap();
    store.save("ada", Bytes::from_static(b"two")).await.unwrap();
    drop(store);
    let store = RedbStore::open(&folder).unwrap();
    assert_eq!(store.load("ada").await, Ok(Some(Bytes::from_static(b"two"))));
}

#[test]
fn a_second_coordinator_on_the_same_folder_is_refused() {
    let (place, _) = Place::with_records();
    let first = place.open(false).unwrap();
    let said = place.open(false).unwrap_err().to_string();
    assert!(said.contains("another coordinator") && said.contains("--store"), "{said}");
    drop(first);
    place.open(false).unwrap();
}

/// Opens a changed copy: what is read is what was written, or the file is refused by name and with the way out.
fn is_refused(bytes: &[u8], good: &CoordinatorImage) -> bool {
    let place = Place::new();
    fs::write(place.records(), bytes).unwrap();
    match place.open(false) {
        Ok((_, image)) => {
            assert_eq!(image, *good, "a damaged file was believed");
            false
        }
        Err(error) => {
            let said = error.to_string();
            assert!(matches!(error, DiskError::Damaged { .. }), "{error:?}");
            assert!(said.contains("coordinator.redb") && said.contains("--store-reset"), "{said}");
            assert!(said.contains("begin anew"), "it says what is lost: {said}");
            true
        }
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused_or_whole() {
    let (place, image) = Place::with_records();
    let whole = fs::read(place.records()).unwrap();
    assert!(!is_refused(&whole, &image));
    for eighth in 0..8 {
        assert!(is_refused(&whole[..whole.len() * eighth / 8], &image), "cut to {eighth}/8");
    }
}

#[test]
fn a_file_in_which_bytes_have_changed_is_refused_or_reads_as_it_was_written() {
    let (place, image) = Place::with_records();
    let whole = fs::read(place.records()).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let mut refused = 0;
    for &at in used.iter().step_by(used.len().div_ceil(150)) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        refused += usize::from(is_refused(&changed, &image));
    }
    assert!(refused > 0, "no change was ever seen");
}

#[test]
fn a_reset_moves_a_broken_file_aside_and_begins_without_it() {
    let (place, _) = Place::with_records();
    let whole = fs::read(place.records()).unwrap();
    fs::write(place.records(), &whole[..whole.len() / 2]).unwrap();
    assert!(place.open(false).is_err());
    assert_eq!(place.open(true).unwrap().1, CoordinatorImage::beginning_at(7));
    let aside = place.0.path().join("coordinator.redb.broken-1");
    assert_eq!(fs::metadata(aside).unwrap().len(), whole.len() as u64 / 2);
}

#[test]
fn a_reset_leaves_a_good_file_alone() {
    let (place, image) = Place::with_records();
    assert_eq!(place.open(true).unwrap().1, image);
}

#[test]
fn the_store_of_another_world_or_of_another_version_is_refused_also_by_a_reset() {
    for (key, value, words) in
        [("world", "eyrie", ["eyrie", "aerie"]), ("format", "2", ["format 2", "reads 3"])]
    {
        let (place, _) = Place::with_records();
        file::rewrite_about(&place.records(), key, value);
        for reset in [false, true] {
            let said = place.open(reset).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }
}
