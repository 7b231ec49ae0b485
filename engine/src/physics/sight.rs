//! The visible part of a body, as the signal `visible` has it.

use super::drawing::SceneRenderer;
use crate::expr::Sight;
use crate::gbuffer::{Channels, GBuffer};
use crate::state::{BodyState, State};
use crate::view::View;

/// Longest side of the picture in which `visible` counts pixels. A body of 1 % of the picture's
/// area still covers about 90 of them.
const SIGHT_PIXELS: u32 = 96;

/// The renderer with the buffers that one look after the other uses again.
pub(super) struct Eyes {
    pub renderer: SceneRenderer,
    scratch: GBuffer,
    alone: Vec<BodyState>,
}

impl Eyes {
    /// Eyes that see what `renderer` draws.
    pub fn new(renderer: SceneRenderer) -> Self {
        Self { renderer, scratch: GBuffer::default(), alone: Vec::new() }
    }

    /// The eyes on a state of the world that they belong to.
    pub fn look<'a>(&'a mut self, state: &'a State) -> Look<'a> {
        Look { eyes: self, state }
    }
}

/// A world's eyes at one instant.
pub(super) struct Look<'a> {
    eyes: &'a mut Eyes,
    state: &'a State,
}

impl Look<'_> {
    fn count(&mut self, view: &View, bodies: &[BodyState], id: u16) -> usize {
        let channels = Channels { colour: false, depth: false, normal: false, instance: true, flow: false };
        self.eyes.renderer.draw_view(view, bodies, channels, &mut self.eyes.scratch);
        self.eyes.scratch.instance.iter().filter(|pixel| **pixel == id).count()
    }
}

impl Sight for Look<'_> {
    /// Pixels of the body in the whole scene over its pixels when it is alone, at reduced
    /// resolution; 0 if it is absent or outside the picture. What the picture's edge cuts off counts
    /// as neither.
    fn visible(&mut self, body: usize, camera: usize) -> f64 {
        let rig = self.eyes.renderer.rigs().get(camera);
        let (Some(rig), Some(now)) = (rig, self.state.bodies.get(body)) else { return 0.0 };
        if !now.present {
            return 0.0;
        }
        let view = reduced(&rig.view(&self.state.bodies));
        let id = u16::try_from(body + 1).unwrap_or(u16::MAX);
        let mut alone = std::mem::take(&mut self.eyes.alone);
        alone.clear();
        alone.extend(self.state.bodies.iter().enumerate().map(|(index, b)| BodyState { present: index == body, ..*b }));
        let whole = self.count(&view, &alone, id);
        self.eyes.alone = alone;
        if whole == 0 {
            return 0.0;
        }
        let state = self.state;
        self.count(&view, &state.bodies, id) as f64 / whole as f64
    }
}

/// The same view in fewer pixels.
fn reduced(view: &View) -> View {
    let longest = view.width.max(view.height);
    if longest <= SIGHT_PIXELS {
        return *view;
    }
    let scale = SIGHT_PIXELS as f32 / longest as f32;
    let side = |pixels: u32| ((pixels as f32 * scale).round() as u32).max(1);
    let (width, height) = (side(view.width), side(view.height));
    let (sx, sy) = (width as f32 / view.width as f32, height as f32 / view.height as f32);
    let [fx, fy, cx, cy] = view.intrinsics;
    View { width, height, intrinsics: [fx * sx, fy * sy, cx * sx, cy * sy], world_from_camera: view.world_from_camera }
}
