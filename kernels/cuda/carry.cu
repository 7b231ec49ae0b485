// A frame carried forward with a change and a gain. See `src/carry.rs`.
#include "common.cuh"

// (1 + g) ⊙ before + Δ; `out` holds rows [Δ, g], `half` values each.
template <typename T>
__device__ void carry(const T* before, const T* out, T* into, int half, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        size change = at / half * half + at;
        store(into, at, (1.0f + load(out, change + half)) * load(before, at) + load(out, change));
    }
}

// ∂out.
template <typename T>
__device__ void carry_out_gradient(const T* before, const T* grad, T* into, int half, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        size change = at / half * half + at;
        float h = load(grad, at);
        store(into, change, h);
        store(into, change + half, h * load(before, at));
    }
}

// ∂before.
template <typename T>
__device__ void carry_before_gradient(const T* out, const T* grad, T* into, int half, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads())
        store(into, at, load(grad, at) * (1.0f + load(out, at / half * half + at + half)));
}

#define ENTRIES(T, type)                                                                                  \
    ENTRY(carry_##type, 256, (const T* before, const T* out, T* into, int half, size count),              \
          carry(before, out, into, half, count))                                                          \
    ENTRY(carry_out_gradient_##type, 256, (const T* before, const T* grad, T* into, int half, size count), \
          carry_out_gradient(before, grad, into, half, count))                                            \
    ENTRY(carry_before_gradient_##type, 256, (const T* out, const T* grad, T* into, int half, size count), \
          carry_before_gradient(out, grad, into, half, count))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
