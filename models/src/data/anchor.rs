//! What moves, as it looked in the last true frame.
//!
//! A rollout that carries its own frames on resamples them once a frame, and small things fade. Where G-buffers say how
//! every point moved, a point can be followed back to the last frame that is known to be true and its colour taken
//! from there: resampled once, however long ago that was. With P(t, x) the place in that frame of what pixel x shows at
//! frame t, and f the flow to the frame before,
//!
//! P(t, x) = s + (P(t − 1, s) − s), s = x + f(t, x),
//!
//! with P − s interpolated between the pixels about s that show the same body. A point that was out of sight on the way, on a body
//! that moves and was seen in the true frame, has the body's mean colour there. What stands still is left out: shadows
//! pass over it, and the plate knows it ([`crate::stdit::Inputs::plate`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use worldloom_kernels::advect::SLOWEST;

use super::gbuffer::GPixel;
use super::loader::to_unit;

/// Channels: red, green, blue in [−1, 1], and 1 where they are known.
pub const ANCHOR_CHANNELS: usize = 4;

/// Follows the points of a world back to one true frame. See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    height: usize,
    width: usize,
    /// The true frame, `[3, H, W]`, 8 bits.
    picture: Vec<u8>,
    /// Bodies of the true frame, `[H, W]`.
    bodies: Vec<u16>,
    /// Mean colour of each body there.
    means: BTreeMap<u16, [f32; 3]>,
    /// Bodies of the last frame, `[H, W]`.
    now: Vec<u16>,
    /// Where each of its points was in the true frame, if that is known, `[H, W]`.
    traces: Vec<Option<Trace>>,
}

/// The way of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Trace {
    /// From here to its place in the true frame, pixels right and down.
    offset: [f32; 2],
    /// It moved on the way.
    moved: bool,
}

impl Anchor {
    /// Starts at a true frame: `picture` `[3, H, W]`, with the bodies of `pixels` `[H, W]`.
    pub fn new(picture: &[u8], pixels: &[GPixel], height: usize, width: usize) -> Self {
        let plane = height * width;
        let bodies: Vec<u16> = pixels.iter().map(|pixel| pixel.instance).collect();
        let mut sums: BTreeMap<u16, ([f64; 3], f64)> = BTreeMap::new();
        for (i, body) in bodies.iter().enumerate() {
            let (sum, count) = sums.entry(*body).or_default();
            for (channel, sum) in sum.iter_mut().enumerate() {
                *sum += f64::from(to_unit(picture[channel * plane + i]));
            }
            *count += 1.0;
        }
        let means = sums.into_iter().map(|(body, (sum, count))| (body, sum.map(|sum| (sum / count) as f32))).collect();
        let here = Trace { offset: [0.0; 2], moved: false };
        let (picture, traces) = (picture[..3 * plane].to_vec(), vec![Some(here); plane]);
        Self { height, width, picture, now: bodies.clone(), bodies, means, traces }
    }

    /// True if it follows pictures of this size, and holds together: one that was read from elsewhere may not.
    pub fn fits(&self, height: usize, width: usize) -> bool {
        let plane = height * width;
        let planes = [self.bodies.len(), self.now.len(), self.traces.len()];
        (self.height, self.width) == (height, width) && self.picture.len() == 3 * plane && planes == [plane; 3]
    }

    /// Goes on to the next frame, whose G-buffer is `pixels` `[H, W]`, and writes what is known of it, `[4, H, W]`
    /// ([`ANCHOR_CHANNELS`]).
    pub fn step(&mut self, pixels: &[GPixel], out: &mut [f32]) {
        let plane = self.height * self.width;
        debug_assert_eq!((pixels.len(), out.len()), (plane, ANCHOR_CHANNELS * plane));
        let traces: Vec<Option<Trace>> = pixels.iter().enumerate().map(|(i, pixel)| self.trace(i, pixel)).collect();
        // By body: points that moved, and points that did not.
        let mut moving: BTreeMap<u16, [usize; 2]> = BTreeMap::new();
        for (pixel, trace) in pixels.iter().zip(&traces) {
            if let (Some(flow), Some(_)) = (pixel.flow(), trace) {
                moving.entry(pixel.instance).or_default()[usize::from(moves(flow))] += 1;
            }
        }
        out.fill(0.0);
        for (i, (pixel, trace)) in pixels.iter().zip(&traces).enumerate() {
            let colour = match trace {
                Some(trace) if trace.moved => self.colour(i, pixel.instance, trace.offset),
                Some(_) => None,
                None => {
                    let mostly = moving.get(&pixel.instance).is_some_and(|[still, moving]| moving > still);
                    self.means.get(&pixel.instance).copied().filter(|_| mostly && pixel.instance != 0)
                }
            };
            let Some(colour) = colour else { continue };
            for (channel, value) in colour.into_iter().enumerate() {
                out[channel * plane + i] = value;
            }
            out[3 * plane + i] = 1.0;
        }
        self.now = pixels.iter().map(|pixel| pixel.instance).collect();
        self.traces = traces;
    }

    /// Where the point at pixel `i` of the new frame was in the true one.
    fn trace(&self, i: usize, pixel: &GPixel) -> Option<Trace> {
        let flow = pixel.flow()?;
        let source = [(i % self.width) as f32 + flow[0], (i / self.width) as f32 + flow[1]];
        let (mut offset, mut total, mut moved) = ([0f32; 2], 0f32, moves(flow));
        for (at, weight) in self.about(source) {
            let Some(trace) = self.traces[at].filter(|_| self.now[at] == pixel.instance) else { continue };
            for (sum, part) in offset.iter_mut().zip(trace.offset) {
                *sum += weight * part;
            }
            moved |= trace.moved;
            total += weight;
        }
        (total > ENOUGH).then(|| Trace { offset: [0, 1].map(|axis| flow[axis] + offset[axis] / total), moved })
    }

    /// The colour of `body` in the true frame, `offset` from pixel `i`.
    fn colour(&self, i: usize, body: u16, offset: [f32; 2]) -> Option<[f32; 3]> {
        let plane = self.height * self.width;
        let place = [(i % self.width) as f32 + offset[0], (i / self.width) as f32 + offset[1]];
        let (mut colour, mut total) = ([0f32; 3], 0f32);
        for (at, weight) in self.about(place) {
            if self.bodies[at] == body {
                for (channel, sum) in colour.iter_mut().enumerate() {
                    *sum += weight * to_unit(self.picture[channel * plane + at]);
                }
                total += weight;
            }
        }
        (total > ENOUGH).then(|| colour.map(|sum| sum / total))
    }

    /// The pixels about a place inside the picture, with their weights for interpolation.
    fn about(&self, [x, y]: [f32; 2]) -> impl Iterator<Item = (usize, f32)> {
        let (left, top) = (x.floor(), y.floor());
        let (right, below) = (x - left, y - top);
        let (width, height) = (self.width, self.height);
        [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].into_iter().filter_map(move |(dx, dy)| {
            let (column, row) = (left + dx, top + dy);
            let inside = column >= 0.0 && row >= 0.0 && column < width as f32 && row < height as f32;
            let weight = (1.0 - (dx - right).abs()) * (1.0 - (dy - below).abs());
            (inside && weight > 0.0).then(|| (row as usize * width + column as usize, weight))
        })
    }
}

/// Weight of the pixels of the same body that makes a place known.
const ENOUGH: f32 = 0.1;

fn moves([dx, dy]: [f32; 2]) -> bool {
    f64::from(dx * dx + dy * dy) >= SLOWEST * SLOWEST
}

#[cfg(test)]
mod tests {
    use worldloom_engine::gbuffer::{FlowField, GBuffer};

    use super::super::gbuffer::pack;
    use super::*;

    const SIDE: usize = 12;

    /// A picture whose body 1, a square of 3 pixels with a colour for each, stands at (x, y); all else is body 2. Points of
    /// body 1 come from `flow`; `hidden` are not seen in the frame before.
    fn frame(x: usize, y: usize, flow: [f32; 2], hidden: bool) -> (Vec<u8>, Vec<GPixel>) {
        let plane = SIDE * SIDE;
        let mut picture = vec![10u8; 3 * plane];
        let mut buffer = GBuffer {
            width: SIDE as u32,
            height: SIDE as u32,
            instance: vec![2; plane],
            flow_backward: FlowField { displacement: vec![[0.0; 2]; plane], occluded: vec![false; plane] },
            ..GBuffer::default()
        };
        for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
            let at = (y + dy) * SIDE + x + dx;
            for channel in 0..3 {
                picture[channel * plane + at] = (100 + 10 * channel + 3 * dy + dx) as u8;
            }
            buffer.instance[at] = 1;
            buffer.flow_backward.displacement[at] = flow;
            buffer.flow_backward.occluded[at] = hidden && dx == 0;
        }
        let mut pixels = Vec::new();
        pack(&buffer, SIDE, SIDE, &mut pixels).unwrap();
        (picture, pixels)
    }

    #[test]
    fn what_moves_keeps_its_colours_however_far_it_goes() {
        let (picture, pixels) = frame(1, 1, [0.0; 2], false);
        let mut anchor = Anchor::new(&picture, &pixels, SIDE, SIDE);
        let mut out = vec![0f32; ANCHOR_CHANNELS * SIDE * SIDE];
        for step in 1..=6 {
            let (picture, pixels) = frame(1 + step, 1, [-1.0, 0.0], false);
            anchor.step(&pixels, &mut out);
            for (i, pixel) in pixels.iter().enumerate() {
                let known = out[3 * SIDE * SIDE + i];
                assert_eq!(known, f32::from(u8::from(pixel.instance == 1)), "step {step}, pixel {i}");
                if known == 1.0 {
                    assert_eq!(out[i], to_unit(picture[i]), "step {step}, pixel {i}");
                }
            }
        }
    }

    #[test]
    fn parts_of_a_pixel_add_up() {
        // Six steps of half a pixel, drawn at the nearest whole one: three pixels in all.
        let (picture, pixels) = frame(1, 4, [0.0; 2], false);
        let mut anchor = Anchor::new(&picture, &pixels, SIDE, SIDE);
        let mut out = vec![0f32; ANCHOR_CHANNELS * SIDE * SIDE];
        for step in 1..=6usize {
            let (_, pixels) = frame(1 + step / 2, 4, [-0.5, 0.0], false);
            anchor.step(&pixels, &mut out);
        }
        let at = 5 * SIDE + 5;
        let middle = to_unit(100 + 3 + 1);
        assert_eq!(out[3 * SIDE * SIDE + at], 1.0);
        assert!((out[at] - middle).abs() < 1.5 / 127.5, "expected {middle}, found {}", out[at]);
    }

    #[test]
    fn what_was_out_of_sight_has_the_mean_of_its_body_and_what_stands_still_nothing() {
        let (picture, pixels) = frame(1, 1, [0.0; 2], false);
        let mut anchor = Anchor::new(&picture, &pixels, SIDE, SIDE);
        let mut out = vec![0f32; ANCHOR_CHANNELS * SIDE * SIDE];
        let (_, pixels) = frame(2, 1, [-1.0, 0.0], true);
        anchor.step(&pixels, &mut out);
        let mean = to_unit(100 + 3 + 1);
        let hidden = SIDE + 2;
        assert!((out[hidden] - mean).abs() < 1e-5, "expected {mean}, found {}", out[hidden]);
        assert_eq!(out[hidden + 1], to_unit(101), "its neighbour was seen");
        let still = 3 * SIDE * SIDE + 8 * SIDE + 8;
        assert_eq!(out[still], 0.0, "the ground stands still");
        // A body that the true frame does not show is not known.
        let (_, mut pixels) = frame(3, 1, [-1.0, 0.0], false);
        for pixel in &mut pixels {
            pixel.instance = if pixel.instance == 1 { 7 } else { 2 };
        }
        anchor.step(&pixels, &mut out);
        assert!(out[3 * SIDE * SIDE..].iter().all(|known| *known == 0.0));
    }
}
