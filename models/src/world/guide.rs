//! The physics beside a dream: it plays the first frames, and in a conditioned dream it goes on under the same actions,
//! so that its G-buffer tells the model where everything is.

use std::sync::Arc;

use worldloom_engine::Result;
use worldloom_engine::assets::Assets;
use worldloom_engine::events::Fired;
use worldloom_engine::frame::{CameraFrame, Frame};
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::render::{FlowInput, flow};
use worldloom_engine::scene::Scene;
use worldloom_engine::state::BodyState;
use worldloom_engine::view::View;
use worldloom_engine::world::{Snapshot, Step, World};

use crate::data::poses::Lens;

/// See the module.
pub(super) struct Guide {
    world: PhysicsWorld,
    /// The model's cameras, by their index in the scene.
    cameras: Vec<usize>,
    /// By camera of the model: now.
    views: Vec<View>,
    pixels: Vec<GBuffer>,
    bodies: Vec<BodyState>,
    happened: Vec<Fired>,
}

impl Guide {
    /// Starts `scene`.
    pub fn new(assets: Arc<Assets>, scene: &Arc<Scene>, cameras: Vec<usize>) -> Result<Self> {
        let mut world = PhysicsWorld::new(assets);
        world.reset(scene)?;
        let (views, pixels, bodies) = (Vec::new(), Vec::new(), Vec::new());
        let mut guide = Self { world, cameras, views, pixels, bodies, happened: Vec::new() };
        guide.look()?;
        Ok(guide)
    }

    /// The physics itself.
    pub fn world(&self) -> &PhysicsWorld {
        &self.world
    }

    /// Where the model's cameras stand.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The projection of the first.
    pub fn lens(&self) -> Option<Lens> {
        let view = self.views.first()?;
        Lens::new(view.intrinsics, view.width as usize, view.height as usize)
    }

    /// What they see, by camera of the model.
    pub fn pixels(&self) -> &[GBuffer] {
        &self.pixels
    }

    /// Events of the last step of the model.
    pub fn happened(&self) -> &[Fired] {
        &self.happened
    }

    /// Holds `action` for `skip` control steps. `each` is shown every instant that this leads to, before the next. Gives the
    /// sum of the rewards with the last verdict; an end on the way is an end.
    pub fn step<E: From<worldloom_engine::Error>>(
        &mut self,
        action: &[f32],
        skip: usize,
        mut each: impl FnMut(&Self, Step) -> std::result::Result<(), E>,
    ) -> std::result::Result<Step, E> {
        let mut whole = Step::default();
        self.happened.clear();
        for _ in 0..skip {
            let step = self.world.step(action)?;
            self.happened.extend_from_slice(self.world.happened());
            self.look()?;
            each(self, step)?;
            let (reward, terminated) = (whole.reward + step.reward, whole.terminated || step.terminated);
            whole = Step { reward, terminated, ..step };
        }
        Ok(whole)
    }

    /// The present instant as a frame that nobody has acted in yet.
    pub fn frame(&self) -> Frame {
        let view = |(pixels, view): (&GBuffer, &View)| {
            let (at, turn) = (view.world_from_camera.translation, view.world_from_camera.rotation);
            let world_from_camera = [at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w];
            CameraFrame { pixels: pixels.clone(), world_from_camera }
        };
        let views = self.pixels.iter().zip(&self.views).map(view).collect();
        let action = self.world.catalog().action.neutral();
        Frame { state: self.world.state().clone(), action, views, ..Frame::default() }
    }

    /// Goes back to a snapshot of the physics; the flow to the instant before is not known then.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.world.restore(snapshot)?;
        self.happened.clear();
        self.pixels.clear();
        self.look()
    }

    /// Draws every camera, with the flow to where it stood before.
    fn look(&mut self) -> Result<()> {
        let mut views = Vec::with_capacity(self.cameras.len());
        let mut pixels = Vec::with_capacity(self.cameras.len());
        for (index, camera) in self.cameras.iter().enumerate() {
            let view = self.world.view(*camera);
            let mut now = GBuffer::default();
            self.world.render(*camera, Channels::ALL, &mut now)?;
            if let (Some(before), Some(seen)) = (self.views.get(index), self.pixels.get(index)) {
                let backward = FlowInput { from: &view, to: before, from_pixels: &now, to_pixels: seen };
                now.flow_backward = flow(&backward, &self.world.state().bodies, &self.bodies);
            }
            views.push(view);
            pixels.push(now);
        }
        (self.views, self.pixels) = (views, pixels);
        self.bodies.clone_from(&self.world.state().bodies);
        Ok(())
    }
}
