//! The simulator's G-buffer as channels of a picture, recorded or rendered anew.
//!
//! | channel | value | unknown or sky |
//! |---|---|---|
//! | 0 | nearness: 1 / (1 + depth in metres), as quantised by the recorder | 0 |
//! | 1…3 | normal in the camera's frame | 0 |
//! | 4…6 | a colour of the instance's id, each in [−1, 1]: tells surfaces apart | 0 |
//! | 7, 8 | flow to the frame before, in pixels of the model / 8, cut off at ±4 | 0 |
//! | 9 | 1 where that flow is known and the point was seen in the frame before | 0 |
//! | 10 | 1: the G-buffer of this frame is given | 0 |
//!
//! All zeros therefore mean a frame without a G-buffer, and a model that dreams free is given just that.

use worldloom_datasets::labels;
use worldloom_engine::gbuffer::{FlowField, GBuffer};

use super::resize::nearest;

/// Channels of an encoded G-buffer.
pub const GBUFFER_CHANNELS: usize = 11;
/// Channel of the horizontal flow; the vertical one follows.
pub const FLOW_CHANNEL: usize = 7;
/// Channel that says where the flow is known.
pub const SEEN_CHANNEL: usize = 9;
/// Pixels that a flow channel of 1 stands for.
pub const FLOW_UNIT: f32 = 8.0;
/// Largest flow channel.
const FLOW_MOST: f32 = 4.0;

/// A pixel of the G-buffer in memory: 12 bytes, as exact as the recorder's own encodings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct GPixel {
    /// Millimetres; 0 is sky ([`labels::depth_code`]).
    depth: u16,
    /// Instance id; 0 is sky.
    pub instance: u16,
    /// 1/64 pixel of the model, to the frame before.
    flow: [i16; 2],
    /// [`labels::normal_code`].
    normal: [u8; 3],
    /// The flow is known and its point was seen.
    seen: bool,
}

impl GPixel {
    /// A pixel of which the instance alone is known.
    #[cfg(test)]
    pub(crate) fn of_instance(instance: u16) -> Self {
        Self { instance, ..Self::default() }
    }

    /// A pixel whose point is known to have moved, in 1/64 of a pixel.
    #[cfg(test)]
    pub(crate) fn of_flow(instance: u16, flow: [i16; 2]) -> Self {
        Self { instance, flow, seen: true, ..Self::default() }
    }

    /// Flow to the frame before in pixels of the model, if the point was seen there.
    pub fn flow(&self) -> Option<[f32; 2]> {
        self.seen.then(|| self.flow.map(|code| f32::from(code) / labels::FLOW_SCALE))
    }
}

/// Takes a recorded or rendered G-buffer to `[height, width]`, each pixel from the one under its centre, as the recorder
/// would have stored it. Channels that are not there stay unknown. `None` if the G-buffer is empty.
pub fn pack(pixels: &GBuffer, height: usize, width: usize, out: &mut Vec<GPixel>) -> Option<()> {
    let (h, w) = (pixels.height as usize, pixels.width as usize);
    if h == 0 || w == 0 {
        return None;
    }
    let has = |length: usize| length == h * w;
    let backward: &FlowField = &pixels.flow_backward;
    let scale = [width as f32 / w as f32, height as f32 / h as f32];
    for y in 0..height {
        for x in 0..width {
            let place = nearest(y, h, height) * w + nearest(x, w, width);
            let mut pixel = GPixel::default();
            if has(pixels.depth_m.len()) {
                pixel.depth = labels::depth_code(pixels.depth_m[place]);
            }
            if has(pixels.instance.len()) {
                pixel.instance = pixels.instance[place];
            }
            if has(pixels.normal.len()) {
                pixel.normal = labels::normal_code(pixels.normal[place]);
            }
            if has(backward.displacement.len()) && has(backward.occluded.len()) {
                let sky = has(pixels.depth_m.len()) && pixels.depth_m[place] == f32::INFINITY;
                let code = labels::flow_code(backward.displacement[place], backward.occluded[place], sky);
                let (flow, seen) = labels::flow_vector(code);
                let small = |axis: usize| (flow[axis] * scale[axis] * labels::FLOW_SCALE).round();
                // A cast saturates.
                pixel.flow = [small(0) as i16, small(1) as i16];
                pixel.seen = seen;
            }
            out.push(pixel);
        }
    }
    Some(())
}

/// Writes the channels of a frame, `[G, H, W]`; `flow`: its flow goes to the frame before of the model, else it is left unknown.
pub fn encode(pixels: &[GPixel], flow: bool, out: &mut [f32]) {
    let count = pixels.len();
    debug_assert_eq!(out.len(), GBUFFER_CHANNELS * count);
    for (i, pixel) in pixels.iter().enumerate() {
        let mut set = |channel: usize, value: f32| out[channel * count + i] = value;
        set(0, if pixel.depth == 0 { 0.0 } else { 1.0 / (1.0 + labels::depth_metres(pixel.depth)) });
        for (axis, value) in labels::normal_vector(pixel.normal).into_iter().enumerate() {
            set(1 + axis, value);
        }
        for (axis, value) in colour(pixel.instance).into_iter().enumerate() {
            set(4 + axis, value);
        }
        for axis in (0..2).filter(|_| flow) {
            let value = f32::from(pixel.flow[axis]) / (labels::FLOW_SCALE * FLOW_UNIT);
            set(FLOW_CHANNEL + axis, value.clamp(-FLOW_MOST, FLOW_MOST));
        }
        set(SEEN_CHANNEL, f32::from(u8::from(pixel.seen && flow)));
        set(10, 1.0);
    }
}

/// A colour for an id: steps of the golden ratio and its like (Roberts 2018), so that near ids get far colours.
fn colour(id: u16) -> [f32; 3] {
    /// 1/g, 1/g², 1/g³ with g⁴ = g + 1.
    const STEPS: [f64; 3] = [0.819_172_513_396_164_5, 0.671_043_606_703_789_3, 0.549_700_477_901_970_3];
    if id == 0 {
        return [0.0; 3];
    }
    STEPS.map(|step| (2.0 * (f64::from(id) * step).fract() - 1.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_by_two() -> GBuffer {
        GBuffer {
            width: 2,
            height: 2,
            depth_m: vec![1.0, f32::INFINITY, 3.0, 0.5],
            normal: vec![[0.0, 0.0, -1.0], [0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            instance: vec![1, 0, 2, 300],
            flow_backward: FlowField {
                displacement: vec![[1.0, -2.0], [0.0, 0.0], [100.0, 0.0], [f32::NAN, 0.0]],
                occluded: vec![false, true, false, false],
            },
            ..GBuffer::default()
        }
    }

    #[test]
    fn channels_are_what_the_table_says() {
        let mut packed = Vec::new();
        pack(&two_by_two(), 2, 2, &mut packed).unwrap();
        let mut out = vec![9.0; GBUFFER_CHANNELS * 4];
        encode(&packed, true, &mut out);
        let channel = |c: usize| &out[c * 4..c * 4 + 4];
        assert_eq!(channel(0), [0.5, 0.0, 0.25, 1.0 / 1.5]);
        assert_eq!(channel(3)[0], -1.0);
        assert_eq!(channel(FLOW_CHANNEL), [0.125, 0.0, FLOW_MOST, 0.0]);
        assert_eq!(channel(FLOW_CHANNEL + 1)[0], -0.25);
        assert_eq!(channel(SEEN_CHANNEL), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(channel(10), [1.0; 4]);
        assert_eq!(out[4 * 4 + 1], 0.0, "sky has no colour");
        assert_ne!(out[4 * 4], out[4 * 4 + 2], "ids have colours of their own");
        out.fill(0.0);
        encode(&packed, false, &mut out);
        assert!(out[FLOW_CHANNEL * 4..(SEEN_CHANNEL + 1) * 4].iter().all(|v| *v == 0.0), "the flow is of another rate");
        assert_eq!(packed[0].flow(), Some([1.0, -2.0]));
        assert_eq!(packed[3].flow(), None, "what is not a number is not seen");
    }

    #[test]
    fn a_live_gbuffer_packs_to_what_the_recorder_stores_of_it() {
        // Flow off the steps of its code, of sky that turns with the camera, and beyond what is recorded.
        let mut live = two_by_two();
        live.flow_backward = FlowField {
            displacement: vec![[-0.3 / 64.0, 1.5 / 64.0 + 1e-4], [3.0, 1.0], [511.5, 0.0], [-0.5 / 64.0, 2.0]],
            occluded: vec![false; 4],
        };
        live.depth_m[3] = 0.000_2;
        live.normal[3] = [0.6, -0.3, 0.741_62];
        let mut stored = live.clone();
        for i in 0..4 {
            let sky = live.depth_m[i] == f32::INFINITY;
            let code = labels::flow_code(live.flow_backward.displacement[i], live.flow_backward.occluded[i], sky);
            let (displacement, seen) = labels::flow_vector(code);
            (stored.flow_backward.displacement[i], stored.flow_backward.occluded[i]) = (displacement, !seen);
            stored.depth_m[i] = labels::depth_metres(labels::depth_code(live.depth_m[i]));
            stored.normal[i] = labels::normal_vector(labels::normal_code(live.normal[i]));
        }
        for (height, width) in [(2, 2), (3, 5), (1, 1)] {
            let (mut of_live, mut of_stored) = (Vec::new(), Vec::new());
            pack(&live, height, width, &mut of_live).unwrap();
            pack(&stored, height, width, &mut of_stored).unwrap();
            assert_eq!(of_live, of_stored, "{height}×{width}");
        }
        let mut packed = Vec::new();
        pack(&live, 2, 2, &mut packed).unwrap();
        assert_eq!(packed[0].flow(), Some([0.0, 2.0 / 64.0]));
        assert_eq!((packed[1].flow(), packed[2].flow()), (None, None), "sky, and too far");
    }

    #[test]
    fn flow_shrinks_with_the_picture() {
        let mut field = two_by_two();
        field.flow_backward.displacement = vec![[4.0, 2.0]; 4];
        let mut packed = Vec::new();
        pack(&field, 1, 1, &mut packed).unwrap();
        assert_eq!(packed.len(), 1);
        assert_eq!(packed[0].flow, [128, 64], "half of (4, 2) pixels in steps of 1/64");
        assert!(pack(&GBuffer::default(), 1, 1, &mut packed).is_none());
    }
}
