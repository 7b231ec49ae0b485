// AdamW and the norm of its gradients. See `src/optim.rs` for the equations.
#include "common.cuh"

struct Constants {
    float clip;
    float beta1, rest1;  // β₁, 1 − β₁
    float beta2, rest2;
    float eps;
    float rate;           // η / (1 − β₁ᵗ)
    float inverse_root2;  // 1 / √(1 − β₂ᵗ)
    float decay;          // ηλ
    float ema_rest;       // 1 − δ
};

// Σ x² of each chunk of values.
template <typename T>
__device__ void squared_norm(const T* x, float* out, size count, int chunk) {
    SHARED_MEMORY(scratch);
    size first = (size)blockIdx.x * chunk, end = min(first + chunk, count);
    float sum = 0.0f;
    for (size at = first + threadIdx.x; at < end; at += blockDim.x) sum += load(x, at) * load(x, at);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// One step of one parameter. Means and average are f32; so is `master`, the value that a bf16 parameter is
// rounded from, null for f32. `ema` may be null, and `gradient`, where only the average moves.
template <typename T>
__device__ void adamw(T* value, const T* gradient, float* master, float* mean, float* square, float* ema, Constants c,
                      size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        float weight = master ? master[at] : load(value, at);
        if (gradient) {
            float g = load(gradient, at) * c.clip;
            float m = c.beta1 * mean[at] + c.rest1 * g;
            float v = c.beta2 * square[at] + c.rest2 * g * g;
            mean[at] = m;
            square[at] = v;
            weight -= c.decay * weight + c.rate * m / (sqrtf(v) * c.inverse_root2 + c.eps);
            if (master) master[at] = weight;
            store(value, at, weight);
        }
        if (ema) ema[at] += c.ema_rest * (weight - ema[at]);
    }
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(squared_norm_##type, 256, (const T* x, float* out, size count, int chunk),                         \
          squared_norm(x, out, count, chunk))                                                                \
    ENTRY(adamw_##type, 256,                                                                                 \
          (T* value, const T* gradient, float* master, float* mean, float* square, float* ema, Constants c,  \
           size count),                                                                                      \
          adamw(value, gradient, master, mean, square, ema, c, count))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
