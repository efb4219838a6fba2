//! The CA: what it stores, with which permissions, and what it refuses to issue.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use selvedge_certs::{
    Authority, CA_CERTIFICATE_FILE, CA_KEY_FILE, CA_VALIDITY, CertsError, IDENTITY_VALIDITY, Identity,
    Overwrite, Role, RoleKind, SubjectNames, Uuid, VALIDITY_MAX, WorldName, describe, server_name,
    spiffe_id_of,
};

fn world() -> WorldName {
    WorldName::new("aerie").unwrap()
}

fn authority() -> Authority {
    Authority::init(world(), CA_VALIDITY).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_and_their_folder_are_private_to_the_owner() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ca");
    let authority = authority();
    authority.save(&dir, Overwrite::Refuse).unwrap();
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(CA_KEY_FILE)), 0o600);
    let issued =
        authority.issue(Role::Node(Uuid::nil()), &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
    let (chain, key) = issued.save(&dir, "node", Overwrite::Refuse).unwrap();
    assert_eq!((mode(&key), mode(&chain) & 0o022), (0o600, 0));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 4, "drafts were left behind");
}

#[test]
fn files_are_replaced_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    authority.save(dir.path(), Overwrite::Refuse).unwrap();
    let key = std::fs::read_to_string(dir.path().join(CA_KEY_FILE)).unwrap();
    let other = Authority::init(world(), CA_VALIDITY).unwrap();
    let error = other.save(dir.path(), Overwrite::Refuse).unwrap_err();
    assert!(matches!(&error, CertsError::Exists { path } if path.ends_with(CA_CERTIFICATE_FILE)), "{error}");
    assert_eq!(std::fs::read_to_string(dir.path().join(CA_KEY_FILE)).unwrap(), key);
    other.save(dir.path(), Overwrite::Replace).unwrap();
    assert_ne!(std::fs::read_to_string(dir.path().join(CA_KEY_FILE)).unwrap(), key);
    assert_eq!(mode(&dir.path().join(CA_KEY_FILE)), 0o600);
}

#[test]
fn a_loaded_authority_issues_what_the_saved_one_would() {
    let dir = tempfile::tempdir().unwrap();
    authority().save(dir.path(), Overwrite::Refuse).unwrap();
    let loaded = Authority::load(dir.path()).unwrap();
    assert_eq!(loaded.world(), &world());
    let role = Role::Coordinator("first".into());
    let issued = loaded.issue(role.clone(), &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
    let identity = Identity::from_issued(&issued).unwrap();
    assert_eq!(identity.id().role, role);
    assert_eq!(&spiffe_id_of(&identity.chain()[0]).unwrap(), identity.id());
    identity.require(&world(), RoleKind::Coordinator).unwrap();
}

#[test]
fn an_authority_that_is_missing_or_mixed_up_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Authority::load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("ca.pem does not exist") && error.contains("selvedge certs init"), "{error}");

    authority().save(dir.path(), Overwrite::Refuse).unwrap();
    let other = tempfile::tempdir().unwrap();
    authority().save(other.path(), Overwrite::Refuse).unwrap();
    std::fs::copy(other.path().join(CA_KEY_FILE), dir.path().join(CA_KEY_FILE)).unwrap();
    let error = Authority::load(dir.path()).unwrap_err();
    assert!(matches!(error, CertsError::KeyMismatch { .. }), "{error}");

    std::fs::write(dir.path().join(CA_KEY_FILE), "not a key").unwrap();
    let error = Authority::load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("ca.key holds no usable CA private key"), "{error}");
}

#[test]
fn a_processs_certificate_is_no_authority() {
    let dir = tempfile::tempdir().unwrap();
    let issued =
        authority().issue(Role::Node(Uuid::nil()), &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
    issued.save(dir.path(), "ca", Overwrite::Refuse).unwrap();
    let error = Authority::load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("certificate of a process, not of a CA"), "{error}");
}

#[test]
fn nothing_outlives_its_authority() {
    let short = Authority::init(world(), Duration::from_secs(24 * 3600)).unwrap();
    let names = SubjectNames::default();
    let error = short.issue(Role::Node(Uuid::nil()), &names, IDENTITY_VALIDITY).unwrap_err();
    assert!(matches!(error, CertsError::Validity { .. }), "{error}");
    assert!(error.to_string().contains("the CA itself expires"), "{error}");
    short.issue(Role::Node(Uuid::nil()), &names, Duration::from_secs(3600)).unwrap();
}

#[test]
fn impossible_validities_and_names_are_refused() {
    for validity in [Duration::ZERO, VALIDITY_MAX + Duration::from_secs(1), Duration::MAX] {
        assert!(matches!(Authority::init(world(), validity), Err(CertsError::Validity { .. })));
    }
    let authority = authority();
    let issue = |role, names: &SubjectNames| authority.issue(role, names, IDENTITY_VALIDITY);
    let error = issue(Role::Server("../evil".into()), &SubjectNames::default()).unwrap_err();
    assert!(matches!(error, CertsError::Name(_)), "{error}");
    let names = SubjectNames { dns: vec!["not a name".into()], ips: vec![] };
    let error = issue(Role::Server("edge".into()), &names).unwrap_err();
    assert!(matches!(error, CertsError::SubjectName { .. }), "{error}");
}

#[test]
fn a_summary_shows_names_and_time_left() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    authority.save(dir.path(), Overwrite::Refuse).unwrap();
    let names = SubjectNames { dns: vec!["play.example".into()], ips: vec![[10, 0, 0, 7].into()] };
    let issued = authority.issue(Role::Server("edge".into()), &names, IDENTITY_VALIDITY).unwrap();
    let (chain, key) = issued.save(dir.path(), "edge", Overwrite::Refuse).unwrap();

    let summary = describe(&chain).unwrap();
    assert_eq!(summary.uri, "spiffe://aerie/server/edge");
    assert_eq!(summary.dns_names, [server_name(&issued.id), "play.example".to_owned()]);
    assert_eq!((summary.role, summary.is_ca, summary.expired), (Some(RoleKind::Server), false, false));
    assert!(summary.ips == names.ips && (88..=90).contains(&summary.days_left));
    assert!(serde_json::to_string(&summary).unwrap().contains("\"role\":\"server\""));

    let ca = describe(&dir.path().join(CA_CERTIFICATE_FILE)).unwrap();
    assert_eq!((ca.is_ca, ca.role, ca.world), (true, None, Some(world())));
    assert!(matches!(describe(&key), Err(CertsError::Malformed { .. })));
    assert!(matches!(describe(&dir.path().join("nothing")), Err(CertsError::Missing { .. })));
}
