//! Gradients handed on by slots against those that candle adds up by itself.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};
use worldloom_kernels::{
    Activation, backward, backward_from, bias_activation, blend, gated_residual, layer_norm, mean_all, mse, silu, sum,
};

use crate::check::{assert_close, bits, noise, on_threads, values};

/// x, a weight, a bias, a gate.
fn vars(dtype: DType) -> Vec<Var> {
    let dims: [&[usize]; 4] = [&[3, 5, 7], &[7], &[7], &[3, 7]];
    let var = |(i, dims)| Var::from_tensor(&noise(i as u64, dims).to_dtype(dtype).unwrap()).unwrap();
    dims.into_iter().enumerate().map(var).collect()
}

/// Results with one consumer and with several, of ours and of candle's; views between; a variable used twice.
fn mixed(vars: &[Var]) -> Result<Tensor> {
    let [x, weight, bias, gate] = vars else { candle_core::bail!("four variables") };
    let normal = layer_norm(x, Some(weight), Some(bias), 1e-5)?;
    let active = silu(&normal)?;
    let turned = bias_activation(&active.reshape((15, 7))?, bias, Activation::Gelu)?.reshape((3, 5, 7))?;
    let plain = (&normal * 0.5)?;
    let y = gated_residual(&(turned + &plain)?, &active, gate)?;
    let pooled = sum(&y, 1)?;
    mse(&pooled, &(gate.as_tensor() + 1.0)?)? + mean_all(&(y * plain)?)?
}

/// The same by candle's operations alone.
fn by_candle(vars: &[Var]) -> Result<Tensor> {
    let [x, weight, bias, gate] = vars else { candle_core::bail!("four variables") };
    let centred = x.broadcast_sub(&x.mean_keepdim(2)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
    let normal = centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)?;
    let active = (&normal / ((normal.neg()?.exp()? + 1.0)?))?;
    let turned = active.broadcast_add(bias)?.gelu_erf()?;
    let plain = (&normal * 0.5)?;
    let y = ((turned + &plain)? + gate.unsqueeze(1)?.broadcast_mul(&active)?)?;
    let pooled = y.sum(1)?;
    (pooled - (gate.as_tensor() + 1.0)?)?.sqr()?.mean_all()? + (y * plain)?.mean_all()?
}

fn of(grads: &GradStore, vars: &[Var]) -> Vec<Tensor> {
    vars.iter().map(|var| grads.get(var).expect("a gradient for each variable").clone()).collect()
}

fn all_bits(grads: &[Tensor]) -> Vec<u64> {
    grads.iter().flat_map(bits).collect()
}

#[test]
fn gradients_are_those_of_candles_operations() {
    let vars = vars(DType::F64);
    let loss = mixed(&vars).unwrap();
    let expected = of(&by_candle(&vars).unwrap().backward().unwrap(), &vars);
    for (name, grads) in [("backward", backward(&loss)), ("candle's backward", loss.backward())] {
        for (i, (found, expected)) in of(&grads.unwrap(), &vars).iter().zip(&expected).enumerate() {
            assert_eq!(found.dims(), expected.dims());
            // candle's erf is good to 1e-7 in its derivative.
            assert_close(&values(found), &values(expected), 1e-6, &format!("{name}: variable {i}"));
        }
    }
}

#[test]
fn a_graph_can_be_gone_through_again_and_by_candle() {
    for dtype in [DType::F32, DType::F64] {
        let vars = vars(dtype);
        let loss = mixed(&vars).unwrap();
        let first = all_bits(&of(&backward(&loss).unwrap(), &vars));
        assert_eq!(first, all_bits(&of(&backward(&loss).unwrap(), &vars)));
        let close = |x: &[u64]| x.iter().map(|bits| f64::from_bits(*bits)).collect::<Vec<_>>();
        // Sums of several parts may be added in another order.
        assert_close(&close(&all_bits(&of(&loss.backward().unwrap(), &vars))), &close(&first), 1e-6, "candle's");
        assert_eq!(first, all_bits(&of(&backward(&loss).unwrap(), &vars)));
    }
}

#[test]
fn passes_of_several_threads_do_not_meet() {
    let vars = vars(DType::F64);
    let loss = mixed(&vars).unwrap();
    let expected = all_bits(&of(&backward(&loss).unwrap(), &vars));
    std::thread::scope(|scope| {
        let passes: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..20).map(|_| all_bits(&of(&backward(&loss).unwrap(), &vars))).collect::<Vec<_>>())
            })
            .collect();
        for pass in passes {
            assert!(pass.join().unwrap().iter().all(|found| *found == expected), "a pass got another's gradients");
        }
    });
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let var = Var::from_tensor(&noise(1, &[70_000])).unwrap();
    let run = || {
        let x = silu(&var).unwrap();
        let loss = mse(&silu(&x).unwrap(), &silu(&(&x * 2.0).unwrap()).unwrap()).unwrap();
        bits(backward(&loss).unwrap().get(&var).unwrap())
    };
    let one = on_threads(1, run);
    for threads in [2, 3, 7] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn a_given_gradient_is_that_of_its_inner_product() {
    let vars = vars(DType::F64);
    let [x, _, _, gate] = vars.as_slice() else { panic!("four variables") };
    let outs =
        [gated_residual(x, &silu(x).unwrap(), gate).unwrap(), (x.as_tensor() * 2.0).unwrap(), x.as_tensor().clone()];
    for out in outs {
        let grad = noise(9, out.dims());
        let expected = (&out * &grad).unwrap().sum_all().unwrap().backward().unwrap();
        let found = backward_from(&out, &grad).unwrap();
        for var in [x, gate] {
            let both = [&found, &expected].map(|grads| grads.get(var).map(values));
            let [Some(found), Some(expected)] = both else {
                assert_eq!(both, [None, None]);
                continue;
            };
            assert_close(&found, &expected, 1e-14, "given");
        }
    }
    let message = backward_from(x, &noise(1, &[3, 5])).unwrap_err().to_string();
    assert!(message.contains("[3, 5, 7]"), "{message}");
    let message = backward_from(x, &noise(1, &[3, 5, 7]).to_dtype(DType::F32).unwrap()).unwrap_err().to_string();
    assert!(message.contains("F32"), "{message}");
}

#[test]
fn what_asks_for_no_gradient_gets_none_and_keeps_no_graph() {
    let (a, b, share) = (noise(1, &[4, 6]), noise(2, &[4, 6]), noise(3, &[4]));
    assert!(!blend(&a, &b, &share).unwrap().track_op());
    let var = Var::from_tensor(&b).unwrap();
    let mixed = blend(&a, &var, &share).unwrap();
    assert!(mixed.track_op() && !mixed.detach().track_op());
    let grads = backward(&mean_all(&mixed).unwrap()).unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&a).is_none());
    // A detached result ends the way back.
    let grads = backward(&mean_all(&silu(&mixed.detach()).unwrap()).unwrap()).unwrap();
    assert!(grads.get(&var).is_none());
}
