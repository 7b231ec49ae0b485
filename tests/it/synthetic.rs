//! Made-up episodes for tests of datasets: every label is a known function of episode, frame and pixel.

use std::path::Path;

use worldloom_datasets::{Draw, EpisodeInfo, Mode, ParamColumn, ParamKind, Plan, Summary, VideoSettings, Writer};
use worldloom_engine::frame::{CameraFrame, EpisodeEnd, Frame, Outcome};
use worldloom_engine::gbuffer::{FlowField, GBuffer};
use worldloom_engine::maths::{Pose, Quat, Vec3};
use worldloom_engine::scene::{ParamValue, Scene};
use worldloom_engine::spec::{Channel, VectorSpec};
use worldloom_engine::state::{BodyInfo, BodyState, Catalog, Contact, JointInfo, JointState, State};

/// Frames a second of every made-up dataset.
pub const FPS: u32 = 20;
/// Cameras: name, width, height.
pub const CAMERAS: [(&str, u32, u32); 2] = [("front", 80, 64), ("wrist", 64, 64)];
/// Bodies, links included.
const BODIES: usize = 3;

/// A plan with every label and three parameter columns.
pub fn plan(video: VideoSettings) -> Plan {
    let column = |name: &str, kind| ParamColumn { name: name.to_owned(), kind };
    Plan {
        scenario_text: "worldloom: 1\nname: synthetic\n".to_owned(),
        scenario_digest: "ab".repeat(32),
        task: "watch the disc".to_owned(),
        robot_type: Some("arm".to_owned()),
        columns: vec![
            column("mass", ParamKind::Number),
            column("objects/image_scale", ParamKind::Vector(2)),
            column("colour", ParamKind::Text),
        ],
        video,
        description: Some("Discs that move.".to_owned()),
        license: Some("CC0-1.0".to_owned()),
        ..Plan::new("synthetic", 7, FPS)
    }
}

/// The scene of every episode.
pub fn scene() -> Scene {
    let camera = |w: u32, h: u32| serde_json::json!({"resolution": [w, h], "fov": 1.0, "at": [0.0, -2.0, 1.0], "rotation": [0.0, 0.0, 0.0, 1.0]});
    let cameras: serde_json::Map<_, _> =
        CAMERAS.iter().map(|(name, w, h)| ((*name).to_owned(), camera(*w, *h))).collect();
    serde_json::from_value(serde_json::json!({
        "worldloom": 1,
        "name": "synthetic",
        "engine": {"physics_rate": 200, "control_rate": FPS, "duration": 1.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "cameras": cameras,
    }))
    .expect("a legal scene")
}

/// Names behind the states.
pub fn catalog() -> Catalog {
    let channel =
        |name: &str, unit: &str| Channel { name: name.to_owned(), unit: unit.to_owned(), low: -1.0, high: 1.0 };
    let body = |i: usize| BodyInfo {
        name: format!("disc{i}"),
        class: "disc".to_owned(),
        robot: None,
        fixed: i == 0,
        mass_kg: 1.0,
        inertia: Vec3::ONE,
        centre_of_mass: Vec3::ZERO,
        bounds: (Vec3::ZERO, Vec3::ONE),
    };
    let mut catalog = Catalog {
        bodies: (0..BODIES).map(body).collect(),
        joints: vec![JointInfo {
            name: "hinge".to_owned(),
            robot: None,
            unit: "rad",
            limits: [-1.0, 1.0],
            actuated: true,
        }],
        action: VectorSpec { channels: vec![channel("push", "N")] },
        ..Catalog::default()
    };
    catalog.observation.state =
        VectorSpec { channels: vec![channel("x", "m"), channel("y", "m"), channel("angle", "rad")] };
    catalog
}

/// The draws of an episode.
pub fn draws(number: u64) -> Vec<Draw> {
    let draw = |name: &str, value, log_prob| Draw { name: name.to_owned(), value, log_prob };
    let x = number as f64;
    vec![
        draw("mass", ParamValue::Number(0.1 + x / 3.0), Some(-0.25 - x)),
        draw("objects/image_scale", ParamValue::Vector(vec![x, 1.0 / (x + 3.0)]), Some(-1.0)),
        draw("colour", ParamValue::Text(["red", "blue"][number as usize % 2].to_owned()), None),
        draw("hidden", ParamValue::Number(0.1 + 0.2), Some(0.5)),
    ]
}

/// Frames of an episode: 1 to 13, different from one to the next.
pub fn length(number: u64) -> u64 {
    1 + number * 5 % 13
}

/// Where the disc of an episode is at a frame, pixels.
pub fn centre(number: u64, k: u64) -> [f32; 2] {
    [20.0 + k as f32 * 1.5 + (number % 5) as f32, 24.0 + (number % 3) as f32 * 4.0]
}

/// The G-buffer of a camera: a disc before a slanted wall, sky above.
pub fn gbuffer(number: u64, k: u64, width: u32, height: u32) -> GBuffer {
    let mut pixels = GBuffer { width, height, ..GBuffer::default() };
    let [cx, cy] = centre(number, k);
    for y in 0..height {
        for x in 0..width {
            let (fx, fy) = (x as f32 + 0.5, y as f32 + 0.5);
            let (dx, dy) = ((fx - cx) / 12.0, (fy - cy) / 12.0);
            let inside = dx * dx + dy * dy < 1.0;
            let sky = !inside && y < height / 6;
            let shade = 60.0 + fx + fy * 0.5;
            let rgb = match (inside, sky) {
                (true, _) => [0.9 * shade + 70.0, 0.8 * shade + 40.0, 0.7 * shade + 30.0],
                (_, true) => [150.0, 170.0, 200.0 - fy],
                _ => [shade, shade * 0.95, shade * 0.85],
            };
            pixels.colour.extend(rgb.map(|c| c as u8));
            let depth = if sky {
                f32::INFINITY
            } else if inside {
                1.5 - 0.1 * dx
            } else {
                2.0 + fy / 16.0
            };
            pixels.depth_m.push(depth);
            let normal = if sky {
                [0.0; 3]
            } else if inside {
                [0.6, 0.0, -0.8]
            } else {
                [0.0, 0.0, -1.0]
            };
            pixels.normal.push(normal);
            pixels.instance.push(if sky {
                0
            } else if inside {
                2
            } else {
                1
            });
            let motion = if inside { [1.5, 0.0] } else { [0.0, 0.0] };
            pixels.flow_forward.displacement.push(motion);
            pixels.flow_forward.occluded.push(!inside && dx * dx + dy * dy < 1.3 && dx > 0.0);
            pixels.flow_backward.displacement.push([-motion[0], 0.0]);
            pixels.flow_backward.occluded.push(false);
        }
    }
    if k == 0 {
        pixels.flow_backward = FlowField::default();
    }
    pixels
}

/// A frame of an episode.
pub fn frame(number: u64, k: u64) -> Frame {
    let t = k as f32 / FPS as f32;
    let [cx, cy] = centre(number, k);
    let body = |i: usize| BodyState {
        pose: Pose::from_parts(Vec3::new(cx * 0.01, i as f32, t), Quat::IDENTITY),
        velocity: Vec3::new(0.3, 0.0, 1.0),
        angular_velocity: Vec3::ZERO,
        present: i != 2 || k > 1,
    };
    let contact = Contact {
        a: 0,
        b: 1,
        point: Vec3::new(t, 0.0, 0.0),
        normal: Vec3::Z,
        depth_m: 0.001,
        normal_force_n: 9.81,
        friction_force_n: Vec3::new(0.1, 0.0, 0.0),
    };
    let last = k + 1 == length(number);
    Frame {
        events: Vec::new(),
        state: State {
            time_secs: f64::from(t),
            step: k,
            bodies: (0..BODIES).map(body).collect(),
            joints: vec![JointState { position: t, velocity: 1.0, effort: 0.5 }],
            contacts: vec![contact; (k % 3) as usize],
        },
        observation: vec![cx * 0.01, cy * 0.01, t],
        action: vec![(k as f32 * 0.7 + number as f32).fract()],
        reward: t - 0.5,
        success: last && number.is_multiple_of(2),
        terminated: last && number.is_multiple_of(3),
        truncated: last && !number.is_multiple_of(3),
        views: CAMERAS
            .iter()
            .map(|(_, w, h)| CameraFrame {
                pixels: gbuffer(number, k, *w, *h),
                world_from_camera: [0.0, -2.0, 1.0 + t, 0.0, 0.0, 0.0, 1.0],
            })
            .collect(),
    }
}

/// The end of an episode. Number 3 diverges before its first frame, 5 after its frames.
pub fn end(number: u64) -> EpisodeEnd {
    let digest = |what: &str| *blake3::hash(format!("{what} {number}").as_bytes()).as_bytes();
    let diverged = Outcome::Diverged { step: 17, what: "disc1 at (NaN, 0, 0)".to_owned() };
    EpisodeEnd {
        frames: if number == 3 { 0 } else { length(number) },
        outcome: match number {
            3 | 5 => diverged,
            n if n.is_multiple_of(3) => Outcome::Terminated,
            _ => Outcome::Truncated,
        },
        success: number.is_multiple_of(2),
        state_digest: digest("states"),
        pixel_digest: digest("pixels"),
    }
}

/// Records one episode.
pub fn record(writer: &Writer, number: u64) -> worldloom_datasets::Result<()> {
    let (scene, catalog, draws) = (scene(), catalog(), draws(number));
    let info = EpisodeInfo { scene: &scene, catalog: &catalog, draws: &draws, attempts: number % 4 };
    let mut episode = writer.episode(number, &info)?;
    let end = end(number);
    for k in 0..end.frames {
        episode.push(&frame(number, k))?;
    }
    episode.finish(&end)
}

/// Records what is pending, at most `most` episodes, and finishes.
pub fn write(dir: &Path, plan: Plan, episodes: u64, mode: Mode) -> worldloom_datasets::Result<Summary> {
    let writer = Writer::open(dir, plan, episodes, mode)?;
    writer.asset("meshes/disc.obj", b"o disc")?;
    for number in writer.pending() {
        record(&writer, number)?;
    }
    writer.finish()
}

/// Digest of every file of a folder, by relative path.
pub fn tree(root: &Path) -> std::collections::BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, out: &mut std::collections::BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                let name = path.strip_prefix(root).expect("under the root").display().to_string();
                out.insert(name, format!("{} ({} bytes)", blake3::hash(&bytes), bytes.len()));
            }
        }
    }
    let mut out = std::collections::BTreeMap::new();
    walk(root, root, &mut out);
    out
}

/// Asserts that two folders hold the same bytes, naming the files that differ.
pub fn assert_same_tree(expected: &Path, found: &Path, what: &str) {
    let (expected, found) = (tree(expected), tree(found));
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differing: Vec<_> = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| format!("{name}: expected {:?}, found {:?}", expected.get(name), found.get(name)))
        .collect();
    assert!(differing.is_empty(), "{what}: {} files differ:\n{}", differing.len(), differing.join("\n"));
}

/// Copies a folder.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}
