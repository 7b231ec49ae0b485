// The patches of an image under a kernel as rows of a matrix (im2col), so that a convolution is one product, and
// the way back. See `src/cuda/conv.rs`.
//
// x is `[B, C, H, W]`, patches `[groups, B·Ho·Wo, taps]` with taps (C / groups)·kh·kw, in the order of a weight's.
#include "common.cuh"

struct Convolution {
    int batch, groups, channels;  // channels of a group
    int height, width, out_height, out_width;
    int kernel_height, kernel_width, stride, padding;
};

template <typename T>
__device__ void patches(const T* x, T* out, Convolution c, size count) {
    int taps = c.channels * c.kernel_height * c.kernel_width;
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        int tap = at % taps;
        size row = at / taps;
        int across = row % c.out_width, down = row / c.out_width % c.out_height;
        size image = row / c.out_width / c.out_height;  // group · batch + element
        int i = tap / c.kernel_width % c.kernel_height, j = tap % c.kernel_width;
        int y = down * c.stride + i - c.padding, z = across * c.stride + j - c.padding;
        size channel = image / c.batch * c.channels + tap / c.kernel_width / c.kernel_height;
        size plane = image % c.batch * c.groups * c.channels + channel;
        bool inside = y >= 0 && y < c.height && z >= 0 && z < c.width;
        store(out, at, inside ? load(x, (plane * c.height + y) * c.width + z) : 0.0f);
    }
}

// The gradient of x: for each of its values the sum over the patches that hold it, in the order of the taps.
template <typename T>
__device__ void patches_gradient(const T* grad, T* out, Convolution c, size count) {
    int taps = c.channels * c.kernel_height * c.kernel_width;
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        int z = at % c.width, y = at / c.width % c.height;
        size plane = at / c.width / c.height;
        int channel = plane % (c.groups * c.channels);
        size image = (size)(channel / c.channels) * c.batch + plane / (c.groups * c.channels);
        float sum = 0.0f;
        for (int i = 0; i < c.kernel_height; i++) {
            int down = y + c.padding - i;
            if (down < 0 || down % c.stride || down / c.stride >= c.out_height) continue;
            for (int j = 0; j < c.kernel_width; j++) {
                int across = z + c.padding - j;
                if (across < 0 || across % c.stride || across / c.stride >= c.out_width) continue;
                size row = (image * c.out_height + down / c.stride) * c.out_width + across / c.stride;
                int tap = (channel % c.channels * c.kernel_height + i) * c.kernel_width + j;
                sum += load(grad, row * taps + tap);
            }
        }
        store(out, at, sum);
    }
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(patches_##type, 256, (const T* x, T* out, Convolution c, size count), patches(x, out, c, count))   \
    ENTRY(patches_gradient_##type, 256, (const T* grad, T* out, Convolution c, size count),                  \
          patches_gradient(grad, out, c, count))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
