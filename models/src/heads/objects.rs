//! Masks of objects that the head is shown once, in whatever number.
//!
//! An object is described by what it looked like in one true frame (a [`Description`]), and followed from there (a [`Track`]).
//! Both become a query q ([`super::query`]); what a frame's tokens say of each of their pixels, its place and its colour become a
//! feature f; the object has the pixels whose f answers q most (Cheng et al. 2021, MaskFormer, §3.2). A learned query stands for
//! everything that was not described. Nothing depends on how many objects there are, or on their order.
//! Where cameras are laid one below the other, objects are found in the first.

use candle_core::{D, Device, Tensor};
use worldloom_kernels as kernels;
use worldloom_kernels::query_loss::IGNORED;

use super::describe::{Description, MOST_OBJECTS, Measured};
use super::masks::Masks;
use super::query::{Ask, Asked, COLOUR, PLACE, QueryNet, Wanted, places};
use super::track::Track;
use crate::data::GPixel;
use crate::error::Result;
use crate::layers::Linear;
use crate::params::{Init, Scope};

/// Numbers that tokens say of a pixel.
const FEATURES: usize = 8;
/// Numbers of a pixel's feature.
const ALL: usize = FEATURES + PLACE + COLOUR;

/// Objects of a batch of windows.
#[derive(Clone, Debug)]
pub struct Objects {
    /// By window: at most [`MOST_OBJECTS`].
    pub described: Vec<Vec<Description>>,
    /// What is known of each of them before each frame: by window, frame and object.
    pub tracks: Vec<Vec<Vec<Track>>>,
    /// What their masks say in each frame, a little off: by window, frame and object.
    pub measured: Vec<Vec<Vec<Option<Measured>>>>,
    /// `[B, T, pixels]` u32, token by token: index of the object that the pixel belongs to, [`MOST_OBJECTS`] for none.
    pub target: Tensor,
    /// `[B, T, MOST_OBJECTS, POSE + 1]`: poses ([`crate::data::poses`]), and 1 where they are known. None without.
    pub poses: Option<Tensor>,
}

impl Objects {
    /// What to ask for, by frame of all windows.
    pub fn wanted(&self) -> Vec<Vec<Wanted<'_>>> {
        let mut frames = Vec::new();
        for (objects, (tracks, measured)) in self.described.iter().zip(self.tracks.iter().zip(&self.measured)) {
            for (tracks, measured) in tracks.iter().zip(measured) {
                let all = objects.iter().zip(tracks).zip(measured);
                frames.push(
                    all.map(|((object, track), measured)| Wanted { object, track, measured: *measured }).collect(),
                );
            }
        }
        frames
    }
}

/// Where tokens are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Side of a token, pixels.
    pub patch: usize,
    /// Pixels across.
    pub width: usize,
    /// Pixels down in one camera's picture.
    pub height: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    features: Linear,
    query: QueryNet,
    /// `[FEATURES + 1]`: the query of everything else, which is nowhere in particular and of any colour.
    rest: Tensor,
    grid: Grid,
}

/// Targets of a frame's pixels, token by token, for the objects described. Pixels below the first camera's picture do not
/// count, and of large objects (more than a 64th of the picture) and of everything else only those about small ones or about one of the
/// places `expected` of them, by index, and every 16th of the others, from `offset` on: else the small ones would hardly count.
pub fn targets(
    ids: &[GPixel],
    described: &[Description],
    expected: &[[f32; 2]],
    grid: Grid,
    offset: usize,
    out: &mut Vec<u32>,
) {
    const KEPT: usize = 16;
    const LARGE: usize = 64;
    let Grid { patch, width, height } = grid;
    let rest = MOST_OBJECTS as u32;
    let of =
        |pixel: &GPixel| described.iter().position(|object| object.id == pixel.instance).map_or(rest, |k| k as u32);
    let mut all: Vec<u32> = ids[..height * width].iter().map(of).collect();
    let mut counts = [0usize; MOST_OBJECTS + 1];
    for &target in &all {
        counts[target as usize] += 1;
    }
    let mut large = counts.map(|count| count * LARGE > all.len());
    large[MOST_OBJECTS] = true;
    let about = about(&all, &large, expected, [height, width]);
    for (i, (target, about)) in all.iter_mut().zip(about).enumerate() {
        if large[*target as usize] && !about && !(i + offset).is_multiple_of(KEPT) {
            *target = IGNORED;
        }
    }
    for row in (0..ids.len() / width).step_by(patch) {
        for column in (0..width).step_by(patch) {
            for y in row..row + patch {
                let pixels = all.get(y * width + column..y * width + column + patch);
                out.extend(pixels.unwrap_or(&vec![IGNORED; patch]));
            }
        }
    }
}

/// The pixels within [`ABOUT`] of one of a small object, or of a place that one is expected at.
fn about(targets: &[u32], large: &[bool], expected: &[[f32; 2]], [height, width]: [usize; 2]) -> Vec<bool> {
    /// Pixels right, left, up or down.
    const ABOUT: usize = 3;
    let mut near = vec![false; targets.len()];
    let mut mark = |x: usize, y: usize| {
        for row in y.saturating_sub(ABOUT)..(y + ABOUT + 1).min(height) {
            let columns = x.saturating_sub(ABOUT)..(x + ABOUT + 1).min(width);
            near[row * width + columns.start..row * width + columns.end].fill(true);
        }
    };
    for (i, _) in targets.iter().enumerate().filter(|(_, target)| !large[**target as usize]) {
        mark(i % width, i / width);
    }
    for (_, [x, y]) in expected.iter().enumerate().filter(|(k, _)| !large[*k]) {
        let at = |along: f32, size: usize| ((along + 1.0) / 2.0 * size as f32) as usize;
        if x.abs() < 1.0 && y.abs() < 1.0 {
            mark(at(*x, width), at(*y, height));
        }
    }
    near
}

impl ObjectHead {
    /// A head on tokens of width `dim`.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn new(scope: &mut Scope, dim: usize, grid: Grid) -> Result<Self> {
        let mut scope = scope.at("objects");
        Ok(Self {
            features: Linear::new(&mut scope, "features", dim, FEATURES * grid.patch * grid.patch)?,
            query: QueryNet::new(&mut scope, Ask::Mask, FEATURES)?,
            rest: scope.vector("rest", FEATURES + 1, Init::Zeros)?,
            grid,
        })
    }

    /// Mean cross entropy of the pixels of pictures `[B, T, 3, H, W]` in [−1, 1] with tokens `[B, T, N, D]`.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn loss(&self, tokens: &Tensor, pictures: &Tensor, wanted: &[Vec<Wanted>], target: &Tensor) -> Result<Tensor> {
        let asked = Asked::new(wanted, Ask::Mask, tokens)?;
        let (features, queries) = (self.features(tokens, pictures)?, self.queries(&asked)?);
        let (frames, pixels, _) = features.dims3()?;
        let target = target.reshape((frames, pixels))?.to_device(tokens.device())?;
        Ok(kernels::query_loss(&features, &queries, &target)?)
    }

    /// The masks in one frame's pictures `[B, 1, 3, H, W]` with tokens `[B, 1, N, D]`, by window.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn masks(&self, tokens: &Tensor, pictures: &Tensor, wanted: &[Vec<Wanted>]) -> Result<Vec<Masks>> {
        let asked = Asked::new(wanted, Ask::Mask, tokens)?;
        let features: Vec<Vec<Vec<f32>>> = self.features(tokens, pictures)?.to_device(&Device::Cpu)?.to_vec3()?;
        let queries: Vec<Vec<Vec<f32>>> = self.queries(&asked)?.to_device(&Device::Cpu)?.to_vec3()?;
        let Grid { patch, width, height } = self.grid;
        let one = |features: &[Vec<f32>], queries: &[Vec<f32>], wanted: &[Wanted]| {
            let mut ids = vec![0; height * width];
            let area = patch * patch;
            for (i, feature) in features.iter().enumerate() {
                let (token, within, across) = (i / area, i % area, width / patch);
                let (y, x) = (token / across * patch + within / patch, token % across * patch + within % patch);
                if y >= height {
                    continue;
                }
                let score = |query: &Vec<f32>| -> f32 {
                    query[ALL] + feature.iter().zip(query).map(|(f, q)| f * q).sum::<f32>()
                };
                let best = queries.iter().map(score).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
                ids[y * width + x] = best.and_then(|(k, _)| wanted.get(k)).map_or(0, |wanted| wanted.object.id);
            }
            let mut masks = Masks { ids, height, width };
            masks.keep_largest_parts();
            masks
        };
        let windows = features.iter().zip(&queries).zip(wanted);
        Ok(windows.map(|((features, queries), wanted)| one(features, queries, wanted)).collect())
    }

    /// `[B·T, pixels, ALL]`, token by token.
    fn features(&self, tokens: &Tensor, pictures: &Tensor) -> Result<Tensor> {
        let (batch, frames, count, _) = tokens.dims4()?;
        let Grid { patch, width, height } = self.grid;
        let (rows, area) = (batch * frames, patch * patch);
        let said = self.features.forward(tokens)?.reshape((rows, count * area, FEATURES))?;
        let places = Tensor::from_vec(places(count, patch, 1, height, width), (1, count * area, PLACE), &Device::Cpu)?;
        let places = places.to_dtype(tokens.dtype())?.to_device(tokens.device())?;
        let places = places.broadcast_as((rows, count * area, PLACE))?.contiguous()?;
        let pictures = pictures.detach().to_dtype(tokens.dtype())?.to_device(tokens.device())?;
        let colours = Tensor::cat(&[&pictures, &pictures.sqr()?.sum_keepdim(2)?], 2)?;
        let colours = kernels::patchify(&colours, patch)?.reshape((rows, count, COLOUR, area))?;
        let colours = colours.transpose(2, 3)?.contiguous()?.reshape((rows, count * area, COLOUR))?;
        Ok(Tensor::cat(&[said, places, colours], D::Minus1)?)
    }

    /// `[B·T, MOST_OBJECTS + 1, ALL + 1]`; the last is for everything else.
    fn queries(&self, asked: &Asked) -> Result<Tensor> {
        let queries = self.query.forward(asked)?;
        let rows = queries.dim(0)?;
        let anywhere = Tensor::zeros(PLACE + COLOUR, queries.dtype(), queries.device())?;
        let (looks, bias) = (self.rest.narrow(0, 0, FEATURES)?, self.rest.narrow(0, FEATURES, 1)?);
        let rest = Tensor::cat(&[looks, anywhere, bias], 0)?.reshape((1, 1, ALL + 1))?;
        let rest = rest.broadcast_as((rows, 1, ALL + 1))?.contiguous()?;
        Ok(Tensor::cat(&[queries, rest], 1)?)
    }
}
