//! Inertia of pictures: what moved goes on moving.
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | m | where each point was in the frame before, pixels right and down, and 1 where that is known | `[N, 3, H, W]` |
//! | u | the same for the next frame, if every point keeps its velocity, and a state | `[N, 3, H, W]` |
//!
//! The point at y came from y + m(y), so it goes on to y − m(y): u(round(y − m(y))) = m(y). Where several points meet, the
//! fastest wins, since what moves is mostly in front of what stands; of equal ones the first in raster order. The state is 1
//! where a moving point has arrived, −1 where one has left and none arrived (what was behind it comes to light there, and
//! u is 0), 0 where nothing moves. Points slower than [`SLOWEST`], unknown, or not finite stand still.
//!
//! This is forward warping by nearest neighbour (Niklaus & Liu 2020, "Softmax splatting", fig. 2, with a maximum in place of
//! the softmax). It is a prior and no function to learn through: its input is data, and it gives no gradient.

use candle_core::{Result, Tensor};

use crate::error::{argument_error, shape_error};
use crate::plumbing::{tensor, wants_gradient, with_values};
use crate::real::Real;
use crate::{by_dtype, par};

const OP: &str = "advect";

/// Pixels a frame below which a point stands still.
pub const SLOWEST: f64 = 0.25;

/// See the [module](self): `motion` `[N, 3, H, W]` → `[N, 3, H, W]`.
///
/// # Errors
/// Another shape; dtypes other than F32 and F64; a motion that asks for a gradient: `detach` it.
pub fn advect(motion: &Tensor) -> Result<Tensor> {
    let &[batch, 3, height, width] = motion.dims() else {
        return Err(shape_error(OP, "motion", "[N, 3, H, W]", motion.shape()));
    };
    if wants_gradient(motion) {
        return Err(argument_error(OP, "the motion asks for a gradient, which there is none of; `detach` it"));
    }
    #[cfg(feature = "cuda")]
    if motion.device().is_cuda() {
        return crate::cuda::pictures::advect([batch, height, width], motion);
    }
    by_dtype!(OP, motion.dtype(), T => {
        let out = with_values::<T, _>(OP, motion, |motion| pictures(motion, batch, height, width))?;
        tensor(out, motion.shape(), motion)
    })
}

fn pictures<T: Real>(motion: &[T], batch: usize, height: usize, width: usize) -> Vec<T> {
    let picture = 3 * height * width;
    let mut out = vec![T::ZERO; batch * picture];
    if picture == 0 {
        return out;
    }
    par::rows(&mut out, picture, |first, out| {
        for (n, out) in out.chunks_exact_mut(picture).enumerate() {
            let n = first + n;
            one(&motion[n * picture..(n + 1) * picture], out, height, width);
        }
    });
    out
}

fn one<T: Real>(motion: &[T], out: &mut [T], height: usize, width: usize) {
    let plane = height * width;
    let mut speed = vec![0f64; plane];
    let moves = |at: usize| -> Option<(f64, f64, f64)> {
        let (dx, dy) = (motion[at].to_f64(), motion[plane + at].to_f64());
        let square = dx * dx + dy * dy;
        (motion[2 * plane + at] > T::ZERO && square.is_finite() && square >= SLOWEST * SLOWEST)
            .then_some((dx, dy, square))
    };
    // All that leave, then all that arrive.
    for at in 0..plane {
        if moves(at).is_some() {
            out[2 * plane + at] = T::real(-1.0);
        }
    }
    for at in 0..plane {
        let Some((dx, dy, square)) = moves(at) else { continue };
        let (x, y) = (((at % width) as f64 - dx).round(), ((at / width) as f64 - dy).round());
        if !(0.0..width as f64).contains(&x) || !(0.0..height as f64).contains(&y) {
            continue;
        }
        let to = y as usize * width + x as usize;
        if square > speed[to] {
            speed[to] = square;
            out[to] = motion[at];
            out[plane + to] = motion[plane + at];
            out[2 * plane + to] = T::ONE;
        }
    }
}
