// Activations, alone or of x + bias, and SwiGLU. See `src/activation.rs` for the table of functions.
#include "common.cuh"

// In the order of `Activation` in `src/activation.rs`.
enum Kind { Identity, Silu, Gelu, GeluTanh };

#define SQRT_HALF 0.70710678f
#define SQRT_2_OVER_PI 0.79788456f
#define ONE_OVER_SQRT_2_PI 0.39894228f
#define CUBIC 0.044715f

__device__ __forceinline__ float value(int kind, float x) {
    switch (kind) {
        case Silu: return x * sigmoid(x);
        case Gelu: return 0.5f * x * (1.0f + erff(x * SQRT_HALF));
        case GeluTanh: return 0.5f * x * (1.0f + tanhf(SQRT_2_OVER_PI * x * (1.0f + CUBIC * x * x)));
        default: return x;
    }
}

__device__ __forceinline__ float slope(int kind, float x) {
    switch (kind) {
        case Silu: {
            float s = sigmoid(x);
            return s * (1.0f + x * (1.0f - s));
        }
        case Gelu:
            return 0.5f * (1.0f + erff(x * SQRT_HALF)) + x * ONE_OVER_SQRT_2_PI * expf(-0.5f * x * x);
        case GeluTanh: {
            float t = tanhf(SQRT_2_OVER_PI * x * (1.0f + CUBIC * x * x));
            float du = SQRT_2_OVER_PI * (1.0f + 3.0f * CUBIC * x * x);
            return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du;
        }
        default: return 1.0f;
    }
}

// The activation of x + bias: rows of `width` values, bias null or one row.
template <typename T>
__device__ void activate(const T* x, const T* bias, T* out, int kind, int width, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        float sum = load(x, at);
        if (bias) sum += load(bias, at % width);
        store(out, at, value(kind, sum));
    }
}

template <typename T>
__device__ void activate_gradient(const T* x, const T* bias, const T* grad, T* out, int kind, int width, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        float sum = load(x, at);
        if (bias) sum += load(bias, at % width);
        store(out, at, load(grad, at) * slope(kind, sum));
    }
}

// silu(a)·b of rows [a, b], `half` values each: `count` results.
template <typename T>
__device__ void swiglu(const T* x, T* out, int half, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        size a = at / half * half + at;
        store(out, at, value(Silu, load(x, a)) * load(x, a + half));
    }
}

template <typename T>
__device__ void swiglu_gradient(const T* x, const T* grad, T* out, int half, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        size a = at / half * half + at;
        float left = load(x, a), g = load(grad, at);
        store(out, a, g * load(x, a + half) * slope(Silu, left));
        store(out, a + half, g * value(Silu, left));
    }
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(activate_##type, 256, (const T* x, const T* bias, T* out, int kind, int width, size count),        \
          activate(x, bias, out, kind, width, count))                                                        \
    ENTRY(activate_gradient_##type, 256,                                                                     \
          (const T* x, const T* bias, const T* grad, T* out, int kind, int width, size count),               \
          activate_gradient(x, bias, grad, out, kind, width, count))                                         \
    ENTRY(swiglu_##type, 256, (const T* x, T* out, int half, size count), swiglu(x, out, half, count))       \
    ENTRY(swiglu_gradient_##type, 256, (const T* x, const T* grad, T* out, int half, size count),            \
          swiglu_gradient(x, grad, out, half, count))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
