//! Physics throughput: control steps a second of single worlds and batches, and snapshots.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::physics::{PhysicsWorld, WorldBatch};
use worldloom_engine::scene::Scene;
use worldloom_engine::world::World;

/// `count` boxes that fall on a floor and pile up, at 250 physics steps and 25 control steps a second.
fn pile(count: usize) -> Arc<Scene> {
    let mut objects = json!({"floor": {"plane": 10.0, "at": [0.0, 0.0, 0.0], "fixed": true}});
    for i in 0..count {
        let (x, y, z) = ((i % 4) as f64 * 0.3, (i / 4 % 4) as f64 * 0.3, 0.2 + 0.3 * (i / 16) as f64);
        objects[format!("box{i:04}")] = json!({"box": [0.2, 0.2, 0.2], "at": [x, y, z], "mass": 1.0});
    }
    let scene: Value = json!({
        "worldloom": 1, "name": "pile", "objects": objects, "observation": ["pos(box0000)"],
        "engine": {"physics_rate": 250, "control_rate": 25, "duration": 1000.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
    });
    Arc::new(serde_json::from_value(scene).expect("a valid scene"))
}

fn settled(scene: &Arc<Scene>) -> PhysicsWorld {
    let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
    world.reset(scene).expect("builds");
    for _ in 0..25 {
        world.step(&[]).expect("finite");
    }
    world
}

fn physics(c: &mut Criterion) {
    let mut group = c.benchmark_group("physics");
    for count in [8, 64] {
        let mut world = settled(&pile(count));
        group.throughput(Throughput::Elements(10));
        group.bench_function(format!("pile of {count} boxes, physics steps"), |b| {
            b.iter(|| black_box(world.step(&[]).expect("finite")));
        });
    }
    let scenes = vec![pile(8); 64];
    for threads in [1, 2] {
        let mut batch = WorldBatch::new(&scenes, &Arc::new(Assets::default()), threads).expect("builds");
        group.throughput(Throughput::Elements(64));
        group.bench_function(format!("64 worlds of 8 boxes on {threads} threads, control steps"), |b| {
            b.iter(|| black_box(batch.step(&[]).expect("finite").len()));
        });
    }
    let world = settled(&pile(8));
    group.throughput(Throughput::Elements(1));
    group.bench_function("snapshot of 8 boxes", |b| b.iter(|| black_box(world.snapshot().expect("taken"))));
    group.finish();
}

criterion_group!(benches, physics);
criterion_main!(benches);
