use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module, Pointer};
use crate::attention::{Axis, Mask, Rope, View};
use crate::cuda::attention::{Attention, Gradients, Rotation};

/// Separate tensors: groups, heads, queries, keys, elements of a head, the position of the first query, a mask.
type Shape = ([usize; 5], usize, Mask);

/// Tiles are 32 rows: fewer, more, and not a multiple; heads of each kernel, odd among them; masks that leave out whole
/// tiles at either end, and keys that nobody sees.
fn shapes() -> Vec<Shape> {
    vec![
        ([1, 1, 1, 1, 1], 0, Mask::Full),
        ([2, 2, 5, 37, 16], 0, Mask::Full),
        ([1, 2, 70, 70, 7], 0, Mask::Causal),
        ([1, 1, 33, 40, 48], 7, Mask::Causal),
        ([2, 1, 45, 45, 8], 0, Mask::BlockCausal { block: 9 }),
        ([1, 1, 40, 110, 80], 70, Mask::Window { size: 11 }),
        ([1, 1, 66, 66, 128], 0, Mask::Window { size: 40 }),
    ]
}

/// `[groups, rows, heads, dim]`, contiguous.
fn plain(rows: usize, heads: usize, dim: usize) -> View {
    let (outer_stride, row_stride) = (rows * heads * dim, heads * dim);
    View { start: 0, inner: 1, outer_stride, inner_stride: 0, row_stride, head_stride: dim, dim_stride: 1 }
}

/// Inputs of −1..1 times this make softmax weights differ.
const SHARPEN: f32 = 2.0;

fn inputs(float: Float, [groups, heads, queries, keys, dim]: [usize; 5]) -> [Vec<f32>; 4] {
    let row = groups * heads * dim;
    let q = noise(float, 1, queries * row).into_iter().map(|q| SHARPEN * q).collect();
    [q, noise(float, 2, keys * row), noise(float, 3, keys * row), noise(float, 4, queries * row)]
}

/// The output, and ∂q, ∂k and ∂v.
fn run(
    host: &Host,
    float: Float,
    (sizes, query_offset, mask): Shape,
    inputs: &[Vec<f32>; 4],
) -> candle_core::Result<Vec<Memory>> {
    let [groups, heads, queries, keys, dim] = sizes;
    let [q, k, v, grad] = inputs.each_ref().map(|values| Memory::of(float, values));
    let [out, dq, dk, dv] = [0, 0, 1, 2].map(|i| Memory::new(float, inputs[i].len()));
    let log_sum_exp = Memory::new(Float::F32, groups * heads * queries);
    let (row, key) = (plain(queries, heads, dim), plain(keys, heads, dim));
    let call = Attention {
        q: (q.pointer(), row),
        k: (k.pointer(), key),
        v: (v.pointer(), key),
        into: row,
        rotation: Rotation::NONE,
        groups,
        heads,
        queries,
        keys,
        dim,
        mask,
        query_offset,
    };
    call.forward_plan(host, float, out.pointer(), log_sum_exp.pointer())?;
    let gradients = Gradients {
        out: out.pointer(),
        grad: (grad.pointer(), row),
        log_sum_exp: log_sum_exp.pointer(),
        dq: (dq.pointer(), row),
        dk: (dk.pointer(), key),
        dv: (dv.pointer(), key),
    };
    call.backward_plan(host, float, gradients)?;
    Ok(vec![out, dq, dk, dv])
}

#[test]
fn attention_agrees_with_the_cpu() {
    for float in FLOATS {
        for shape in shapes() {
            let ([groups, heads, queries, keys, dim], offset, mask) = shape;
            let values = inputs(float, shape.0);
            let found = run(&Host::default(), float, shape, &values).unwrap();
            let rows = [queries, keys, keys];
            let tensors = [0, 1, 2].map(|i| tensor(&values[i], &[groups, rows[i], heads, dim]));
            let (out, gradients) =
                expected(&tensors, &values[3], |all| crate::attention(&all[0], &all[1], &all[2], mask, offset));
            assert_close(float, &found[0].read(), &out, &format!("{shape:?}"));
            for (i, (found, gradient)) in found[1..].iter().zip(&gradients).enumerate() {
                assert_close(float, &found.read(), gradient, &format!("{shape:?}: gradient {i}"));
            }
        }
    }
}

/// Packed projections `[B, T, N, 3·heads·dim]` as groups of rows along an axis.
struct Packed {
    dims: [usize; 4],
    heads: usize,
    dim: usize,
    axis: Axis,
}

impl Packed {
    /// Where part `part` of `parts` lies.
    fn view(&self, part: usize, parts: usize) -> View {
        let [_, frames, tokens, _] = self.dims;
        let channels = parts * self.heads * self.dim;
        let (inner, inner_stride, row_stride) = match self.axis {
            Axis::Space => (frames, tokens * channels, channels),
            Axis::Time => (tokens, channels, tokens * channels),
        };
        View {
            start: part * self.heads * self.dim,
            inner,
            outer_stride: frames * tokens * channels,
            inner_stride,
            row_stride,
            head_stride: self.dim,
            dim_stride: 1,
        }
    }

    fn rows(&self) -> usize {
        match self.axis {
            Axis::Space => self.dims[2],
            Axis::Time => self.dims[1],
        }
    }
}

/// The output and ∂qkv.
fn run_packed(
    host: &Host,
    float: Float,
    packed: &Packed,
    [qkv, cos, sin, grad]: [&[f32]; 4],
) -> candle_core::Result<Vec<Memory>> {
    let (out, gradient) = (Memory::new(float, grad.len()), Memory::new(float, qkv.len()));
    let [qkv, cos, sin, grad] = [qkv, cos, sin, grad].map(|values| Memory::of(float, values));
    let rows = packed.rows();
    let groups = packed.dims[..3].iter().product::<usize>() / rows;
    let log_sum_exp = Memory::new(Float::F32, groups * packed.heads * rows);
    let part = |memory: &Memory, part| (memory.pointer(), packed.view(part, 3));
    let into: (Pointer, View) = (grad.pointer(), packed.view(0, 1));
    let call = Attention {
        q: part(&qkv, 0),
        k: part(&qkv, 1),
        v: part(&qkv, 2),
        into: into.1,
        rotation: Rotation { cos: cos.pointer(), sin: sin.pointer() },
        groups,
        heads: packed.heads,
        queries: rows,
        keys: rows,
        dim: packed.dim,
        mask: Mask::Causal,
        query_offset: 0,
    };
    call.forward_plan(host, float, out.pointer(), log_sum_exp.pointer())?;
    let gradients = Gradients {
        out: out.pointer(),
        grad: into,
        log_sum_exp: log_sum_exp.pointer(),
        dq: part(&gradient, 0),
        dk: part(&gradient, 1),
        dv: part(&gradient, 2),
    };
    call.backward_plan(host, float, gradients)?;
    Ok(vec![out, gradient])
}

fn packed_inputs(float: Float, packed: &Packed) -> [Vec<f32>; 4] {
    let channels = packed.heads * packed.dim;
    let tokens = packed.dims[..3].iter().product::<usize>();
    let angles = (0..packed.rows() * packed.dim / 2).map(|i| (i as f32 * 0.37).sin());
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
    // Rounded as the kernels get them.
    let rounded = |values: Vec<f32>| Memory::of(float, &values).read();
    [noise(float, 1, tokens * 3 * channels), rounded(cos), rounded(sin), noise(float, 2, tokens * channels)]
}

fn packed_shapes() -> [Packed; 3] {
    [
        Packed { dims: [2, 3, 35, 0], heads: 2, dim: 8, axis: Axis::Space },
        Packed { dims: [1, 40, 3, 0], heads: 1, dim: 34, axis: Axis::Time },
        Packed { dims: [1, 1, 65, 0], heads: 1, dim: 72, axis: Axis::Space },
    ]
}

#[test]
fn packed_attention_with_rotation_agrees_with_the_cpu() {
    for float in FLOATS {
        for packed in packed_shapes() {
            let values = packed_inputs(float, &packed);
            let found = run_packed(&Host::default(), float, &packed, values.each_ref().map(Vec::as_slice)).unwrap();
            let Packed { dims: [batch, frames, tokens, _], heads, dim, axis } = packed;
            let [cos, sin] = [1, 2].map(|i| tensor(&values[i], &[packed.rows(), dim / 2]));
            let qkv = tensor(&values[0], &[batch, frames, tokens, 3 * heads * dim]);
            let (out, gradients) = expected(&[qkv], &values[3], |all| {
                crate::attention_packed(&all[0], heads, axis, Mask::Causal, Some(Rope { cos: &cos, sin: &sin }))
            });
            let what = format!("{axis:?}, {heads} heads of {dim}");
            assert_close(float, &found[0].read(), &out, &what);
            assert_close(float, &found[1].read(), &gradients[0], &format!("{what}: gradient"));
        }
    }
}

#[test]
fn a_head_too_large_is_refused() {
    let shape = ([1, 1, 1, 1, 129], 0, Mask::Full);
    let error = run(&Host::default(), Float::F32, shape, &inputs(Float::F32, shape.0)).err().unwrap().to_string();
    assert!(error.contains("129") && error.contains("128"), "{error}");
}

#[test]
fn attention_needs_each_barrier_and_no_order_of_threads() {
    let packed = Packed { dims: [1, 1, 40, 0], heads: 1, dim: 6, axis: Axis::Space };
    let values = packed_inputs(Float::F32, &packed);
    assert_sound(Module::Attention, |host| run_packed(host, Float::F32, &packed, values.each_ref().map(Vec::as_slice)));
}
