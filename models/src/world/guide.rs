//! The physics beside a dream: it plays the first frames, and in a conditioned dream it goes on under the same actions,
//! so that its G-buffer tells the model where everything is.

use std::sync::Arc;

use worldloom_engine::Result;
use worldloom_engine::assets::Assets;
use worldloom_engine::events::Fired;
use worldloom_engine::frame::{CameraFrame, Frame};
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::physics::{PhysicsWorld, Shot};
use worldloom_engine::scene::Scene;
use worldloom_engine::view::View;
use worldloom_engine::world::{Snapshot, Step, World};

use crate::data::poses::Lens;

/// See the module.
pub(super) struct Guide {
    world: PhysicsWorld,
    /// The model's cameras, by their index in the scene.
    cameras: Vec<usize>,
    /// What they see now.
    shot: Shot,
    happened: Vec<Fired>,
}

impl Guide {
    /// Starts `scene`.
    pub fn new(assets: Arc<Assets>, scene: &Arc<Scene>, cameras: Vec<usize>) -> Result<Self> {
        let mut world = PhysicsWorld::new(assets);
        world.reset(scene)?;
        let shot = world.shoot(&cameras, Channels::ALL, None)?;
        Ok(Self { world, cameras, shot, happened: Vec::new() })
    }

    /// The physics itself.
    pub fn world(&self) -> &PhysicsWorld {
        &self.world
    }

    /// Where the model's cameras stand.
    pub fn views(&self) -> &[View] {
        &self.shot.views
    }

    /// The projection of the first.
    pub fn lens(&self) -> Option<Lens> {
        let view = self.shot.views.first()?;
        Lens::new(view.intrinsics, view.width as usize, view.height as usize)
    }

    /// What they see, by camera of the model.
    pub fn pixels(&self) -> &[GBuffer] {
        &self.shot.pixels
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
            self.shot = self.world.shoot(&self.cameras, Channels::ALL, Some(&self.shot))?;
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
        let views = self.shot.pixels.iter().zip(&self.shot.views).map(view).collect();
        let action = self.world.catalog().action.neutral();
        Frame { state: self.world.state().clone(), action, views, ..Frame::default() }
    }

    /// Goes back to a snapshot of the physics; the flow to the instant before is not known then.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.world.restore(snapshot)?;
        self.happened.clear();
        self.shot = self.world.shoot(&self.cameras, Channels::ALL, None)?;
        Ok(())
    }
}
