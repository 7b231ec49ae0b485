use candle_core::Var;

use super::check::{FLOATS, assert_close, assert_sound, noise, tensor, values};
use super::{Float, Host, Memory, Module, Pointer};
use crate::cuda::adamw::{Constants, Parameter, squared_norm, step};
use crate::{AdamW, AdamWConfig};

const COUNT: usize = 8192 + 333;
const RATE: f64 = 0.01;
const STEPS: u64 = 3;

fn config() -> AdamWConfig {
    AdamWConfig { ema_decay: Some(0.9), ..AdamWConfig::default() }
}

/// The value after some steps, its mean, square and average, and the squared norms.
fn run(host: &Host, float: Float, value: &[f32], gradients: &[Vec<f32>]) -> candle_core::Result<Vec<Memory>> {
    let [master, ema] = [0; 2].map(|_| Memory::of(Float::F32, value));
    let [mean, square] = [0; 2].map(|_| Memory::of(Float::F32, &vec![0.0; value.len()]));
    let value = Memory::of(float, value);
    let mut norms = Vec::new();
    for (number, gradient) in (1..).zip(gradients) {
        let (gradient, norm) = (Memory::of(float, gradient), Memory::new(Float::F32, 1));
        squared_norm(host, float, COUNT, gradient.pointer(), norm.pointer())?;
        let clip = (1.0 / (f64::from(norm.read()[0]).sqrt() + 1e-6)).min(1.0);
        let constants = Constants::new(&config(), number, RATE, clip, true);
        let parameter = Parameter {
            value: value.pointer(),
            gradient: gradient.pointer(),
            master: if float == Float::F32 { Pointer::NULL } else { master.pointer() },
            mean: mean.pointer(),
            square: square.pointer(),
            ema: ema.pointer(),
        };
        step(host, float, COUNT, parameter, constants)?;
        norms.push(norm);
    }
    let mut results = vec![value, mean, square, ema];
    results.extend(norms);
    Ok(results)
}

#[test]
fn steps_agree_with_the_cpu() {
    for float in FLOATS {
        let value = noise(float, 1, COUNT);
        let gradients: Vec<Vec<f32>> = (0..STEPS).map(|i| noise(float, 2 + i, COUNT)).collect();
        let found = run(&Host::default(), float, &value, &gradients).unwrap();
        let var = Var::from_tensor(&tensor(&value, &[COUNT])).unwrap();
        let mut adamw = AdamW::<f32>::new([(var.clone(), true)], config()).unwrap();
        for (i, gradient) in gradients.iter().enumerate() {
            let loss = (var.as_tensor() * tensor(gradient, &[COUNT])).unwrap().sum_all().unwrap();
            let report = adamw.step(&loss.backward().unwrap(), RATE).unwrap();
            let norm = found[4 + i].read()[0].sqrt();
            assert_close(Float::F32, &[norm], &[report.gradient_norm as f32], "norm");
        }
        let state = adamw.state().unwrap();
        assert_close(float, &found[0].read(), &values(&var), "value");
        assert_close(Float::F32, &found[1].read(), &values(&state.mean), "mean");
        assert_close(Float::F32, &found[2].read(), &values(&state.square), "square");
        assert_close(Float::F32, &found[3].read(), &values(&state.ema.unwrap()), "average");
    }
}

#[test]
fn a_parameter_without_a_gradient_moves_its_average_alone() {
    let (value, ema) = (Memory::of(Float::F32, &[1.0, 2.0]), Memory::of(Float::F32, &[0.0, 0.0]));
    let (gradient, master, mean, square) = (Pointer::NULL, Pointer::NULL, Pointer::NULL, Pointer::NULL);
    let parameter = Parameter { value: value.pointer(), gradient, master, mean, square, ema: ema.pointer() };
    step(&Host::default(), Float::F32, 2, parameter, Constants::new(&config(), 1, RATE, 1.0, true)).unwrap();
    assert_eq!(value.read(), [1.0, 2.0], "expected the value to stay");
    assert_close(Float::F32, &ema.read(), &[0.1, 0.2], "average");
}

#[test]
fn adamw_needs_each_barrier_and_no_order_of_threads() {
    let (value, gradient) = (noise(Float::F32, 1, COUNT), noise(Float::F32, 2, COUNT));
    assert_sound(Module::AdamW, |host| run(host, Float::F32, &value, std::slice::from_ref(&gradient)));
}
