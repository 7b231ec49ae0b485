//! Cross entropy of "which of these is it?": every row is compared with a set of queries, in one pass and without a
//! tensor of logits.
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | f | features of the rows (of pixels, say) | `[B, R, F]` |
//! | q, b | queries (of objects, say) and their biases, b in the last column | `[B, K, F + 1]` |
//! | t | which query each row belongs to; [`IGNORED`] for a row that does not count | `[B, R]`, u32 |
//!
//! zₖ = f·qₖ + bₖ, loss = mean over the rows that count of (log Σₖ exp zₖ − z_t), and with p = softmax(z):
//! ∂f = Σₖ (pₖ − [k = t]) qₖ, ∂qₖ = Σ (pₖ − [k = t]) f, ∂bₖ = Σ (pₖ − [k = t]), over the number of rows that count.
//!
//! This is how masks are read off a picture in MaskFormer (Cheng et al. 2021, §3.2), with one class a query. A bias of −∞
//! is not needed to leave a query out: −30 does. No rows that count give 0. NaN in gives NaN out.
//!
//! Rows are taken in blocks whose size depends on the shape alone and ∂q is added block by block in order, so that
//! any number of threads gives the same bits.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};

use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::cuda::pictures;
use crate::error::{argument_error, shape_error};
use crate::plumbing::{same_dtype, storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, par, tape};

const OP: &str = "query_loss";

/// Target of a row that does not count.
pub const IGNORED: u32 = u32::MAX;

/// Rows of a block: enough work to hand to a thread, few enough to share out.
const BLOCK: usize = 512;

/// See the [module](self): `features` `[B, R, F]`, `queries` `[B, K, F + 1]`, `target` `[B, R]` u32; a scalar.
///
/// # Errors
/// Shapes or dtypes that do not agree; targets that are neither below K nor [`IGNORED`] (on the GPU, which can't say so in
/// time, such a target gives NaN).
pub fn query_loss(features: &Tensor, queries: &Tensor, target: &Tensor) -> Result<Tensor> {
    let &[batch, rows, width] = features.dims() else {
        return Err(shape_error(OP, "features", "[B, R, F]", features.shape()));
    };
    let &[b, count, with_bias] = queries.dims() else {
        return Err(shape_error(OP, "queries", "[B, K, F + 1]", queries.shape()));
    };
    if (b, with_bias) != (batch, width + 1) || count == 0 {
        return Err(shape_error(OP, "queries", format!("[{batch}, K, {}]", width + 1), queries.shape()));
    }
    if target.dims() != [batch, rows] {
        return Err(shape_error(OP, "target", format!("[{batch}, {rows}]"), target.shape()));
    }
    same_dtype(OP, features.dtype(), "queries", queries.dtype())?;
    if target.dtype() != DType::U32 {
        return Err(argument_error(OP, format!("target is {:?}, expected U32", target.dtype())));
    }
    tape::apply3(features, queries, &target.contiguous()?, QueryLoss { batch, rows, width, count })
}

/// The op behind [`query_loss`].
#[derive(Clone, Copy)]
struct QueryLoss {
    batch: usize,
    rows: usize,
    width: usize,
    count: usize,
}

impl QueryLoss {
    /// Blocks of rows of one batch entry.
    fn blocks(self) -> usize {
        self.rows.div_ceil(BLOCK)
    }

    /// Batch entry and rows of a block, numbered over all entries.
    fn block(self, index: usize) -> (usize, std::ops::Range<usize>) {
        let (entry, block) = (index / self.blocks(), index % self.blocks());
        (entry, block * BLOCK..((block + 1) * BLOCK).min(self.rows))
    }

    fn work(self) -> usize {
        self.batch * self.rows * self.count * (self.width + 8)
    }

    /// Writes z of a row and gives log Σ exp z.
    #[inline(always)]
    fn logits<T: Real>(self, feature: &[T], queries: &[T], z: &mut [T]) -> T {
        let mut top = T::real(f64::NEG_INFINITY);
        for (z, query) in z.iter_mut().zip(queries.chunks_exact(self.width + 1)) {
            let mut sum = query[self.width];
            for (f, q) in feature.iter().zip(query) {
                sum += *f * *q;
            }
            *z = sum;
            // NaN stays out of the maximum and comes back by the sum.
            if sum > top {
                top = sum;
            }
        }
        let mut total = T::ZERO;
        for z in z.iter() {
            total += (*z - top).exp();
        }
        top + total.ln()
    }

    fn forward<T: Real>(self, features: &[T], queries: &[T], target: &[u32]) -> T {
        let blocks = self.batch * self.blocks();
        let sums = par::blocks(blocks, 1, self.work(), |range| {
            let (mut sum, mut counted) = (0.0, 0u64);
            let mut z = vec![T::ZERO; self.count];
            for index in range {
                let (entry, rows) = self.block(index);
                let queries = self.queries(queries, entry);
                for row in rows {
                    let at = entry * self.rows + row;
                    if target[at] == IGNORED {
                        continue;
                    }
                    let all = self.logits(&features[at * self.width..(at + 1) * self.width], queries, &mut z);
                    sum += (all - z[target[at] as usize]).to_f64();
                    counted += 1;
                }
            }
            (sum, counted)
        });
        let (sum, counted) = sums.into_iter().fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        T::real(if counted == 0 { 0.0 } else { sum / counted as f64 })
    }

    /// ∂f and ∂q, times `scale` (the incoming gradient over the number of rows that count).
    fn backward<T: Real>(self, features: &[T], queries: &[T], target: &[u32], scale: T) -> (Vec<T>, Vec<T>) {
        let Self { width, count, .. } = self;
        let blocks = self.batch * self.blocks();
        let mut d_features = Buffer::new(features.len());
        let shared = crate::buffer::Shared::new(d_features.slots());
        let partial = par::blocks(blocks, 1, 2 * self.work(), |range| {
            let mut d_queries = vec![T::ZERO; count * (width + 1)];
            let (mut z, mut d_feature) = (vec![T::ZERO; count], vec![T::ZERO; width]);
            for index in range {
                let (entry, rows) = self.block(index);
                let queries = self.queries(queries, entry);
                for row in rows {
                    let at = entry * self.rows + row;
                    let feature = &features[at * width..(at + 1) * width];
                    d_feature.fill(T::ZERO);
                    if target[at] != IGNORED {
                        let all = self.logits(feature, queries, &mut z);
                        for (k, z) in z.iter().enumerate() {
                            let hit = if k == target[at] as usize { T::ONE } else { T::ZERO };
                            let d = ((*z - all).exp() - hit) * scale;
                            let query = &queries[k * (width + 1)..(k + 1) * (width + 1)];
                            let d_query = &mut d_queries[k * (width + 1)..(k + 1) * (width + 1)];
                            for i in 0..width {
                                d_feature[i] += d * query[i];
                                d_query[i] += d * feature[i];
                            }
                            d_query[width] += d;
                        }
                    }
                    // SAFETY: this row is this block's alone.
                    let out = unsafe { shared.slice(at * width, width) };
                    for (slot, value) in out.iter_mut().zip(&d_feature) {
                        slot.write(*value);
                    }
                }
            }
            d_queries
        });
        let mut d_queries = vec![T::ZERO; queries.len()];
        for (index, part) in partial.into_iter().enumerate() {
            let (entry, _) = self.block(index);
            let size = count * (width + 1);
            for (sum, part) in d_queries[entry * size..(entry + 1) * size].iter_mut().zip(part) {
                *sum += part;
            }
        }
        // SAFETY: the blocks cover every row.
        (unsafe { d_features.into_vec() }, d_queries)
    }

    fn queries<T>(self, queries: &[T], entry: usize) -> &[T] {
        let size = self.count * (self.width + 1);
        &queries[entry * size..(entry + 1) * size]
    }

    fn check(self, target: &[u32]) -> Result<()> {
        match target.iter().find(|t| **t != IGNORED && **t as usize >= self.count) {
            Some(t) => Err(argument_error(OP, format!("target {t} is not below the {} queries", self.count))),
            None => Ok(()),
        }
    }
}

impl CustomOp3 for QueryLoss {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        features: &CpuStorage,
        fl: &Layout,
        queries: &CpuStorage,
        ql: &Layout,
        target: &CpuStorage,
        tl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let (CpuStorage::U32(all), Some((start, end))) = (target, tl.contiguous_offsets()) else {
            return Err(argument_error(OP, "target is not contiguous U32"));
        };
        let target = &all[start..end];
        self.check(target)?;
        by_dtype!(OP, features.dtype(), T => {
            let loss = self.forward::<T>(&values(features, fl)?, &values(queries, ql)?, target);
            Ok((storage(vec![loss]), Shape::from(())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        features: &CudaStorage,
        fl: &Layout,
        queries: &CudaStorage,
        ql: &Layout,
        target: &CudaStorage,
        tl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = [self.batch, self.rows, self.width, self.count];
        pictures::query_loss(sizes, [(features, fl), (queries, ql), (target, tl)])
    }

    fn bwd(
        &self,
        features: &Tensor,
        queries: &Tensor,
        target: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if features.device().is_cuda() {
            let sizes = [self.batch, self.rows, self.width, self.count];
            let (d_features, d_queries) = pictures::query_loss_gradients(sizes, features, queries, target, grad)?;
            return Ok((d_features, d_queries, None));
        }
        let target: Vec<u32> = target.flatten_all()?.to_vec1()?;
        let counted = target.iter().filter(|t| **t != IGNORED).count().max(1);
        by_dtype!(OP, features.dtype(), T => {
            let scale = with_values::<T, _>(OP, grad, |grad| grad[0])? * T::real(1.0 / counted as f64);
            let (d_features, d_queries) = with_values::<T, _>(OP, features, |f| {
                with_values::<T, _>(OP, queries, |q| self.backward(f, q, &target, scale))
            })??;
            let d_features = tensor(d_features, features.shape(), features)?;
            Ok((Some(d_features), Some(tensor(d_queries, queries.shape(), queries)?), None))
        })
    }
}
