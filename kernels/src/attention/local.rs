//! Attention over a block of packed projections that lie together, on the calling thread: what a branch
//! ([`crate::branch`]) is made of.

use std::mem::MaybeUninit;

use super::backward::Backward;
use super::forward::{Forward, QUERY_BLOCK};
use super::problem::Problem;
use super::view::{Rotation, View};
use super::{Axis, Mask};
use crate::buffer::Shared;
use crate::lanes::dispatch;
use crate::real::Real;

/// Packed projections `[frames, tokens, 3·heads·dim]` of one window, or of frames that do not see one another.
#[derive(Clone, Copy)]
pub(crate) struct Local<'a, T> {
    pub(crate) frames: usize,
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    pub(crate) dim: usize,
    pub(crate) axis: Axis,
    pub(crate) mask: Mask,
    /// Cosines and sines `[positions, dim / 2]`.
    pub(crate) rope: Option<(&'a [T], &'a [T])>,
}

impl<T: Real> Local<'_, T> {
    /// Rows of `width` values as sequences, heads `dim` apart from `start` on.
    fn view(&self, width: usize, start: usize) -> View {
        let (frame, token) = (self.tokens * width, width);
        let (inner, inner_stride, row_stride) = match self.axis {
            Axis::Space => (self.frames, frame, token),
            Axis::Time => (self.tokens, token, frame),
        };
        View { start, inner, outer_stride: 0, inner_stride, row_stride, head_stride: self.dim, dim_stride: 1 }
    }

    /// Sequences, and rows of each.
    fn sequences(&self) -> (usize, usize) {
        match self.axis {
            Axis::Space => (self.frames, self.tokens),
            Axis::Time => (self.tokens, self.frames),
        }
    }

    fn problem<'b>(&'b self, qkv: &'b [T]) -> Problem<'b, T> {
        let channels = self.heads * self.dim;
        let (groups, rows) = self.sequences();
        assert_eq!(qkv.len(), groups * rows * 3 * channels, "packed projections of {groups} × {rows} rows");
        Problem {
            q: qkv,
            k: qkv,
            v: qkv,
            q_view: self.view(3 * channels, 0),
            k_view: self.view(3 * channels, channels),
            v_view: self.view(3 * channels, 2 * channels),
            into: self.view(channels, 0),
            groups,
            heads: self.heads,
            queries: rows,
            keys: rows,
            dim: self.dim,
            mask: self.mask,
            query_offset: 0,
            scale: T::real(1.0 / (self.dim as f64).sqrt()),
            rotation: self.rope.map(|(cos, sin)| Rotation { cos, sin, half: self.dim / 2 }),
        }
    }

    /// `out` `[frames, tokens, heads·dim]` and the log-sum-exp `[sequences, heads, rows]`.
    pub(crate) fn forward(&self, qkv: &[T], out: &mut [MaybeUninit<T>], log_sum_exp: &mut [MaybeUninit<T>]) {
        let problem = &self.problem(qkv);
        let (out, log_sum_exp) = (Shared::new(out), Shared::new(log_sum_exp));
        dispatch(Forward { problem, items: 0..problem.groups * self.heads, parts: 1, out, log_sum_exp });
    }

    /// As [`Local::forward`], of one part of the rows of every sequence, [`Local::PART`] rows from `part · PART` on. Others may
    /// do the other parts meanwhile.
    ///
    /// # Safety
    /// No other thread does the same part of the same memory.
    pub(crate) unsafe fn forward_part(&self, qkv: &[T], part: usize, out: Shared<T>, log_sum_exp: Shared<T>) {
        let problem = &self.problem(qkv);
        let parts = self.parts();
        for unit in 0..problem.groups * self.heads {
            let item = unit * parts + part;
            dispatch(Forward { problem, items: item..item + 1, parts, out, log_sum_exp });
        }
    }

    /// Rows of a part.
    pub(crate) const PART: usize = QUERY_BLOCK;

    /// Parts of a sequence.
    pub(crate) fn parts(&self) -> usize {
        self.sequences().1.div_ceil(Self::PART)
    }

    /// The gradient of `qkv`, from what [`Local::forward`] gave and the gradient of its output.
    pub(crate) fn backward(&self, qkv: &[T], out: &[T], log_sum_exp: &[T], grad: &[T], into: &mut [MaybeUninit<T>]) {
        let problem = &self.problem(qkv);
        dispatch(Backward {
            problem,
            units: 0..problem.groups * self.heads,
            out,
            grad,
            grad_view: problem.into,
            log_sum_exp,
            into: Shared::new(into),
            dq_view: problem.q_view,
            dk_view: problem.k_view,
            dv_view: problem.v_view,
        });
    }
}
