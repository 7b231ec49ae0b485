//! Training in mixed precision: near that in f32, exact to resume, and what it leaves is f32.

use std::path::Path;
use std::process::Stdio;

use worldloom_datasets::Dataset;

use crate::models::{STEPS, lasting, trained};
use crate::program::{assert_same_bytes, run, worldloom};

const BF16: [&str; 4] = ["--steps", STEPS, "--set", "model.precision=bf16"];

#[test]
fn in_bf16_a_model_learns_as_in_f32_resumes_to_the_same_bytes_and_dreams() {
    let (shop, full) = trained();
    let loss = |said: &serde_json::Value| said["loss"].as_f64().expect("a loss");
    let said = shop.train("bf16", &[&BF16[..], &["--json"]].concat()).expect(0).json();
    let off = loss(&said) / loss(full) - 1.0;
    assert!(off.abs() < 0.02, "the loss is {} in bf16 and {} in f32", loss(&said), loss(full));
    let folder = shop.path("bf16");
    let (weights, state) =
        (Path::new(&folder).join("model.safetensors"), Path::new(&folder).join("train_state.safetensors"));
    for path in [&weights, &state] {
        let header = std::fs::read(path).expect("weights");
        let length = u64::from_le_bytes(header[..8].try_into().expect("eight bytes")) as usize;
        let header = std::str::from_utf8(&header[8..8 + length]).expect("a header");
        assert!(header.contains("F32") && !header.contains("BF16"), "{}: masters are f32", path.display());
    }
    let other = std::fs::read(Path::new(&shop.path("model")).join("model.safetensors")).expect("weights");
    assert!(std::fs::read(&weights).expect("weights") != other, "the blocks were rounded");

    // Killed after its first save.
    let cut = shop.path("bf16_cut");
    let mut child = worldloom(shop.train_args("bf16_cut", &BF16));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("worldloom starts");
    while !Path::new(&cut).join("train_state.safetensors").is_file() && child.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("gone");
    shop.train("bf16_cut", &["--resume"]).expect(0);
    assert_same_bytes("a resumed run", &lasting(Path::new(&folder)), &lasting(Path::new(&cut)));

    let (data, out) = (shop.path("data"), shop.path("bf16_dreamed"));
    run(["dream", &folder, "--data", &data, "--episode", "1", "--frames", "3", "--out", &out]).expect(0);
    assert_eq!(Dataset::open(Path::new(&out)).expect("a dataset").frames(0).expect("frames").count(), 7);
}

#[test]
fn a_precision_that_there_is_none_of_is_refused() {
    let (shop, _) = trained();
    let refused = shop.train("refused_precision", &["--steps", "1", "--set", "model.precision=f16"]).expect(2);
    assert!(refused.stderr.contains("model.precision=f16") && refused.stderr.contains("bf16"), "{}", refused.stderr);
}
