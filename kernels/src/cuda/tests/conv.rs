use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor, values};
use super::{Float, Host, Memory, Module};
use crate::conv::Geometry;
use crate::cuda::conv::{patches, patches_gradient, patches_shape};

fn geometry(image: [usize; 2], kernel: [usize; 2], groups: usize, stride: usize, padding: usize) -> Geometry {
    let result = [0, 1].map(|i| (image[i] + 2 * padding - kernel[i]) / stride + 1);
    Geometry { batch: 2, groups, inputs: 3, outputs: 2, image, result, kernel, stride, padding }
}

fn geometries() -> [Geometry; 5] {
    [
        geometry([5, 7], [3, 3], 1, 1, 1),
        geometry([8, 5], [3, 2], 2, 2, 0),
        geometry([4, 4], [1, 1], 1, 1, 0),
        geometry([9, 6], [2, 4], 1, 3, 2),
        geometry([3, 3], [3, 3], 3, 1, 2),
    ]
}

fn images(g: &Geometry) -> usize {
    g.batch * g.groups * g.inputs * g.image[0] * g.image[1]
}

/// Patches of x, and the image's gradient where that of the patches is `grad`.
fn run(host: &Host, float: Float, g: &Geometry, x: &[f32], grad: &[f32]) -> candle_core::Result<Vec<Memory>> {
    let (out, dx) = (Memory::new(float, patches_shape(g).iter().product()), Memory::new(float, x.len()));
    let [x, grad] = [x, grad].map(|values| Memory::of(float, values));
    patches(host, float, g, x.pointer(), out.pointer())?;
    patches_gradient(host, float, g, grad.pointer(), dx.pointer())?;
    Ok(vec![out, dx])
}

/// Around the product, which is candle's, as `ops::conv2d` does.
#[test]
fn a_product_of_patches_is_the_convolution_on_the_cpu() {
    for float in FLOATS {
        for g in geometries() {
            let [groups, rows, taps] = patches_shape(&g);
            let (x, weight) = (noise(float, 1, images(&g)), noise(float, 2, groups * g.outputs * taps));
            let grad = noise(float, 3, rows * groups * g.outputs);
            let weights = tensor(&weight, &[groups, g.outputs, taps]);
            // The gradient of the product: [B, O, Ho, Wo] → [groups, B·Ho·Wo, O / groups].
            let of_product = tensor(&grad, &[g.batch, groups, g.outputs, g.result[0] * g.result[1]]);
            let of_product = of_product.permute((1, 0, 3, 2)).unwrap().reshape((groups, rows, g.outputs)).unwrap();
            let of_patches = values(&of_product.matmul(&weights).unwrap());
            let found = run(&Host::default(), float, &g, &x, &of_patches).unwrap();
            let product = tensor(&found[0].read(), &[groups, rows, taps]);
            let product = product.matmul(&weights.transpose(1, 2).unwrap()).unwrap().transpose(0, 1).unwrap();
            let [height, width] = g.result;
            let out = product.reshape((g.batch, height, width, groups * g.outputs)).unwrap();
            let out = values(&out.permute((0, 3, 1, 2)).unwrap());
            let inputs = [
                tensor(&x, &[g.batch, groups * g.inputs, g.image[0], g.image[1]]),
                tensor(&weight, &[groups * g.outputs, g.inputs, g.kernel[0], g.kernel[1]]),
            ];
            let (y, gradients) =
                expected(&inputs, &grad, |all| crate::conv2d(&all[0], &all[1], None, g.stride, g.padding, groups));
            assert_close(float, &out, &y, &format!("{g:?}"));
            assert_close(float, &found[1].read(), &gradients[0], &format!("{g:?}: gradient"));
        }
    }
}

#[test]
fn patches_need_no_order_of_threads() {
    let g = geometry([5, 7], [3, 3], 1, 1, 1);
    let grad = noise(Float::F32, 2, patches_shape(&g).iter().product());
    let x = noise(Float::F32, 1, images(&g));
    assert_sound(Module::Conv, |host| run(host, Float::F32, &g, &x, &grad));
}
