//! The tokenizer: pictures as small grids of latents and back, for world models of 128 × 128 pixels and more.
//!
//! | symbol | meaning |
//! |---|---|
//! | F, H, W | pictures, rows and columns of one; colours in [−1, 1] |
//! | f | side of the square of pixels that becomes one place of the grid: 8 or 16 times smaller |
//! | N, h, w | places of the grid, H/f · W/f, its rows and columns |
//! | d | channels of a latent |
//! | D | width of a token |
//!
//! ```text
//! [F, 3, H, W] ─► squares [F, N, 3·f·f] ─► visible ones ─► encoder ─► tanh ─► z [F, N, d] in (−1, 1)
//! z ─► tokens, a learned one for each hidden square ─► decoder ─► squares ─► [F, 3, H, W]
//! ```
//!
//! A transformer autoencoder of matrix products alone, trained as a masked autoencoder (He et al., *Masked Autoencoders Are
//! Scalable Vision Learners*, 2022): the encoder sees a random part of the squares of a picture, a part that is
//! drawn anew for every step, and the decoder gives the whole picture. Latents from which neighbours can be
//! guessed are ones that a diffusion model learns easily (Chen et al., *Masked Autoencoders Are Effective Tokenizers for
//! Diffusion Models*, 2025). The bound by tanh is that of Hafner et al. (*Training Agents Inside of Scalable World
//! Models*, 2025, §3.1). Beside the transformer, a linear map leads from a square to its latent and from a latent to its
//! square: it starts training as a linear autoencoder, which is soon as good as principal components, and the
//! transformer, which starts at zero, learns what is better.
//!
//! The loss is the mean squared error of the pixels, plus `edges` times that of the differences between neighbours, right and
//! down: squared errors alone leave edges blurred (Mathieu et al., *Deep Multi-Scale Video Prediction Beyond Mean
//! Square Error*, 2016, §3.2, here squared). No weights of others are needed. The last part of a run hides nothing, as use
//! hides nothing.
//!
//! A video model sees (z − μ) / σ · ½, with the mean μ and deviation σ of each channel over training pictures, which the
//! checkpoint holds: latents then vary as much as pictures in [−1, 1] do.
//!
//! **Limits.** It knows pictures of the size and kind that it was trained on. Pictures are encoded one by one.

mod block;
mod config;
mod held_out;
pub mod latents;
mod train;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use worldloom_kernels::{self as kernels, Activation};

pub use config::{TokenizerConfig, TokenizerSettings};
pub use held_out::{HeldOut, TokenizerScore};
pub use latents::{Latents, TokenizerModel};

use crate::error::{Error, Result};
use crate::layers::Linear;
use crate::params::{Init, Params, Scope};
use crate::stdit::{patchify, unpatchify};
use block::{Block, Norm, through};

/// Pictures that are encoded or decoded at once where there is no gradient: what bounds memory.
const AT_ONCE: usize = 16;
/// Names of the statistics in a file of weights.
const MEAN: &str = "latents.mean";
/// See [`MEAN`].
const DEVIATION: &str = "latents.deviation";
/// Deviation of what a video model sees: about that of pictures.
const SPREAD: f64 = 0.5;
/// Least deviation of a channel that is taken for more than rounding.
const LEAST: f32 = 1e-4;

/// See the module.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    config: TokenizerConfig,
    encoder: Encoder,
    decoder: Decoder,
    params: Params,
    /// μ and σ, `[d]` each.
    statistics: (Tensor, Tensor),
}

/// Squares to latents.
#[derive(Clone, Debug)]
struct Encoder {
    embed: Linear,
    /// `[N, D]`.
    place: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    out: Linear,
    straight: Linear,
}

/// Latents to squares.
#[derive(Clone, Debug)]
struct Decoder {
    embed: Linear,
    /// `[1, D]`, for squares that were hidden.
    hidden: Tensor,
    /// `[N, D]`.
    place: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    out: Linear,
    straight: Linear,
}

/// Which squares the encoder sees.
#[derive(Clone, Debug)]
pub struct Visible {
    /// Places of the visible squares of each picture, `[F, V]` u32, ascending.
    pub places: Tensor,
    /// For every place of each picture, the row of its latent among those of all pictures, F·V for a hidden one: `[F, N]` u32.
    pub rows: Tensor,
}

impl Tokenizer {
    /// One that has learned nothing yet; its start is a function of `seed`.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that none can have.
    pub fn new(config: &TokenizerConfig, seed: u64, device: &Device) -> Result<Self> {
        Self::of_type(config, seed, DType::F32, device)
    }

    /// [`Tokenizer::new`] in another precision.
    fn of_type(config: &TokenizerConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        config.check()?;
        let mut params = Params::new(seed, dtype, device);
        let (dim, numbers, channels) = (config.dim, config.square_numbers(), config.channels);
        let mut root = params.root();
        let blocks = |scope: &mut Scope, depth: usize| -> Result<Vec<Block>> {
            (0..depth).map(|index| Block::new(&mut scope.at("blocks").at(index), config)).collect()
        };
        let place = |scope: &mut Scope| scope.vector("place", (config.places(), dim), Init::Normal { std: 0.02 });
        let mut scope = root.at("encoder");
        let encoder = Encoder {
            embed: Linear::new(&mut scope, "embed", numbers, dim)?,
            place: place(&mut scope)?,
            blocks: blocks(&mut scope, config.encoder_depth)?,
            norm: Norm::new(&mut scope.at("norm"), dim)?,
            out: Linear::zero(&mut scope, "out", dim, channels)?,
            straight: Linear::new(&mut scope, "straight", numbers, channels)?,
        };
        let mut scope = root.at("decoder");
        let decoder = Decoder {
            embed: Linear::new(&mut scope, "embed", channels, dim)?,
            hidden: scope.vector("hidden", (1, dim), Init::Normal { std: 0.02 })?,
            place: place(&mut scope)?,
            blocks: blocks(&mut scope, config.decoder_depth)?,
            norm: Norm::new(&mut scope.at("norm"), dim)?,
            out: Linear::zero(&mut scope, "out", dim, numbers)?,
            straight: Linear::new(&mut scope, "straight", channels, numbers)?,
        };
        let statistics = (Tensor::zeros(channels, dtype, device)?, Tensor::ones(channels, dtype, device)?);
        Ok(Self { config: config.clone(), encoder, decoder, params, statistics })
    }

    /// Its sizes.
    pub fn config(&self) -> &TokenizerConfig {
        &self.config
    }

    /// What is trained.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Pictures `[B, T, 3, H, W]` in [−1, 1] as a video model sees them, `[B, T, d, h, w]`. No gradient flows.
    ///
    /// # Errors
    /// [`Error::Shape`] for pictures of another size.
    pub fn encode(&self, pictures: &Tensor) -> Result<Tensor> {
        let config = &self.config;
        let wrong = || Error::Shape {
            what: "pictures to encode",
            expected: format!("[B, T, 3, {}, {}]", config.image_height, config.image_width),
            found: pictures.dims().to_vec(),
        };
        let &[batch, frames, 3, height, width] = pictures.dims() else { return Err(wrong()) };
        if (height, width) != (config.image_height, config.image_width) {
            return Err(wrong());
        }
        let all = pictures.reshape((batch * frames, 3, height, width))?;
        let z = in_parts(&all, |part| self.latents(part, None))?;
        let (mean, deviation) = &self.statistics;
        let z = (z.broadcast_sub(mean)?.broadcast_div(deviation)? * SPREAD)?;
        let (h, w) = config.grid();
        Ok(z.transpose(1, 2)?.contiguous()?.reshape((batch, frames, config.channels, h, w))?)
    }

    /// Pictures `[B, T, 3, H, W]` in [−1, 1] of what a video model made, `[B, T, d, h, w]`. No gradient flows.
    ///
    /// # Errors
    /// [`Error::Shape`] for a grid of another size.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let config = &self.config;
        let (batch, frames, raw) = self.raw(latents)?;
        let pictures = in_parts(&raw, |part| self.pictures(part, None))?.clamp(-1.0, 1.0)?;
        Ok(pictures.reshape((batch, frames, 3, config.image_height, config.image_width))?)
    }

    /// The nearest grid to `latents` `[B, T, d, h, w]` that pictures could have: what went over tanh's bounds is put on them.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn clamp(&self, latents: &Tensor) -> Result<Tensor> {
        let (_, _, raw) = self.raw(latents)?;
        let (mean, deviation) = &self.statistics;
        let z = (raw.clamp(-1.0, 1.0)?.broadcast_sub(mean)?.broadcast_div(deviation)? * SPREAD)?;
        Ok(z.transpose(1, 2)?.contiguous()?.reshape(latents.shape())?)
    }

    /// B, T and z `[B·T, N, d]` of what a video model sees.
    fn raw(&self, latents: &Tensor) -> Result<(usize, usize, Tensor)> {
        let (config, (h, w)) = (&self.config, self.config.grid());
        let &[batch, frames, channels, rows, columns] = latents.dims() else { return Err(self.no_grid(latents)) };
        if (channels, rows, columns) != (config.channels, h, w) {
            return Err(self.no_grid(latents));
        }
        let z = latents.reshape((batch * frames, channels, h * w))?.transpose(1, 2)?.contiguous()?;
        let (mean, deviation) = &self.statistics;
        Ok((batch, frames, (z / SPREAD)?.broadcast_mul(deviation)?.broadcast_add(mean)?))
    }

    fn no_grid(&self, latents: &Tensor) -> Error {
        let (h, w) = self.config.grid();
        let expected = format!("[B, T, {}, {h}, {w}]", self.config.channels);
        Error::Shape { what: "latents to decode", expected, found: latents.dims().to_vec() }
    }

    /// z of the visible squares of pictures `[F, 3, H, W]`, `[F, V, d]`; of all of them, in order, if none are named.
    fn latents(&self, pictures: &Tensor, visible: Option<&Visible>) -> Result<Tensor> {
        let (count, ..) = pictures.dims4()?;
        let config = &self.config;
        let (places, numbers, dim) = (config.places(), config.square_numbers(), config.dim);
        let squares = patchify(&pictures.unsqueeze(1)?, config.side)?.reshape((count, places, numbers))?;
        let encoder = &self.encoder;
        let (squares, mut x) = match visible {
            None => {
                let x = encoder.embed.forward_at(&squares, &encoder.place)?;
                (squares, x)
            }
            Some(visible) => {
                let shown = visible.places.dim(1)?;
                let first: Vec<u32> = (0..count as u32).map(|i| i * places as u32).collect();
                let first = Tensor::from_vec(first, (count, 1), pictures.device())?;
                let rows = visible.places.broadcast_add(&first)?;
                let squares = kernels::embedding(&squares.reshape((count * places, numbers))?, &rows)?;
                let place = kernels::embedding(&encoder.place, &visible.places)?;
                let x = (encoder.embed.forward(&squares)? + place)?;
                (squares, x.reshape((count, shown, dim))?)
            }
        };
        x = through(&encoder.blocks, &x, config.precision)?;
        let z = (encoder.out.forward(&encoder.norm.forward(&x)?)? + encoder.straight.forward(&squares)?)?;
        Ok(z.tanh()?)
    }

    /// Pictures `[F, 3, H, W]` of latents `[F, V, d]`, which are those of the visible squares, or of all.
    fn pictures(&self, z: &Tensor, visible: Option<&Visible>) -> Result<Tensor> {
        let (count, shown, _) = z.dims3()?;
        let config = &self.config;
        let (places, numbers, dim) = (config.places(), config.square_numbers(), config.dim);
        let decoder = &self.decoder;
        let (mut x, mut straight) = (decoder.embed.forward(z)?, decoder.straight.forward(z)?);
        if let Some(visible) = visible {
            // A row more than there are latents: for what was hidden.
            let spread = |rows: &Tensor, width: usize, last: &Tensor| -> Result<Tensor> {
                let table = Tensor::cat(&[&rows.reshape((count * shown, width))?, last], 0)?;
                Ok(kernels::embedding(&table, &visible.rows)?)
            };
            x = spread(&x, dim, &decoder.hidden)?;
            let nothing = Tensor::zeros((1, numbers), z.dtype(), z.device())?;
            straight = spread(&straight, numbers, &nothing)?;
        }
        x = add_place(&x, &decoder.place)?;
        x = through(&decoder.blocks, &x, config.precision)?;
        let squares = (decoder.out.forward(&decoder.norm.forward(&x)?)? + straight)?;
        let squares = squares.reshape((count, 1, places, numbers))?;
        let pictures = unpatchify(&squares, config.side, config.image_height, config.image_width)?;
        Ok(pictures.reshape((count, 3, config.image_height, config.image_width))?)
    }

    /// What the decoder makes of pictures `[F, 3, H, W]` of which the encoder saw the visible squares.
    fn reconstruct(&self, pictures: &Tensor, visible: Option<&Visible>) -> Result<Tensor> {
        self.pictures(&self.latents(pictures, visible)?, visible)
    }

    /// μ and σ of the latents of pictures `[F, 3, H, W]`, `[d]` each.
    fn measure(&self, pictures: &Tensor) -> Result<(Tensor, Tensor)> {
        let z = in_parts(pictures, |part| self.latents(part, None))?.flatten(0, 1)?;
        let rows: Vec<Vec<f32>> = z.to_dtype(DType::F32)?.to_vec2()?;
        let count = rows.len().max(1) as f64;
        let moments = |channel: usize| {
            let values = || rows.iter().map(|row| f64::from(row[channel]));
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            (mean as f32, (variance.sqrt() as f32).max(LEAST))
        };
        let (mean, deviation): (Vec<f32>, Vec<f32>) = (0..self.config.channels).map(moments).unzip();
        let of = |values: Vec<f32>| Tensor::from_vec(values, self.config.channels, &Device::Cpu);
        Ok((of(mean)?, of(deviation)?))
    }

    /// Takes weights and statistics. All are checked before the first one changes.
    fn take(&mut self, mut tensors: HashMap<String, Tensor>) -> Result<()> {
        let (dtype, device) = (self.params.dtype(), self.params.device().clone());
        let mut statistic = |name: &str, legal: fn(f32) -> bool, problem: &str| -> Result<Tensor> {
            let wrong = |problem: &str| Error::Weights { name: name.to_owned(), problem: problem.to_owned() };
            let found = tensors.remove(name).ok_or_else(|| wrong("is missing: these are no weights of a tokenizer"))?;
            if found.dims() != [self.config.channels] {
                return Err(wrong("has another number of channels than the tokenizer"));
            }
            let values: Vec<f32> = found.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec1()?;
            if !values.into_iter().all(legal) {
                return Err(wrong(problem));
            }
            Ok(found.to_dtype(dtype)?.to_device(&device)?)
        };
        let mean =
            statistic(MEAN, |value| (-1.0..=1.0).contains(&value), "is not from −1 to 1, as a mean of latents is")?;
        let deviation = statistic(DEVIATION, |value| (LEAST..=1.0).contains(&value), "is not above 0 and at most 1")?;
        self.params.load(&tensors)?;
        self.statistics = (mean, deviation);
        Ok(())
    }
}

/// `x` `[F, N, D]` plus a learned vector for each place.
fn add_place(x: &Tensor, place: &Tensor) -> Result<Tensor> {
    let (count, places, dim) = x.dims3()?;
    let flat = x.reshape((count, places * dim))?;
    let added = kernels::bias_activation(&flat, &place.reshape(places * dim)?, Activation::Identity)?;
    Ok(added.reshape((count, places, dim))?)
}

/// `f` of the rows of `x`, a few at a time and without a gradient.
fn in_parts(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let count = x.dim(0)?;
    let mut parts = Vec::with_capacity(count.div_ceil(AT_ONCE));
    for start in (0..count).step_by(AT_ONCE) {
        let part = x.narrow(0, start, AT_ONCE.min(count - start))?.contiguous()?;
        parts.push(f(&part)?.detach());
    }
    Ok(Tensor::cat(&parts, 0)?)
}

#[cfg(test)]
mod tests;
