//! Group normalisation (Wu & He 2018), alone or followed by SiLU as residual blocks of diffusion
//! models have it.
//!
//! x `[B, C, ..]` is cut into `groups` runs of C/groups channels. With μ and σ² over one group of
//! one batch element (biased variance, eq. 1 to 3 there):
//!   x̂ = (x − μ) / √(σ² + ε),  y = x̂·weight_c + bias_c,  z = y or y·sigmoid(y).
//! Gradients, with g that of y, and means over the n values of a group:
//!   ∂x = (w·g − mean(w·g) − x̂·mean(w·g·x̂)) / √(σ² + ε),  ∂weight_c = Σ g·x̂,  ∂bias_c = Σ g.
//! μ and σ are computed again in the backward pass from x, which has to be read anyway.
//!
//! A group is the work of one thread; sums over the batch are added in its order. So the bits do
//! not depend on the number of threads.

use std::mem::MaybeUninit;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};

#[cfg(feature = "cuda")]
use crate::affine::CudaArgument;
use crate::affine::{self, Affine, Argument};
use crate::buffer::{Buffer, written};
#[cfg(feature = "cuda")]
use crate::cuda::ops;
use crate::error::{argument_error, shape_error};
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, par};

/// Group norm of `x` `[B, C, ..]` over `groups` runs of channels, `weight` and `bias` `[C]` (ones
/// and zeros where there are none).
///
/// # Errors
/// Shapes or dtypes that do not agree, `groups` that does not divide C, an `eps` that is negative
/// or not finite.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    apply("group_norm", false, x, groups, weight, bias, eps)
}

/// `silu(group_norm(x))` in one pass.
///
/// # Errors
/// As [`group_norm`].
pub fn group_norm_silu(
    x: &Tensor,
    groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    apply("group_norm_silu", true, x, groups, weight, bias, eps)
}

fn apply(
    op: &'static str,
    silu: bool,
    x: &Tensor,
    groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let &[_, channels, ref space @ ..] = x.dims() else {
        return Err(shape_error(op, "x", "[B, C, ..]", x.shape()));
    };
    if groups == 0 || channels % groups != 0 {
        return Err(argument_error(
            op,
            format!("{groups} groups do not divide the {channels} channels of x {:?}", x.dims()),
        ));
    }
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(argument_error(op, format!("eps is {eps}, expected a number of at least 0")));
    }
    for (what, given) in [("weight", weight), ("bias", bias)] {
        if let Some(given) = given {
            if given.dims() != [channels] {
                return Err(shape_error(op, what, format!("[{channels}]"), given.shape()));
            }
            same_dtype(op, x.dtype(), what, given.dtype())?;
        }
    }
    let group = Group { silu, channels: channels / groups, space: space.iter().product(), eps };
    let ones = match (weight, bias) {
        (None, Some(_)) => Some(Tensor::ones(channels, x.dtype(), x.device())?),
        _ => None,
    };
    affine::apply(GroupNorm { op, groups, group }, x, weight.or(ones.as_ref()), bias)
}

/// One group of one batch element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) silu: bool,
    /// Channels of a group.
    pub(crate) channels: usize,
    /// Values of a channel.
    pub(crate) space: usize,
    pub(crate) eps: f64,
}

/// The op behind both functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNorm {
    pub(crate) op: &'static str,
    pub(crate) groups: usize,
    pub(crate) group: Group,
}

impl GroupNorm {
    /// The channels of group number `index`, counted over the batch.
    fn channels(&self, index: usize) -> std::ops::Range<usize> {
        let first = index % self.groups * self.group.channels;
        first..first + self.group.channels
    }

    /// A weight or bias that is not given.
    fn constant<T: Real>(&self, value: f64) -> Vec<T> {
        vec![T::real(value); self.groups * self.group.channels]
    }

    fn normalise<T: Real>(&self, x: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
        let len = self.group.channels * self.group.space;
        let mut out = Buffer::new(x.len());
        par::rows(out.slots(), len, |first, out| {
            for (index, out) in (first..).zip(out.chunks_exact_mut(len)) {
                let (x, own) = (&x[index * len..(index + 1) * len], self.channels(index));
                dispatch(Forward { group: self.group, x, weight: &weight[own.clone()], bias: &bias[own], out });
            }
        });
        // SAFETY: the rows cover every slot, and each group writes all of its own.
        unsafe { out.into_vec() }
    }

    /// Gradients of x, and of weight and bias.
    fn backward<T: Real>(&self, x: &[T], weight: &[T], bias: &[T], grad: &[T]) -> [Vec<T>; 3] {
        let (len, channels) = (self.group.channels * self.group.space, self.group.channels);
        let mut out = Buffer::new(x.len());
        let all = self.groups * channels;
        let (mut d_weight, mut d_bias) = (vec![T::ZERO; all], vec![T::ZERO; all]);
        if let Some(count) = x.len().checked_div(len) {
            // Of each group of each batch element: the sums of its channels for weight, then for bias.
            let mut sums = vec![T::ZERO; count * 2 * channels];
            par::rows2(out.slots(), len, &mut sums, 2 * channels, |first, out, sums| {
                let groups = out.chunks_exact_mut(len).zip(sums.chunks_exact_mut(2 * channels));
                for (index, (out, sums)) in (first..).zip(groups) {
                    let (range, own) = (index * len..(index + 1) * len, self.channels(index));
                    dispatch(Backward {
                        group: self.group,
                        x: &x[range.clone()],
                        grad: &grad[range],
                        weight: &weight[own.clone()],
                        bias: &bias[own],
                        out,
                        sums,
                    });
                }
            });
            for (index, sums) in sums.chunks_exact(2 * channels).enumerate() {
                let own = self.channels(index);
                let totals = d_weight[own.clone()].iter_mut().chain(&mut d_bias[own]);
                for (total, &sum) in totals.zip(sums) {
                    *total += sum;
                }
            }
        }
        // SAFETY: the rows cover every slot, and each group writes all of its own.
        [unsafe { out.into_vec() }, d_weight, d_bias]
    }
}

/// The mean and 1 / √(variance + ε) of a group, summed channel by channel.
#[inline(always)]
fn statistics<T: Real, S: Simd>(simd: S, group: Group, x: &[T]) -> (Lanes<T, S>, Lanes<T, S>) {
    let count = T::real(x.len() as f64);
    let mut total = T::ZERO;
    for x in x.chunks_exact(group.space) {
        // Two sums side by side: one alone would wait for each addition.
        total += pair_sum(simd, x, Lanes::zero(simd), false);
    }
    let mean = Lanes::splat(simd, total / count);
    let mut squares = T::ZERO;
    for x in x.chunks_exact(group.space) {
        squares += pair_sum(simd, x, mean, true);
    }
    let deviation = (squares / count + T::real(group.eps)).sqrt();
    (mean, Lanes::splat(simd, T::ONE / deviation))
}

/// Σ x, or Σ (x − mean)².
#[inline(always)]
fn pair_sum<T: Real, S: Simd>(simd: S, x: &[T], mean: Lanes<T, S>, square: bool) -> T {
    let (first, second) = x.split_at(x.len() / (2 * Lanes::<T, S>::COUNT) * Lanes::<T, S>::COUNT);
    let (mut a, mut b) = (Lanes::<T, S>::zero(simd), Lanes::<T, S>::zero(simd));
    for at in (0..first.len()).step_by(Lanes::<T, S>::COUNT) {
        let (x, y) = (Lanes::load(simd, first, at), Lanes::load(simd, second, at));
        if square {
            a = (x - mean).mul_add(x - mean, a);
            b = (y - mean).mul_add(y - mean, b);
        } else {
            a = a + x;
            b = b + y;
        }
    }
    // At most three registers more.
    let rest = &second[first.len()..];
    each_vector!(T, simd, rest.len(), |at, step| {
        let x = step.load(rest, at);
        if square {
            let off = step.keep(x - mean);
            a = off.mul_add(off, a);
        } else {
            a = a + x;
        }
    });
    (a + b).sum()
}

/// Σ g·x̂ and Σ g.
#[inline(always)]
fn pair_products<T: Real, S: Simd>(
    simd: S,
    [x, grad]: [&[T]; 2],
    [mean, inverse]: [Lanes<T, S>; 2],
) -> (Lanes<T, S>, Lanes<T, S>) {
    let half = x.len() / (2 * Lanes::<T, S>::COUNT) * Lanes::<T, S>::COUNT;
    let mut along = [Lanes::<T, S>::zero(simd); 2];
    let mut sum = [Lanes::<T, S>::zero(simd); 2];
    for at in (0..half).step_by(Lanes::<T, S>::COUNT) {
        for (i, start) in [at, half + at].into_iter().enumerate() {
            let g = Lanes::load(simd, grad, start);
            along[i] = ((Lanes::load(simd, x, start) - mean) * inverse).mul_add(g, along[i]);
            sum[i] = sum[i] + g;
        }
    }
    let (x, grad) = (&x[2 * half..], &grad[2 * half..]);
    each_vector!(T, simd, x.len(), |at, step| {
        let g = step.load(grad, at);
        along[0] = step.keep((step.load(x, at) - mean) * inverse).mul_add(g, along[0]);
        sum[0] = sum[0] + g;
    });
    (along[0] + along[1], sum[0] + sum[1])
}

struct Forward<'a, T> {
    group: Group,
    x: &'a [T],
    /// Of the group's channels.
    weight: &'a [T],
    bias: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let space = self.group.space;
        let (mean, inverse) = statistics(simd, self.group, self.x);
        let rows = self.x.chunks_exact(space).zip(self.out.chunks_exact_mut(space));
        for ((x, out), (&weight, &bias)) in rows.zip(self.weight.iter().zip(self.bias)) {
            let (weight, bias) = (Lanes::splat(simd, weight), Lanes::splat(simd, bias));
            if self.group.silu {
                each_vector!(T, simd, space, |at, step| {
                    let y = ((step.load(x, at) - mean) * inverse).mul_add(weight, bias);
                    step.store(y * y.sigmoid(), out, at);
                });
            } else {
                each_vector!(T, simd, space, |at, step| {
                    step.store(((step.load(x, at) - mean) * inverse).mul_add(weight, bias), out, at);
                });
            }
        }
    }
}

struct Backward<'a, T> {
    group: Group,
    x: &'a [T],
    grad: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    out: &'a mut [MaybeUninit<T>],
    /// `[2, channels]`: Σ g·x̂ and Σ g.
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Group { silu, channels, space, .. } = self.group;
        let (mean, inverse) = statistics(simd, self.group, self.x);
        let one = Lanes::splat(simd, T::ONE);
        let (along, plain) = self.sums.split_at_mut(channels);
        let (mut inner_along, mut inner) = (T::ZERO, T::ZERO);
        for channel in 0..channels {
            let own = channel * space..(channel + 1) * space;
            let (x, grad, out) = (&self.x[own.clone()], &self.grad[own.clone()], &mut self.out[own]);
            let (weight, bias) = (Lanes::splat(simd, self.weight[channel]), Lanes::splat(simd, self.bias[channel]));
            let (mut sum_along, mut sum) = (Lanes::<T, S>::zero(simd), Lanes::<T, S>::zero(simd));
            if silu {
                each_vector!(T, simd, space, |at, step| {
                    let normal = (step.load(x, at) - mean) * inverse;
                    // silu' = s·(1 + y·(1 − s)); kept in the output for the second pass.
                    let y = normal.mul_add(weight, bias);
                    let s = y.sigmoid();
                    let g = step.load(grad, at) * s * y.mul_add(one - s, one);
                    step.store(g, out, at);
                    let g = step.keep(g);
                    sum_along = step.keep(normal).mul_add(g, sum_along);
                    sum = sum + g;
                });
            } else {
                (sum_along, sum) = pair_products(simd, [x, grad], [mean, inverse]);
            }
            (along[channel], plain[channel]) = (sum_along.sum(), sum.sum());
            inner_along += self.weight[channel] * along[channel];
            inner += self.weight[channel] * plain[channel];
        }
        let count = T::real(self.x.len() as f64);
        let (inner_along, inner) = (Lanes::splat(simd, inner_along / count), Lanes::splat(simd, inner / count));
        for channel in 0..channels {
            let own = channel * space..(channel + 1) * space;
            let (x, grad, out) = (&self.x[own.clone()], &self.grad[own.clone()], &mut self.out[own]);
            let weight = Lanes::splat(simd, self.weight[channel]);
            if silu {
                // SAFETY: the first pass wrote g to every slot of this channel.
                let out = unsafe { written(out) };
                each_vector!(T, simd, space, |at, step| {
                    let normal = (step.load(x, at) - mean) * inverse;
                    step.store((step.load(out, at) * weight - inner - normal * inner_along) * inverse, out, at);
                });
            } else {
                each_vector!(T, simd, space, |at, step| {
                    let normal = (step.load(x, at) - mean) * inverse;
                    step.store((step.load(grad, at) * weight - inner - normal * inner_along) * inverse, out, at);
                });
            }
        }
    }
}

impl Affine for GroupNorm {
    fn name(&self) -> &'static str {
        self.op
    }

    fn forward(
        &self,
        x: Argument<'_>,
        weight: Option<Argument<'_>>,
        bias: Option<Argument<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.op, x.0.dtype(), T => {
            let vector = |given: Option<Argument<'_>>, other: f64| match given {
                Some((given, layout)) => Ok(values::<T>(given, layout)?.into_owned()),
                None => Ok::<_, candle_core::Error>(self.constant(other)),
            };
            let (weight, bias) = (vector(weight, 1.0)?, vector(bias, 0.0)?);
            Ok((storage(self.normalise::<T>(&values(x.0, x.1)?, &weight, &bias)), x.1.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_forward(
        &self,
        x: CudaArgument<'_>,
        weight: Option<CudaArgument<'_>>,
        bias: Option<CudaArgument<'_>>,
    ) -> Result<(CudaStorage, Shape)> {
        ops::group_norm(self, [Some(x), weight, bias])
    }

    fn gradients(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return ops::group_norm_gradients(self, x, weight, bias, grad);
        }
        by_dtype!(self.op, x.dtype(), T => {
            let vector = |given: Option<&Tensor>, other: f64| match given {
                Some(given) => with_values::<T, _>(self.op, given, <[T]>::to_vec),
                None => Ok(self.constant(other)),
            };
            let (weights, biases) = (vector(weight, 1.0)?, vector(bias, 0.0)?);
            let [dx, d_weight, d_bias] = with_values::<T, _>(self.op, x, |x| {
                with_values::<T, _>(self.op, grad, |grad| self.backward(x, &weights, &biases, grad))
            })??;
            let of = |given: Option<&Tensor>, gradient| given.map(|given| tensor(gradient, given.shape(), x)).transpose();
            Ok([Some(tensor(dx, x.shape(), x)?), of(weight, d_weight)?, of(bias, d_bias)?])
        })
    }
}
