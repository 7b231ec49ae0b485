//! Attention: plans for `cuda/attention.cu`.

use candle_core::Result;

use super::{Float, Launch, Machine, Module, Pointer, int, launch};
use crate::attention::{Mask, View};
use crate::error::argument_error;

const OP: &str = "attention";
/// Rows of a tile, of which a block takes one and goes over the others.
const TILE: usize = 32;
const THREADS: usize = 128;
/// Sizes of a head that kernels are built for: the smallest that is enough is taken.
const DIMS: [usize; 3] = [32, 64, 128];

/// `View` of `attention/view.rs` as the kernels take it, in elements.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Strides([i64; 7]);

impl From<View> for Strides {
    fn from(view: View) -> Self {
        let View { start, inner, outer_stride, inner_stride, row_stride, head_stride, dim_stride } = view;
        Self([start, inner, outer_stride, inner_stride, row_stride, head_stride, dim_stride].map(|value| value as i64))
    }
}

/// As the kernels take it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Problem {
    views: [Strides; 4],
    groups: i32,
    heads: i32,
    queries: i32,
    keys: i32,
    dim: i32,
    mask: i32,
    mask_size: i32,
    offset: i32,
    scale: f32,
}

/// Tables of the rotary embedding, null for none.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Rotation {
    pub(crate) cos: Pointer,
    pub(crate) sin: Pointer,
}

impl Rotation {
    pub(crate) const NONE: Self = Self { cos: Pointer::NULL, sin: Pointer::NULL };
}

/// A call: where each tensor begins, and how it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    pub(crate) q: (Pointer, View),
    pub(crate) k: (Pointer, View),
    pub(crate) v: (Pointer, View),
    /// Of the output, which is contiguous.
    pub(crate) into: View,
    pub(crate) rotation: Rotation,
    pub(crate) groups: usize,
    pub(crate) heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) dim: usize,
    pub(crate) mask: Mask,
    pub(crate) query_offset: usize,
}

/// What the backward pass needs beside the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gradients {
    pub(crate) out: Pointer,
    pub(crate) grad: (Pointer, View),
    /// f32 `[groups, heads, queries]`.
    pub(crate) log_sum_exp: Pointer,
    pub(crate) dq: (Pointer, View),
    pub(crate) dk: (Pointer, View),
    pub(crate) dv: (Pointer, View),
}

impl Attention {
    fn problem(&self, out: View) -> Result<Problem> {
        let (mask, size) = match self.mask {
            Mask::Full => (0, 0),
            Mask::Causal => (1, 0),
            Mask::BlockCausal { block } => (2, block),
            Mask::Window { size } => (3, size),
        };
        // Positions are ints, and a size beyond all of them sees as much as the last.
        let positions = int(OP, self.query_offset + self.queries + self.keys + TILE)?;
        Ok(Problem {
            views: [self.q.1, self.k.1, self.v.1, out].map(Strides::from),
            groups: int(OP, self.groups)?,
            heads: int(OP, self.heads)?,
            queries: int(OP, self.queries)?,
            keys: int(OP, self.keys)?,
            dim: int(OP, self.dim)?,
            mask,
            mask_size: i32::try_from(size).unwrap_or(positions).min(positions),
            offset: int(OP, self.query_offset)?,
            scale: (1.0 / (self.dim as f64).sqrt()) as f32,
        })
    }

    /// The kernels' size of a head.
    fn built(&self) -> Result<usize> {
        let fits = DIMS.into_iter().find(|&dim| self.dim <= dim);
        fits.ok_or_else(|| {
            argument_error(OP, format!("a head of {} elements is larger than the GPU kernels' {}", self.dim, DIMS[2]))
        })
    }

    /// A block for each tile of `rows`; `tiles` of them in shared memory, and one of scores.
    fn by_tile(&self, rows: usize, tiles: usize) -> Launch {
        let grid = self.groups * self.heads * rows.div_ceil(TILE);
        Launch { grid, threads: THREADS, shared: tiles * TILE * (self.dim | 1) + TILE * (TILE + 1) }
    }

    /// The output, and the f32 logarithm of each row's sum `[groups, heads, queries]`.
    pub(crate) fn forward_plan<M: Machine>(
        &self,
        m: &M,
        float: Float,
        out: Pointer,
        log_sum_exp: Pointer,
    ) -> Result<()> {
        let kernel = format!("attend_{}_{float}", self.built()?);
        let (problem, by_tile) = (self.problem(self.into)?, self.by_tile(self.queries, 2));
        let (q, k, v) = (self.q.0, self.k.0, self.v.0);
        launch!(m, Module::Attention, kernel, by_tile, (q, k, v, self.rotation, out, log_sum_exp, problem))
    }

    pub(crate) fn backward_plan<M: Machine>(&self, m: &M, float: Float, of: Gradients) -> Result<()> {
        let rows = self.groups * self.heads * self.queries;
        let memory = m.scratch(rows)?;
        let dots = m.pointer(&memory);
        let mut problem = self.problem(of.grad.1)?;
        let [q, ..] = problem.views;
        problem.views[0] = self.into.into();
        let by_row = Launch { grid: rows.div_ceil(THREADS / 32), threads: THREADS, shared: 0 };
        let (out, grad, normaliser) = (of.out, of.grad.0, of.log_sum_exp);
        let kernel = format!("row_dots_{float}");
        launch!(m, Module::Attention, kernel, by_row, (out, grad, dots, rows as i64, problem))?;
        problem.views[0] = q;
        let (q, k, v, rotation) = (self.q.0, self.k.0, self.v.0, self.rotation);
        let ((dq, dq_view), (dk, dk_view), (dv, dv_view)) = (of.dq, of.dk, of.dv);
        let views = [dq_view, dk_view, dv_view].map(Strides::from);
        let kernel = format!("query_gradient_{}_{float}", self.built()?);
        let by_tile = self.by_tile(self.queries, 3);
        launch!(
            m,
            Module::Attention,
            kernel,
            by_tile,
            (q, k, v, rotation, grad, normaliser, dots, dq, views[0], problem)
        )?;
        let kernel = format!("key_gradient_{}_{float}", self.built()?);
        let by_tile = self.by_tile(self.keys, 4);
        launch!(
            m,
            Module::Attention,
            kernel,
            by_tile,
            (q, k, v, rotation, grad, normaliser, dots, dk, dv, views[1], views[2], problem)
        )
    }
}
