//! Gradients handed from operation to operation as they are.
//!
//! candle begins the gradient of every tensor with zeros and adds what each consumer gives to it, on one thread. Where
//! there is one consumer, as nearly everywhere, that is a pass over memory to write and one to read and write for
//! nothing: for an operation that itself passes over its tensors once or twice, most of its time.
//!
//! candle's graph can't be walked from outside, but it adds tensors without elements for nothing. So every result of ours has
//! such a tensor beside it, its *token*, and operations of ours are linked through tokens:
//!
//! ```text
//! candle's tensor ── gate ──▶ token ── operation ──▶ token ── operation ──▶ token ── result ──▶ candle's operations
//! ```
//!
//! Each token has a slot for the true gradient. A consumer puts its part there; the operation behind the token takes it
//! out when candle comes to it, which is after all consumers. The result itself is a tensor as any other: what candle's own
//! operations send back to it goes to the slot as well. [`backward`] also takes the gradients of variables out of the
//! slots; candle's own [`Tensor::backward`] works on the same graph and adds those to its zeros.
//!
//! Gradients are added in candle's order, so that they are the same bits whatever the number of threads. On the GPU, where
//! zeros and sums are cheap, the graph is candle's alone.
//!
//! A backward pass of candle's own that ended in an error may leave gradients in the slots of its graph: build it again, or use
//! [`backward`], which knows its own.

mod operation;
mod slot;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, TensorId, bail};

use crate::error::shape_error;
use crate::plumbing::{same_dtype, wants_gradient};
use operation::{One, Operation, Three, Two};
use slot::{Collecting, Slot, added, collect, lock};

/// The gradients of a loss, a tensor without dimensions or one whose gradient is one everywhere: what
/// [`Tensor::backward`] gives, without its tensors of zeros between operations of this crate.
///
/// # Errors
/// What an operation's backward pass fails with.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let pass = Collecting::begin();
    let mut grads = loss.backward()?;
    for (leaf, grad) in pass.leaves() {
        let sum = match grads.remove(&leaf) {
            Some(other) => added(&other, &grad)?,
            None => grad,
        };
        grads.insert(&leaf, sum);
    }
    Ok(grads)
}

/// The gradients of Σ `grad` ⊙ `out`: a backward pass from a tensor whose gradient is known.
///
/// # Errors
/// A gradient of another shape or dtype than `out`; what an operation's backward pass fails with.
pub fn backward_from(out: &Tensor, grad: &Tensor) -> Result<GradStore> {
    const OP: &str = "backward_from";
    if grad.dims() != out.dims() {
        return Err(shape_error(OP, "grad", format!("{:?}, as out", out.dims()), grad.shape()));
    }
    same_dtype(OP, out.dtype(), "grad", grad.dtype())?;
    let grad = grad.detach();
    if !out.device().is_cpu() {
        return (out * grad)?.sum_all()?.backward();
    }
    backward(&apply1(out, Given(grad))?)
}

/// As [`Tensor::apply_op1`].
pub(crate) fn apply1<C: CustomOp1 + Send + Sync + 'static>(x: &Tensor, op: C) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.apply_op1(op);
    }
    apply([x], One(op))
}

/// As [`Tensor::apply_op2`].
pub(crate) fn apply2<C: CustomOp2 + Send + Sync + 'static>(x: &Tensor, y: &Tensor, op: C) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.apply_op2(y, op);
    }
    apply([x, y], Two(op))
}

/// As [`Tensor::apply_op3`].
pub(crate) fn apply3<C: CustomOp3 + Send + Sync + 'static>(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    op: C,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.apply_op3(y, z, op);
    }
    apply([x, y, z], Three(op))
}

fn apply<const N: usize>(arguments: [&Tensor; N], op: impl Operation<N>) -> Result<Tensor> {
    let arguments = arguments.map(Tensor::clone);
    if !arguments.iter().any(wants_gradient) {
        return op.untracked(&arguments);
    }
    let mut sources = [const { None }; N];
    for (source, argument) in sources.iter_mut().zip(&arguments) {
        *source = Source::of(argument)?;
    }
    let tokens: Vec<Tensor> = sources.iter().flatten().map(|source| source.token.clone()).collect();
    let slot = Arc::new(Slot::default());
    let node = Arc::new(Node { op, arguments, sources, slot: slot.clone(), out: OnceLock::new() });
    let link = Link(node.clone());
    let token = match tokens.as_slice() {
        [a] => a.apply_op1(link),
        [a, b] => a.apply_op2(b, link),
        [a, b, c] => a.apply_op3(b, c, link),
        other => bail!("{}: {} arguments ask for gradients, expected 1 to 3", node.name(), other.len()),
    }?;
    let id = Arc::new(OnceLock::new());
    let out = token.apply_op1(Outcome { node: node.clone(), slot: slot.clone(), id: id.clone() })?;
    let _ = node.out.set(out.detach());
    let _ = id.set(out.id());
    sources_of_results().insert(out.id(), Source { token, slot });
    Ok(out)
}

/// Where the gradient of a tensor goes.
#[derive(Clone)]
struct Source {
    /// Without elements.
    token: Tensor,
    slot: Arc<Slot>,
}

impl Source {
    /// Of an argument; none where there is no gradient to take.
    fn of(x: &Tensor) -> Result<Option<Self>> {
        if !wants_gradient(x) {
            return Ok(None);
        }
        if let Some(source) = sources_of_results().get(&x.id()) {
            return Ok(Some(source.clone()));
        }
        let slot = Arc::new(Slot::default());
        Ok(Some(Self { token: x.apply_op1(Gate(slot.clone()))?, slot }))
    }
}

/// Of the results that are alive.
fn sources_of_results() -> MutexGuard<'static, HashMap<TensorId, Source>> {
    static ALL: LazyLock<Mutex<HashMap<TensorId, Source>>> = LazyLock::new(Mutex::default);
    lock(&ALL)
}

/// An operation as it was applied.
struct Node<O, const N: usize> {
    op: O,
    arguments: [Tensor; N],
    sources: [Option<Source>; N],
    slot: Arc<Slot>,
    /// The result, detached.
    out: OnceLock<Tensor>,
}

/// A node of any number of arguments.
trait Linked: Send + Sync {
    fn name(&self) -> &'static str;
    fn forward(&self) -> Result<(CpuStorage, Shape)>;
    /// From its own slot to those of its arguments.
    fn backward(&self) -> Result<()>;
}

impl<O: Operation<N>, const N: usize> Linked for Node<O, N> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn forward(&self) -> Result<(CpuStorage, Shape)> {
        self.op.forward(&self.arguments)
    }

    fn backward(&self) -> Result<()> {
        // None where no consumer had a gradient to give.
        let (Some(grad), Some(out)) = (self.slot.take(), self.out.get()) else { return Ok(()) };
        let gradients = self.op.gradients(&self.arguments, out, &grad)?;
        for (source, gradient) in self.sources.iter().zip(gradients) {
            if let (Some(source), Some(gradient)) = (source, gradient) {
                source.slot.put(&gradient)?;
            }
        }
        Ok(())
    }
}

fn nothing() -> (CpuStorage, Shape) {
    (CpuStorage::F32(Vec::new()), Shape::from(0))
}

/// From the tokens of the arguments to that of the result.
struct Link(Arc<dyn Linked>);

impl CustomOp1 for Link {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(nothing())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, none: &Tensor) -> Result<Option<Tensor>> {
        self.0.backward()?;
        Ok(Some(none.clone()))
    }
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(nothing())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, none: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.0.backward()?;
        Ok((Some(none.clone()), Some(none.clone())))
    }
}

impl CustomOp3 for Link {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(nothing())
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        none: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.0.backward()?;
        Ok((Some(none.clone()), Some(none.clone()), Some(none.clone())))
    }
}

/// From a token to the result that candle's operations take.
struct Outcome {
    node: Arc<dyn Linked>,
    slot: Arc<Slot>,
    /// Of the result.
    id: Arc<OnceLock<TensorId>>,
}

impl CustomOp1 for Outcome {
    fn name(&self) -> &'static str {
        self.node.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.node.forward()
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.slot.put(grad)?;
        Ok(Some(token.detach()))
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            // Dropped after the lock: behind it are other results.
            let source = sources_of_results().remove(id);
            drop(source);
        }
    }
}

/// From a tensor of candle's to a token.
struct Gate(Arc<Slot>);

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(nothing())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let Some(grad) = self.0.take() else { return Ok(None) };
        if !x.is_variable() {
            return Ok(Some(grad));
        }
        Ok(collect(x, grad))
    }
}

/// A number whose gradient with regard to its argument is what it holds.
struct Given(Tensor);

impl CustomOp1 for Given {
    fn name(&self) -> &'static str {
        "backward_from"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use candle_core::{Device, Var};

    use super::*;
    use crate::{silu, sum_all};

    #[test]
    fn a_result_that_is_gone_is_forgotten() {
        let var = Var::from_slice(&[1f32, 2.0], 2, &Device::Cpu).unwrap();
        let first = silu(&var).unwrap();
        let second = silu(&first).unwrap();
        let ids = [first.id(), second.id()];
        drop(first);
        // The second is made of it.
        assert!(ids.iter().all(|id| sources_of_results().contains_key(id)));
        backward(&sum_all(&second).unwrap()).unwrap();
        drop(second);
        assert!(ids.iter().all(|id| !sources_of_results().contains_key(id)));
    }

    /// The number itself, with a backward pass that can be told to fail.
    struct Same(Arc<AtomicBool>);

    impl CustomOp1 for Same {
        fn name(&self) -> &'static str {
            "same"
        }

        fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            Ok((x.clone(), layout.shape().clone()))
        }

        fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
            if self.0.load(Ordering::Relaxed) { bail!("told to fail") } else { Ok(Some(grad.clone())) }
        }
    }

    #[test]
    fn a_pass_that_failed_leaves_nothing_to_the_next() {
        let var = Var::from_slice(&[1f32, 2.0], 2, &Device::Cpu).unwrap();
        let fails = Arc::new(AtomicBool::new(true));
        let x = silu(&var).unwrap();
        // One way back to x is gone before the other fails, whichever comes first.
        let [a, b] = [(); 2].map(|()| apply1(&x, Same(fails.clone())).unwrap());
        let safe = silu(&x).unwrap();
        let loss = sum_all(&(((a + safe).unwrap() + b).unwrap())).unwrap();
        assert!(backward(&loss).unwrap_err().to_string().contains("told to fail"));
        fails.store(false, Ordering::Relaxed);
        let again: Vec<f32> = backward(&loss).unwrap().get(&var).unwrap().to_vec1().unwrap();
        let expected: Vec<f32> = loss.backward().unwrap().get(&var).unwrap().to_vec1().unwrap();
        assert_eq!(again, expected);
    }
}
