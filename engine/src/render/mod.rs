//! The software renderer: a whole G-buffer in one pass.

use crate::gbuffer::{Channels, FlowField, GBuffer};
use crate::scene::{Light, Sky};
use crate::state::BodyState;
use crate::view::View;
use crate::visual::Visual;

/// What is drawn, prepared once per scene: triangles, textures, lights.
pub struct RenderModel {}

impl RenderModel {
    /// Prepares visuals for drawing.
    pub fn new(_visuals: &[Visual], _lights: &[Light], _sky: &Sky) -> Self {
        Self {}
    }
}

/// Draws; holds the buffers that one picture after the other uses again.
#[derive(Default)]
pub struct Renderer {}

impl Renderer {
    /// Draws `channels` of what `view` sees of the bodies where they are now into `out`, reusing its memory.
    pub fn render(
        &mut self,
        _model: &RenderModel,
        _bodies: &[BodyState],
        _view: &View,
        _channels: Channels,
        _out: &mut GBuffer,
    ) {
    }
}

/// Two instants of one camera.
pub struct FlowInput<'a> {
    /// Camera at the instant whose pixels get a displacement.
    pub from: &'a View,
    /// Camera at the other instant.
    pub to: &'a View,
    /// Pixels at `from` (depth and instance).
    pub from_pixels: &'a GBuffer,
    /// Pixels at `to` (depth and instance), for occlusion.
    pub to_pixels: &'a GBuffer,
}

/// Where each visible point of `from` is at `to`, and whether it is seen there.
pub fn flow(_input: &FlowInput<'_>, _from_bodies: &[BodyState], _to_bodies: &[BodyState]) -> FlowField {
    FlowField::default()
}
