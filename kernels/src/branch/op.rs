//! The forward and the backward pass, block by block.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType};

use super::blocks::{Block, Blocks, Segment};
use super::middle::{Attention, Kind, Middle};
use crate::activation::{Gate, GateBoth};
use crate::attention::{Axis, Local};
use crate::buffer::{Buffer, Shared, rewritten, written};
use crate::error::argument_error;
use crate::groups::Groups;
use crate::lanes::dispatch;
use crate::linear::{Matrix, Rows, with_weight};
use crate::norm::{AddGated, Backward, Forward, Norm, SplitGated};
use crate::plumbing::{storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, par, scratch};

/// Rows of a chunk, at least: the gradients of its weights are its own, and adding them up has to cost little beside it.
const CHUNK_ROWS: usize = 1024;
/// Chunks at most.
const CHUNKS: usize = 16;
/// Multiply-adds that take as long as touching one value, to decide whether threads are worth it.
const MULTIPLY_ADDS_PER_VALUE: usize = 16;
/// Frames below which attention over space is split among threads within a frame.
const FEW_FRAMES: usize = 4;

/// A branch of given sizes.
pub(super) struct Branch {
    op: &'static str,
    kind: Kind,
    norm: Norm,
    blocks: Blocks,
    /// `[B·T, N]`.
    groups: usize,
    tokens: usize,
    /// D.
    dim: usize,
    /// What the forward pass keeps, block by block: see [`Sizes`].
    kept: OnceLock<CpuStorage>,
}

/// Weights and biases of both layers.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T> {
    pub(super) first: (Matrix<'a, T>, &'a [T]),
    pub(super) second: (Matrix<'a, T>, &'a [T]),
}

/// The layers, and the numbers of a row.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) first: Rows,
    pub(super) second: Rows,
    /// Output and log-sum-exp of attention.
    attention: [usize; 2],
}

impl Sizes {
    /// Numbers of a row that are kept: of the first layer, of attention, of the second layer.
    fn kept(self) -> usize {
        self.first.outputs + self.attention[0] + self.attention[1] + self.second.outputs
    }

    /// Lengths of the weights and biases, in order.
    fn weights(self) -> [usize; 4] {
        let of = |layer: Rows| [layer.inputs * layer.outputs, layer.outputs];
        let ([a, b], [c, d]) = (of(self.first), of(self.second));
        [a, b, c, d]
    }
}

impl<'a, T> Weights<'a, T> {
    fn split(all: &'a [T], sizes: Sizes) -> Self {
        let [a, b, c, _] = sizes.weights();
        let (first, rest) = all.split_at(a);
        let (first_bias, rest) = rest.split_at(b);
        let (second, second_bias) = rest.split_at(c);
        let (first, second) = (Matrix::of(first, sizes.first.inputs), Matrix::of(second, sizes.second.inputs));
        Self { first: (first, first_bias), second: (second, second_bias) }
    }
}

/// The arguments of a pass.
pub(super) struct Pass<'a, T> {
    pub(super) branch: &'a Branch,
    pub(super) sizes: Sizes,
    middle: Middle<T>,
    pub(super) x: &'a [T],
    /// `[B·T, 3·D]`.
    modulation: &'a [T],
    pub(super) weights: Weights<'a, T>,
}

impl Branch {
    pub(super) fn new(op: &'static str, x: &Tensor, eps: f64, kind: Kind) -> Result<Self> {
        let (batch, frames, tokens, dim) = x.dims4()?;
        let groups = batch * frames;
        let shape = Groups { groups, rows: tokens, width: dim };
        let norm = Norm { op, centred: true, add_one: true, eps, groups: shape };
        let blocks = Blocks::new(groups, frames, tokens, kind.axis());
        Ok(Self { op, kind, norm, blocks, groups, tokens, dim, kept: OnceLock::new() })
    }

    pub(super) fn sizes(&self) -> Sizes {
        let [wide, narrow] = self.kind.widths(self.dim);
        Sizes {
            first: Rows { inputs: self.dim, outputs: wide },
            second: Rows { inputs: narrow, outputs: self.dim },
            attention: self.kind.kept(self.dim),
        }
    }

    fn pass<'a, T: Real>(&'a self, x: &'a [T], modulation: &'a [T], weights: Weights<'a, T>) -> Result<Pass<'a, T>> {
        let middle = self.kind.middle(self.op, self.dim)?;
        Ok(Pass { branch: self, sizes: self.sizes(), middle, x, modulation, weights })
    }

    /// The branch of tensors none of which asks for a gradient.
    pub(super) fn at_once(&self, x: &Tensor, modulation: &Tensor, weights: [&Tensor; 4]) -> Result<Tensor> {
        by_dtype!(self.op, x.dtype(), T => {
            let out = with_pass::<T, _>(self, x, modulation, weights, |pass| pass.forward(false).0)?;
            tensor(out, x.shape(), x)
        })
    }
}

/// Calls `work` with the numbers of these tensors.
pub(super) fn with_pass<T: Real, R>(
    branch: &Branch,
    x: &Tensor,
    modulation: &Tensor,
    [w1, b1, w2, b2]: [&Tensor; 4],
    work: impl FnOnce(Pass<T>) -> R,
) -> Result<R> {
    let op = branch.op;
    with_values::<T, _>(op, x, |x| {
        with_values::<T, _>(op, modulation, |modulation| {
            with_weight::<T, _>(op, w1, |w1| {
                with_values::<T, _>(op, b1, |b1| {
                    with_weight::<T, _>(op, w2, |w2| {
                        with_values::<T, _>(op, b2, |b2| {
                            let weights = Weights { first: (w1, b1), second: (w2, b2) };
                            branch.pass(x, modulation, weights).map(work)
                        })
                    })
                })
            })
        })
    })??????
}

impl<T: Real> Pass<'_, T> {
    /// Shift, scale and gate of a frame.
    fn modulation(&self, group: usize) -> [&[T]; 3] {
        let dim = self.branch.dim;
        let part = |index: usize| &self.modulation[(3 * group + index) * dim..(3 * group + index + 1) * dim];
        [part(0), part(1), part(2)]
    }

    fn rows<'b>(&self, all: &'b [T], rows: &Range<usize>) -> &'b [T] {
        &all[rows.start * self.branch.dim..rows.end * self.branch.dim]
    }

    /// Multiply-adds of both layers over all rows, in values.
    pub(super) fn work(&self) -> usize {
        let [a, _, b, _] = self.sizes.weights();
        self.branch.groups * self.branch.tokens * (a + b) / MULTIPLY_ADDS_PER_VALUE
    }

    /// The frames' parts of a run of rows, as one block.
    pub(super) fn segments(&self, rows: Range<usize>) -> impl Iterator<Item = Segment> + use<T> {
        let tokens = self.branch.tokens.max(1);
        (rows.start / tokens..rows.end.div_ceil(tokens)).map(move |group| {
            let part = rows.start.max(group * tokens)..rows.end.min((group + 1) * tokens);
            Segment { group, own: part.start - rows.start..part.end - rows.start, rows: part }
        })
    }

    /// h of a block.
    pub(super) fn normalise(&self, segments: impl Iterator<Item = Segment>, h: &mut [T]) {
        let Branch { norm, dim, .. } = *self.branch;
        for Segment { group, rows, own } in segments {
            let [shift, scale, _] = self.modulation(group);
            // SAFETY: rows are written whole.
            let out = unsafe { rewritten(&mut h[own.start * dim..own.end * dim]) };
            dispatch(Forward { norm, x: self.rows(self.x, &rows), scale: Some(scale), shift: Some(shift), out });
        }
    }

    /// y of a block.
    ///
    /// # Safety
    /// The block's rows of `out` are the caller's alone.
    pub(super) unsafe fn finish(&self, segments: impl Iterator<Item = Segment>, inner: &[T], out: Shared<T>) {
        let dim = self.branch.dim;
        for Segment { group, rows, own } in segments {
            let [_, _, gate] = self.modulation(group);
            // SAFETY: the caller's promise.
            let out = unsafe { out.slice(rows.start * dim, rows.len() * dim) };
            dispatch(AddGated { x: self.rows(self.x, &rows), branch: self.rows(inner, &own), gate, out });
        }
    }

    /// Where what a block keeps goes on from that of the first layer to attention's output, its log-sum-exp, and what the
    /// second layer gave.
    fn cuts(&self, rows: usize) -> [usize; 3] {
        let Sizes { first, attention: [mixed, log_sum_exp], .. } = self.sizes;
        let cut = rows * first.outputs;
        [cut, cut + rows * mixed, cut + rows * (mixed + log_sum_exp)]
    }

    /// y, and what the backward pass needs, or nothing.
    pub(super) fn forward(&self, keep: bool) -> (Vec<T>, Vec<T>) {
        let Branch { blocks, groups, tokens, .. } = *self.branch;
        let mut out = Buffer::new(self.x.len());
        let mut kept = Buffer::new(if keep { groups * tokens * self.sizes.kept() } else { 0 });
        let (into, keeping) = (Shared::new(out.slots()), Shared::new(kept.slots()));
        match &self.middle {
            Middle::Attention(attention)
                if !keep && groups < FEW_FRAMES && self.branch.kind.axis() == Some(Axis::Space) =>
            {
                (0..groups).for_each(|group| self.frame(attention, group, into));
            }
            _ => {
                par::blocks(blocks.count(), 1, self.work(), |range| {
                    for index in range {
                        self.forward_block(&blocks.block(index), into, keep.then_some(keeping));
                    }
                });
            }
        }
        // SAFETY: the blocks hold every row once, and each writes its rows of both whole.
        unsafe { (out.into_vec(), kept.into_vec()) }
    }

    fn forward_block(&self, block: &Block, out: Shared<T>, kept: Option<Shared<T>>) {
        let Sizes { first, second, .. } = self.sizes;
        let (rows, dim, numbers) = (block.rows(), self.branch.dim, self.sizes.kept());
        let lengths = [rows * dim, rows * second.inputs, if kept.is_some() { 0 } else { rows * numbers }];
        scratch::borrow(lengths, |[h, narrow, own]: [&mut [T]; 3]| {
            // SAFETY: these rows are this block's alone; scratch memory is written below before it is read.
            let kept = unsafe {
                match kept {
                    Some(kept) => kept.slice(block.first * numbers, rows * numbers),
                    None => rewritten(own),
                }
            };
            let [a, b, c] = self.cuts(rows);
            let (wide, rest) = kept.split_at_mut(a);
            let (mixed, rest) = rest.split_at_mut(b - a);
            let (log_sum_exp, inner) = rest.split_at_mut(c - b);
            self.normalise(self.branch.blocks.segments(block), h);
            first.apply(h, self.weights.first.0, self.weights.first.1, wide);
            // SAFETY: each written whole by the step before.
            let narrow = unsafe {
                let wide = written(wide);
                match &self.middle {
                    Middle::SwiGlu { hidden } => {
                        dispatch(Gate { half: *hidden, x: wide, out: rewritten(narrow) });
                        narrow
                    }
                    Middle::Attention(attention) => {
                        attention.of(block).forward(wide, mixed, log_sum_exp);
                        written(mixed)
                    }
                }
            };
            second.apply(narrow, self.weights.second.0, self.weights.second.1, inner);
            // SAFETY: just written; the block's rows of `out` are its own.
            unsafe { self.finish(self.branch.blocks.segments(block), written(inner), out) };
        });
    }

    /// Attention over space of one frame, whose rows are split among threads: all keys first, then the queries.
    fn frame(&self, attention: &Attention<T>, group: usize, out: Shared<T>) {
        let Sizes { first, second, attention: kept } = self.sizes;
        let (dim, tokens) = (self.branch.dim, self.branch.tokens);
        let local = attention.of(&Block { groups: group..group + 1, tokens: 0..tokens, first: 0 });
        let part = |index: usize| {
            let own = index * Local::<T>::PART..((index + 1) * Local::<T>::PART).min(tokens);
            (
                own.clone(),
                Segment { group, rows: group * tokens + own.start..group * tokens + own.end, own: 0..own.len() },
            )
        };
        let mut wide = Buffer::new(tokens * first.outputs);
        let (mut mixed, mut log_sum_exp) = (Buffer::new(tokens * kept[0]), Buffer::new(tokens * kept[1]));
        let all = Shared::new(wide.slots());
        par::blocks(local.parts(), 1, self.work(), |parts| {
            for (own, segment) in parts.map(part) {
                scratch::borrow([own.len() * dim], |[h]: [&mut [T]; 1]| {
                    self.normalise(std::iter::once(segment), h);
                    // SAFETY: these rows are this part's alone.
                    let wide = unsafe { all.slice(own.start * first.outputs, own.len() * first.outputs) };
                    first.apply(h, self.weights.first.0, self.weights.first.1, wide);
                });
            }
        });
        // SAFETY: the parts hold every row, and each was written whole.
        let wide = unsafe { wide.into_vec() };
        let (mixed, log_sum_exp) = (Shared::new(mixed.slots()), Shared::new(log_sum_exp.slots()));
        par::blocks(local.parts(), 1, self.work(), |parts| {
            for index in parts {
                let (own, segment) = part(index);
                // SAFETY: each part is one thread's.
                unsafe { local.forward_part(&wide, index, mixed, log_sum_exp) };
                scratch::borrow([own.len() * dim], |[inner]: [&mut [T]; 1]| {
                    // SAFETY: this part's rows, just written and nobody else's; as are those of `out`.
                    unsafe {
                        let mixed = written(mixed.slice(own.start * kept[0], own.len() * kept[0]));
                        let slots = rewritten(&mut *inner);
                        second.apply(mixed, self.weights.second.0, self.weights.second.1, slots);
                        self.finish(std::iter::once(segment), inner, out);
                    }
                });
            }
        });
    }

    /// The gradients of x, of the modulation `[B·T, 3·D]`, and of the weights in one row.
    fn backward(&self, kept: &[T], grad: &[T]) -> [Vec<T>; 3] {
        let Branch { blocks, groups, tokens, dim, .. } = *self.branch;
        let count = blocks.count();
        let chunk = count.div_ceil(CHUNKS).max((CHUNK_ROWS / blocks.rows().max(1)).max(1));
        let mut dx = Buffer::new(self.x.len());
        let into = Shared::new(dx.slots());
        let lengths = self.sizes.weights();
        let partial = par::blocks(count, chunk, 3 * self.work(), |range| {
            let mut d_weights = vec![T::ZERO; lengths.iter().sum()];
            let mut d_modulation = Vec::new();
            for index in range {
                self.backward_block(&blocks.block(index), kept, grad, into, &mut d_weights, &mut d_modulation);
            }
            (d_weights, d_modulation)
        });
        let mut d_modulation = vec![T::ZERO; groups * 3 * dim];
        let mut all_weights = Vec::with_capacity(partial.len());
        for (d_weights, parts) in partial {
            all_weights.push(d_weights);
            for (group, part) in parts {
                add(&mut d_modulation[3 * group * dim..3 * (group + 1) * dim], &part);
            }
        }
        let mut all_weights = all_weights.into_iter();
        let mut d_weights = all_weights.next().unwrap_or_else(|| vec![T::ZERO; lengths.iter().sum()]);
        let rest: Vec<Vec<T>> = all_weights.collect();
        par::rows(&mut d_weights, 1, |first, sums| {
            for part in &rest {
                add(sums, &part[first..first + sums.len()]);
            }
        });
        debug_assert_eq!(self.x.len(), groups * tokens * dim);
        // SAFETY: the blocks hold every row once, and each writes its rows whole.
        [unsafe { dx.into_vec() }, d_modulation, d_weights]
    }

    fn backward_block(
        &self,
        block: &Block,
        kept: &[T],
        grad: &[T],
        into: Shared<T>,
        d_weights: &mut [T],
        d_modulation: &mut Vec<(usize, Vec<T>)>,
    ) {
        let Branch { blocks, norm, dim, .. } = *self.branch;
        let Sizes { first, second, .. } = self.sizes;
        let (rows, numbers) = (block.rows(), self.sizes.kept());
        let [a, b, c, _] = self.sizes.weights();
        let (d_first, rest) = d_weights.split_at_mut(a);
        let (d_first_bias, rest) = rest.split_at_mut(b);
        let (d_second, d_second_bias) = rest.split_at_mut(c);
        let kept = &kept[block.first * numbers..(block.first + rows) * numbers];
        let cuts = self.cuts(rows);
        let (wide, mixed) = (&kept[..cuts[0]], &kept[cuts[0]..cuts[1]]);
        let (log_sum_exp, inner) = (&kept[cuts[1]..cuts[2]], &kept[cuts[2]..]);
        let narrow = rows * second.inputs;
        let lengths = [rows * dim, narrow, narrow, rows * first.outputs];
        // SAFETY (of each `rewritten`): what is called writes all of it.
        scratch::borrow(lengths, |[rows_of, again, d_narrow, d_wide]: [&mut [T]; 4]| {
            let start = d_modulation.len();
            for Segment { group, rows, own } in blocks.segments(block) {
                let [_, _, gate] = self.modulation(group);
                let mut sums = vec![T::ZERO; 3 * dim];
                let (grad, branch) = (self.rows(grad, &rows), self.rows(inner, &own));
                // SAFETY: as above.
                let out = unsafe { rewritten(&mut rows_of[own.start * dim..own.end * dim]) };
                dispatch(SplitGated { grad, branch, gate, out, sums: &mut sums[2 * dim..] });
                d_modulation.push((group, sums));
            }
            let d_inner = &mut *rows_of;
            // SAFETY: as above.
            second.input_gradient(d_inner, self.weights.second.0, unsafe { rewritten(d_narrow) });
            match &self.middle {
                Middle::SwiGlu { hidden } => {
                    // SAFETY: as above.
                    let (value, out) = unsafe { (rewritten(again), rewritten(d_wide)) };
                    dispatch(GateBoth { half: *hidden, x: wide, grad: d_narrow, value, out });
                    second.add_gradients(again, d_inner, d_second, d_second_bias);
                }
                Middle::Attention(attention) => {
                    second.add_gradients(mixed, d_inner, d_second, d_second_bias);
                    // SAFETY: as above.
                    let out = unsafe { rewritten(d_wide) };
                    attention.of(block).backward(wide, mixed, log_sum_exp, d_narrow, out);
                }
            }
            let h = &mut *rows_of;
            self.normalise(blocks.segments(block), h);
            first.add_gradients(h, d_wide, d_first, d_first_bias);
            // SAFETY: as above; h is used no more.
            first.input_gradient(d_wide, self.weights.first.0, unsafe { rewritten(rows_of) });
            for (Segment { group, rows, own }, (_, sums)) in blocks.segments(block).zip(&mut d_modulation[start..]) {
                let [_, scale, _] = self.modulation(group);
                // SAFETY: these rows are this block's alone.
                let out: &mut [MaybeUninit<T>] = unsafe { into.slice(rows.start * dim, rows.len() * dim) };
                let (x, past) = (self.rows(self.x, &rows), Some(self.rows(grad, &rows)));
                let grad = self.rows(rows_of, &own);
                // The norm gives the gradient of scale first.
                let mut scale_shift = vec![T::ZERO; 2 * dim];
                dispatch(Backward { norm, x, scale: Some(scale), grad, past, out, sums: &mut scale_shift });
                sums[..dim].copy_from_slice(&scale_shift[dim..]);
                sums[dim..2 * dim].copy_from_slice(&scale_shift[..dim]);
            }
        });
    }
}

fn add<T: Real>(totals: &mut [T], parts: &[T]) {
    for (total, &part) in totals.iter_mut().zip(parts) {
        *total += part;
    }
}

impl CustomOp3 for Branch {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        modulation: &CpuStorage,
        ml: &Layout,
        weights: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_dtype!(self.op, x.dtype(), T => {
            let (x, modulation, weights) = (values::<T>(x, xl)?, values::<T>(modulation, ml)?, values::<T>(weights, wl)?);
            let pass = self.pass::<T>(&x, &modulation, Weights::split(&weights, self.sizes()))?;
            let (out, kept) = pass.forward(true);
            // An op is made for one call; were it applied twice to the same tensors, the values would be the same.
            let _ = self.kept.set(storage(kept));
            Ok((storage(out), xl.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        modulation: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(kept) = self.kept.get() else {
            return Err(argument_error(self.op, "the backward pass needs the forward pass of the same operation"));
        };
        by_dtype!(self.op, x.dtype(), T => {
            let kept = T::cpu_storage_as_slice(kept)?;
            let op = self.op;
            let [dx, d_modulation, d_weights] = with_values::<T, _>(op, x, |x| {
                with_values::<T, _>(op, modulation, |modulation| {
                    with_values::<T, _>(op, weights, |weights| {
                        with_values::<T, _>(op, grad, |grad| {
                            let pass = self.pass::<T>(x, modulation, Weights::split(weights, self.sizes()))?;
                            Ok::<_, candle_core::Error>(pass.backward(kept, grad))
                        })
                    })
                })
            })?????;
            Ok((
                Some(tensor(dx, x.shape(), x)?),
                Some(tensor(d_modulation, modulation.shape(), x)?),
                Some(tensor(d_weights, weights.shape(), x)?),
            ))
        })
    }
}
