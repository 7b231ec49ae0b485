//! What a dream starts from: the scene as the model sees it.

use worldloom_engine::maths::{Pose, Quat, Vec3};
use worldloom_engine::scene::{Camera, Engine, LANGUAGE_VERSION, Lens, Meta, Scene, Sky};
use worldloom_engine::spec::{CameraSpec, Channel, ObservationSpec, VectorSpec};
use worldloom_engine::state::Catalog;
use worldloom_engine::view::View;

use crate::data::WorldSpec;

/// The scene of a dream: what is known of the world, at the model's rate, with the model's cameras at the size of its
/// pictures. Without a scene, as for a recording of somebody else's, nothing but those is known.
pub fn scene_of(spec: &WorldSpec, scene: Option<Scene>, name: &str) -> Scene {
    let rate = spec.rate() as u32;
    let mut scene = scene.unwrap_or_else(|| Scene {
        worldloom: LANGUAGE_VERSION,
        name: name.to_owned(),
        meta: Meta::default(),
        engine: Engine { control_rate: rate, physics_rate: rate, ..Engine::default() },
        params: Default::default(),
        objects: Default::default(),
        joints: Default::default(),
        robots: Default::default(),
        cameras: Default::default(),
        lights: Default::default(),
        sky: Sky::default(),
        events: Vec::new(),
        drivers: Vec::new(),
        action: Vec::new(),
        observation: Vec::new(),
        success: None,
        reward: None,
        terminate: None,
        labels: None,
    });
    scene.engine.control_rate = rate;
    let [width, height] = [spec.width as u32, spec.height as u32];
    let cameras = spec.cameras.iter().map(|camera| {
        let known = scene.cameras.get(&camera.name).cloned();
        let mut known = known.unwrap_or(Camera {
            resolution: [camera.width as u32, camera.height as u32],
            lens: Lens::Fov(std::f64::consts::FRAC_PI_4),
            at: [0.0; 3],
            rotation: [0.0, 0.0, 0.0, 1.0],
            mount: None,
            track: None,
        });
        if let Lens::Intrinsics([fx, fy, cx, cy]) = known.lens {
            let [x, y] =
                [f64::from(width) / f64::from(known.resolution[0]), f64::from(height) / f64::from(known.resolution[1])];
            known.lens = Lens::Intrinsics([fx * x, fy * y, cx * x, cy * y]);
        }
        known.resolution = [width, height];
        (camera.name.clone(), known)
    });
    scene.cameras = cameras.collect();
    scene
}

/// Where the scene's cameras stand at the start; one that is mounted, at its mount's origin.
pub(super) fn views_of(scene: &Scene) -> Vec<View> {
    let view = |camera: &Camera| {
        let (at, [x, y, z, w]) = (camera.at.map(|value| value as f32), camera.rotation.map(|value| value as f32));
        View {
            width: camera.resolution[0],
            height: camera.resolution[1],
            intrinsics: camera.intrinsics().map(|value| value as f32),
            world_from_camera: Pose::from_parts(Vec3::from_array(at), Quat::from_xyzw(x, y, z, w)),
        }
    };
    scene.cameras.values().map(view).collect()
}

/// The names of a dream that knows no bodies: its actions and its cameras.
pub(super) fn catalog_of(spec: &WorldSpec, action: Option<&VectorSpec>) -> Catalog {
    let unknown = |name: &str| Channel {
        name: name.to_owned(),
        unit: String::new(),
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
    let learned = || VectorSpec { channels: spec.action.iter().map(|action| unknown(&action.name)).collect() };
    let observation = ObservationSpec { state: VectorSpec::default(), cameras: cameras_of(spec) };
    Catalog { action: action.map_or_else(learned, VectorSpec::clone), observation, ..Catalog::default() }
}

/// The model's cameras at the size of its pictures.
pub(super) fn cameras_of(spec: &WorldSpec) -> Vec<CameraSpec> {
    let camera = |camera: &crate::data::Camera| CameraSpec {
        name: camera.name.clone(),
        width: spec.width as u32,
        height: spec.height as u32,
    };
    spec.cameras.iter().map(camera).collect()
}
