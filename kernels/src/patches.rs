//! Pictures as tokens and back.
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | pictures | rows of pixels, channel by channel | `[B, T, C, H, W]` |
//! | tokens | squares of p × p pixels, row by row, each channel by channel | `[B, T, N, C·p²]`, N = H·W / p² |
//!
//! Both ways are the same numbers in another order, times a factor; the gradient of one is the other.
//!
//! [`carry_patches`] carries a frame forward: a network's last layer gives a change Δ and a gain g for each number of the
//! frame before, x̂ = (1 + g) ⊙ before + Δ, so that a layer that starts at zero gives the frame before. Its gradients, with h
//! that of x̂: ∂Δ = h, ∂g = h ⊙ before, ∂before = h ⊙ (1 + g). Δ and g lie as tokens, and all of it is one pass.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};

use crate::error::{argument_error, shape_error};
use crate::lanes::dispatch;
use crate::plumbing::{same_dtype, storage, tensor, values, wants_gradient, with_values};
use crate::real::Real;
use crate::{by_dtype, par, tape};

/// `[B, T, C, H, W]` → `[B, T, N, C·p²]`.
///
/// # Errors
/// Another number of dimensions, sides that are no multiple of `patch`; dtypes other than F32 and F64.
pub fn patchify(pictures: &Tensor, patch: usize) -> Result<Tensor> {
    const OP: &str = "patchify";
    let &[b, t, c, h, w] = pictures.dims() else {
        return Err(shape_error(OP, "pictures", "[B, T, C, H, W]", pictures.shape()));
    };
    let squares = Squares::new(OP, c, [h, w], patch)?;
    if pictures.device().is_cuda() {
        return patchify_apart(pictures, squares, [b, t]);
    }
    tape::apply1(pictures, Reorder { op: OP, squares, factor: 1.0, to_tokens: true })
}

/// `factor` times the inverse of [`patchify`], for pictures of `height` × `width`: `[B, T, N, C·p²]` → `[B, T, C, H, W]`.
///
/// # Errors
/// As [`patchify`], and tokens that are not those of such pictures.
pub fn unpatchify(tokens: &Tensor, patch: usize, [height, width]: [usize; 2], factor: f64) -> Result<Tensor> {
    const OP: &str = "unpatchify";
    let &[b, t, _, numbers] = tokens.dims() else {
        return Err(shape_error(OP, "tokens", "[B, T, N, C·p²]", tokens.shape()));
    };
    let c = numbers / (patch * patch).max(1);
    let squares = Squares::new(OP, c, [height, width], patch)?;
    squares.check(OP, "tokens", tokens, [b, t], c)?;
    if tokens.device().is_cuda() {
        return unpatchify_apart(tokens, squares, [b, t], factor);
    }
    tape::apply1(tokens, Reorder { op: OP, squares, factor, to_tokens: false })
}

/// (1 + g) ⊙ before + Δ: `before` `[B, T, C, H, W]`, Δ and g the first and the second half of each token of
/// `out` `[B, T, N, 2·C·p²]`. See the [module](self).
///
/// # Errors
/// As [`unpatchify`], and dtypes that do not agree.
pub fn carry_patches(before: &Tensor, out: &Tensor, patch: usize) -> Result<Tensor> {
    const OP: &str = "carry_patches";
    let &[b, t, c, h, w] = before.dims() else {
        return Err(shape_error(OP, "before", "[B, T, C, H, W]", before.shape()));
    };
    let squares = Squares::new(OP, c, [h, w], patch)?;
    squares.check(OP, "out", out, [b, t], 2 * c)?;
    same_dtype(OP, before.dtype(), "out", out.dtype())?;
    #[cfg(feature = "cuda")]
    if before.device().is_cuda() {
        return carry_apart(before, out, patch, crate::cuda::pictures::carry);
    }
    tape::apply2(before, out, CarryPatches { squares })
}

/// [`patchify`] of candle's operations.
pub(crate) fn patchify_apart(pictures: &Tensor, squares: Squares, [b, t]: [usize; 2]) -> Result<Tensor> {
    let Squares { channels, height, width, patch } = squares;
    let (rows, columns) = (height / patch, width / patch);
    let squares = pictures.reshape(&[b * t, channels, rows, patch, columns, patch])?.permute([0, 2, 4, 1, 3, 5])?;
    squares.reshape((b, t, rows * columns, channels * patch * patch))
}

/// [`unpatchify`] of candle's operations.
pub(crate) fn unpatchify_apart(tokens: &Tensor, squares: Squares, [b, t]: [usize; 2], factor: f64) -> Result<Tensor> {
    let Squares { channels, height, width, patch } = squares;
    let (rows, columns) = (height / patch, width / patch);
    let squares = tokens.reshape(&[b * t, rows, columns, channels, patch, patch])?.permute([0, 3, 1, 4, 2, 5])?;
    squares.reshape((b, t, channels, height, width))? * factor
}

/// [`carry_patches`] of separate operations: `carry` gives (1 + g) ⊙ before + Δ for rows before `[R, n]` and \[Δ, g\] `[R, 2·n]`.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn carry_apart(
    before: &Tensor,
    out: &Tensor,
    patch: usize,
    carry: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (b, t, c, h, w) = before.dims5()?;
    let out = unpatchify(out, patch, [h, w], 1.0)?.reshape((b * t, 2 * c * h * w))?;
    carry(&before.reshape((b * t, c * h * w))?, &out)?.reshape(before.shape())
}

/// The order of the numbers of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Squares {
    channels: usize,
    height: usize,
    width: usize,
    patch: usize,
}

impl Squares {
    pub(crate) fn new(op: &'static str, channels: usize, [height, width]: [usize; 2], patch: usize) -> Result<Self> {
        if patch == 0 || height % patch != 0 || width % patch != 0 {
            let what = format!("{height} × {width} pixels are not whole squares of a side of {patch}");
            return Err(argument_error(op, what));
        }
        Ok(Self { channels, height, width, patch })
    }

    /// Refuses tokens that are not `[B, T, N, channels·p²]`.
    fn check(
        self,
        op: &'static str,
        what: &'static str,
        tokens: &Tensor,
        [b, t]: [usize; 2],
        channels: usize,
    ) -> Result<()> {
        let dims = [b, t, self.height / self.patch * (self.width / self.patch), channels * self.patch * self.patch];
        if tokens.dims() != dims {
            return Err(shape_error(op, what, format!("{dims:?}"), tokens.shape()));
        }
        Ok(())
    }

    /// Pixels of a frame in all channels.
    fn numbers(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Calls `run(picture, token)` for each row of each square of a frame: where its pixels start in the picture, and in tokens
    /// of `token` numbers each.
    #[inline(always)]
    fn each_run(self, token: usize, mut run: impl FnMut(usize, usize)) {
        let Self { channels, height, width, patch } = self;
        for channel in 0..channels {
            for y in 0..height {
                let line = (channel * height + y) * width;
                let first = y / patch * (width / patch) * token + (channel * patch + y % patch) * patch;
                for column in 0..width / patch {
                    run(line + column * patch, first + column * token);
                }
            }
        }
    }
}

/// Calls `$run::<P>` with the side of a square as a constant where it is a usual one, and 0 for any other.
macro_rules! by_patch {
    ($patch:expr, $run:ident($($argument:expr),*)) => {
        match $patch {
            4 => $run::<T, 4>($($argument),*),
            8 => $run::<T, 8>($($argument),*),
            16 => $run::<T, 16>($($argument),*),
            _ => $run::<T, 0>($($argument),*),
        }
    };
}

/// Frames in another order.
struct Reordered<'a, T> {
    squares: Squares,
    factor: T,
    to_tokens: bool,
    from: &'a [T],
    into: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Reordered<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { squares, factor, to_tokens, from, into } = self;
        let numbers = squares.numbers();
        for (from, into) in from.chunks_exact(numbers).zip(into.chunks_exact_mut(numbers)) {
            by_patch!(squares.patch, reorder(squares, factor, to_tokens, from, into));
        }
    }
}

#[inline(always)]
fn reorder<T: Real, const P: usize>(
    squares: Squares,
    factor: T,
    to_tokens: bool,
    from: &[T],
    into: &mut [MaybeUninit<T>],
) {
    let patch = if P == 0 { squares.patch } else { P };
    squares.each_run(squares.channels * patch * patch, |picture, token| {
        let (source, target) = if to_tokens { (picture, token) } else { (token, picture) };
        for (slot, &value) in into[target..target + patch].iter_mut().zip(&from[source..source + patch]) {
            slot.write(value * factor);
        }
    });
}

/// The op behind [`patchify`] and [`unpatchify`].
#[derive(Clone, Copy)]
struct Reorder {
    op: &'static str,
    squares: Squares,
    factor: f64,
    to_tokens: bool,
}

impl Reorder {
    fn run<T: Real>(self, from: &[T]) -> Vec<T> {
        let (numbers, factor) = (self.squares.numbers(), T::real(self.factor));
        let frames = |first: usize, into: &mut [MaybeUninit<T>]| {
            let from = &from[first * numbers..first * numbers + into.len()];
            dispatch(Reordered { squares: self.squares, factor, to_tokens: self.to_tokens, from, into });
        };
        // SAFETY: each run of each square of a block's frames is written.
        unsafe { par::fill(from.len(), numbers, frames) }
    }

    fn shape(self, dims: &[usize]) -> Shape {
        let Squares { channels, height, width, patch } = self.squares;
        let own = if self.to_tokens {
            vec![height / patch * (width / patch), channels * patch * patch]
        } else {
            vec![channels, height, width]
        };
        Shape::from([&dims[..2], &own[..]].concat())
    }
}

impl CustomOp1 for Reorder {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.op, x.dtype(), T => {
            Ok((storage(self.run::<T>(&values(x, layout)?)), self.shape(layout.dims())))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { to_tokens: !self.to_tokens, ..*self };
        by_dtype!(self.op, x.dtype(), T => {
            let dx = with_values::<T, _>(self.op, grad, |grad| back.run(grad))?;
            tensor(dx, x.shape(), x).map(Some)
        })
    }
}

/// The op behind [`carry_patches`].
#[derive(Clone, Copy)]
struct CarryPatches {
    squares: Squares,
}

/// What of it is computed.
enum Part<'a, T> {
    /// x̂, from the frame before and out.
    Value { before: &'a [T], out: &'a [T] },
    /// ∂before, from out and the gradient.
    Before { out: &'a [T], grad: &'a [T] },
    /// ∂out, from the frame before and the gradient.
    Out { before: &'a [T], grad: &'a [T] },
}

/// Some frames of it.
struct Carried<'a, T> {
    squares: Squares,
    part: Part<'a, T>,
    into: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Carried<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { squares, part, into } = self;
        by_patch!(squares.patch, carried(squares, &part, into));
    }
}

#[inline(always)]
fn carried<T: Real, const P: usize>(squares: Squares, part: &Part<T>, into: &mut [MaybeUninit<T>]) {
    let patch = if P == 0 { squares.patch } else { P };
    let (numbers, half) = (squares.numbers(), squares.channels * patch * patch);
    let frames = |all: usize, one: usize| {
        (0..all.checked_div(one).unwrap_or(0)).map(move |frame| frame * one..(frame + 1) * one)
    };
    match part {
        Part::Value { before, out } => {
            for (own, both) in frames(before.len(), numbers).zip(frames(out.len(), 2 * numbers)) {
                let (before, out, into) = (&before[own.clone()], &out[both], &mut into[own]);
                squares.each_run(2 * half, |picture, token| {
                    let (change, gain) = (&out[token..token + patch], &out[token + half..token + half + patch]);
                    let run = into[picture..picture + patch].iter_mut().zip(&before[picture..picture + patch]);
                    for ((slot, &before), (&change, &gain)) in run.zip(change.iter().zip(gain)) {
                        slot.write((T::ONE + gain) * before + change);
                    }
                });
            }
        }
        Part::Before { out, grad } => {
            for (own, both) in frames(grad.len(), numbers).zip(frames(out.len(), 2 * numbers)) {
                let (grad, out, into) = (&grad[own.clone()], &out[both], &mut into[own]);
                squares.each_run(2 * half, |picture, token| {
                    let run = into[picture..picture + patch].iter_mut().zip(&grad[picture..picture + patch]);
                    for ((slot, &grad), &gain) in run.zip(&out[token + half..token + half + patch]) {
                        slot.write(grad * (T::ONE + gain));
                    }
                });
            }
        }
        Part::Out { before, grad } => {
            for (own, both) in frames(grad.len(), numbers).zip(frames(into.len(), 2 * numbers)) {
                let (grad, before, into) = (&grad[own.clone()], &before[own], &mut into[both]);
                squares.each_run(2 * half, |picture, token| {
                    let (change, gain) = into[token..token + half + patch].split_at_mut(half);
                    let run = grad[picture..picture + patch].iter().zip(&before[picture..picture + patch]);
                    for ((&grad, &before), (change, gain)) in run.zip(change[..patch].iter_mut().zip(gain)) {
                        change.write(grad);
                        gain.write(grad * before);
                    }
                });
            }
        }
    }
}

impl CarryPatches {
    /// A part of `times` numbers for each of a frame's: `part` gives it for a run of frames.
    fn run<'a, T: Real>(self, len: usize, times: usize, part: impl Fn(Frames) -> Part<'a, T> + Sync) -> Vec<T> {
        let numbers = self.squares.numbers();
        let frames = |first: usize, into: &mut [MaybeUninit<T>]| {
            let frames = Frames { first, count: into.len().checked_div(times * numbers).unwrap_or(0), numbers };
            dispatch(Carried { squares: self.squares, part: part(frames), into });
        };
        // SAFETY: each run of each square of a block's frames is written.
        unsafe { par::fill(len, times * numbers, frames) }
    }
}

/// A run of frames of so many numbers.
#[derive(Clone, Copy)]
struct Frames {
    first: usize,
    count: usize,
    numbers: usize,
}

impl Frames {
    /// Their part of values of which each frame has `times` its numbers.
    fn of<T>(self, all: &[T], times: usize) -> &[T] {
        let size = times * self.numbers;
        &all[self.first * size..(self.first + self.count) * size]
    }
}

impl CustomOp2 for CarryPatches {
    fn name(&self) -> &'static str {
        "carry_patches"
    }

    fn cpu_fwd(&self, before: &CpuStorage, bl: &Layout, out: &CpuStorage, ol: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.name(), before.dtype(), T => {
            let (before, out) = (values::<T>(before, bl)?, values::<T>(out, ol)?);
            let carried = self.run(before.len(), 1, |frames| {
                Part::Value { before: frames.of(&before, 1), out: frames.of(&out, 2) }
            });
            Ok((storage(carried), bl.shape().clone()))
        })
    }

    /// Each only if something asks for it.
    fn bwd(
        &self,
        before: &Tensor,
        out: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let op = self.name();
        by_dtype!(op, before.dtype(), T => {
            with_values::<T, _>(op, grad, |grad| {
                let d_before = wants_gradient(before).then(|| {
                    let d_before = with_values::<T, _>(op, out, |out| {
                        self.run(grad.len(), 1, |frames| {
                            Part::Before { out: frames.of(out, 2), grad: frames.of(grad, 1) }
                        })
                    })?;
                    tensor(d_before, before.shape(), before)
                });
                let d_out = wants_gradient(out).then(|| {
                    let d_out = with_values::<T, _>(op, before, |before| {
                        self.run(2 * grad.len(), 2, |frames| {
                            Part::Out { before: frames.of(before, 1), grad: frames.of(grad, 1) }
                        })
                    })?;
                    tensor(d_out, out.shape(), out)
                });
                Ok((d_before.transpose()?, d_out.transpose()?))
            })?
        })
    }
}
