use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module, Pointer};
use crate::cuda::norm::{add_gated, add_gated_gradient};
use crate::groups::Groups;
use crate::norm::Norm;

/// Groups, rows and width: one row, widths beside multiples of 32, more rows than a chunk, groups.
const SHAPES: [Groups; 5] = [
    Groups { groups: 1, rows: 1, width: 1 },
    Groups { groups: 1, rows: 5, width: 33 },
    Groups { groups: 3, rows: 7, width: 130 },
    Groups { groups: 2, rows: 67, width: 8 },
    Groups { groups: 1, rows: 200, width: 1100 },
];
const EPS: f64 = 1e-5;

struct Case {
    norm: Norm,
    scaled: bool,
    shifted: bool,
}

fn cases(groups: Groups) -> Vec<Case> {
    let norm = |centred, add_one| Norm { op: "norm", groups, centred, add_one, eps: EPS };
    let mut cases = vec![Case { norm: norm(true, true), scaled: true, shifted: true }];
    if groups.groups == 1 {
        cases.push(Case { norm: norm(true, false), scaled: true, shifted: true });
        cases.push(Case { norm: norm(false, false), scaled: true, shifted: false });
        cases.push(Case { norm: norm(true, false), scaled: false, shifted: false });
    }
    cases
}

/// y, ∂x, ∂scale and ∂shift.
fn run(host: &Host, float: Float, case: &Case, inputs: [&[f32]; 4]) -> candle_core::Result<Vec<Memory>> {
    let [x, scale, shift, grad] = inputs.map(|values| Memory::of(float, values));
    let Groups { groups, width, .. } = case.norm.groups;
    let [y, dx] = [0; 2].map(|_| Memory::new(float, inputs[0].len()));
    let [d_scale, d_shift] = [0; 2].map(|_| Memory::new(float, groups * width));
    let given = |given: bool, memory: &Memory| if given { memory.pointer() } else { Pointer::NULL };
    let (scale, shift) = (given(case.scaled, &scale), given(case.shifted, &shift));
    case.norm.forward_plan(host, float, x.pointer(), scale, shift, y.pointer())?;
    let gradients = [dx.pointer(), given(case.scaled, &d_scale), given(case.shifted, &d_shift)];
    case.norm.backward_plan(host, float, [x.pointer(), scale, grad.pointer()], gradients)?;
    let mut results = vec![y, dx];
    results.extend(case.scaled.then_some(d_scale));
    results.extend(case.shifted.then_some(d_shift));
    Ok(results)
}

fn inputs(float: Float, Groups { groups, rows, width }: Groups) -> [Vec<f32>; 4] {
    let (all, one) = (groups * rows * width, groups * width);
    // Far from zero mean, which a norm that did not centre would show.
    let mut x = noise(float, 1, all);
    x.iter_mut().for_each(|x| *x += 0.5);
    [x, noise(float, 2, one), noise(float, 3, one), noise(float, 4, all)]
        .map(|values| Memory::of(float, &values).read())
}

#[test]
fn norms_agree_with_the_cpu() {
    for float in FLOATS {
        for groups in SHAPES {
            for case in cases(groups) {
                let [x, scale, shift, grad] = inputs(float, groups);
                let what = format!("{:?} scaled {} shifted {}", case.norm, case.scaled, case.shifted);
                let results = run(&Host::default(), float, &case, [&x, &scale, &shift, &grad]).unwrap();
                let Groups { groups, rows, width } = groups;
                let vector: &[usize] = if case.norm.add_one { &[groups, width] } else { &[width] };
                let mut tensors = vec![tensor(&x, &[groups, rows, width])];
                tensors.extend(case.scaled.then(|| tensor(&scale, vector)));
                tensors.extend(case.shifted.then(|| tensor(&shift, vector)));
                let (y, gradients) = expected(&tensors, &grad, |all| match (case.norm.centred, case.norm.add_one) {
                    (_, true) => crate::layer_norm_modulated(&all[0], &all[2], &all[1], EPS),
                    (true, false) => crate::layer_norm(&all[0], all.get(1), all.get(2), EPS),
                    (false, false) => crate::rms_norm(&all[0], all.get(1), EPS),
                });
                assert_close(float, &results[0].read(), &y, &what);
                for (i, (result, gradient)) in results[1..].iter().zip(&gradients).enumerate() {
                    assert_close(float, &result.read(), gradient, &format!("{what}: gradient {i}"));
                }
            }
        }
    }
}

/// `x + gate ⊙ branch`, and the gradients of branch and gate.
fn run_gated(host: &Host, float: Float, groups: Groups, inputs: [&[f32]; 4]) -> candle_core::Result<Vec<Memory>> {
    let [x, gate, branch, grad] = inputs.map(|values| Memory::of(float, values));
    let [out, d_branch] = [0; 2].map(|_| Memory::new(float, inputs[0].len()));
    let d_gate = Memory::new(float, inputs[1].len());
    add_gated(host, float, groups, [x.pointer(), branch.pointer(), gate.pointer()], out.pointer())?;
    let given = [branch.pointer(), gate.pointer(), grad.pointer()];
    add_gated_gradient(host, float, groups, given, [d_branch.pointer(), d_gate.pointer()])?;
    Ok(vec![out, d_branch, d_gate])
}

#[test]
fn gated_residual_agrees_with_the_cpu() {
    for float in FLOATS {
        for groups in SHAPES {
            let [x, gate, _, branch] = inputs(float, groups);
            let grad = noise(float, 5, x.len());
            let results = run_gated(&Host::default(), float, groups, [&x, &gate, &branch, &grad]).unwrap();
            let Groups { groups, rows, width } = groups;
            let dims = [groups, rows, width];
            let tensors = [tensor(&x, &dims), tensor(&branch, &dims), tensor(&gate, &[groups, width])];
            let (out, gradients) = expected(&tensors, &grad, |all| crate::gated_residual(&all[0], &all[1], &all[2]));
            assert_close(float, &results[0].read(), &out, "gated_residual");
            assert_close(float, &results[1].read(), &gradients[1], "gated_residual: branch");
            assert_close(float, &results[2].read(), &gradients[2], "gated_residual: gate");
        }
    }
}

#[test]
fn norms_need_each_barrier_and_no_order_of_threads() {
    let groups = Groups { groups: 2, rows: 9, width: 300 };
    let [x, scale, shift, grad] = inputs(Float::F32, groups);
    assert_sound(Module::Norm, |host| {
        let case = &cases(groups)[0];
        let mut results = run(host, Float::F32, case, [&x, &scale, &shift, &grad])?;
        results.extend(run_gated(host, Float::F32, groups, [&x, &scale, &grad, &grad])?);
        Ok(results)
    });
}
