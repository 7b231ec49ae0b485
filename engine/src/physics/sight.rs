//! What cameras see: pictures, and the visible part of a body.

use super::camera::Rig;
use crate::expr::Sight;
use crate::gbuffer::{Channels, GBuffer};
use crate::render::{RenderModel, Renderer};
use crate::scene::{Light, Scene};
use crate::state::{BodyState, State};
use crate::view::View;
use crate::visual::Visual;

/// Longest side of the picture in which `visible` counts pixels. A body of 1 % of the picture's
/// area still covers about 90 of them.
const SIGHT_PIXELS: u32 = 96;

/// The renderer with what it draws, made when first needed.
#[derive(Default)]
pub(super) struct Eyes {
    model: Option<RenderModel>,
    renderer: Renderer,
    scratch: GBuffer,
    alone: Vec<BodyState>,
}

impl Eyes {
    /// The eyes on a state of the world that they belong to.
    pub fn look<'a>(
        &'a mut self,
        scene: &'a Scene,
        visuals: &'a [Visual],
        rigs: &'a [Rig],
        state: &'a State,
    ) -> Look<'a> {
        Look { eyes: self, scene, visuals, rigs, state }
    }

    /// Draws what a view sees of a state.
    pub fn draw(
        &mut self,
        scene: &Scene,
        visuals: &[Visual],
        bodies: &[BodyState],
        view: &View,
        channels: Channels,
        out: &mut GBuffer,
    ) {
        let lights: Vec<Light> =
            if self.model.is_none() { scene.lights.values().cloned().collect() } else { Vec::new() };
        let model = self.model.get_or_insert_with(|| RenderModel::new(visuals, &lights, &scene.sky));
        self.renderer.render(model, bodies, view, channels, out);
    }
}

/// A world's eyes at one instant.
pub(super) struct Look<'a> {
    eyes: &'a mut Eyes,
    scene: &'a Scene,
    visuals: &'a [Visual],
    rigs: &'a [Rig],
    state: &'a State,
}

impl Look<'_> {
    fn count(&mut self, view: &View, bodies: &[BodyState], id: u16) -> usize {
        let channels = Channels { colour: false, depth: false, normal: false, instance: true, flow: false };
        let mut picture = std::mem::take(&mut self.eyes.scratch);
        self.eyes.draw(self.scene, self.visuals, bodies, view, channels, &mut picture);
        let count = picture.instance.iter().filter(|pixel| **pixel == id).count();
        self.eyes.scratch = picture;
        count
    }
}

impl Sight for Look<'_> {
    /// Pixels of the body in the whole scene over its pixels when it is alone, at reduced
    /// resolution; 0 if it is absent or outside the picture. What the picture's edge cuts off counts
    /// as neither.
    fn visible(&mut self, body: usize, camera: usize) -> f64 {
        let (Some(rig), Some(now)) = (self.rigs.get(camera), self.state.bodies.get(body)) else { return 0.0 };
        if !now.present {
            return 0.0;
        }
        let view = reduced(&rig.view(self.state));
        let id = u16::try_from(body + 1).unwrap_or(u16::MAX);
        let mut alone = std::mem::take(&mut self.eyes.alone);
        alone.clear();
        alone.extend(self.state.bodies.iter().enumerate().map(|(index, b)| BodyState { present: index == body, ..*b }));
        let whole = self.count(&view, &alone, id);
        self.eyes.alone = alone;
        if whole == 0 {
            return 0.0;
        }
        let bodies = &self.state.bodies;
        self.count(&view, bodies, id) as f64 / whole as f64
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
