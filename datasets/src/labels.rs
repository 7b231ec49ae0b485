//! Label pictures as PNG bytes, and back. `FORMAT.md` documents the encodings for readers.
//!
//! | label | PNG | code | meaning |
//! |---|---|---|---|
//! | depth | 16-bit grey | `d` | millimetres along the optical axis, rounded; 0 = sky, 65535 = 65.535 m or more |
//! | instances | 16-bit grey | `i` | 0 = sky, else 1 + index into the episode's list of instances |
//! | normals | 8-bit RGB | `r` | `n = (r − 128) / 127` in the camera's frame; (0, 0, 0) = sky |
//! | flow | 16-bit RGB | `u, v, s` | `dx = (u − 32768) / 64` px, the same for dy; `s`: 0 = no flow (sky, or beyond ±511 px), 1 = seen in the other frame, 2 = hidden or outside there |
//!
//! A live G-buffer is quantised the same way before a model sees it (DESIGN.md).

use worldloom_engine::gbuffer::{FlowField, GBuffer};

use crate::error::{Error, Result};
use crate::image::{self, Layout};

/// Code of depths that do not fit.
pub const DEPTH_FAR: u16 = u16::MAX;
/// Codes per pixel of flow.
pub const FLOW_SCALE: f32 = 64.0;
/// Code of no motion.
pub const FLOW_ZERO: f32 = 32768.0;
/// Largest displacement that is recorded, pixels.
pub const FLOW_MOST: f32 = 511.0;

/// Metres to the 16-bit code.
pub fn depth_code(depth_m: f32) -> u16 {
    if !depth_m.is_finite() {
        return 0;
    }
    // A cast truncates and saturates.
    ((depth_m * 1000.0 + 0.5) as u16).max(1)
}

/// The 16-bit code to metres; sky is +∞, and what was too far is 65.535.
pub fn depth_metres(code: u16) -> f32 {
    if code == 0 { f32::INFINITY } else { f32::from(code) / 1000.0 }
}

/// A unit normal to three bytes.
pub fn normal_code(normal: [f32; 3]) -> [u8; 3] {
    if normal == [0.0; 3] {
        return [0; 3];
    }
    normal.map(|n| ((n * 127.0 + 128.5) as u8).max(1))
}

/// Three bytes to a normal (not renormalised); sky is zero.
pub fn normal_vector(code: [u8; 3]) -> [f32; 3] {
    if code == [0; 3] { [0.0; 3] } else { code.map(|c| (f32::from(c) - 128.0) / 127.0) }
}

/// Displacement and status to three codes.
pub fn flow_code(displacement: [f32; 2], occluded: bool, sky: bool) -> [u16; 3] {
    let [dx, dy] = displacement;
    if sky || !(dx.abs() <= FLOW_MOST && dy.abs() <= FLOW_MOST) {
        return [FLOW_ZERO as u16, FLOW_ZERO as u16, 0];
    }
    let code = |d: f32| (d * FLOW_SCALE + (FLOW_ZERO + 0.5)) as u16;
    [code(dx), code(dy), 1 + u16::from(occluded)]
}

/// Three codes to a displacement, and true where the point is seen in the other frame (not hidden, outside or unknown).
pub fn flow_vector([u, v, status]: [u16; 3]) -> ([f32; 2], bool) {
    ([u, v].map(|code| (f32::from(code) - FLOW_ZERO) / FLOW_SCALE), status == 1)
}

/// Turns label pictures to PNG bytes, reusing its buffer.
#[derive(Default)]
pub(crate) struct LabelEncoder {
    samples: Vec<u8>,
}

impl LabelEncoder {
    /// The samples of a picture, pixel by pixel.
    fn fill<T, const N: usize>(&mut self, values: &[T], code: impl Fn(&T) -> [u8; N]) {
        self.samples.resize(values.len() * N, 0);
        for (value, out) in values.iter().zip(self.samples.as_chunks_mut::<N>().0) {
            *out = code(value);
        }
    }

    pub(crate) fn depth(&mut self, pixels: &GBuffer) -> Result<Vec<u8>> {
        check("depth", pixels, pixels.depth_m.len())?;
        self.fill(&pixels.depth_m, |d| depth_code(*d).to_be_bytes());
        image::encode(pixels.width, pixels.height, Layout::Gray16, &self.samples)
    }

    pub(crate) fn instances(&mut self, pixels: &GBuffer) -> Result<Vec<u8>> {
        check("instance", pixels, pixels.instance.len())?;
        self.fill(&pixels.instance, |id| id.to_be_bytes());
        image::encode(pixels.width, pixels.height, Layout::Gray16, &self.samples)
    }

    pub(crate) fn normals(&mut self, pixels: &GBuffer) -> Result<Vec<u8>> {
        check("normal", pixels, pixels.normal.len())?;
        self.fill(&pixels.normal, |n| normal_code(*n));
        image::encode(pixels.width, pixels.height, Layout::Rgb8, &self.samples)
    }

    /// `None` if there is no such frame.
    pub(crate) fn flow(&mut self, pixels: &GBuffer, field: &FlowField) -> Result<Option<Vec<u8>>> {
        if field.displacement.is_empty() {
            return Ok(None);
        }
        check("flow", pixels, field.displacement.len())?;
        check("flow occlusion", pixels, field.occluded.len())?;
        // A world that made flow made depth; where it did not, nothing counts as sky.
        let no_depth = pixels.depth_m.is_empty();
        self.samples.resize(field.displacement.len() * 6, 0);
        let flows = field.displacement.iter().zip(&field.occluded).enumerate();
        for ((i, (displacement, occluded)), out) in flows.zip(self.samples.as_chunks_mut::<6>().0) {
            let sky = !no_depth && pixels.depth_m[i] == f32::INFINITY;
            let [u, v, s] = flow_code(*displacement, *occluded, sky).map(u16::to_be_bytes);
            *out = [u[0], u[1], v[0], v[1], s[0], s[1]];
        }
        image::encode(pixels.width, pixels.height, Layout::Rgb16, &self.samples).map(Some)
    }

    pub(crate) fn colour(&mut self, pixels: &GBuffer) -> Result<Vec<u8>> {
        image::encode(pixels.width, pixels.height, Layout::Rgb8, &pixels.colour)
    }
}

fn check(channel: &str, pixels: &GBuffer, found: usize) -> Result<()> {
    let expected = pixels.width as usize * pixels.height as usize;
    if found == expected {
        return Ok(());
    }
    Err(Error::invalid(
        format!("label {channel}"),
        format!("{found} values for {}×{} pixels; was it drawn? see Plan::channels", pixels.width, pixels.height),
    ))
}

/// 16-bit codes of a grey PNG.
pub(crate) fn decode_gray16(bytes: &[u8]) -> Result<(u32, u32, Vec<u16>), String> {
    let decoded = image::decode_as(bytes, Layout::Gray16)?;
    let codes = decoded.samples.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
    Ok((decoded.width, decoded.height, codes))
}

/// Width, height and normals of a PNG.
pub(crate) fn decode_normals(bytes: &[u8]) -> Result<(u32, u32, Vec<[f32; 3]>), String> {
    let decoded = image::decode_as(bytes, Layout::Rgb8)?;
    let normals = decoded.samples.chunks_exact(3).map(|b| normal_vector([b[0], b[1], b[2]])).collect();
    Ok((decoded.width, decoded.height, normals))
}

/// Width, height and flow of a PNG: displacement, and true where the point is hidden, outside or unknown.
pub(crate) fn decode_flow(bytes: &[u8]) -> Result<(u32, u32, FlowField), String> {
    let decoded = image::decode_as(bytes, Layout::Rgb16)?;
    let mut field = FlowField::default();
    for b in decoded.samples.chunks_exact(6) {
        let (displacement, seen) = flow_vector([0, 2, 4].map(|i| u16::from_be_bytes([b[i], b[i + 1]])));
        field.displacement.push(displacement);
        field.occluded.push(!seen);
    }
    Ok((decoded.width, decoded.height, field))
}

/// Box of an instance's visible pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisibleBox {
    /// Instance id.
    pub instance: u16,
    /// First column and row, and one past the last.
    pub x0: u16,
    /// See `x0`.
    pub y0: u16,
    /// See `x0`.
    pub x1: u16,
    /// See `x0`.
    pub y1: u16,
    /// Pixels that show it.
    pub pixels: u32,
}

/// Boxes of all instances that are seen, by id. Sky has none.
pub(crate) fn visible_boxes(pixels: &GBuffer) -> Result<Vec<VisibleBox>> {
    check("instance", pixels, pixels.instance.len())?;
    let width = pixels.width as usize;
    let mut boxes: Vec<Option<VisibleBox>> = Vec::new();
    for (y, row) in pixels.instance.chunks_exact(width.max(1)).enumerate() {
        let mut x = 0;
        while x < row.len() {
            // Ids come in runs: one look per run.
            let id = row[x];
            let end = x + row[x..].iter().take_while(|other| **other == id).count();
            if id != 0 {
                let slot = usize::from(id);
                if boxes.len() <= slot {
                    boxes.resize(slot + 1, None);
                }
                let (x0, x1, y0, run) = (x as u16, end as u16, y as u16, (end - x) as u32);
                let found = boxes[slot].get_or_insert(VisibleBox { instance: id, x0, y0, x1, y1: y0, pixels: 0 });
                found.x0 = found.x0.min(x0);
                found.x1 = found.x1.max(x1);
                found.y1 = y0 + 1;
                found.pixels += run;
            }
            x = end;
        }
    }
    Ok(boxes.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> GBuffer {
        GBuffer {
            width: 3,
            height: 2,
            depth_m: vec![f32::INFINITY, 0.0001, 1.2344, 1.2346, 65.6, 1e9],
            normal: vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.6, -0.8], [0.0, 0.0, -1.0], [0.0; 3]],
            instance: vec![0, 2, 2, 7, 7, 2],
            ..GBuffer::default()
        }
    }

    #[test]
    fn depth_is_exact_to_half_a_millimetre_and_marks_sky_and_far() {
        let (_, _, codes) = decode_gray16(&LabelEncoder::default().depth(&buffer()).unwrap()).unwrap();
        assert_eq!(codes, [0, 1, 1234, 1235, DEPTH_FAR, DEPTH_FAR]);
        assert_eq!(depth_metres(0), f32::INFINITY);
        for mm in 1..65_000u16 {
            assert_eq!(depth_code(depth_metres(mm)), mm);
        }
    }

    #[test]
    fn normals_come_back_within_half_a_step() {
        let pixels = buffer();
        let (_, _, back) = decode_normals(&LabelEncoder::default().normals(&pixels).unwrap()).unwrap();
        for (n, b) in pixels.normal.iter().zip(&back) {
            for axis in 0..3 {
                let error = (n[axis] - b[axis]).abs();
                assert!(error <= 0.5 / 127.0 + 1e-6, "{n:?} came back as {b:?}");
            }
        }
    }

    #[test]
    fn flow_is_exact_to_a_128th_of_a_pixel_and_marks_hidden_sky_and_far() {
        let mut pixels = buffer();
        pixels.depth_m[1] = 1.0;
        let field = FlowField {
            displacement: vec![[3.0, 4.0], [0.0, -0.3], [-511.0, 511.0], [600.0, 0.0], [f32::NAN, 0.0], [1.5, 1.25]],
            occluded: vec![false, false, true, false, false, true],
        };
        let bytes = LabelEncoder::default().flow(&pixels, &field).unwrap().unwrap();
        let (_, _, back) = decode_flow(&bytes).unwrap();
        assert_eq!(back.occluded, [true, false, true, true, true, true]);
        for i in [1, 2, 5] {
            for axis in 0..2 {
                let error = (back.displacement[i][axis] - field.displacement[i][axis]).abs();
                assert!(error <= 1.0 / 128.0, "pixel {i}: {:?} for {:?}", back.displacement[i], field.displacement[i]);
            }
        }
        assert!(LabelEncoder::default().flow(&pixels, &FlowField::default()).unwrap().is_none());
    }

    #[test]
    fn boxes_hold_exactly_the_visible_pixels() {
        let boxes = visible_boxes(&buffer()).unwrap();
        assert_eq!(
            boxes,
            [
                VisibleBox { instance: 2, x0: 1, y0: 0, x1: 3, y1: 2, pixels: 3 },
                VisibleBox { instance: 7, x0: 0, y0: 1, x1: 2, y1: 2, pixels: 2 },
            ]
        );
    }

    #[test]
    fn a_label_that_was_not_drawn_is_an_error_and_not_an_empty_picture() {
        let pixels = GBuffer { width: 2, height: 2, ..GBuffer::default() };
        assert!(LabelEncoder::default().depth(&pixels).is_err());
        assert!(visible_boxes(&pixels).is_err());
    }
}
