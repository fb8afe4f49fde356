//! Tests of the hub's client against a local server that implements the hub's protocol.

#![cfg(feature = "hub")]

#[path = "support/hub_server.rs"]
mod hub_server;
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dualad_backbones::hub::{Hub, HubError, terminal_progress};
use dualad_backbones::{Backbone, Error, HubFile, Weights, WeightsSource};
use hub_server::{COMMIT, Fault, HubServer, sha256};
use tempfile::TempDir;

const PATH: &str = "owner/name/resolve/main/model.safetensors";

/// Content longer than one network packet, without repetition.
fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn file() -> HubFile {
    HubFile::new("owner/name")
}

struct Setup {
    server: HubServer,
    cache: TempDir,
}

impl Setup {
    fn new(fault: Fault) -> Self {
        Self { server: HubServer::start(PATH, content(), fault), cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self) -> Hub {
        hub(&self.server.url(), self.cache.path())
    }

    fn fetch(&self) -> Result<Vec<u8>, HubError> {
        self.hub().fetch(&file()).map(|fetched| std::fs::read(fetched.path).unwrap())
    }

    /// Returns the names of the files in the cache's `blobs`.
    fn blobs(&self) -> Vec<String> {
        names(&self.cache.path().join("models--owner--name/blobs"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn hub(endpoint: &str, cache: &Path) -> Hub {
    let hub = Hub::from_variables(|name| (name == "HF_HOME").then(|| "unused".into())).unwrap();
    hub.endpoint(endpoint).cache(cache).timeout(Duration::from_millis(500))
}

#[test]
fn a_file_is_downloaded_through_the_redirect_into_the_layout_of_pythons_cache() {
    let setup = Setup::new(Fault::None);
    let fetched = setup.hub().fetch(&file()).unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content());
    assert_eq!(fetched.commit, COMMIT);
    let repo = setup.cache.path().join("models--owner--name");
    assert_eq!(fetched.path, repo.join("snapshots").join(COMMIT).join("model.safetensors"));
    assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(setup.blobs(), [sha256(&content())]);
    #[cfg(unix)]
    {
        let link = std::fs::read_link(&fetched.path).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(sha256(&content())));
    }
}

#[test]
fn the_cache_is_used_first_and_without_the_server() {
    let setup = Setup::new(Fault::None);
    setup.fetch().unwrap();
    let asked = setup.server.requests().len();
    setup.fetch().unwrap();
    assert_eq!(setup.server.requests().len(), asked);
    let Setup { server, cache } = setup;
    let url = server.url();
    drop(server);
    hub(&url, cache.path()).fetch(&file()).unwrap();
    hub(&url, cache.path()).offline(true).fetch(&file()).unwrap();
    hub(&url, cache.path()).offline(true).fetch(&file().revision(COMMIT)).unwrap();
}

#[test]
fn offline_without_the_file_sends_no_request() {
    let setup = Setup::new(Fault::None);
    let error = setup.hub().offline(true).fetch(&file()).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert!(setup.server.requests().is_empty());
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_the_storage() {
    let setup = Setup::new(Fault::None);
    let hub = setup.hub().token(Some("hf_secret".into()));
    hub.fetch(&file()).unwrap();
    let requests = setup.server.requests();
    for request in &requests {
        let sent = request.headers.get("authorization").map(String::as_str);
        assert_eq!(sent, (!request.to_storage).then_some("Bearer hf_secret"), "{request:?}");
    }
    assert!(requests.iter().any(|request| request.to_storage));
    assert!(!format!("{hub:?}").contains("hf_secret"));
}

/// The same host with another port is another server.
#[test]
fn the_token_does_not_go_to_another_port() {
    let setup = Setup::new(Fault::SameHost);
    setup.hub().token(Some(" hf_secret\n".into())).fetch(&file()).unwrap();
    for request in setup.server.requests() {
        assert_eq!(request.headers.contains_key("authorization"), !request.to_storage, "{request:?}");
    }
}

#[test]
fn invalid_addresses_and_tokens_are_errors_that_show_no_password() {
    let cache = tempfile::tempdir().unwrap();
    for endpoint in
        ["huggingface.co", "", "/", "https://", "https:///x", "http://u:secret@host", "file:///etc", "http://a b"]
    {
        let error = hub(endpoint, cache.path()).fetch(&file()).unwrap_err();
        assert!(matches!(error, HubError::Endpoint { .. }), "{endpoint}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = hub("http://127.0.0.1:1", cache.path()).token(Some("a\nb".into())).fetch(&file()).unwrap_err();
    assert!(matches!(error, HubError::Token), "{error}");
    assert!(!error.to_string().contains("a\\nb"), "{error}");
}

#[test]
fn an_infinite_timeout_is_limited_to_a_day() {
    let setup = Setup::new(Fault::None);
    setup.hub().timeout(Duration::MAX).lock_timeout(Duration::MAX).fetch(&file()).unwrap();
}

#[test]
fn the_content_of_the_commit_is_requested() {
    let setup = Setup::new(Fault::None);
    setup.fetch().unwrap();
    let get = setup.server.requests().into_iter().find(|request| request.method == "GET").unwrap();
    assert_eq!(get.path, format!("/owner/name/resolve/{COMMIT}/model.safetensors"));
}

#[test]
fn a_pinned_commit_is_downloaded_and_no_other() {
    // A commit in upper case is found in the cache.
    let setup = Setup::new(Fault::None);
    let pinned = file().revision(COMMIT.to_uppercase());
    let error = setup.hub().fetch(&file().revision("f".repeat(40))).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    setup.fetch().unwrap();
    assert_eq!(setup.hub().offline(true).fetch(&pinned).unwrap().commit, COMMIT);
    // A server that answers with another commit.
    let path = format!("owner/name/resolve/{}/model.safetensors", "f".repeat(40));
    let server = HubServer::start(&path, content(), Fault::None);
    let cache = tempfile::tempdir().unwrap();
    let error = hub(&server.url(), cache.path()).fetch(&file().revision("f".repeat(40))).unwrap_err();
    assert!(matches!(error, HubError::Protocol { .. }), "{error}");
}

#[test]
fn a_damaged_blob_is_an_error_when_loaded_and_is_downloaded_again_when_fetched() {
    let bytes = support::serialize(&support::resnet18_stage1());
    let path = "timm/resnet18.tv_in1k/resolve/main/model.safetensors";
    let server = HubServer::start(path, bytes.clone(), Fault::None);
    let cache = tempfile::tempdir().unwrap();
    let client = hub(&server.url(), cache.path());
    let fetched = client.fetch(&HubFile::new("timm/resnet18.tv_in1k")).unwrap();
    assert_eq!(fetched.sha256.as_deref(), Some(&*sha256(&bytes)));
    // A bit in the middle of a weight flips.
    let blob = std::fs::canonicalize(&fetched.path).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&blob, &damaged).unwrap();
    let weights = Weights::hub().with_hub(client.clone());
    let error = Backbone::ResNet18.extractor().stages(&[1]).weights(weights).build().unwrap_err();
    assert!(matches!(error, Error::Weights(dualad_backbones::WeightsError::DamagedCache { .. })), "{error}");
    assert!(error.to_string().contains("delete it"), "{error}");
    std::fs::remove_file(&fetched.path).unwrap();
    let again = client.fetch(&HubFile::new("timm/resnet18.tv_in1k")).unwrap();
    assert_eq!(std::fs::read(again.path).unwrap(), bytes);
}

/// Different files of one revision at once: each has its own lock, but they share the revision's reference.
#[test]
fn files_can_be_downloaded_at_the_same_time() {
    let cache = tempfile::tempdir().unwrap();
    let servers: Vec<HubServer> = (0..8)
        .map(|index| {
            let path = format!("owner/name/resolve/main/{index}.safetensors");
            HubServer::start(&path, content()[index..].to_vec(), Fault::None)
        })
        .collect();
    std::thread::scope(|scope| {
        let fetch = |(index, server): (usize, &HubServer)| {
            let wanted = file().filename(format!("{index}.safetensors"));
            let client = hub(&server.url(), cache.path());
            scope.spawn(move || client.fetch(&wanted).map(|fetched| std::fs::read(fetched.path).unwrap()))
        };
        let threads: Vec<_> = servers.iter().enumerate().map(fetch).collect();
        for (index, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().unwrap(), content()[index..]);
        }
    });
    assert_eq!(names(&cache.path().join("models--owner--name/refs")), ["main"]);
}

/// Opening a pipe or reading a device may block forever.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
        let error = Backbone::ResNet18.extractor().weights(Weights::file(path)).build().unwrap_err();
        assert!(matches!(error, Error::Weights(dualad_backbones::WeightsError::NotAFile { .. })), "{error}");
        dualad_store::sha256_of_file(path).unwrap_err();
    }
    let setup = Setup::new(Fault::None);
    let refs = setup.cache.path().join("models--owner--name/refs");
    std::fs::create_dir_all(&refs).unwrap();
    std::fs::rename(&pipe, refs.join("main")).unwrap();
    setup.fetch().unwrap();
}

#[test]
fn progress_increases_from_zero_to_the_size() {
    let setup = Setup::new(Fault::None);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let bar = terminal_progress();
    let hub = setup.hub().progress(move |progress| {
        assert_eq!(progress.total, 1_200_000);
        log.lock().unwrap().push(progress.received);
        bar(progress);
    });
    hub.fetch(&file()).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&1_200_000)));
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn an_interrupted_download_continues_where_it_stopped() {
    let setup = Setup::new(Fault::Drop { answers: 2, after: 200_000 });
    assert!(setup.fetch().unwrap() == content());
    let ranges: Vec<Option<String>> = setup
        .server
        .requests()
        .iter()
        .filter(|request| request.to_storage)
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [None, Some("bytes=200000-".into()), Some("bytes=400000-".into())]);
}

#[test]
fn the_bytes_of_a_failed_download_are_kept_for_the_next() {
    let setup = Setup::new(Fault::HangAfter(10_000));
    let error = setup.fetch().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    let blob = setup.cache.path().join("models--owner--name/blobs").join(sha256(&content()));
    assert!(!blob.exists());
    let partial = blob.with_added_extension("incomplete");
    assert!(std::fs::metadata(&partial).unwrap().len() >= 10_000);

    let better = HubServer::start(PATH, content(), Fault::None);
    let fetched = hub(&better.url(), setup.cache.path()).fetch(&file()).unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), content());
    let requests = better.requests();
    let download = requests.iter().find(|request| request.to_storage).unwrap();
    assert_ne!(download.headers.get("range"), None);
    assert!(!partial.exists());
}

#[test]
fn a_storage_without_ranges_is_read_again_from_the_start() {
    let setup = Setup::new(Fault::NoRanges { after: 700_000 });
    assert!(setup.fetch().unwrap() == content());
    assert_eq!(setup.server.downloads(), 2);
}

#[test]
fn a_partial_file_that_is_too_long_is_discarded() {
    let setup = Setup::new(Fault::None);
    let blobs = setup.cache.path().join("models--owner--name/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", sha256(&content()))), vec![1; 2_000_000]).unwrap();
    assert!(setup.fetch().unwrap() == content());
}

#[test]
fn small_files_come_from_the_hub_itself() {
    let setup = Setup::new(Fault::Direct);
    assert!(setup.fetch().unwrap() == content());
    assert_eq!(setup.server.downloads(), 0);
}

#[test]
fn a_renamed_repository_is_followed() {
    let server = HubServer::start("old/name/resolve/main/model.safetensors", content(), Fault::Renamed);
    let cache = tempfile::tempdir().unwrap();
    let fetched = hub(&server.url(), cache.path()).fetch(&HubFile::new("old/name")).unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), content());
}

#[test]
fn a_branch_with_a_slash_is_one_part_of_the_path() {
    let path = "owner/name/resolve/refs%2Fpr%2F1/sub/model.safetensors";
    let server = HubServer::start(path, content(), Fault::None);
    let cache = tempfile::tempdir().unwrap();
    let wanted = file().revision("refs/pr/1").filename("sub/model.safetensors");
    let fetched = hub(&server.url(), cache.path()).fetch(&wanted).unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), content());
    hub(&server.url(), cache.path()).offline(true).fetch(&wanted).unwrap();
}

/// Fetches with a fault, checks that no file got its final name, and returns the error.
fn fails(fault: Fault) -> HubError {
    let started = Instant::now();
    let setup = Setup::new(fault.clone());
    let error = setup.fetch().map(|content| content.len()).expect_err("the server is broken");
    assert!(setup.blobs().iter().all(|name| name.ends_with(".incomplete")), "{fault:?}: {:?}", setup.blobs());
    assert_eq!(names(&setup.cache.path().join("models--owner--name/snapshots")), [""; 0], "{fault:?}");
    // Every wait is bounded by the timeout, here half a second, and a few tries.
    assert!(started.elapsed() < Duration::from_secs(20), "{fault:?} took {:?}", started.elapsed());
    assert!(error.to_string().contains("owner/name@main/model.safetensors"), "{error}");
    error
}

macro_rules! fails {
    ($($test:ident: $fault:expr => $expected:pat,)*) => {$(
        #[test]
        fn $test() {
            let error = fails($fault);
            assert!(matches!(error, $expected), "{error:?}");
        }
    )*};
}

fails! {
    not_found: Fault::Status(404, "EntryNotFound") => HubError::NotFound { .. },
    no_such_revision: Fault::Status(404, "RevisionNotFound") => HubError::NotFound { .. },
    unauthorized: Fault::Status(401, "GatedRepo") => HubError::Refused { status: 401, .. },
    forbidden: Fault::Status(403, "") => HubError::Refused { status: 403, .. },
    overloaded: Fault::Status(503, "") => HubError::Unreachable { .. },
    too_many_requests: Fault::Status(429, "") => HubError::Unreachable { .. },
    a_teapot: Fault::Status(418, "") => HubError::Protocol { .. },
    a_login_page: Fault::Html => HubError::Protocol { .. },
    a_redirect_loop: Fault::Loop => HubError::Protocol { .. },
    no_commit: Fault::Header("X-Repo-Commit", "") => HubError::Protocol { .. },
    a_commit_that_leads_out: Fault::Header("X-Repo-Commit", "../../../../evil") => HubError::Protocol { .. },
    a_tag_that_leads_out: Fault::Header("X-Linked-Etag", "\"../../../evil\"") => HubError::Protocol { .. },
    an_empty_tag: Fault::Header("X-Linked-Etag", "\"\"") => HubError::Protocol { .. },
    a_size_that_is_no_number: Fault::Header("X-Linked-Size", "-1") => HubError::Protocol { .. },
    a_size_that_overflows: Fault::Header("X-Linked-Size", "99999999999999999999999") => HubError::Protocol { .. },
    an_enormous_size: Fault::Header("X-Linked-Size", "9000000000000000000") => HubError::TooLarge { .. },
    a_redirect_to_nowhere: Fault::Header("Location", "http://127.0.0.1:1/blob") => HubError::Unreachable { .. },
    a_redirect_to_no_address: Fault::Header("Location", "http://") => HubError::Unreachable { .. },
    a_redirect_to_another_protocol: Fault::Header("Location", "ftp://localhost/blob") => HubError::Protocol { .. },
    a_redirect_with_a_password: Fault::Header("Location", "http://u:p@localhost/blob") => HubError::Protocol { .. },
    a_chunk_header_that_never_ends: Fault::EndlessChunk => HubError::Unreachable { .. },
    // ureq unpacks what it did not ask for, and gets nowhere.
    a_storage_that_compresses_without_end: Fault::Compressed => HubError::Unreachable { .. },
    a_storage_that_always_starts_over: Fault::StartsOver => HubError::Unreachable { .. },
    an_empty_file: Fault::Empty => HubError::Protocol { .. },
    a_silent_server: Fault::Hang => HubError::Unreachable { .. },
    a_server_that_hangs_up: Fault::Close => HubError::Unreachable { .. },
    a_storage_that_falls_silent: Fault::HangAfter(1000) => HubError::Unreachable { .. },
    a_storage_that_trickles: Fault::Trickle => HubError::Unreachable { .. },
    a_storage_that_always_hangs_up: Fault::AlwaysDrop => HubError::Unreachable { .. },
    other_bytes: Fault::OtherBytes => HubError::Sha256 { .. },
    a_truncated_file: Fault::CutShort(400_000) => HubError::Sha256 { .. },
    more_than_declared: Fault::Longer => HubError::Protocol { .. },
}

/// The redirect's own body is not read.
#[test]
fn a_redirect_whose_body_never_ends_is_followed() {
    assert!(Setup::new(Fault::EndlessRedirect).fetch().unwrap() == content());
}

#[test]
fn damaged_bytes_are_not_kept() {
    let setup = Setup::new(Fault::OtherBytes);
    setup.fetch().unwrap_err();
    assert_eq!(setup.blobs(), [""; 0]);
}

#[test]
fn no_server_at_all() {
    let cache = tempfile::tempdir().unwrap();
    let error = hub("http://127.0.0.1:1", cache.path()).fetch(&file()).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn another_sha256_than_expected_is_an_error() {
    let setup = Setup::new(Fault::None);
    setup.hub().fetch(&file().sha256(sha256(&content()).to_uppercase())).unwrap();
    let setup = Setup::new(Fault::None);
    let error = setup.hub().fetch(&file().sha256("00")).unwrap_err();
    assert!(matches!(error, HubError::Sha256 { .. }), "{error}");
}

#[test]
fn invalid_names_are_refused_before_any_request() {
    let setup = Setup::new(Fault::None);
    let wrong = [
        HubFile::new("../../etc"),
        HubFile::new("owner/name/more"),
        HubFile::new(""),
        HubFile::new("owner/na me"),
        HubFile::new("owner/name?x=1"),
        HubFile::new("/owner"),
        HubFile::new("owner--name"),
        HubFile::new("a--b/c"),
        file().revision(".."),
        file().revision("main#x"),
        file().revision(""),
        file().filename("../../../../etc/passwd"),
        file().filename("/etc/passwd"),
        file().filename("a//b"),
        file().filename("a\\..\\b"),
        file().filename("caf\u{e9}"),
    ];
    for file in wrong {
        let error = setup.hub().fetch(&file).unwrap_err();
        assert!(matches!(error, HubError::Name { .. }), "{file}: {error}");
    }
    assert!(setup.server.requests().is_empty());
}

#[test]
fn two_callers_download_a_file_once() {
    let setup = Setup::new(Fault::None);
    std::thread::scope(|scope| {
        for thread in [scope.spawn(|| setup.fetch()), scope.spawn(|| setup.fetch())] {
            assert_eq!(thread.join().unwrap().unwrap(), content());
        }
    });
    assert_eq!(setup.server.downloads(), 1);
}

#[test]
fn a_lock_that_is_never_released_ends_the_wait() {
    let setup = Setup::new(Fault::None);
    let folder = setup.cache.path().join(".locks/models--owner--name");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join(format!("{}.lock", sha256(&content())))).unwrap();
    lock.lock().unwrap();
    let error = setup.hub().lock_timeout(Duration::from_millis(200)).fetch(&file()).unwrap_err();
    assert!(matches!(error, HubError::Locked { .. }), "{error}");
    drop(lock);
    setup.fetch().unwrap();
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let setup = Setup::new(Fault::None);
    let in_the_way = setup.cache.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let error = hub(&setup.server.url(), &in_the_way).fetch(&file()).unwrap_err();
    assert!(matches!(error, HubError::Cache { .. }), "{error}");
    assert!(error.to_string().contains("HF_HOME"), "{error}");
}

#[test]
fn a_deleted_blob_is_fetched_again() {
    let setup = Setup::new(Fault::None);
    setup.fetch().unwrap();
    std::fs::remove_dir_all(setup.cache.path().join("models--owner--name/blobs")).unwrap();
    assert!(setup.fetch().unwrap() == content());
}

#[test]
fn environment_variables_configure_the_client() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "hf_from_file\n").unwrap();
    let home = folder.path().display().to_string();
    let server = HubServer::start(PATH, content(), Fault::None);
    let hub = |extra: &[(&str, &str)]| {
        let url = server.url();
        let value = |name: &str| match name {
            "HF_HOME" => Some(home.clone().into()),
            "HF_ENDPOINT" => Some(format!(" {url}/ ").into()),
            _ => extra.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()),
        };
        Hub::from_variables(value).unwrap()
    };
    let error = hub(&[("HF_HUB_OFFLINE", "TRUE")]).fetch(&file()).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let tokens = || -> Vec<Option<String>> {
        let requests = server.requests();
        let to_hub = requests.iter().filter(|request| !request.to_storage);
        to_hub.map(|request| request.headers.get("authorization").cloned()).collect()
    };
    let fetched = hub(&[("HF_HUB_OFFLINE", "0")]).fetch(&file()).unwrap();
    assert!(fetched.path.starts_with(folder.path().join("hub/models--owner--name")));
    assert!(tokens().iter().all(|token| token.as_deref() == Some("Bearer hf_from_file")));

    let other = tempfile::tempdir().unwrap();
    let asked = tokens().len();
    let fetched = hub(&[("HF_TOKEN", "hf_from_env"), ("HF_HUB_CACHE", other.path().to_str().unwrap())]);
    let fetched = fetched.fetch(&file()).unwrap();
    assert!(fetched.path.starts_with(other.path().join("models--owner--name")));
    assert!(tokens()[asked..].iter().all(|token| token.as_deref() == Some("Bearer hf_from_env")));

    let nowhere = Hub::from_variables(|name| (name == "HF_HUB_CACHE").then(|| "only/this".into()));
    assert!(format!("{:?}", nowhere.unwrap()).contains("https://huggingface.co"));
}

/// Runs this test again in a child process, to read the child's environment.
#[test]
fn from_env_reads_the_environment() {
    const CHILD: &str = "DUALAD_TEST_HUB_CHILD";
    if std::env::var_os(CHILD).is_some() {
        println!("fetched {}", Hub::from_env().unwrap().fetch(&file()).unwrap().path.display());
        return;
    }
    let setup = Setup::new(Fault::None);
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "from_env_reads_the_environment", "--nocapture"])
        .env(CHILD, "1")
        .env("HF_HOME", setup.cache.path())
        .env("HF_ENDPOINT", setup.server.url())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    let expected = setup.cache.path().join("hub/models--owner--name/snapshots");
    assert!(output.contains(&format!("fetched {}", expected.display())), "{output}");
}

#[test]
fn a_backbone_loads_from_its_own_repository_and_records_it() {
    let bytes = support::serialize(&support::resnet18_stage1());
    let path = "timm/resnet18.tv_in1k/resolve/main/model.safetensors";
    let server = HubServer::start(path, bytes.clone(), Fault::Drop { answers: 1, after: 10_000 });
    let cache = tempfile::tempdir().unwrap();
    let received = Arc::new(AtomicU64::new(0));
    let seen = received.clone();
    let client =
        hub(&server.url(), cache.path()).progress(move |progress| seen.store(progress.received, Ordering::Relaxed));
    let weights = || Weights::hub().with_hub(client.clone());
    let builder = Backbone::ResNet18.extractor().stages(&[1]);
    let extractor = builder.clone().weights(weights()).build().unwrap();
    assert_eq!(received.load(Ordering::Relaxed), bytes.len() as u64);
    let provenance = extractor.provenance();
    assert_eq!(provenance.source, WeightsSource::Hub);
    assert_eq!(provenance.location, "timm/resnet18.tv_in1k/model.safetensors");
    assert_eq!(provenance.revision.as_deref(), Some(COMMIT));
    assert_eq!(provenance.sha256.as_deref(), Some(&*sha256(&bytes)));

    // The provenance is enough to load the same weights again, and no others.
    let pinned = HubFile::new("timm/resnet18.tv_in1k").revision(COMMIT).sha256(sha256(&bytes));
    builder.clone().weights(Weights::hub_file(pinned).with_hub(client.clone())).build().unwrap();
    let other = HubFile::new("timm/resnet18.tv_in1k").revision(COMMIT).sha256("0".repeat(64));
    let error = builder.weights(Weights::hub_file(other).with_hub(client.clone())).build().unwrap_err();
    assert!(matches!(error, Error::Weights(dualad_backbones::WeightsError::Sha256 { .. })), "{error}");

    // Offline, and the file is not in the cache.
    let error = Backbone::ResNet34.extractor().weights(weights().with_hub(client.offline(true))).build().unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Offline { .. })), "{error}");
    // The hub has no weights of ResNet-50 v1.
    let error = Backbone::ResNet50V1.extractor().weights(Weights::hub()).build().unwrap_err();
    assert!(error.to_string().contains("the hub has none"), "{error}");
}
