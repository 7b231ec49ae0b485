//! Prints a robot as this engine understands it, for comparison with other readers
//! (`tests/it/parity/robots.py`): `robot_dump FOLDER FILE [POSITIONS…]`, where POSITIONS are JSON
//! arrays with one number per joint. Without positions, the rest positions are used.

use std::process::ExitCode;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Pose, Vec3};
use worldloom_engine::robots::{self, RobotModel};
use worldloom_engine::scene::RobotSource;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file, configurations @ ..] = &arguments[..] else {
        eprintln!("usage: robot_dump FOLDER FILE [POSITIONS…]");
        return ExitCode::from(2);
    };
    match dump(folder, file, configurations) {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn dump(folder: &str, file: &str, configurations: &[String]) -> Result<Value, Box<dyn std::error::Error>> {
    let assets = Assets::new(Default::default(), vec![folder.into()]);
    let source = if file.ends_with(".xml") { RobotSource::Mjcf(file.into()) } else { RobotSource::Urdf(file.into()) };
    let model = robots::load(&source, &assets)?;
    let mut poses = Vec::new();
    for text in configurations {
        let mut positions: Vec<f32> = serde_json::from_str(text)?;
        model.apply_mimics(&mut positions);
        poses.push(placed(&model, &positions));
    }
    if poses.is_empty() {
        poses.push(placed(&model, &model.rest_positions()));
    }
    let links: Vec<Value> = model
        .links
        .iter()
        .map(|link| {
            json!({
                "name": link.name,
                "mass": link.mass_kg,
                "centre": vector(link.centre_of_mass),
                "inertia": link.inertia.to_cols_array_2d(),
                "colliders": link.colliders.len(),
                "visuals": link.visuals.len(),
            })
        })
        .collect();
    let joints: Vec<Value> = model
        .joints
        .iter()
        .map(|joint| {
            json!({
                "name": joint.name,
                "limits": joint.limits.map(|x| x.is_finite().then_some(x)),
                "effort": joint.max_effort.is_finite().then_some(joint.max_effort),
                "velocity": joint.max_velocity.is_finite().then_some(joint.max_velocity),
                "damping": joint.damping,
                "friction": joint.friction,
                "armature": joint.armature,
                "rest": joint.rest,
                "actuated": joint.actuated,
                "mimic": joint.mimic.map(|mimic| mimic.joint),
            })
        })
        .collect();
    Ok(json!({
        "name": model.name,
        "links": links,
        "joints": joints,
        "fixed_base": model.fixed_base,
        "poses": poses,
        "files": model.files.len(),
        "skipped": model.skipped,
    }))
}

/// World poses of the links when the file's world is at the origin: position, quaternion (x, y, z, w).
fn placed(model: &RobotModel, positions: &[f32]) -> Vec<[f32; 7]> {
    let base = model.links.first().map_or(Pose::IDENTITY, |link| link.parent_from_link);
    let array = |pose: Pose| {
        let (p, q) = (pose.translation, pose.rotation);
        [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
    };
    model.forward(base, positions).into_iter().map(array).collect()
}

fn vector(v: Vec3) -> [f32; 3] {
    v.to_array()
}
