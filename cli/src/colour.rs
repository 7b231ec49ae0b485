//! Label images for people: depth, normals, instances and flow as colours, and pictures side by side.
//!
//! Only for looking at. The exact labels are in the dataset (`datasets/FORMAT.md`).

use worldloom_engine::gbuffer::{FlowField, GBuffer, SKY};
use worldloom_engine::maths;

use crate::failure::{Failure, Outcome};

/// An 8-bit RGB picture, `[H, W, 3]`, row 0 at the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[H, W, 3]` sRGB.
    pub rgb: Vec<u8>,
}

/// Anchors of the depth map, near to far: warm to cool, with luminance falling all the way.
const DEPTH_RAMP: [[u8; 3]; 7] =
    [[255, 244, 196], [253, 191, 96], [238, 116, 74], [191, 57, 104], [123, 36, 122], [58, 30, 104], [18, 16, 52]];
/// Colour of sky in depth and instance pictures.
const NOTHING: [u8; 3] = [12, 13, 20];
/// Golden ratio's fraction: successive multiples spread hues as evenly as can be.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// Depth in metres, from `near` (bright) to `far` (dark); sky nearly black.
pub fn depth(width: u32, height: u32, depth_m: &[f32], near: f32, far: f32) -> Picture {
    let span = (far - near).max(1e-6);
    let rgb = depth_m.iter().flat_map(|&d| if d.is_finite() { ramp(f64::from((d - near) / span)) } else { NOTHING });
    Picture { width, height, rgb: rgb.collect() }
}

/// The nearest depth and one that 98 % of the surface pixels are nearer than, so that a far floor does not drown the rest.
pub fn depth_range(depth_m: &[f32]) -> Option<(f32, f32)> {
    let mut finite: Vec<f32> = depth_m.iter().copied().filter(|d| d.is_finite()).collect();
    finite.sort_by(f32::total_cmp);
    let near = *finite.first()?;
    let far = finite[(finite.len() - 1) * 98 / 100];
    Some((near, far.max(near + 1e-3)))
}

/// Camera-space normals: x, y, z in [−1, 1] to red, green, blue, turned so that a surface facing the camera is blue.
pub fn normals(width: u32, height: u32, normal: &[[f32; 3]]) -> Picture {
    let code = |x: f32| (127.5 + 127.5 * x).clamp(0.0, 255.0) as u8;
    let rgb = normal.iter().flat_map(|n| if *n == [0.0; 3] { NOTHING } else { [code(n[0]), code(-n[1]), code(-n[2])] });
    Picture { width, height, rgb: rgb.collect() }
}

/// Instance ids, each in a colour of its own.
pub fn instances(width: u32, height: u32, ids: &[u16]) -> Picture {
    Picture { width, height, rgb: ids.iter().flat_map(|&id| instance_colour(id)).collect() }
}

/// The colour of an instance id.
pub fn instance_colour(id: u16) -> [u8; 3] {
    if id == SKY {
        return NOTHING;
    }
    let turn = f64::from(id) * GOLDEN;
    let value = if id.is_multiple_of(2) { 0.78 } else { 0.95 };
    hsv(turn - turn.floor(), 0.62, value)
}

/// Flow on the colour wheel: hue is direction, strength is speed relative to `full_px`; hidden points are dimmed.
pub fn flow(width: u32, height: u32, field: &FlowField, full_px: f32) -> Picture {
    let full = f64::from(full_px.max(1e-3));
    let pixel = |(d, occluded): (&[f32; 2], &bool)| {
        let (x, y) = (f64::from(d[0]), f64::from(d[1]));
        let strength = ((x * x + y * y).sqrt() / full).min(1.0);
        let angle = maths::atan2(y, x) / std::f64::consts::TAU;
        hsv(angle - angle.floor(), strength, if *occluded { 0.45 } else { 0.97 })
    };
    Picture { width, height, rgb: field.displacement.iter().zip(&field.occluded).flat_map(pixel).collect() }
}

/// The length that 98 % of the displacements stay below, in pixels, at least half a pixel.
pub fn flow_range(field: &FlowField) -> f32 {
    let mut lengths: Vec<f32> = field.displacement.iter().map(|d| (d[0] * d[0] + d[1] * d[1]).sqrt()).collect();
    lengths.retain(|length| length.is_finite());
    lengths.sort_by(f32::total_cmp);
    lengths.get(lengths.len().saturating_sub(1) * 98 / 100).copied().unwrap_or(0.0).max(0.5)
}

/// The colour channel of a G-buffer.
pub fn colour(pixels: &GBuffer) -> Picture {
    Picture { width: pixels.width, height: pixels.height, rgb: pixels.colour.clone() }
}

impl Picture {
    /// A picture of one colour.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        let count = width as usize * height as usize;
        Self { width, height, rgb: colour.iter().copied().cycle().take(count * 3).collect() }
    }

    /// Copies `other` in with its top left corner at (x, y); what sticks out is cut off.
    pub fn paste(&mut self, other: &Self, x: u32, y: u32) {
        let across = other.width.min(self.width.saturating_sub(x)) as usize * 3;
        for row in 0..other.height.min(self.height.saturating_sub(y)) {
            let from = (row * other.width) as usize * 3;
            let to = ((y + row) as usize * self.width as usize + x as usize) * 3;
            self.rgb[to..to + across].copy_from_slice(&other.rgb[from..from + across]);
        }
    }

    /// `pictures` in rows of `columns`, `gap` pixels apart on `background`.
    pub fn grid(pictures: &[Self], columns: usize, gap: u32, background: [u8; 3]) -> Self {
        let cell_width = pictures.iter().map(|picture| picture.width).max().unwrap_or(1);
        let cell_height = pictures.iter().map(|picture| picture.height).max().unwrap_or(1);
        let rows = pictures.len().div_ceil(columns).max(1) as u32;
        let columns = columns as u32;
        let size = |cells: u32, cell: u32| cells * cell + (cells + 1) * gap;
        let mut sheet = Self::filled(size(columns, cell_width), size(rows, cell_height), background);
        for (i, picture) in pictures.iter().enumerate() {
            let (column, row) = (i as u32 % columns, i as u32 / columns);
            sheet.paste(picture, gap + column * (cell_width + gap), gap + row * (cell_height + gap));
        }
        sheet
    }

    /// Every pixel as a square of `factor` pixels.
    pub fn enlarged(&self, factor: u32) -> Self {
        let mut rgb = Vec::with_capacity(self.rgb.len() * (factor * factor) as usize);
        for row in self.rgb.chunks_exact(self.width as usize * 3) {
            let mut wide = Vec::with_capacity(row.len() * factor as usize);
            for pixel in row.chunks_exact(3) {
                for _ in 0..factor {
                    wide.extend_from_slice(pixel);
                }
            }
            for _ in 0..factor {
                rgb.extend_from_slice(&wide);
            }
        }
        Self { width: self.width * factor, height: self.height * factor, rgb }
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> Outcome<Vec<u8>> {
        self.encoded(png::Compression::High)
    }

    /// The same, larger and sooner.
    pub fn quick_png(&self) -> Outcome<Vec<u8>> {
        self.encoded(png::Compression::Fastest)
    }

    fn encoded(&self, compression: png::Compression) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(compression);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&self.rgb)?;
            writer.finish()
        });
        written.map_err(|error| Failure::failed(format!("cannot write a PNG: {error}"), ""))?;
        Ok(bytes)
    }
}

fn ramp(t: f64) -> [u8; 3] {
    let position = t.clamp(0.0, 1.0) * (DEPTH_RAMP.len() - 1) as f64;
    let low = (position as usize).min(DEPTH_RAMP.len() - 2);
    let part = position - low as f64;
    let mix = |c: usize| f64::from(DEPTH_RAMP[low][c]) * (1.0 - part) + f64::from(DEPTH_RAMP[low + 1][c]) * part;
    [mix(0) as u8, mix(1) as u8, mix(2) as u8]
}

/// Hue, saturation and value in [0, 1] to sRGB.
fn hsv(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    let channel = |shift: f64| {
        let k = (shift + hue * 6.0) % 6.0;
        let fall = k.min(4.0 - k).clamp(0.0, 1.0);
        (255.0 * (value - value * saturation * fall)).round() as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_is_brighter() {
        let picture = depth(3, 1, &[1.0, 2.0, 3.0], 1.0, 3.0);
        let luma: Vec<u32> = picture.rgb.chunks(3).map(|p| p.iter().map(|&c| u32::from(c)).sum()).collect();
        assert!(luma[0] > luma[1] && luma[1] > luma[2], "luminance {luma:?} does not fall with depth");
    }

    #[test]
    fn the_first_hundred_instances_look_different() {
        let colours: std::collections::BTreeSet<[u8; 3]> = (0..100).map(instance_colour).collect();
        assert_eq!(colours.len(), 100);
    }

    #[test]
    fn opposite_motions_have_opposite_hues() {
        let field = FlowField { displacement: vec![[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]], occluded: vec![false; 3] };
        let picture = flow(3, 1, &field, 2.0);
        assert_eq!(&picture.rgb[..3], &[247, 0, 0], "motion to the right is red");
        assert_eq!(&picture.rgb[3..6], &[0, 247, 247], "motion to the left is cyan");
        assert_eq!(&picture.rgb[6..9], &[247, 247, 247], "no motion is white");
    }

    #[test]
    fn a_sheet_holds_its_pictures_where_it_says() {
        let red = Picture::filled(2, 2, [255, 0, 0]);
        let sheet = Picture::grid(&[red.clone(), red], 2, 1, [0, 0, 0]);
        assert_eq!((sheet.width, sheet.height), (7, 4));
        let at = |x: usize, y: usize| &sheet.rgb[(y * 7 + x) * 3..][..3];
        assert_eq!(at(0, 0), [0, 0, 0]);
        assert_eq!(at(1, 1), [255, 0, 0]);
        assert_eq!(at(3, 1), [0, 0, 0]);
        assert_eq!(at(4, 2), [255, 0, 0]);
    }
}
