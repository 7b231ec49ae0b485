//! How the heads ask for objects: what each of them looks like, and what is known of it before they look.
//!
//! A query also says where the object should be and which colour it has, each with a learned offset and precision w: a place x in
//! the picture scores −w·‖x − p‖² beside what else it looks like, a colour c scores −w′·‖c − q‖². Written out this is linear
//! in (x, ‖x‖², c, ‖c‖², 1), so that it becomes part of the product of features and queries.

use candle_core::{D, Device, Tensor};
use worldloom_kernels as kernels;

use super::describe::{Description, LOOKS, MOST_OBJECTS, Measured};
use super::track::{TRACK, Track};
use crate::error::Result;
use crate::layers::Linear;
use crate::params::Scope;

/// Numbers of a place as features know it: right, down, and the square of its distance from the middle.
pub const PLACE: usize = 3;
/// Numbers of a colour as features know it: red, green, blue, and the square of its length.
pub const COLOUR: usize = 4;
/// Hidden units.
const HIDDEN: usize = 64;
/// Bias of a query that stands for no object.
const ABSENT: f32 = -30.0;
/// An offset of 1: of a place, in [−1, 1] of the picture, and of a colour, in [−1, 1].
const OFFSETS: [f64; 2] = [0.1, 0.3];
/// Logarithm of w at first, and how far it may go from there. Of places, e^2.6: a standard deviation of a tenth of the
/// picture; of colours, e^1: a fifth of their range.
const PRECISIONS: [[f64; 2]; 2] = [[2.6, 2.5], [1.0, 2.5]];

/// How much the size of a mask counts beside the depth in the frame before: a mask of few pixels is a poor measure.
const BY_SIZE: f32 = 0.2;

/// What is asked for, `[B·T, K, …]` with K = [`MOST_OBJECTS`].
#[derive(Clone, Debug)]
pub struct Asked {
    /// Description, track and, for one that is measured, what was measured.
    pub values: Tensor,
    /// 0 for an object, very low for none, `[B·T, K, 1]`.
    bias: Tensor,
    /// Where it should be, `[B·T, K, 2]`.
    pub expected: Tensor,
    /// Its mean colour, `[B·T, K, 3]`.
    colour: Tensor,
    /// Log depth, by what its size and the frame before say of it, and rotation in the frame before; zeros where unknown,
    /// `[B·T, K, 7]`.
    pub before: Tensor,
}

/// An object to ask for in a frame: its description, its track and, once its mask is known, where that is.
pub struct Wanted<'a> {
    /// What it looks like.
    pub object: &'a Description,
    /// What is known of it before the frame.
    pub track: &'a Track,
    /// What its mask in the frame says; none if it has none.
    pub measured: Option<Measured>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Masks, by what is known before; colours tell them apart.
    Mask,
    /// Poses, once the masks are known.
    Pose,
}

/// Numbers of a description and a track.
const KNOWN: usize = LOOKS + TRACK;

impl Ask {
    /// Numbers of a query: those of a description and a track; for a pose also 1 if there is a mask, its place and size, and 1 and the
    /// log depth that its size tells, if it does.
    pub const fn numbers(self) -> usize {
        match self {
            Self::Mask => KNOWN,
            Self::Pose => KNOWN + 6,
        }
    }
}

impl Asked {
    /// The objects of each of `frames` (all frames of a window, then those of the next one), on `like`'s device and dtype. Masks
    /// that are known are looked at for poses alone.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn new(frames: &[Vec<Wanted>], ask: Ask, like: &Tensor) -> Result<Self> {
        let (rows, numbers) = (frames.len(), ask.numbers());
        let of = |count: usize| vec![0f32; rows * MOST_OBJECTS * count];
        let (mut values, mut expected, mut colour, mut before) = (of(numbers), of(2), of(3), of(TRACK - 6));
        let mut bias = vec![ABSENT; rows * MOST_OBJECTS];
        for (row, wanted) in frames.iter().enumerate() {
            for (k, Wanted { object, track, measured }) in wanted.iter().take(MOST_OBJECTS).enumerate() {
                let at = row * MOST_OBJECTS + k;
                let out = &mut values[at * numbers..(at + 1) * numbers];
                out[..LOOKS].copy_from_slice(&object.looks);
                out[LOOKS..KNOWN].copy_from_slice(&track.numbers());
                let measured = measured.filter(|_| ask == Ask::Pose);
                let mut place = track.expected();
                if let Some(measured) = measured {
                    place = measured.place;
                    out[KNOWN..KNOWN + 4].copy_from_slice(&[1.0, place[0], place[1], measured.share]);
                }
                let mut known = track.before();
                if let Some(depth) = measured.and_then(|seen| object.log_depth_of(&seen)) {
                    out[KNOWN + 4..].copy_from_slice(&[1.0, depth]);
                    // What the frame before got wrong fades.
                    known[0] = if track.knows_pose() { known[0] + BY_SIZE * (depth - known[0]) } else { depth };
                }
                bias[at] = 0.0;
                expected[2 * at..2 * at + 2].copy_from_slice(&place);
                colour[3 * at..3 * at + 3].copy_from_slice(&object.looks[..3]);
                before[7 * at..7 * at + 7].copy_from_slice(&known);
            }
        }
        let to = |values: Vec<f32>| -> Result<Tensor> {
            let last = values.len() / (rows * MOST_OBJECTS);
            let tensor = Tensor::from_vec(values, (rows, MOST_OBJECTS, last), &Device::Cpu)?;
            Ok(tensor.to_dtype(like.dtype())?.to_device(like.device())?)
        };
        Ok(Self {
            values: to(values)?,
            bias: to(bias)?,
            expected: to(expected)?,
            colour: to(colour)?,
            before: to(before)?,
        })
    }
}

/// Makes queries. See the module.
#[derive(Clone, Debug)]
pub struct QueryNet {
    first: Linear,
    second: Linear,
    features: usize,
    ask: Ask,
}

impl QueryNet {
    /// Queries of `features` numbers, a place and, for masks, a colour.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn new(scope: &mut Scope, ask: Ask, features: usize) -> Result<Self> {
        let mut scope = scope.at("query");
        let all = features + PLACE + if ask == Ask::Mask { COLOUR } else { 0 };
        Ok(Self {
            first: Linear::new(&mut scope, "first", ask.numbers(), HIDDEN)?,
            second: Linear::new(&mut scope, "second", HIDDEN, all)?,
            features,
            ask,
        })
    }

    /// `[B·T, K, F + PLACE + COLOUR + 1]`, the last being its bias: to be multiplied with (features, place, colour, 1).
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn forward(&self, asked: &Asked) -> Result<Tensor> {
        let out = self.second.forward(&kernels::silu(&self.first.forward(&asked.values)?)?)?;
        let mut parts = vec![out.narrow(D::Minus1, 0, self.features)?];
        let mut bias = asked.bias.clone();
        let mut near = |middle: &Tensor, from: usize, which: usize| -> Result<()> {
            let count = middle.dim(D::Minus1)?;
            let middle = (middle + (out.narrow(D::Minus1, from, count)? * OFFSETS[which])?)?;
            let [start, range] = PRECISIONS[which];
            let precision = out.narrow(D::Minus1, from + count, 1)?.tanh()?.affine(range, start)?.exp()?;
            parts.push(middle.broadcast_mul(&(&precision * 2.0)?)?);
            parts.push(precision.neg()?);
            bias = (&bias - (middle.sqr()?.sum_keepdim(D::Minus1)? * precision)?)?;
            Ok(())
        };
        near(&asked.expected, self.features, 0)?;
        if self.ask == Ask::Mask {
            near(&asked.colour, self.features + PLACE, 1)?;
        }
        parts.push(bias);
        Ok(Tensor::cat(&parts, D::Minus1)?)
    }
}

/// Places in a picture of `height` × `width` as features know them, token by token, `[N · (patch / cell)², PLACE]`: of every `cell` ×
/// `cell` pixels of `tokens` tokens of `patch` × `patch`. Tokens beyond the picture lie below it.
pub fn places(tokens: usize, patch: usize, cell: usize, height: usize, width: usize) -> Vec<f32> {
    let (across, side) = (width / patch, patch / cell);
    let mut places = Vec::with_capacity(tokens * side * side * PLACE);
    for token in 0..tokens {
        for within in 0..side * side {
            let (x, y) = (token % across * side + within % side, token / across * side + within / side);
            let along = |at: usize, size: usize| (2.0 * (at as f32 + 0.5) * cell as f32) / size as f32 - 1.0;
            let (x, y) = (along(x, width), along(y, height));
            places.extend([x, y, x * x + y * y]);
        }
    }
    places
}
