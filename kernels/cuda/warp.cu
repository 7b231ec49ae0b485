// Pictures looked up at positions moved by a flow, and the gradients of both. See `src/warp.rs` for the equations.
#include "common.cuh"

// Where along one axis an output looks: between a pixel and the next one, which has the weight `next`.
struct Place {
    int pixel;
    float next;
    bool clamped;
};

__device__ __forceinline__ Place place(float position, int last) {
    float end = (float)last;
    bool before = position < 0.0f, after = position > end;
    float inside = before ? 0.0f : after ? end : position;
    // NaN becomes 0.
    int pixel = inside == inside ? min((int)inside, max(last - 1, 0)) : 0;
    return {pixel, inside - (float)pixel, before || after};
}

// Where output (y, x) of picture n looks; the weights are NaN where the flow is.
struct Sample {
    Place across, down;
    bool known;
};

template <typename T>
__device__ __forceinline__ Sample sample(const T* flow, size n, int y, int x, int height, int width) {
    size plane = (size)height * width, at = 2 * n * plane + (size)y * width + x;
    Place across = place((float)x + load(flow, at), width - 1);
    Place down = place((float)y + load(flow, at + plane), height - 1);
    float both = across.next + down.next;
    return {across, down, both == both};
}

// a + t·(b − a), and exactly a or b at the ends.
__device__ __forceinline__ float between(float a, float b, float t) {
    return t == 0.0f ? a : t == 1.0f ? b : a + t * (b - a);
}

// The four pixels about a sample.
struct Corners {
    float upper[2], lower[2];
};

template <typename T>
__device__ __forceinline__ Corners corners(const T* frames, size start, Sample s, int height, int width) {
    size at = start + (size)s.down.pixel * width + s.across.pixel;
    int right = width > 1, below = height > 1 ? width : 0;
    return {{load(frames, at), load(frames, at + right)}, {load(frames, at + below), load(frames, at + below + right)}};
}

// A thread has a pixel in all channels.
template <typename T>
__device__ void warp_forward(const T* frames, const T* flow, T* out, size pixels, int channels, int height, int width) {
    size plane = (size)height * width;
    for (size pixel = grid_thread(); pixel < pixels; pixel += grid_threads()) {
        size n = pixel / plane, in_plane = pixel % plane;
        Sample s = sample(flow, n, in_plane / width, in_plane % width, height, width);
        for (int c = 0; c < channels; c++) {
            size start = (n * channels + c) * plane;
            Corners corner = corners(frames, start, s, height, width);
            float upper = between(corner.upper[0], corner.upper[1], s.across.next);
            float lower = between(corner.lower[0], corner.lower[1], s.across.next);
            store(out, start + in_plane, s.known ? between(upper, lower, s.down.next) : CUDART_NAN_F);
        }
    }
}

// ∂flow: a thread has a pixel, and adds up its channels in order.
template <typename T>
__device__ void warp_flow_gradient(const T* frames, const T* flow, const T* grad, T* out, size pixels, int channels,
                                   int height, int width) {
    size plane = (size)height * width;
    for (size pixel = grid_thread(); pixel < pixels; pixel += grid_threads()) {
        size n = pixel / plane, in_plane = pixel % plane;
        Sample s = sample(flow, n, in_plane / width, in_plane % width, height, width);
        float across = 0.0f, down = 0.0f;
        for (int c = 0; c < channels; c++) {
            size start = (n * channels + c) * plane;
            Corners corner = corners(frames, start, s, height, width);
            float g = load(grad, start + in_plane);
            float a = corner.upper[0], b = corner.upper[1], d = corner.lower[0], e = corner.lower[1];
            across += g * between(b - a, e - d, s.down.next);
            down += g * between(d - a, e - b, s.across.next);
        }
        size at = 2 * n * plane + in_plane;
        store(out, at, !s.known ? CUDART_NAN_F : s.across.clamped ? 0.0f : across);
        store(out, at + plane, !s.known ? CUDART_NAN_F : s.down.clamped ? 0.0f : down);
    }
}

// ∂frames: a thread has a row of a plane, and adds to it what every output gives it, in raster order as on the CPU. Threads
// side by side read the same output at the same time. `sums` are f32: `out` itself, or memory as large.
template <typename T>
__device__ void warp_frames_gradient(const T* flow, const T* grad, float* sums, T* out, size rows, int channels, int height,
                                     int width) {
    size own = grid_thread();
    if (own >= rows) return;
    size plane = (size)height * width, channel = own / height;
    int row = own % height, right = width > 1, below = height > 1;
    size start = own * width;
    for (int x = 0; x < width; x++) sums[start + x] = 0.0f;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            Sample s = sample(flow, channel / channels, y, x, height, width);
            bool upper = s.down.pixel == row, lower = s.down.pixel + below == row;
            if (!s.known || !(upper || lower)) continue;
            float g = load(grad, channel * plane + (size)y * width + x);
            float g_lower = g * s.down.next, g_right = g * s.across.next, g_both = g_lower * s.across.next;
            float* at = sums + start + s.across.pixel;
            if (upper) {
                at[0] += g - g_lower - (g_right - g_both);
                at[right] += g_right - g_both;
            }
            if (lower) {
                at[0] += g_lower - g_both;
                at[right] += g_both;
            }
        }
    }
    for (int x = 0; x < width; x++) store(out, start + x, sums[start + x]);
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(warp_##type, 256,                                                                                  \
          (const T* frames, const T* flow, T* out, size pixels, int channels, int height, int width),        \
          warp_forward(frames, flow, out, pixels, channels, height, width))                                  \
    ENTRY(warp_flow_gradient_##type, 256,                                                                    \
          (const T* frames, const T* flow, const T* grad, T* out, size pixels, int channels, int height, int width), \
          warp_flow_gradient(frames, flow, grad, out, pixels, channels, height, width))                      \
    ENTRY(warp_frames_gradient_##type, 64,                                                                   \
          (const T* flow, const T* grad, float* sums, T* out, size rows, int channels, int height, int width), \
          warp_frames_gradient(flow, grad, sums, out, rows, channels, height, width))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
