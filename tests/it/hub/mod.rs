//! Datasets and checkpoints go to a hub and come back the same; a hub that fails, lies or is not there does no harm.

mod server;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use self::server::{Faults, READER, Server, WRITER};
use self::wire::Request;
use crate::cli::{Workshop, assert_valid, text};
use crate::program::{Run, worldloom};

/// Where the dataset goes.
const DATA: &str = "hf://you/balls";
const KEY: &str = "datasets/you/balls";

/// A hub, and a user with a cache.
struct Desk {
    server: Server,
    shop: Workshop,
    home: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { server: Server::start(), shop: Workshop::new(), home: TempDir::new().expect("a temporary folder") }
    }

    /// With a dataset of two episodes in `data`.
    fn with_data() -> Self {
        let desk = Self::new();
        desk.shop.generate(2, "data", &["--workers", "1"]).expect(0);
        desk
    }

    /// With that dataset on the hub, by nobody's hand that is in the log.
    fn with_pushed_data() -> Self {
        let desk = Self::with_data();
        desk.push("data", DATA, &[]).expect(0);
        desk.server.log();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shop.path(name)
    }

    /// The program as this user runs it.
    fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = worldloom(args);
        for name in [
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
        ] {
            command.env_remove(name);
        }
        // Loopback is behind no proxy.
        command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
        command.env("HF_ENDPOINT", self.server.endpoint()).env("HF_HOME", self.home.path());
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().expect("worldloom starts"))
    }

    fn run_as(&self, token: &str, args: &[&str]) -> Run {
        Run::of(self.command(args).env("HF_TOKEN", token).output().expect("worldloom starts"))
    }

    fn push(&self, folder: &str, to: &str, more: &[&str]) -> Run {
        let folder = text(&self.path(folder));
        self.run_as(WRITER, &[&["push", &folder, to][..], more].concat())
    }

    fn inspect(&self) -> Run {
        self.run(&["inspect", DATA, "--json"])
    }

    /// The part of the cache that the dataset has.
    fn cached(&self) -> PathBuf {
        self.home.path().join("hub").join("datasets--you--balls")
    }

    fn forget(&self) {
        // There may be nothing yet.
        let _ = std::fs::remove_dir_all(self.home.path().join("hub"));
    }
}

/// Requests for content, not for what there is.
fn fetched(log: &[Request]) -> usize {
    log.iter().filter(|request| request.path.starts_with("/get/") || request.path.contains("resolve-cache")).count()
}

/// A description without where it was found.
fn placeless(run: Run) -> Value {
    let mut found = run.expect(0).json();
    found["dataset"] = Value::Null;
    found
}

#[test]
fn a_dataset_that_is_pushed_is_the_same_when_it_comes_back() {
    let desk = Desk::with_data();
    let data = desk.path("data");
    let said = desk.push("data", DATA, &["--private", "--message", "two balls", "--json"]).expect(0).json();
    assert_valid("push", &said);
    assert_eq!((said["kind"].as_str(), said["created"].as_bool()), (Some("dataset"), Some(true)), "{said}");
    assert_eq!(said["commit"], desk.server.head(KEY));
    assert!(desk.server.is_private(KEY) && desk.server.messages(KEY).ends_with(&["two balls".to_owned()]));
    // On the hub are the bytes of the folder, and what the hub added.
    let mut there = desk.server.files(KEY);
    there.remove(".gitattributes").expect("the hub's own file");
    let here = crate::program::tree(&data);
    assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    for (path, (content, lfs)) in &there {
        assert_eq!(*content, std::fs::read(data.join(path)).expect("read"), "{path}");
        assert_eq!(*lfs, path.ends_with(".parquet") || path.ends_with(".mp4"), "{path}");
    }
    // Elsewhere it opens as the same dataset, whole.
    let args = ["inspect", DATA, "--verify", "--json"];
    let back = desk.run_as(READER, &args).expect(0);
    assert!(back.stderr.contains(&format!("{DATA}@{}", desk.server.head(KEY))), "the commit is named: {}", back.stderr);
    assert_eq!(back.json()["dataset"], format!("{DATA}@{}", desk.server.head(KEY)));
    let local = crate::program::run(["inspect", &text(&data), "--verify", "--json"]);
    assert_eq!(placeless(back), placeless(local));
    desk.run_as(READER, &["replay", DATA, "--episode", "1"]).expect(0);
    let page = text(&desk.path("page.html"));
    let reported = desk.run_as(READER, &["report", DATA, "--episodes", "1", "--out", &page, "--json"]).expect(0).json();
    assert_eq!(reported["datasets"], 1);
    // Fetched once.
    desk.server.log();
    desk.run_as(READER, &args).expect(0);
    assert_eq!(fetched(&desk.server.log()), 0, "what is in the cache is not fetched again");
}

#[test]
fn the_cache_is_laid_out_as_pythons_client_has_it() {
    let desk = Desk::with_pushed_data();
    desk.inspect().expect(0);
    let (cached, head) = (desk.cached(), desk.server.head(KEY));
    let read =
        |path: PathBuf| std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(read(cached.join("refs/main")), head);
    let listed: Value = serde_json::from_str(&read(cached.join("trees").join(format!("{head}.json")))).expect("JSON");
    assert_eq!(listed["format_version"], 1);
    let snapshot = cached.join("snapshots").join(&head);
    for (path, entry) in listed["files"].as_object().expect("files") {
        let blob = entry["lfs_sha256"].as_str().or(entry["blob_id"].as_str()).expect("a digest");
        let link = snapshot.join(path);
        assert_eq!(link.metadata().expect("a file").len(), entry["size"].as_u64().expect("a size"), "{path}");
        assert_eq!(link.canonicalize().ok(), cached.join("blobs").join(blob).canonicalize().ok(), "{path}");
        #[cfg(unix)]
        assert!(std::fs::read_link(&link).expect("a link").is_relative(), "{path}: the cache may be moved");
    }
    // By a tag, and by the commit, it is the same folder.
    desk.server.tag(KEY, "v1.0");
    desk.server.log();
    desk.run(&["inspect", &format!("{DATA}@v1.0")]).expect(0);
    assert_eq!(fetched(&desk.server.log()), 0);
    desk.run(&["inspect", &format!("{DATA}@{head}")]).expect(0);
    assert!(desk.server.log().is_empty(), "a commit stays what it is: nobody is asked");
    let unknown = desk.run(&["inspect", &format!("{DATA}@v2.0")]).expect(2);
    assert!(unknown.stderr.contains("no such branch"), "{}", unknown.stderr);
}

#[test]
fn a_second_push_sends_what_changed_and_deletes_what_is_gone() {
    let desk = Desk::with_pushed_data();
    let head = desk.server.head(KEY);
    let said = desk.push("data", DATA, &["--json"]).expect(0).json();
    assert_eq!((&said["changed_files"], &said["commit"]), (&Value::from(0), &Value::from(head.clone())), "{said}");
    assert_eq!(desk.server.head(KEY), head, "nothing changed, nothing is committed");
    assert!(!desk.server.log().iter().any(|request| request.method == "PUT"));

    // Somebody else adds a licence and an old file of ours comes back; then there is one more episode.
    desk.server.put(KEY, "LICENSE", b"free");
    desk.server.put(KEY, "data/chunk-000/file-009.parquet", b"stale");
    desk.shop.generate(3, "data", &["--resume"]).expect(0);
    desk.server.log();
    let said = desk.push("data", DATA, &["--json"]).expect(0).json();
    let there = desk.server.files(KEY);
    assert_eq!(said["deleted_files"], 1, "{said}");
    assert!(there.contains_key("LICENSE") && !there.contains_key("data/chunk-000/file-009.parquet"));
    let unchanged = said["unchanged_files"].as_u64().expect("a number");
    assert!(unchanged > 0, "some files are the same with one more episode: {said}");
    let puts = desk.server.log().iter().filter(|request| request.method == "PUT").count() as u64;
    assert!((1..=said["changed_files"].as_u64().expect("a number")).contains(&puts), "{puts} uploads: {said}");
    let local = crate::program::run(["inspect", &text(&desk.path("data")), "--json"]);
    let mut back = placeless(desk.inspect());
    // The licence is counted too.
    back["bytes"] = Value::from(back["bytes"].as_u64().expect("bytes") - 4);
    assert_eq!(back, placeless(local));
}

#[test]
fn without_a_network_the_cache_serves_and_the_rest_says_so() {
    let desk = Desk::with_pushed_data();
    let offline =
        |args: &[&str]| Run::of(desk.command(args).env("HF_HUB_OFFLINE", "1").output().expect("worldloom starts"));
    let refused = offline(&["inspect", DATA]).expect(2);
    assert!(
        refused.stderr.contains("HF_HUB_OFFLINE") && refused.stderr.contains("does not have it"),
        "{}",
        refused.stderr
    );
    let online = placeless(desk.inspect());
    desk.server.log();
    assert_eq!(placeless(offline(&["inspect", DATA, "--json"])), online);
    let pushed = offline(&["push", &text(&desk.path("data")), DATA]).expect(2);
    assert!(pushed.stderr.contains("HF_HUB_OFFLINE"), "{}", pushed.stderr);
    assert!(desk.server.log().is_empty(), "offline nobody is asked");

    // Nobody listens at port 9.
    let away = |args: &[&str]| {
        let mut command = desk.command(args);
        Run::of(command.env("HF_ENDPOINT", "http://127.0.0.1:9").output().expect("worldloom starts"))
    };
    let stale = away(&["inspect", DATA, "--json"]);
    assert!(stale.stderr.contains("no network") && stale.stderr.contains("what the cache has"), "{}", stale.stderr);
    assert_eq!(placeless(stale), online);
    for args in [&["inspect", "hf://you/other"][..], &["push", &text(&desk.path("data")), DATA]] {
        let failed = away(args).expect(1);
        assert!(failed.stderr.contains("no network: http://127.0.0.1:9"), "{}", failed.stderr);
        assert!(failed.stderr.contains("HF_ENDPOINT"), "{}", failed.stderr);
    }

    let link = desk.cached().join("snapshots").join(desk.server.head(KEY)).join("meta/info.json");
    std::fs::remove_file(link).expect("removed");
    let lacking = offline(&["inspect", DATA]).expect(2);
    assert!(lacking.stderr.contains("lacks 1 of its files"), "{}", lacking.stderr);
}

#[test]
fn tokens_open_what_they_may_and_go_to_nobody_else() {
    let desk = Desk::with_data();
    desk.push("data", DATA, &["--private"]).expect(0);
    let says = |run: Run, code: i32, words: &[&str]| {
        let said = run.expect(code).stderr;
        assert!(words.iter().all(|word| said.contains(word)), "expected {words:?} in\n{said}");
    };
    says(desk.inspect(), 2, &["private", "HF_TOKEN", "HTTP 401"]);
    says(desk.run_as("hf_nobody", &["inspect", DATA]), 2, &["token is not valid", "HTTP 401"]);
    let data = text(&desk.path("data"));
    says(desk.run_as(READER, &["push", &data, "hf://you/other"]), 2, &["right to write", "HTTP 403"]);
    says(desk.run(&["push", &data, "hf://you/other"]), 2, &["HTTP 40"]);
    says(desk.run_as(READER, &["inspect", "hf://you/nothing"]), 2, &["check the name", "HTTP 404"]);
    std::fs::write(desk.home.path().join("token"), format!("{READER}\n")).expect("written");
    desk.server.log();
    desk.inspect().expect(0);
    let log = desk.server.log();
    let (store, hub): (Vec<&Request>, Vec<&Request>) =
        log.iter().partition(|request| request.path.starts_with("/get/"));
    assert!(!store.is_empty() && hub.iter().all(|request| request.header("authorization").is_some()));
    assert!(store.iter().all(|request| request.header("authorization").is_none()), "the store is told no token");
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let desk = Desk::with_pushed_data();
    let expected = placeless(desk.inspect());
    let fails = |faults: Faults| {
        desk.forget();
        desk.server.log();
        desk.server.fail(faults);
        let run = desk.inspect();
        let log = desk.server.log();
        desk.server.fail(Faults::default());
        (run, log)
    };
    let ranges = |log: &[Request]| {
        log.iter().filter_map(|request| request.header("range")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (run, log) = fails(Faults { cut: vec![10, 0, 3], ..Faults::default() });
    assert_eq!(placeless(run), expected);
    assert!(
        ranges(&log).contains(&"bytes=10-".to_owned()) && ranges(&log).contains(&"bytes=13-".to_owned()),
        "{:?}",
        ranges(&log)
    );
    let (run, log) = fails(Faults { cut: vec![10], no_ranges: true, ..Faults::default() });
    assert_eq!(placeless(run), expected, "a server without ranges sends all of it again");
    assert!(ranges(&log).contains(&"bytes=10-".to_owned()));
    let (run, _) = fails(Faults { cut: vec![10; 50], no_ranges: true, ..Faults::default() });
    let said = run.expect(1).stderr;
    assert!(said.contains("breaks off"), "one that never gets beyond the same byte is given up: {said}");
    let (run, _) = fails(Faults { busy: 2, ..Faults::default() });
    assert_eq!(placeless(run), expected, "503 passes");
    // It gives up at last, and another run goes on.
    let (run, _) = fails(Faults { cut: [vec![20], vec![0; 50]].concat(), ..Faults::default() });
    let said = run.expect(1).stderr;
    assert!(said.contains("breaks off") && said.contains("run the command again"), "{said}");
    assert_eq!(placeless(desk.inspect()), expected);
    assert!(ranges(&desk.server.log()).contains(&"bytes=20-".to_owned()));
    // What an earlier run left and is of no use.
    desk.forget();
    desk.inspect().expect(0);
    let head = desk.server.head(KEY);
    let link = desk.cached().join("snapshots").join(&head).join("meta/info.json");
    let blob = link.canonicalize().expect("a blob");
    std::fs::rename(&blob, blob.with_extension("incomplete")).expect("renamed");
    std::fs::write(blob.with_extension("incomplete"), b"something else").expect("written");
    assert_eq!(placeless(desk.inspect()), expected);
}

#[test]
fn a_server_that_lies_is_found_out_and_nothing_of_it_stays() {
    let desk = Desk::with_pushed_data();
    let outside = || {
        crate::program::tree(desk.home.path()).into_keys().filter(|name| !name.starts_with("hub/")).collect::<Vec<_>>()
    };
    let long = |name: &str| Some(name.to_owned());
    for (faults, words) in [
        (Faults { lie: true, ..Faults::default() }, "its digest is"),
        (Faults { rename: long("../../../evil"), ..Faults::default() }, "leads out of the folder"),
        (Faults { rename: long("/tmp/evil"), ..Faults::default() }, "leads out of the folder"),
        (Faults { rename: long("a/../../b"), ..Faults::default() }, "leads out of the folder"),
        (Faults { rename: long("meta"), ..Faults::default() }, "lies in what is a file"),
        (Faults { digest: long("../../evil"), ..Faults::default() }, "is no digest"),
        (Faults { digest: Some("e".repeat(40)), ..Faults::default() }, "was asked for"),
        (Faults { circle: true, ..Faults::default() }, "more than 10 redirects"),
        (Faults { other_commit: true, ..Faults::default() }, "was asked for"),
    ] {
        desk.forget();
        desk.server.fail(faults.clone());
        let said = desk.inspect().expect(1).stderr;
        assert!(said.contains(words), "{faults:?}: expected `{words}` in\n{said}");
        let left = crate::program::tree(desk.home.path());
        assert!(!left.keys().any(|name| name.contains("snapshots") || name.contains("refs")), "{faults:?}: {left:?}");
        assert!(outside().is_empty(), "{faults:?}: {:?}", outside());
    }
    desk.server.fail(Faults::default());
    desk.inspect().expect(0);
}

#[test]
fn a_push_survives_a_bad_connection_and_never_overwrites_what_it_has_not_seen() {
    let desk = Desk::with_data();
    // In parts of 1000 bytes, with broken uploads, and the answer to the commit lost.
    desk.server.fail(Faults { parts: Some(1000), broken_puts: 3, lost_answer: true, ..Faults::default() });
    let said = desk.push("data", DATA, &["--json"]).expect(0).json();
    assert_eq!(said["commit"], desk.server.head(KEY));
    let log = desk.server.log();
    assert!(log.iter().any(|request| request.path.starts_with("/lfs/complete/")), "nothing went in parts");
    assert!(log.iter().filter(|request| request.method == "PUT").all(|request| request.body.len() <= 1000));
    assert_eq!(desk.server.messages(KEY).len(), 2, "committed once");
    desk.server.fail(Faults::default());
    let local = crate::program::run(["inspect", &text(&desk.path("data")), "--json"]);
    assert_eq!(placeless(desk.inspect()), placeless(local));

    // An interrupted push has sent what it has sent.
    let other = "hf://you/again";
    desk.server.fail(Faults { race: true, ..Faults::default() });
    desk.server.log();
    let raced = desk.push("data", other, &[]).expect(1);
    assert!(raced.stderr.contains("somebody else has changed it"), "{}", raced.stderr);
    desk.server.log();
    desk.push("data", other, &[]).expect(0);
    assert!(!desk.server.log().iter().any(|request| request.method == "PUT"), "sent twice");
    desk.server.fail(Faults { gitignore: true, ..Faults::default() });
    let ignored = desk.push("data", "hf://you/ignoring", &[]).expect(1);
    assert!(ignored.stderr.contains(".gitignore"), "{}", ignored.stderr);
}

#[test]
fn what_is_no_dataset_and_no_checkpoint_or_damaged_is_not_pushed() {
    let desk = Desk::with_data();
    let refuses = |folder: &Path, to: &str, words: &[&str]| {
        let said = desk.run_as(WRITER, &["push", &text(folder), to]).expect(2).stderr;
        assert!(words.iter().all(|word| said.contains(word)), "expected {words:?} in\n{said}");
        assert!(desk.server.log().is_empty(), "{}: the server was asked", folder.display());
    };
    let data = desk.path("data");
    refuses(&desk.path(""), DATA, &["neither a dataset", "nor a checkpoint"]);
    refuses(&desk.path("nowhere"), DATA, &["nowhere"]);
    refuses(&data, "hf://models/you/balls", &["a dataset is wanted"]);
    refuses(&data, "balls", &["hf://user/repo"]);
    refuses(&data, &format!("{DATA}@{}", "a".repeat(40)), &["push to a branch"]);
    let file = data.join("meta/stats.json");
    let mut bytes = std::fs::read(&file).expect("read");
    bytes.push(b' ');
    std::fs::write(&file, bytes).expect("written");
    refuses(&data, DATA, &["meta/stats.json", "BLAKE3", "not pushed"]);
    // Outputs go to folders.
    for args in [
        &["generate", "cart_pole", "--episodes", "1", "--out", DATA][..],
        &["train", "video", "--data", DATA, "--out", "hf://you/model"],
        &["merge", DATA, "x"],
    ] {
        let said = desk.run(args).expect(2).stderr;
        assert!(said.contains("worldloom push"), "{args:?}: {said}");
    }
}

#[test]
fn a_model_learns_from_the_hub_and_dreams_from_it() {
    let desk = Desk::new();
    let (shop, _) = crate::models::trained();
    let (data, model) = (shop.path("data"), shop.path("model"));
    let push = |folder: &str, to: &str, more: &[&str]| {
        desk.run_as(WRITER, &[&["push", folder, to, "--json"][..], more].concat()).expect(0).json()
    };
    push(&data, DATA, &[]);
    let said = push(&model, "hf://you/model", &[]);
    assert_eq!(said["kind"], "model");
    let files = desk.server.files("models/you/model");
    for name in ["config.json", "model.safetensors", "README.md", "metrics.csv"] {
        assert!(files.contains_key(name), "{name} is missing");
    }
    assert!(!files.contains_key("train_state.safetensors"), "it is left at home");
    assert!(files["model.safetensors"].1, "weights go by LFS");

    // Trained from the hub, the weights are those of a run on the folder.
    let learned = text(&desk.path("learned"));
    let mut args =
        vec!["train", "video", "--data", DATA, "--out", &learned, "--steps", crate::models::STEPS, "--threads", "2"];
    for setting in crate::models::SMALL {
        args.extend(["--set", setting]);
    }
    desk.run(&args).expect(0);
    let read = |folder: &str, name: &str| std::fs::read(Path::new(folder).join(name)).expect("read");
    assert_eq!(read(&learned, "model.safetensors"), read(&model, "model.safetensors"));
    let config: Value = serde_json::from_slice(&read(&learned, "config.json")).expect("JSON");
    assert_eq!(config["plan"]["data"], format!("{DATA}@{}", desk.server.head(KEY)), "the record says which commit");

    let dreamed = |checkpoint: &str, data: &str, name: &str| {
        let out = text(&desk.path(name));
        let args = ["dream", checkpoint, "--data", data, "--episode", "0", "--frames", "4", "--out", &out, "--json"];
        let said = desk.run(&args).expect(0).json();
        assert_valid("dream", &said);
        let dataset = worldloom_datasets::Dataset::open(Path::new(&out)).expect("a dataset");
        let source = dataset.manifest().and_then(|manifest| manifest.plan.dream.clone()).expect("it says so");
        (dataset.record(0).expect("a record").pixel_digest, source.checkpoint, source.weights)
    };
    let (here, there) = (dreamed(&model, &data, "dream-here"), dreamed("hf://you/model", DATA, "dream-there"));
    assert_eq!((here.0, here.2), (there.0, there.2), "pixels and weights");
    assert_eq!(there.1, format!("hf://you/model@{}", desk.server.head("models/you/model")));
    let found = desk.run(&["eval", "hf://you/model", "--data", DATA, "--frames", "3", "--json"]).expect(0).json();
    assert_valid("eval", &found);
    assert_eq!(found["held_out"], true, "the data is known by its digest");

    // A copy without its state dreams, and is not trained from zero by mistake.
    let copy = text(&desk.path("copy"));
    std::fs::create_dir(&copy).expect("a folder");
    for (name, (content, _)) in desk.server.files("models/you/model") {
        let path = Path::new(&copy).join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    let refused = desk.run(&["train", "video", "--data", DATA, "--out", &copy, "--resume"]).expect(2);
    assert!(refused.stderr.contains("--train-state"), "{}", refused.stderr);
    push(&model, "hf://you/model", &["--train-state"]);
    assert!(desk.server.files("models/you/model").contains_key("train_state.safetensors"));
}
