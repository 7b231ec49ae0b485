// Group norm, alone or followed by SiLU. See `src/group_norm.rs` for the equations.
//
// x is `[batch, groups, channels, space]`; a block takes one group of one batch element.
#include "common.cuh"

struct Group {
    int groups;
    int channels;  // of a group
    int space;     // values of a channel
    int silu;
    float eps;
};

struct Moments {
    float mean, inverse;
};

// The mean and 1 / √(variance + ε) of a group.
template <typename T>
__device__ Moments statistics(const T* x, int count, float eps, float* scratch) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += load(x, i);
    float mean = block_sum(sum, scratch) / count;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        float off = load(x, i) - mean;
        squares += off * off;
    }
    return {mean, 1.0f / sqrtf(block_sum(squares, scratch) / count + eps)};
}

// weight and bias may be null.
template <typename T>
__device__ void group_norm(const T* x, const T* weight, const T* bias, T* out, Group group) {
    SHARED_MEMORY(scratch);
    int count = group.channels * group.space, first = blockIdx.x % group.groups * group.channels;
    size start = (size)blockIdx.x * count;
    auto [mean, inverse] = statistics(x + start, count, group.eps, scratch);
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        int channel = first + i / group.space;
        float y = (load(x, start + i) - mean) * inverse;
        if (weight) y *= load(weight, channel);
        if (bias) y += load(bias, channel);
        store(out, start + i, group.silu ? y * sigmoid(y) : y);
    }
}

// The gradient of y: that of the output, through SiLU if there is one.
template <typename T>
__device__ __forceinline__ float inner_gradient(const T* grad, size at, float normal, float weight, float bias, int silu) {
    float g = load(grad, at);
    if (!silu) return g;
    float y = normal * weight + bias, s = sigmoid(y);
    return g * s * (1.0f + y * (1.0f - s));
}

// ∂x, and Σ g·x̂ and Σ g of each channel of each batch element: `sums` `[2, batch, groups · channels]`.
template <typename T>
__device__ void group_norm_gradient(const T* x, const T* weight, const T* bias, const T* grad, T* out, float* sums,
                                    size batch, Group group) {
    SHARED_MEMORY(scratch);
    int count = group.channels * group.space, first = blockIdx.x % group.groups * group.channels;
    size start = (size)blockIdx.x * count;
    auto [mean, inverse] = statistics(x + start, count, group.eps, scratch);
    float inner_along = 0.0f, inner = 0.0f;
    for (int channel = 0; channel < group.channels; channel++) {
        float w = weight ? load(weight, first + channel) : 1.0f, b = bias ? load(bias, first + channel) : 0.0f;
        float along = 0.0f, plain = 0.0f;
        for (int i = threadIdx.x; i < group.space; i += blockDim.x) {
            size at = start + channel * group.space + i;
            float normal = (load(x, at) - mean) * inverse;
            float g = inner_gradient(grad, at, normal, w, b, group.silu);
            along += g * normal;
            plain += g;
        }
        along = block_sum(along, scratch);
        plain = block_sum(plain, scratch);
        inner_along += w * along;
        inner += w * plain;
        if (threadIdx.x == 0) {
            size at = (size)blockIdx.x * group.channels + channel;
            sums[at] = along;
            sums[batch * group.groups * group.channels + at] = plain;
        }
    }
    inner_along /= count;
    inner /= count;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        int channel = first + i / group.space;
        float w = weight ? load(weight, channel) : 1.0f, b = bias ? load(bias, channel) : 0.0f;
        float normal = (load(x, start + i) - mean) * inverse;
        float g = inner_gradient(grad, start + i, normal, w, b, group.silu);
        store(out, start + i, (g * w - inner - normal * inner_along) * inverse);
    }
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(group_norm_##type, 256, (const T* x, const T* weight, const T* bias, T* out, Group group),         \
          group_norm(x, weight, bias, out, group))                                                           \
    ENTRY(group_norm_gradient_##type, 256,                                                                   \
          (const T* x, const T* weight, const T* bias, const T* grad, T* out, float* sums, size batch,       \
           Group group),                                                                                     \
          group_norm_gradient(x, weight, bias, grad, out, sums, batch, group))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
