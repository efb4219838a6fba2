//! Loading an identity: each mistake is named with its file, its cause and its remedy.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use selvedge_certs::{
    Authority, CA_CERTIFICATE_FILE, CA_VALIDITY, CertsError, IDENTITY_VALIDITY, Identity, IssuedIdentity,
    Overwrite, Role, RoleKind, SubjectNames, Uuid, WorldName,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A folder with a CA and a node's identity.
struct Files {
    dir: tempfile::TempDir,
    authority: Authority,
    chain: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(WorldName::new("aerie").unwrap(), CA_VALIDITY).unwrap();
        authority.save(dir.path(), Overwrite::Refuse).unwrap();
        let (chain, key) = node(&authority).save(dir.path(), "node", Overwrite::Refuse).unwrap();
        let ca = dir.path().join(CA_CERTIFICATE_FILE);
        Self { dir, authority, chain, key, ca }
    }

    fn load(&self) -> Result<Identity, CertsError> {
        Identity::load(&self.chain, &self.key, &self.ca)
    }

    /// The message of the error, which has to name that file.
    fn error_about(&self, path: &Path) -> String {
        let error = self.load().unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error} does not name {}", path.display());
        error
    }

    fn replace(&self, issued: &IssuedIdentity) {
        issued.save(self.dir.path(), "node", Overwrite::Replace).unwrap();
    }
}

fn node(authority: &Authority) -> IssuedIdentity {
    authority.issue(Role::Node(Uuid::nil()), &SubjectNames::default(), IDENTITY_VALIDITY).unwrap()
}

#[test]
fn a_good_identity_loads_and_says_who_it_is() {
    let files = Files::new();
    let identity = files.load().unwrap();
    assert_eq!(identity.id().to_string(), "spiffe://aerie/node/00000000-0000-0000-0000-000000000000");
    assert!(identity.not_before() < SystemTime::now() && identity.not_after() > SystemTime::now());
    assert_eq!((identity.chain().len(), identity.roots().len()), (1, 1));
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    for (what, remedy) in [(0, "selvedge certs issue"), (1, "selvedge certs issue"), (2, "copy ca.pem")] {
        let files = Files::new();
        let path = [&files.chain, &files.key, &files.ca][what].clone();
        std::fs::remove_file(&path).unwrap();
        let error = files.error_about(&path);
        assert!(error.contains("does not exist") && error.contains(remedy), "{error}");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let files = Files::new();
    std::fs::remove_file(&files.key).unwrap();
    // A folder can't be read as a file, not even by root.
    std::fs::create_dir(&files.key).unwrap();
    let error = files.error_about(&files.key);
    assert!(error.contains("cannot read private key") && error.contains("permissions"), "{error}");
}

#[test]
fn a_key_that_others_can_read_still_loads() {
    let files = Files::new();
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    files.load().unwrap();
}

#[test]
fn malformed_files_are_named() {
    for what in 0..3 {
        let files = Files::new();
        let path = [&files.chain, &files.key, &files.ca][what].clone();
        std::fs::write(&path, "-----BEGIN NONSENSE-----\n").unwrap();
        assert!(files.error_about(&path).contains("holds no usable"));
    }
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let files = Files::new();
    std::fs::write(&files.key, node(&files.authority).key_pem.as_bytes()).unwrap();
    let error = files.error_about(&files.key);
    assert!(error.contains("does not belong to the certificate"), "{error}");
}

#[test]
fn expired_and_not_yet_valid_certificates_are_refused() {
    let now = SystemTime::now();
    for (begin, end, complaint) in [
        (now - HOUR * 3, now - HOUR, "expired at"),
        (now + HOUR, now + HOUR * 3, "check this machine's clock"),
    ] {
        let files = Files::new();
        let names = SubjectNames::default();
        files.replace(&files.authority.issue_between(Role::Node(Uuid::nil()), &names, begin, end).unwrap());
        let error = files.error_about(&files.chain);
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let files = Files::new();
    let other = Authority::init(WorldName::new("aerie").unwrap(), CA_VALIDITY).unwrap();
    files.replace(&node(&other));
    let error = files.error_about(&files.ca);
    assert!(error.contains("was not issued by the CA"), "{error}");
}

#[test]
fn a_processs_certificate_in_the_cas_place_is_refused() {
    let files = Files::new();
    std::fs::copy(&files.chain, &files.ca).unwrap();
    assert!(files.error_about(&files.ca).contains("not of a CA"));
}

#[test]
fn a_cas_certificate_in_a_processs_place_is_refused() {
    let files = Files::new();
    std::fs::copy(&files.ca, &files.chain).unwrap();
    assert!(files.error_about(&files.chain).contains("mesh identity"));
}

#[test]
fn another_world_or_role_than_required_is_refused() {
    let identity = Files::new().load().unwrap();
    let (aerie, other) = (WorldName::new("aerie").unwrap(), WorldName::new("other").unwrap());
    identity.require(&aerie, RoleKind::Node).unwrap();
    let error = identity.require(&other, RoleKind::Node).unwrap_err();
    assert!(matches!(error, CertsError::WrongWorld { .. }), "{error}");
    let error = identity.require(&aerie, RoleKind::Server).unwrap_err();
    assert!(matches!(error, CertsError::WrongRole { .. }), "{error}");
    assert!(error.to_string().contains("node.pem"), "{error}");
}
