//! A driver in another process gets what it was promised: the lines are written down by the program itself.

use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::drivers::scripted;
use worldloom_engine::frame::Frame;
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;
use worldloom_engine::{Error, Result};

use crate::rig::{camera, scene, start};

/// Three control steps of a ball under a program that copies every line to `log`.
fn driven(log: &str, pictures: bool, cameras: Value) -> Arc<Scene> {
    let script = format!(
        "while IFS= read -r line; do printf '%s\\n' \"$line\" >> '{log}'; case \"$line\" in *'\"reset\"'*) ;; *) echo '[0,0,0]';; esac; done"
    );
    let mut scene = (*scene(
        9.81,
        json!({
            "objects": {"ball": {"sphere": 0.2, "at": [0.0, 0.0, 0.0], "velocity": [2.0, 0.0, 0.0]}},
            "cameras": cameras,
            "action": ["force(ball)"],
            "observation": ["pos(ball)"],
            "drivers": [{"process": {"command": ["sh", "-c", script], "timeout": 60.0, "pictures": pictures}}],
        }),
    ))
    .clone();
    scene.engine.duration = 0.06;
    Arc::new(scene)
}

fn two_cameras() -> Value {
    json!({
        "left": camera([-1.0, -3.0, 0.2], [0.0, 0.0, 0.0], [20, 12], 0.6),
        "right": camera([1.0, -3.0, 0.2], [0.0, 0.0, 0.0], [8, 10], 0.6),
    })
}

fn run(scene: &Arc<Scene>, channels: Channels) -> Result<Vec<Frame>> {
    let assets = Assets::default();
    let mut world = start(scene);
    let mut policy = scripted(scene, world.catalog(), world.robots(), &assets)?;
    policy.reset(scene, world.catalog(), Stream::new(1, "policy", 0, 0))?;
    let mut rollout = Rollout::new(&mut world, &mut *policy, channels)?;
    let mut frames = Vec::new();
    while let Some(frame) = rollout.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn base64(text: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    assert_eq!(text.len() % 4, 0, "padded to groups of four");
    for group in text.as_bytes().chunks(4) {
        let digit = |byte: &u8| digits.find(char::from(*byte)).unwrap_or(0) as u32;
        let bits = group.iter().fold(0, |bits, byte| bits << 6 | digit(byte));
        let padding = group.iter().filter(|byte| **byte == b'=').count();
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    out
}

/// Width, height and RGB of a PNG.
fn decode(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
    let info = reader.next_frame(&mut pixels).expect("a frame");
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (info.width, info.height, pixels)
}

#[test]
fn a_process_that_wants_pictures_gets_exactly_those_that_are_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let frames = run(&driven(&log.display().to_string(), true, two_cameras()), Channels::ALL)
        .unwrap_or_else(|error| panic!("{error}"));
    let text = std::fs::read_to_string(&log).expect("the program wrote");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), frames.len()), (4, 3), "a reset and three steps");
    assert_eq!(
        lines[0]["cameras"],
        json!([{"name": "left", "width": 20, "height": 12}, {"name": "right", "width": 8, "height": 10}])
    );
    for (line, frame) in lines[1..].iter().zip(&frames) {
        let pictures = line["pictures"].as_object().expect("a map");
        assert_eq!(pictures.len(), 2, "one picture for each camera");
        for (name, view) in ["left", "right"].into_iter().zip(&frame.views) {
            let (width, height, rgb) = decode(&base64(pictures[name].as_str().expect("text")));
            assert_eq!((width, height), (view.pixels.width, view.pixels.height), "size of {name}");
            assert!(rgb == view.pixels.colour, "pixels of {name} at step {}", line["step"]);
        }
    }
    assert_ne!(lines[1]["pictures"], lines[3]["pictures"], "the ball moves");
}

#[test]
fn a_process_that_wants_none_gets_none_and_one_that_cannot_have_them_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log").display().to_string();
    run(&driven(&log, false, two_cameras()), Channels::ALL).unwrap_or_else(|error| panic!("{error}"));
    let text = std::fs::read_to_string(&log).expect("the program wrote");
    assert!(!text.contains("pictures") && !text.contains("cameras"), "unasked: {text}");
    let depth_only = Channels { colour: false, ..Channels::ALL };
    match run(&driven(&log, true, two_cameras()), depth_only) {
        Err(Error::Process { problem, .. }) => assert!(problem.contains("colour of camera `left`"), "{problem}"),
        other => panic!("expected an error of the process, found {:?}", other.map(|frames| frames.len())),
    }
    let blind = run(&driven(&log, true, json!({})), Channels::ALL).err().map(|error| error.to_string());
    assert!(blind.as_ref().is_some_and(|text| text.contains("need a camera")), "{blind:?}");
}
