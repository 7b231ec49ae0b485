//! Splitting a problem over threads.

use candle_core::CpuStorage;

use super::backward::Backward;
use super::forward::{Forward, QUERY_BLOCK};
use super::problem::Problem;
use super::view::View;
use crate::buffer::{Buffer, Shared};
use crate::lanes::dispatch;
use crate::par;
use crate::real::Real;

/// The output `[groups, queries, heads, dim]` in the order of `p.into`, and the log-sum-exp
/// `[groups, heads, queries]`.
pub(super) fn forward<R: Real>(p: &Problem<R>) -> (CpuStorage, CpuStorage) {
    let units = p.groups * p.heads;
    let mut out = Buffer::new(units * p.queries * p.dim);
    let mut log_sum_exp = Buffer::new(units * p.queries);
    if units * p.queries > 0 {
        // Few long heads: split their queries too, at the price of loading the keys once per part.
        let parts = rayon::current_num_threads().div_ceil(units).min(p.queries.div_ceil(QUERY_BLOCK));
        let (out, log_sum_exp) = (Shared::new(out.slots()), Shared::new(log_sum_exp.slots()));
        par::pieces(units * parts, 2 * units * p.queries * p.keys * p.dim, |items| {
            dispatch(Forward { problem: p, items, parts, out, log_sum_exp });
        });
    }
    // SAFETY: the items are all rows of all heads of all groups, and each writes its rows of both.
    let (out, log_sum_exp) = unsafe { (out.into_vec(), log_sum_exp.into_vec()) };
    (R::to_cpu_storage_owned(out), R::to_cpu_storage_owned(log_sum_exp))
}

/// What the backward pass needs beside the problem.
pub(super) struct Gradient<'a, R> {
    /// The forward pass's output, contiguous.
    pub(super) out: &'a [R],
    /// The gradient of the output, at `grad_view`.
    pub(super) grad: &'a [R],
    pub(super) grad_view: View,
    pub(super) log_sum_exp: &'a [R],
    /// Where the gradients of q, k and v go in the one buffer that is returned.
    pub(super) views: [View; 3],
    pub(super) len: usize,
}

impl<R: Real> Gradient<'_, R> {
    /// The gradients of q, k and v in one buffer.
    pub(super) fn run(self, p: &Problem<R>) -> Vec<R> {
        let units = p.groups * p.heads;
        if units * p.queries == 0 {
            return vec![R::ZERO; self.len];
        }
        let mut into = Buffer::new(self.len);
        {
            let shared = Shared::new(into.slots());
            par::pieces(units, 5 * units * p.queries * p.keys * p.dim, |units| {
                let [dq_view, dk_view, dv_view] = self.views;
                dispatch(Backward {
                    problem: p,
                    units,
                    out: self.out,
                    grad: self.grad,
                    grad_view: self.grad_view,
                    log_sum_exp: self.log_sum_exp,
                    into: shared,
                    dq_view,
                    dk_view,
                    dv_view,
                });
            });
        }
        // SAFETY: each unit writes its head's rows of all three gradients, which the views lay out without gaps.
        unsafe { into.into_vec() }
    }
}
