//! Where cameras stand: fixed, mounted, tracking.

use super::geometry::quat;
use super::shapes::vec3;
use crate::error::{Error, Result};
use crate::expr::near;
use crate::maths::Pose;
use crate::problems::Problems;
use crate::scene::{Camera, Lens, Scene};
use crate::state::{BodyState, Catalog};
use crate::view::{View, looking_at};

/// A camera of the scene with its names resolved.
#[derive(Clone, Debug)]
pub struct Rig {
    resolution: [u32; 2],
    intrinsics: [f32; 4],
    local: Pose,
    mount: Option<Anchor>,
    track: Option<Anchor>,
}

/// What a camera is carried by or turns to.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    body: usize,
    local: Pose,
}

impl Rig {
    /// Resolves every camera of a scene, in its order.
    pub fn all(scene: &Scene, catalog: &Catalog, problems: &mut Problems) -> Vec<Self> {
        let rig = |(name, camera): (&String, &Camera)| {
            problems.keep(&format!("cameras.{name}"), Self::new(name, camera, catalog))
        };
        scene.cameras.iter().filter_map(rig).collect()
    }

    fn new(name: &str, camera: &Camera, catalog: &Catalog) -> Result<Self> {
        let field = format!("cameras.{name}");
        let [width, height] = camera.resolution;
        if width == 0 || height == 0 {
            return Err(Error::scene(format!("{field}.resolution"), "must be at least one pixel each way"));
        }
        let intrinsics = camera.intrinsics().map(|k| k as f32);
        if !intrinsics.iter().all(|k| k.is_finite()) || intrinsics[0] <= 0.0 || intrinsics[1] <= 0.0 {
            let (key, hint) = match camera.lens {
                Lens::Fov(_) => ("fov", "the field of view lies between 0 and 180 deg"),
                Lens::Intrinsics(_) => ("intrinsics", "write `[fx, fy, cx, cy]` in pixels, fx and fy above 0"),
            };
            return Err(Error::Scene {
                field: format!("{field}.{key}"),
                problem: "the focal length must be positive and finite".into(),
                hint: hint.into(),
            });
        }
        let local = Pose::from_parts(vec3(camera.at), quat(camera.rotation));
        if !local.is_finite() {
            return Err(Error::scene(field, "its pose is not finite"));
        }
        let anchor = |what: &str, wanted: &str| anchor(catalog, wanted, &format!("{field}.{what}"));
        Ok(Self {
            resolution: camera.resolution,
            intrinsics,
            local,
            mount: camera.mount.as_ref().map(|mount| anchor("mount", &mount.0)).transpose()?,
            track: camera.track.as_deref().map(|track| anchor("track", track)).transpose()?,
        })
    }

    /// Where the camera stands among bodies at these poses.
    pub fn view(&self, bodies: &[BodyState]) -> View {
        let place = |anchor: &Anchor| bodies[anchor.body].pose * anchor.local;
        let mut pose = self.mount.as_ref().map_or(self.local, |mount| place(mount) * self.local);
        if let Some(track) = &self.track
            && let [eye, target] = [pose.translation, place(track).translation].map(|at| at.to_array().map(f64::from))
            && let Some(rotation) = looking_at(eye, target)
        {
            pose.rotation = quat(rotation);
        }
        View {
            width: self.resolution[0],
            height: self.resolution[1],
            intrinsics: self.intrinsics,
            world_from_camera: pose,
        }
    }
}

fn anchor(catalog: &Catalog, name: &str, field: &str) -> Result<Anchor> {
    if let Some(body) = catalog.body(name) {
        return Ok(Anchor { body, local: Pose::IDENTITY });
    }
    if let Some(frame) = catalog.frame(name) {
        let frame = &catalog.frames[frame];
        return Ok(Anchor { body: frame.body, local: frame.local });
    }
    let bodies = catalog.bodies.iter().map(|body| body.name.as_str());
    let frames = catalog.frames.iter().map(|frame| frame.name.as_str());
    Err(Error::UnknownName {
        field: field.into(),
        kind: "body or frame",
        name: name.into(),
        hint: near::suggestion(name, bodies.chain(frames)),
    })
}
