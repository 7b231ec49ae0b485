//! Poses of bodies, with how far they may be off.
//!
//! Each described object looks at the tokens of a frame about its mask, or where it should be if it has none (attention with one query for
//! each, see [`super::query`]), and what it finds there is taken to a pose ([`crate::data::poses`]) and three standard deviations: of its place,
//! its log depth and its rotation's numbers. Its place is a change of that of the mask, its depth of that in the frame before, drawn towards what the size
//! of the mask tells, and its rotation of that in the frame before, each where it is known. The loss is the negative log likelihood of a normal distribution,
//!
//! L = Σ over place, depth, rotation of w·(n·ln σ + ‖error‖² / (2σ²)),
//!
//! n being how many numbers share σ, and w the value of σ without gradient, so that what is found hard is not given up
//! (β-NLL of Seitzer et al. 2022 with β = ½). A ball without a pattern has no rotation that could be seen: its σ says so.

use candle_core::{D, Device, Tensor};
use worldloom_kernels as kernels;

use super::objects::Grid;
use super::query::{Ask, Asked, PLACE, QueryNet, Wanted, places};
use crate::data::poses::{POSE, SeenPose};
use crate::error::Result;
use crate::layers::Linear;
use crate::params::Scope;

/// Width of keys and queries.
const KEYS: usize = 32;
/// Width of what is looked up.
const VALUES: usize = 64;
/// Hidden units.
const HIDDEN: usize = 96;
/// Numbers that share a standard deviation: place, depth, rotation.
const SHARED: [usize; 3] = [2, 1, 6];
/// Middle and range of ln σ.
const LOG_SIGMA: [f64; 2] = [-2.5, 4.0];
/// A number of the head stands for this much of a pose.
const SCALE: f64 = 0.25;

/// A pose that was read off a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoseEstimate {
    /// The pose.
    pub pose: SeenPose,
    /// Standard deviation of each number of its place, in [−1, 1] of the picture.
    pub place_std: f32,
    /// Of the log depth: relative, that is.
    pub log_depth_std: f32,
    /// Of each of the rotation's numbers; times √2 it is that of an angle about each axis, in radians, as long as it is small.
    pub rotation_std: f32,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct PoseHead {
    query: QueryNet,
    keys: Linear,
    values: Linear,
    first: Linear,
    second: Linear,
    grid: Grid,
}

impl PoseHead {
    /// A head on tokens of width `dim`.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn new(scope: &mut Scope, dim: usize, grid: Grid) -> Result<Self> {
        let mut scope = scope.at("poses");
        Ok(Self {
            query: QueryNet::new(&mut scope, Ask::Pose, KEYS)?,
            keys: Linear::new(&mut scope, "keys", dim, KEYS)?,
            values: Linear::new(&mut scope, "values", dim, VALUES)?,
            first: Linear::new(&mut scope, "first", VALUES + 2 + Ask::Pose.numbers(), HIDDEN)?,
            second: Linear::zero(&mut scope, "second", HIDDEN, POSE + SHARED.len())?,
            grid,
        })
    }

    /// Poses `[B·T, K, POSE]` and ln σ `[B·T, K, 3]` in the tokens `[B, T, N, D]`.
    fn forward(&self, tokens: &Tensor, asked: &Asked) -> Result<(Tensor, Tensor)> {
        let (batch, frames, count, _) = tokens.dims4()?;
        let Grid { patch, width, height } = self.grid;
        let flat = |x: &Tensor| -> Result<Tensor> { Ok(x.reshape((batch * frames, count, x.dim(D::Minus1)?))?) };
        let (keys, values) = (flat(&self.keys.forward(tokens)?)?, flat(&self.values.forward(tokens)?)?);
        let places = Tensor::from_vec(places(count, patch, patch, height, width), (1, count, PLACE), &Device::Cpu)?;
        let places = places.to_dtype(tokens.dtype())?.to_device(tokens.device())?;
        let places = places.broadcast_as((batch * frames, count, PLACE))?.contiguous()?;
        let ones = Tensor::ones((batch * frames, count, 1), tokens.dtype(), tokens.device())?;
        let keys = Tensor::cat(&[&keys, &places, &ones], D::Minus1)?;
        let scores = self.query.forward(asked)?.contiguous()?.matmul(&keys.t()?.contiguous()?)?;
        let weights = softmax(&scores)?;
        let seen = Tensor::cat(&[&values, &places.narrow(D::Minus1, 0, 2)?], D::Minus1)?;
        let looked = weights.matmul(&seen.contiguous()?)?;
        let about = Tensor::cat(&[&looked, &asked.values], D::Minus1)?;
        let out = self.second.forward(&kernels::silu(&self.first.forward(&about)?)?)?;
        let start = Tensor::cat(&[&asked.expected, &asked.before], D::Minus1)?;
        let pose = ((out.narrow(D::Minus1, 0, POSE)? * SCALE)? + start)?;
        let [middle, range] = LOG_SIGMA;
        let log_sigma = (out.narrow(D::Minus1, POSE, SHARED.len())? / range)?.tanh()?.affine(range, middle)?;
        Ok((pose, log_sigma))
    }

    /// Mean loss over the objects whose poses are known: `truth` `[B, T, K, POSE + 1]` says which.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn loss(&self, tokens: &Tensor, wanted: &[Vec<Wanted>], truth: &Tensor) -> Result<Tensor> {
        Ok(self.weighed_loss(tokens, wanted, truth, None)?.0)
    }

    /// The loss with the weights w `[B·T, K, 3]`, or those that follow from σ; and the weights.
    pub(super) fn weighed_loss(
        &self,
        tokens: &Tensor,
        wanted: &[Vec<Wanted>],
        truth: &Tensor,
        weights: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let (pose, log_sigma) = self.forward(tokens, &Asked::new(wanted, Ask::Pose, tokens)?)?;
        let weights = match weights {
            Some(weights) => weights.clone(),
            None => log_sigma.detach().exp()?,
        };
        let (rows, count, _) = pose.dims3()?;
        let truth = truth.reshape((rows, count, POSE + 1))?.to_device(tokens.device())?.to_dtype(tokens.dtype())?;
        let known = truth.narrow(D::Minus1, POSE, 1)?;
        let square = (pose - truth.narrow(D::Minus1, 0, POSE)?)?.sqr()?;
        let mut squares = Vec::with_capacity(SHARED.len());
        let mut first = 0;
        for numbers in SHARED {
            squares.push(square.narrow(D::Minus1, first, numbers)?.sum_keepdim(D::Minus1)?);
            first += numbers;
        }
        let weighed = ((Tensor::cat(&squares, D::Minus1)? * (&log_sigma * -2.0)?.exp()?)? * 0.5)?;
        let counts = Tensor::new(&SHARED.map(|numbers| numbers as f64), &Device::Cpu)?;
        let counts = counts.to_dtype(tokens.dtype())?.to_device(tokens.device())?;
        let likelihood = (weighed + log_sigma.broadcast_mul(&counts)?)?;
        let sum = (likelihood * &weights)?.broadcast_mul(&known)?.sum_all()?;
        // None known gives 0.
        Ok(((sum / known.sum_all()?.clamp(1.0, f64::INFINITY)?)?, weights))
    }

    /// The poses in one frame's tokens `[B, 1, N, D]`, by window and object.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn poses(&self, tokens: &Tensor, wanted: &[Vec<Wanted>]) -> Result<Vec<Vec<PoseEstimate>>> {
        let (pose, log_sigma) = self.forward(tokens, &Asked::new(wanted, Ask::Pose, tokens)?)?;
        let pose: Vec<Vec<Vec<f32>>> = pose.to_device(&Device::Cpu)?.to_vec3()?;
        let sigma: Vec<Vec<Vec<f32>>> = log_sigma.exp()?.to_device(&Device::Cpu)?.to_vec3()?;
        let read = |(pose, sigma): (&Vec<f32>, &Vec<f32>)| {
            let mut numbers = [0.0; POSE];
            numbers.copy_from_slice(pose);
            PoseEstimate {
                pose: SeenPose::from_numbers(numbers),
                place_std: sigma[0],
                log_depth_std: sigma[1],
                rotation_std: sigma[2],
            }
        };
        let windows = pose.iter().zip(&sigma).zip(wanted);
        Ok(windows
            .map(|((pose, sigma), wanted)| pose.iter().zip(sigma).take(wanted.len()).map(read).collect())
            .collect())
    }
}

/// Over the last axis, of differentiable operations.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let largest = x.max_keepdim(D::Minus1)?.detach();
    let exponentials = x.broadcast_sub(&largest)?.exp()?;
    Ok(exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)?)
}
