//! World-steps a second of a batch, by the clock and by CPU time (on a shared machine the second counts): `cargo run --example worlds [worlds] [seconds]`.
//!
//! Boxes that pile up, eight in a world. A world-step is one physics step of one world; a control
//! step has ten, which a world takes in one go, so that it stays in the cache.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use worldloom_engine::assets::Assets;
use worldloom_engine::physics::WorldBatch;
use worldloom_engine::scene::Scene;

fn pile() -> Arc<Scene> {
    let mut objects = json!({"floor": {"plane": 10.0, "at": [0.0, 0.0, 0.0], "fixed": true}});
    for i in 0..8 {
        let (x, y) = (f64::from(i % 4) * 0.3, f64::from(i / 4) * 0.3);
        objects[format!("box{i}")] = json!({"box": [0.2, 0.2, 0.2], "at": [x, y, 0.2], "mass": 1.0});
    }
    let scene = json!({
        "worldloom": 1, "name": "pile", "objects": objects, "observation": ["pos(box0)"],
        "engine": {"physics_rate": 250, "control_rate": 25, "duration": 1000.0, "gravity": [0.0, 0.0, -9.81],
                   "solver_iterations": 4},
    });
    Arc::new(serde_json::from_value(scene).expect("a valid scene"))
}

/// CPU seconds of this process, all threads, in ticks of 10 ms; not a number where the system does not tell.
fn cpu_secs() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    if ticks.len() == 2 { (ticks[0] + ticks[1]) / 100.0 } else { f64::NAN }
}

fn main() {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let worlds = numbers.first().map_or(1024, |n| *n as usize);
    let secs = numbers.get(1).copied().unwrap_or(5.0);
    let scenes = vec![pile(); worlds];
    let assets = Arc::new(Assets::default());
    for threads in [1, 2] {
        let mut batch = WorldBatch::new(&scenes, &assets, threads).expect("the scene builds");
        for _ in 0..5 {
            batch.step(&[]).expect("finite");
        }
        let (begin, busy, mut control_steps) = (Instant::now(), cpu_secs(), 0);
        while begin.elapsed().as_secs_f64() < secs {
            batch.step(&[]).expect("finite");
            control_steps += 1;
        }
        let done = (worlds * 10 * control_steps) as f64;
        let (wall, cpu) = (done / begin.elapsed().as_secs_f64(), done / (cpu_secs() - busy));
        eprintln!("{worlds} worlds of 8 boxes, {threads} threads: {wall:.0} world-steps/s, {cpu:.0} per CPU second");
    }
}
