//! Masks of objects that the head is shown once, in whatever number.
//!
//! An object is described by what it looked like in one true frame (a [`Description`]: its mean colour, spread,
//! size and place). The description becomes a query q; the tokens of a frame become a feature f of every 2 × 2 pixels;
//! the object has the pixels whose f answers q most (Cheng et al. 2021, MaskFormer, §3.2). A learned query stands for
//! everything that was not described. Nothing depends on how many objects there are, or on their order.

use candle_core::{D, Device, Tensor};
use serde::{Deserialize, Serialize};
use worldloom_kernels as kernels;
use worldloom_kernels::query_loss::IGNORED;

use super::track::Track;
use crate::data::GPixel;
use crate::error::Result;
use crate::layers::Linear;
use crate::params::{Init, Scope};

/// Numbers of a description.
pub const DESCRIPTION: usize = 11;
/// Most objects that are followed at once, the largest first.
pub const MOST_OBJECTS: usize = 16;
/// Pixels below which an object is not seen well enough to be described.
const FEWEST_PIXELS: usize = 6;
/// Width of features and queries.
const FEATURES: usize = 16;
/// Hidden units of the query's network.
const HIDDEN: usize = 64;
/// Side of the square of pixels that share a feature.
pub const CELL: usize = 2;
/// Bias of a query that stands for no object.
const ABSENT: f32 = -30.0;

/// An object as it was seen in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its instance id in that frame.
    pub id: u16,
    /// Mean and standard deviation of its colours in [−1, 1]; logarithm of its share of the picture; centre and
    /// size of its box, in [−1, 1].
    pub values: [f32; DESCRIPTION],
}

impl Description {
    /// Centre of its box, in [−1, 1] from left to right and from top to bottom.
    pub fn centre(&self) -> [f32; 2] {
        [self.values[7], self.values[8]]
    }
}

/// Objects of a batch of windows.
#[derive(Clone, Debug)]
pub struct Objects {
    /// By window: at most [`MOST_OBJECTS`].
    pub described: Vec<Vec<Description>>,
    /// `[B, T, cells]` u32, cells token by token: index of the object that the cell belongs to, [`MOST_OBJECTS`] for none.
    pub target: Option<Tensor>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    features: Linear,
    first: Linear,
    second: Linear,
    /// `[FEATURES + 1]`: the query of everything else.
    rest: Tensor,
    patch: usize,
}

/// Which object each cell of a frame belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks {
    /// `[rows, columns]`: instance ids of the described objects, 0 for none of them.
    pub ids: Vec<u16>,
    /// Cells down.
    pub rows: usize,
    /// Cells across.
    pub columns: usize,
}

impl Masks {
    /// Leaves of every object its largest connected part (by sides), the first in raster order of equal ones: a stray cell far
    /// away would pull its centre along.
    fn keep_largest_parts(&mut self) {
        let mut part = vec![0usize; self.ids.len()];
        // By part from 1: id and cells.
        let mut parts = vec![(0u16, 0usize)];
        for start in 0..self.ids.len() {
            if part[start] != 0 || self.ids[start] == 0 {
                continue;
            }
            let (id, number) = (self.ids[start], parts.len());
            parts.push((id, 0));
            part[start] = number;
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                parts[number].1 += 1;
                let (x, y) = (at % self.columns, at / self.columns);
                let left = (x > 0).then(|| at - 1);
                let right = (x + 1 < self.columns).then(|| at + 1);
                let above = (y > 0).then(|| at - self.columns);
                let below = (y + 1 < self.rows).then(|| at + self.columns);
                for next in [left, right, above, below].into_iter().flatten() {
                    if part[next] == 0 && self.ids[next] == id {
                        part[next] = number;
                        open.push(next);
                    }
                }
            }
        }
        let mut largest = std::collections::BTreeMap::new();
        for (number, &(id, cells)) in parts.iter().enumerate().skip(1) {
            let best = largest.entry(id).or_insert((cells, number));
            if cells > best.0 {
                *best = (cells, number);
            }
        }
        for (id, part) in self.ids.iter_mut().zip(part) {
            if largest.get(id).is_some_and(|(_, number)| *number != part) {
                *id = 0;
            }
        }
    }
}

/// Describes the objects in a picture `[3, H, W]` with the ids `[H, W]`, the largest first. Sky (0) is none.
pub fn describe(picture: &[u8], ids: &[GPixel], height: usize, width: usize) -> Vec<Description> {
    let plane = height * width;
    let mut sums: std::collections::BTreeMap<u16, Sums> = std::collections::BTreeMap::new();
    for (i, pixel) in ids.iter().enumerate().filter(|(_, pixel)| pixel.instance != 0) {
        let colour = [0, 1, 2].map(|c| f64::from(picture[c * plane + i]) / 127.5 - 1.0);
        sums.entry(pixel.instance).or_default().add(colour, i % width, i / width);
    }
    let mut seen: Vec<(u16, Sums)> = sums.into_iter().filter(|(_, sums)| sums.count >= FEWEST_PIXELS).collect();
    seen.sort_by_key(|(id, sums)| (usize::MAX - sums.count, *id));
    seen.truncate(MOST_OBJECTS);
    seen.into_iter().map(|(id, sums)| Description { id, values: sums.values(height, width) }).collect()
}

#[derive(Default)]
struct Sums {
    count: usize,
    colour: [f64; 3],
    square: [f64; 3],
    x: Option<(usize, usize)>,
    y: Option<(usize, usize)>,
}

impl Sums {
    fn add(&mut self, colour: [f64; 3], x: usize, y: usize) {
        self.count += 1;
        for ((sum, square), value) in self.colour.iter_mut().zip(&mut self.square).zip(colour) {
            *sum += value;
            *square += value * value;
        }
        let wider = |range: Option<(usize, usize)>, v: usize| match range {
            Some((low, high)) => Some((low.min(v), high.max(v))),
            None => Some((v, v)),
        };
        (self.x, self.y) = (wider(self.x, x), wider(self.y, y));
    }

    fn values(&self, height: usize, width: usize) -> [f32; DESCRIPTION] {
        let n = self.count as f64;
        let mean = self.colour.map(|sum| sum / n);
        let spread = [0, 1, 2].map(|c| (self.square[c] / n - mean[c] * mean[c]).max(0.0).sqrt());
        let share = (n / (height * width) as f64).ln() / 4.0 + 1.0;
        let middle = |range: Option<(usize, usize)>, size: usize| {
            let (low, high) = range.unwrap_or((0, 0));
            ((low + high + 1) as f64 / size as f64 - 1.0, (high + 1 - low) as f64 / size as f64)
        };
        let ((x, wide), (y, tall)) = (middle(self.x, width), middle(self.y, height));
        [mean[0], mean[1], mean[2], spread[0], spread[1], spread[2], share, x, y, wide, tall].map(|v| v as f32)
    }
}

/// Leaves most cells of large objects out of the targets of a window, so that the small ones count: of an object that has more
/// than a 16th of all cells, every 8th is kept, from `offset` on.
pub fn thin(targets: &mut [u32], offset: usize) {
    const KEPT: usize = 8;
    const LARGE: usize = 16;
    let mut counts = [0usize; MOST_OBJECTS + 1];
    for &target in targets.iter() {
        counts[target as usize] += 1;
    }
    let large = counts.map(|count| count * LARGE > targets.len());
    for (i, target) in targets.iter_mut().enumerate() {
        if large[*target as usize] && !(i + offset).is_multiple_of(KEPT) {
            *target = IGNORED;
        }
    }
}

/// Targets of a frame's cells, token by token, for the objects described: the object of the cell's last pixel.
pub fn targets(ids: &[GPixel], described: &[Description], width: usize, patch: usize, out: &mut Vec<u32>) {
    let height = ids.len() / width;
    for row in (0..height).step_by(patch) {
        for column in (0..width).step_by(patch) {
            for y in (row..row + patch).step_by(CELL) {
                for x in (column..column + patch).step_by(CELL) {
                    let id = ids[(y + CELL - 1) * width + x + CELL - 1].instance;
                    let found = described.iter().position(|object| object.id == id);
                    out.push(found.unwrap_or(MOST_OBJECTS) as u32);
                }
            }
        }
    }
}

impl ObjectHead {
    /// A head on tokens of width `dim` that stand for `patch` × `patch` pixels; `patch` is even.
    pub fn new(scope: &mut Scope, dim: usize, patch: usize) -> Result<Self> {
        let mut scope = scope.at("objects");
        let cells = (patch / CELL) * (patch / CELL);
        Ok(Self {
            features: Linear::new(&mut scope, "features", dim, FEATURES * cells)?,
            first: Linear::new(&mut scope, "first", DESCRIPTION, HIDDEN)?,
            second: Linear::new(&mut scope, "second", HIDDEN, FEATURES)?,
            rest: scope.vector("rest", FEATURES + 1, Init::Zeros)?,
            patch,
        })
    }

    /// Mean cross entropy of the cells of tokens `[B, T, N, D]`.
    pub fn loss(&self, tokens: &Tensor, objects: &Objects) -> Result<Tensor> {
        let (features, queries) = (self.features(tokens)?, self.queries(&objects.described, tokens)?);
        let (batch, rows, _) = features.dims3()?;
        let target = match &objects.target {
            Some(target) => target.reshape((batch, rows))?.to_device(tokens.device())?,
            None => Tensor::full(IGNORED, (batch, rows), tokens.device())?,
        };
        Ok(kernels::query_loss(&features, &queries, &target)?)
    }

    /// The masks in one frame's tokens `[B, 1, N, D]` of pictures `width` pixels across, by window. Objects that have a track are
    /// looked for around it; without tracks, by their looks alone.
    pub fn masks(
        &self,
        tokens: &Tensor,
        described: &[Vec<Description>],
        tracks: &[Vec<Track>],
        width: usize,
    ) -> Result<Vec<Masks>> {
        let features: Vec<Vec<Vec<f32>>> = self.features(tokens)?.to_device(&Device::Cpu)?.to_vec3()?;
        let queries: Vec<Vec<Vec<f32>>> = self.queries(described, tokens)?.to_device(&Device::Cpu)?.to_vec3()?;
        let side = self.patch / CELL;
        let across = width / self.patch;
        let one = |features: &[Vec<f32>], queries: &[Vec<f32>], objects: &[Description], tracks: &[Track]| {
            let (columns, rows) = (across * side, features.len() / (across * side));
            let mut ids = vec![0; rows * columns];
            for (cell, feature) in features.iter().enumerate() {
                let (token, within) = (cell / (side * side), cell % (side * side));
                let (y, x) = (token / across * side + within / side, token % across * side + within % side);
                let score = |query: &Vec<f32>| -> f32 {
                    query[FEATURES] + feature.iter().zip(query).map(|(f, q)| f * q).sum::<f32>()
                };
                let far = |k: usize| tracks.get(k).map_or(0.0, |track| track.penalty(x, y));
                let scores = queries.iter().enumerate().map(|(k, query)| (k, score(query) - far(k)));
                let best = scores.max_by(|a, b| a.1.total_cmp(&b.1));
                ids[y * columns + x] = best.and_then(|(k, _)| objects.get(k)).map_or(0, |object| object.id);
            }
            let mut masks = Masks { ids, rows, columns };
            masks.keep_largest_parts();
            masks
        };
        let windows = features.iter().zip(&queries).zip(described).enumerate();
        let tracks = |b: usize| tracks.get(b).map_or(&[][..], |tracks| tracks);
        Ok(windows.map(|(b, ((features, queries), objects))| one(features, queries, objects, tracks(b))).collect())
    }

    /// `[B, T·cells, FEATURES]`.
    fn features(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, ..) = tokens.dims4()?;
        let features = self.features.forward(tokens)?;
        let count = features.elem_count() / (batch * FEATURES);
        Ok(features.reshape((batch, count, FEATURES))?)
    }

    /// `[B, MOST_OBJECTS + 1, FEATURES + 1]`; the last is for everything else.
    fn queries(&self, described: &[Vec<Description>], like: &Tensor) -> Result<Tensor> {
        let batch = described.len();
        let mut values = vec![0f32; batch * MOST_OBJECTS * DESCRIPTION];
        let mut bias = vec![ABSENT; batch * MOST_OBJECTS];
        for (b, objects) in described.iter().enumerate() {
            for (k, object) in objects.iter().take(MOST_OBJECTS).enumerate() {
                let place = b * MOST_OBJECTS + k;
                values[place * DESCRIPTION..(place + 1) * DESCRIPTION].copy_from_slice(&object.values);
                bias[place] = 0.0;
            }
        }
        let to = |values: Vec<f32>, last: usize| -> Result<Tensor> {
            let tensor = Tensor::from_vec(values, (batch, MOST_OBJECTS, last), &Device::Cpu)?;
            Ok(tensor.to_dtype(like.dtype())?.to_device(like.device())?)
        };
        let (values, bias) = (to(values, DESCRIPTION)?, to(bias, 1)?);
        let queries = self.second.forward(&kernels::silu(&self.first.forward(&values)?)?)?;
        let queries = Tensor::cat(&[queries, bias], D::Minus1)?;
        let rest = self.rest.reshape((1, 1, FEATURES + 1))?.broadcast_as((batch, 1, FEATURES + 1))?;
        Ok(Tensor::cat(&[queries, rest.contiguous()?], 1)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::noise;
    use crate::params::Params;

    /// An 8 × 8 picture: object 5 is the left half in red, 2 a square of 9 pixels in blue, 9 is a speck.
    fn scene() -> (Vec<u8>, Vec<GPixel>) {
        let id = |i: usize| match (i % 8, i / 8) {
            (x, _) if x < 4 => 5,
            (5..=7, 0..=2) => 2,
            (7, 7) => 9,
            _ => 0,
        };
        let ids: Vec<GPixel> = (0..64).map(|i| GPixel::of_instance(id(i))).collect();
        let picture = (0..3).flat_map(|c| {
            (0..64).map(move |i| match (id(i), c) {
                (5, 0) | (2, 2) => 255,
                _ => 0,
            })
        });
        (picture.collect(), ids)
    }

    #[test]
    fn objects_are_described_by_colour_size_and_place_largest_first() {
        let (picture, ids) = scene();
        let described = describe(&picture, &ids, 8, 8);
        assert_eq!(described.iter().map(|object| object.id).collect::<Vec<_>>(), [5, 2], "a speck is not described");
        let red = described[0].values;
        assert_eq!(red[..3], [1.0, -1.0, -1.0]);
        assert_eq!(red[3..6], [0.0; 3]);
        assert_eq!(red[7..], [-0.5, 0.0, 0.5, 1.0], "centre and size of the left half");
        let mut out = Vec::new();
        targets(&ids, &described, 8, 4, &mut out);
        assert_eq!(out.len(), 16);
        assert_eq!(out[..4], [0; 4], "the first token is all red");
        // Second token: cells (row 0: columns 4–5, 6–7; row 1), by their last pixels (5, 1), (7, 1), (5, 3), (7, 3).
        assert_eq!(out[4..8], [1, 1, MOST_OBJECTS as u32, MOST_OBJECTS as u32]);
    }

    #[test]
    fn of_every_object_the_largest_connected_part_is_left() {
        #[rustfmt::skip]
        let ids = vec![
            3, 3, 0, 7,
            3, 0, 0, 3,
            0, 7, 7, 0,
        ];
        let mut masks = Masks { ids, rows: 3, columns: 4 };
        masks.keep_largest_parts();
        assert_eq!(masks.ids, [3, 3, 0, 0, 3, 0, 0, 0, 0, 7, 7, 0]);
    }

    #[test]
    fn large_objects_are_thinned_and_small_ones_kept() {
        let mut cells: Vec<u32> = (0..64).map(|i| if i % 32 == 5 { 1 } else { 0 }).collect();
        thin(&mut cells, 3);
        assert_eq!(cells.iter().filter(|cell| **cell == 1).count(), 2);
        assert_eq!(cells.iter().filter(|cell| **cell == 0).count(), 6, "{cells:?}");
    }

    #[test]
    fn its_gradients_are_those_of_finite_differences() {
        let mut params = Params::new(3, DType::F64, &Device::Cpu);
        let head = ObjectHead::new(&mut params.root(), 6, 4).unwrap();
        let (picture, ids) = scene();
        let described = vec![describe(&picture, &ids, 8, 8)];
        let mut target = Vec::new();
        targets(&ids, &described[0], 8, 4, &mut target);
        let target = Tensor::from_vec(target, (1, 1, 16), &Device::Cpu).unwrap();
        let objects = Objects { described, target: Some(target) };
        let tokens = noise::normal(1, "tokens", 0, (1, 1, 4, 6), DType::F64, &Device::Cpu).unwrap();
        let loss = || head.loss(&tokens, &objects).unwrap();
        let gradients = loss().backward().unwrap();
        for param in params.iter() {
            let direction = noise::normal(2, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
            let gradient = gradients.get(&param.var).unwrap();
            let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
            let start = param.var.as_detached_tensor().copy().unwrap();
            let at = |h: f64| -> f64 {
                param.var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
                loss().to_scalar().unwrap()
            };
            let measured = (at(1e-5) - at(-1e-5)) / 2e-5;
            param.var.set(&start).unwrap();
            assert!((measured - expected).abs() < 1e-7, "{}: expected {expected}, measured {measured}", param.name);
        }
    }

    #[test]
    fn a_head_learns_to_tell_objects_apart_and_puts_cells_in_their_place() {
        let mut params = Params::new(3, DType::F32, &Device::Cpu);
        let head = ObjectHead::new(&mut params.root(), 4, 4).unwrap();
        let (picture, ids) = scene();
        let described = vec![describe(&picture, &ids, 8, 8)];
        let mut target = Vec::new();
        targets(&ids, &described[0], 8, 4, &mut target);
        let target = Tensor::from_vec(target, (1, 1, 16), &Device::Cpu).unwrap();
        let objects = Objects { described: described.clone(), target: Some(target) };
        // A token for each corner.
        let tokens = Tensor::eye(4, DType::F32, &Device::Cpu).unwrap().reshape((1, 1, 4, 4)).unwrap();
        let vars = params.iter().map(|param| (param.var.clone(), false));
        let mut optimiser = kernels::AdamW::<f32>::new(vars, kernels::AdamWConfig::default()).unwrap();
        for _ in 0..300 {
            let loss = head.loss(&tokens, &objects).unwrap();
            optimiser.step(&loss.backward().unwrap(), 0.02).unwrap();
        }
        let masks = &head.masks(&tokens, &described, &[], 8).unwrap()[0];
        assert_eq!((masks.rows, masks.columns), (4, 4));
        assert_eq!(masks.ids, [5, 5, 2, 2, 5, 5, 0, 0, 5, 5, 0, 0, 5, 5, 0, 0]);
    }
}
