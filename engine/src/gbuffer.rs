//! Per-pixel ground truth of a camera.
//!
//! Arrays are row-major `[H, W]` or `[H, W, C]`, row 0 at the top. A channel that was not asked for is an empty vector.

use serde::{Deserialize, Serialize};

/// Instance id of pixels where no surface is seen.
pub const SKY: u16 = 0;

/// Which channels of a G-buffer to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// sRGB colour.
    pub colour: bool,
    /// Metric depth along the optical axis.
    pub depth: bool,
    /// Camera-space normals.
    pub normal: bool,
    /// Instance ids.
    pub instance: bool,
    /// Forward and backward flow with occlusion masks (needs depth and instance; they are made too).
    pub flow: bool,
}

impl Channels {
    /// Everything.
    pub const ALL: Self = Self { colour: true, depth: true, normal: true, instance: true, flow: true };
    /// The picture alone.
    pub const COLOUR: Self = Self { colour: true, depth: false, normal: false, instance: false, flow: false };
}

/// One camera's view at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GBuffer {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[H, W, 3]` sRGB, 8 bits a channel.
    pub colour: Vec<u8>,
    /// `[H, W]` distance along the optical axis in metres; +∞ where only sky is seen.
    pub depth_m: Vec<f32>,
    /// `[H, W, 3]` unit normals in the camera's frame (x right, y down, z forward); zero on sky.
    pub normal: Vec<[f32; 3]>,
    /// `[H, W]` instance ids; [`SKY`] where only sky is seen, else 1 + the index of the instance.
    pub instance: Vec<u16>,
    /// `[H, W]` motion of each visible point from this frame to the next one.
    pub flow_forward: FlowField,
    /// `[H, W]` motion of each visible point from this frame to the one before.
    pub flow_backward: FlowField,
}

/// Motion of the visible surface points to another frame, in pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowField {
    /// `[H, W]` displacement (dx right, dy down) in pixels; empty if there is no such frame.
    pub displacement: Vec<[f32; 2]>,
    /// `[H, W]` true where the point is hidden or out of the picture in the other frame.
    pub occluded: Vec<bool>,
}

impl GBuffer {
    /// Empties every channel, keeps the memory for `channels`, and takes the size.
    pub(crate) fn reset(&mut self, width: u32, height: u32, channels: Channels) {
        let pixels = width as usize * height as usize;
        (self.width, self.height) = (width, height);
        self.colour.clear();
        self.depth_m.clear();
        self.normal.clear();
        self.instance.clear();
        for field in [&mut self.flow_forward, &mut self.flow_backward] {
            field.displacement.clear();
            field.occluded.clear();
        }
        if channels.colour {
            self.colour.reserve(3 * pixels);
        }
        if channels.depth || channels.flow {
            self.depth_m.reserve(pixels);
        }
        if channels.normal {
            self.normal.reserve(pixels);
        }
        if channels.instance || channels.flow {
            self.instance.reserve(pixels);
        }
    }
}
