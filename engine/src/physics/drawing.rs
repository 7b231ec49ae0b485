//! What the cameras of a scene see of its bodies, wherever those are: the one way from poses to a G-buffer.
//!
//! ```text
//! scene, files ─SceneRenderer─► visuals, cameras
//!        bodies now ──────────┴─draw─► Shot: a view and a G-buffer for each camera
//!        the shot before ─────────────┘ (flow to it)
//! ```
//!
//! A world draws its own state with it ([`PhysicsWorld::shoot`](super::PhysicsWorld::shoot)); whoever has poses from
//! elsewhere (recorded ones, or corrected ones) draws those. Cameras that are mounted on a body or turn to one follow it.
//! Robots are their links, an absent body is not seen.
//!
//! **Invariant:** a shot is a function of (scene, files, bodies now, bodies at the shot before) alone: the pixels of a world in
//! that state, bit for bit, but for the faults of its sensors.

use super::build::build;
use super::camera::Rig;
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::gbuffer::{Channels, GBuffer};
use crate::problems::Problems;
use crate::render::{FlowInput, RenderModel, Renderer, flow};
use crate::scene::{Light, Scene, Sky};
use crate::state::{BodyState, Catalog};
use crate::view::View;
use crate::visual::Visual;

/// Draws a scene with its bodies at given poses. See the module.
pub struct SceneRenderer {
    visuals: Vec<Visual>,
    rigs: Vec<Rig>,
    lights: Vec<Light>,
    sky: Sky,
    /// Names of the bodies, in the order of their states.
    bodies: Vec<String>,
    /// Made when first needed: a world may never be seen.
    model: Option<RenderModel>,
    renderer: Renderer,
}

/// What some cameras of a scene saw at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shot {
    /// Cameras by their index in the scene.
    pub cameras: Vec<usize>,
    /// By camera: where it stood.
    pub views: Vec<View>,
    /// By camera: what it saw. `flow_backward` goes to the shot before; it is empty without one, and `flow_forward`
    /// always is.
    pub pixels: Vec<GBuffer>,
    /// By body of the catalog.
    pub bodies: Vec<BodyState>,
}

impl SceneRenderer {
    /// A renderer of `scene`, whose files are looked up in `assets`.
    ///
    /// # Errors
    /// What is wrong with the scene or its files.
    pub fn new(scene: &Scene, assets: &Assets) -> Result<Self> {
        let built = build(scene, assets)?;
        let mut problems = Problems::default();
        let rigs = Rig::all(scene, &built.catalog, &mut problems);
        problems.first()?;
        Ok(Self::of(scene, &built.catalog, built.visuals, rigs))
    }

    /// A renderer of what a scene was built to.
    pub(super) fn of(scene: &Scene, catalog: &Catalog, visuals: Vec<Visual>, rigs: Vec<Rig>) -> Self {
        Self {
            visuals,
            rigs,
            lights: scene.lights.values().cloned().collect(),
            sky: scene.sky.clone(),
            bodies: catalog.bodies.iter().map(|body| body.name.clone()).collect(),
            model: None,
            renderer: Renderer::default(),
        }
    }

    /// What it draws.
    pub fn visuals(&self) -> &[Visual] {
        &self.visuals
    }

    /// Where the cameras stand, in the scene's order.
    pub(super) fn rigs(&self) -> &[Rig] {
        &self.rigs
    }

    /// Draws what `cameras` (by their index in the scene) see of `bodies` (by body of the catalog). With `channels.flow`
    /// and a shot `before` of the same cameras each pixel also gets its motion to there.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a camera that is not there, for another number of bodies than the scene's, for one that is present
    /// at no finite pose, and for a shot of other cameras before.
    pub fn draw(
        &mut self,
        bodies: &[BodyState],
        cameras: &[usize],
        channels: Channels,
        before: Option<&Shot>,
    ) -> Result<Shot> {
        self.check(bodies, cameras, before)?;
        let mut shot = Shot { cameras: cameras.to_vec(), bodies: bodies.to_vec(), ..Shot::default() };
        for (index, camera) in cameras.iter().enumerate() {
            let view = self.rigs[*camera].view(bodies);
            let mut now = GBuffer::default();
            self.draw_view(&view, bodies, channels, &mut now);
            if let Some(before) = before.filter(|_| channels.flow) {
                let (to, to_pixels) = (&before.views[index], &before.pixels[index]);
                let backward = FlowInput { from: &view, to, from_pixels: &now, to_pixels };
                now.flow_backward = flow(&backward, bodies, &before.bodies);
            }
            shot.views.push(view);
            shot.pixels.push(now);
        }
        Ok(shot)
    }

    /// Draws what any view sees.
    pub(super) fn draw_view(&mut self, view: &View, bodies: &[BodyState], channels: Channels, out: &mut GBuffer) {
        let model = self.model.get_or_insert_with(|| RenderModel::new(&self.visuals, &self.lights, &self.sky));
        self.renderer.render(model, bodies, view, channels, out);
    }

    fn check(&self, bodies: &[BodyState], cameras: &[usize], before: Option<&Shot>) -> Result<()> {
        let misuse = |expected: String, found: String| Err(Error::Misuse { operation: "draw", expected, found });
        if let Some(camera) = cameras.iter().find(|camera| **camera >= self.rigs.len()) {
            return misuse(format!("a camera index below {}", self.rigs.len()), camera.to_string());
        }
        if bodies.len() != self.bodies.len() {
            return misuse(format!("the states of {} bodies", self.bodies.len()), bodies.len().to_string());
        }
        if let Some(body) = bodies.iter().position(|body| body.present && !body.pose.is_finite()) {
            return misuse("finite poses".into(), format!("`{}` at {:?}", self.bodies[body], bodies[body].pose));
        }
        match before {
            Some(before) if before.cameras != cameras || before.bodies.len() != bodies.len() => misuse(
                format!("a shot of the cameras {cameras:?} before, of {} bodies", bodies.len()),
                format!("one of {:?}, of {}", before.cameras, before.bodies.len()),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::maths::{Quat, Vec3};
    use crate::physics::PhysicsWorld;
    use crate::world::World;

    /// Control steps after which a body has come and another has gone.
    const STEPS: usize = 8;

    /// A ball that falls onto a box, a stone that an event brings and one that it takes, a camera that stands, one that the ball
    /// carries and one that turns to it.
    fn scene() -> Arc<Scene> {
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let camera =
            |at: [f64; 3]| json!({"resolution": [37, 29], "fov": 0.9, "at": at, "rotation": [-half, 0.0, 0.0, half]});
        let mut carried = camera([0.0, -0.5, 0.1]);
        carried["mount"] = json!("ball");
        let mut turning = camera([0.4, -2.5, 0.4]);
        turning["track"] = json!("ball");
        let scene: Value = json!({
            "worldloom": 1,
            "name": "drawing",
            "engine": {"physics_rate": 100, "control_rate": 20, "duration": 1.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
            "objects": {
                "floor": {"plane": 20.0, "at": [0.0, 0.0, 0.0]},
                "box": {"box": [0.4, 0.4, 0.2], "at": [0.15, 0.0, 0.1], "mass": 2.0},
                "ball": {"sphere": 0.2, "at": [0.0, 0.0, 0.8], "mass": 1.0, "velocity": [0.3, 0.0, 0.0]},
                "stone": {"sphere": 0.1, "at": [-0.5, 0.0, 0.1], "mass": 1.0},
            },
            "cameras": {"standing": camera([0.0, -2.5, 0.6]), "carried": carried, "turning": turning},
            "events": [
                {"at": 0.1, "do": {"spawn": {"name": "late", "object": {"sphere": 0.15, "at": [0.5, 0.0, 0.5], "mass": 1.0}}}},
                {"at": 0.2, "do": {"remove": "stone"}},
            ],
        });
        Arc::new(serde_json::from_value(scene).unwrap_or_else(|error| panic!("{error}")))
    }

    fn world() -> PhysicsWorld {
        let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
        world.reset(&scene()).unwrap_or_else(|error| panic!("{error}"));
        world
    }

    #[test]
    fn states_that_are_drawn_again_have_the_pixels_that_their_world_drew_and_the_flow_of_a_rollout() {
        let mut world = world();
        let mut again = SceneRenderer::new(&scene(), &Assets::default()).unwrap_or_else(|error| panic!("{error}"));
        let (mut before, mut present): (Option<Shot>, Vec<Vec<bool>>) = (None, Vec::new());
        for step in 0..STEPS {
            let bodies = world.state().bodies.clone();
            present.push(bodies.iter().map(|body| body.present).collect());
            let shot = again.draw(&bodies, &[2, 0, 1], Channels::ALL, before.as_ref());
            let shot = shot.unwrap_or_else(|error| panic!("{error}"));
            for (camera, (view, pixels)) in shot.cameras.iter().zip(shot.views.iter().zip(&shot.pixels)) {
                assert_eq!(*view, world.view(*camera), "step {step}, camera {camera}");
                let mut seen = GBuffer::default();
                world.render(*camera, Channels::ALL, &mut seen).unwrap_or_else(|error| panic!("{error}"));
                let flow = GBuffer { flow_backward: pixels.flow_backward.clone(), ..seen };
                assert!(*pixels == flow, "step {step}, camera {camera}");
                assert_eq!(pixels.flow_backward.displacement.is_empty(), step == 0);
            }
            let own = world.shoot(&[2, 0, 1], Channels::ALL, before.as_ref());
            assert!(own.is_ok_and(|own| own == shot), "step {step}: the world's own shot");
            before = Some(shot);
            world.step(&[]).unwrap_or_else(|error| panic!("{error}"));
        }
        let (first, last) = (&present[0], &present[STEPS - 1]);
        assert!(first[3] && !last[3] && !first[4] && last[4], "one goes and one comes: {first:?}, {last:?}");
        let moved = before.is_some_and(|shot| shot.pixels[2].flow_backward.displacement.iter().any(|d| d[1] < -0.5));
        assert!(moved, "the late one falls");
    }

    #[test]
    fn other_poses_give_other_pixels_and_what_cannot_be_drawn_is_refused() {
        let mut renderer = SceneRenderer::new(&scene(), &Assets::default()).unwrap_or_else(|error| panic!("{error}"));
        let world = world();
        let bodies = world.state().bodies.clone();
        let names: Vec<&str> = world.catalog().bodies.iter().map(|body| body.name.as_str()).collect();
        // As they come out of the test's JSON: in the order of the alphabet.
        assert_eq!(names, ["ball", "box", "floor", "stone", "late"]);
        let mut draw = |bodies: &[BodyState], cameras: &[usize], before: Option<&Shot>| {
            renderer.draw(bodies, cameras, Channels::ALL, before)
        };
        let first = draw(&bodies, &[1], None).unwrap_or_else(|error| panic!("{error}"));
        let mut other = bodies.clone();
        other[0].pose.translation += Vec3::new(0.0, 0.0, 0.1);
        let corrected = draw(&other, &[1], Some(&first)).unwrap_or_else(|error| panic!("{error}"));
        assert!(first.pixels[0].depth_m != corrected.pixels[0].depth_m);
        let up = corrected.pixels[0].flow_backward.displacement.iter().map(|d| d[1]).fold(0.0, f32::max);
        assert!(up > 0.5, "a ball that was put higher came from below, {up} px");
        other[0].pose.rotation = Quat::from_xyzw(f32::NAN, 0.0, 0.0, 1.0);
        for (words, found) in [
            ("a camera index below 3", draw(&bodies, &[3], None)),
            ("the states of 5 bodies", draw(&bodies[..4], &[0], None)),
            ("`ball` at", draw(&other, &[0], None)),
            ("a shot of the cameras [2] before", draw(&bodies, &[2], Some(&first))),
        ] {
            let problem = found.map(|_| ()).map_err(|error| error.to_string());
            assert!(problem.as_ref().is_err_and(|problem| problem.contains(words)), "expected `{words}`: {problem:?}");
        }
    }
}
