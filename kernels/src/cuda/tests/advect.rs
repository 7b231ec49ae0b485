use super::check::{FLOATS, assert_sound, noise, tensor, values};
use super::{Float, Host, Memory, Module};
use crate::cuda::advect::advect;

fn run(host: &Host, float: Float, sizes: [usize; 3], motion: &[f32]) -> candle_core::Result<Vec<Memory>> {
    let (motion, out) = (Memory::of(float, motion), Memory::new(float, motion.len()));
    advect(host, float, sizes, motion.pointer(), out.pointer())?;
    Ok(vec![out])
}

/// Motions of some pixels, whole in bf16 too, many of which meet; some unknown, some slow, one without end.
fn motions(float: Float, [batch, height, width]: [usize; 3]) -> Vec<f32> {
    let plane = height * width;
    let mut motion: Vec<f32> = noise(float, 1, batch * 3 * plane).into_iter().map(|value| 4.0 * value).collect();
    for picture in motion.chunks_exact_mut(3 * plane) {
        for at in 0..plane {
            picture[2 * plane + at] = if at % 7 == 3 { 0.0 } else { 1.0 };
            if at % 4 == 1 {
                picture[at] = 0.125;
                picture[plane + at] = -0.125;
            }
        }
        picture[plane - 1] = f32::INFINITY;
    }
    motion
}

#[test]
fn what_moves_arrives_where_it_does_on_the_cpu() {
    for float in FLOATS {
        for sizes in [[1, 1, 1], [2, 5, 9], [3, 30, 4], [1, 7, 40]] {
            let [batch, height, width] = sizes;
            let motion = motions(float, sizes);
            let found = run(&Host::default(), float, sizes, &motion).unwrap().remove(0).read();
            let expected = values(&crate::advect(&tensor(&motion, &[batch, 3, height, width])).unwrap());
            assert_eq!(found, expected, "{sizes:?} {float}");
            if batch * height * width > 40 {
                let states = &expected[2 * height * width..3 * height * width];
                assert!([-1.0, 0.0, 1.0].iter().all(|state| states.contains(state)), "{sizes:?}: {states:?}");
            }
        }
    }
}

#[test]
fn of_equally_fast_points_the_first_arrives() {
    // Both end on the middle pixel.
    let motion = [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let found = run(&Host::default(), Float::F32, [1, 1, 3], &motion).unwrap().remove(0).read();
    assert_eq!(found, [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.0, -1.0]);
}

#[test]
fn advection_needs_no_order_of_threads() {
    let motion = motions(Float::F32, [2, 40, 9]);
    assert_sound(Module::Advect, |host| run(host, Float::F32, [2, 40, 9], &motion));
}
