// Normalisation over rows of `width` values, and x + gate ⊙ branch. See `src/norm.rs` for the equations.
//
// Rows lie in `groups` groups of `rows` rows; scale, shift and gate are one row for each group.
#include "common.cuh"

struct Norm {
    int groups, rows, width;
    int centred;  // 1: subtracts the mean
    float one;    // added to scale
    float eps;
};

struct Moments {
    float mean, inverse;
};

// The mean (0 if not centred) and 1 / √(variance + ε) of a row, over the block.
template <typename T>
__device__ Moments statistics(const T* x, Norm norm, float* scratch) {
    float mean = 0.0f;
    if (norm.centred) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < norm.width; i += blockDim.x) sum += load(x, i);
        mean = block_sum(sum, scratch) / norm.width;
    }
    float squares = 0.0f;
    for (int i = threadIdx.x; i < norm.width; i += blockDim.x) {
        float off = load(x, i) - mean;
        squares += off * off;
    }
    return {mean, 1.0f / sqrtf(block_sum(squares, scratch) / norm.width + norm.eps)};
}

// y = x̂ ⊙ (scale + one) + shift, a block for each row. scale and shift may be null.
template <typename T>
__device__ void normalise(const T* x, const T* scale, const T* shift, T* out, Norm norm) {
    SHARED_MEMORY(scratch);
    size row = blockIdx.x, start = row * norm.width, own = row / norm.rows * norm.width;
    auto [mean, inverse] = statistics(x + start, norm, scratch);
    for (int i = threadIdx.x; i < norm.width; i += blockDim.x) {
        float y = (load(x, start + i) - mean) * inverse;
        if (scale) y *= load(scale, own + i) + norm.one;
        if (shift) y += load(shift, own + i);
        store(out, start + i, y);
    }
}

// ∂x, a block for each row. Leaves the row's mean and 1 / √(variance + ε) in `rows` `[groups·rows, 2]`.
template <typename T>
__device__ void normalise_gradient(const T* x, const T* scale, const T* grad, T* out, float* rows, Norm norm) {
    SHARED_MEMORY(scratch);
    size row = blockIdx.x, start = row * norm.width, own = row / norm.rows * norm.width;
    auto [mean, inverse] = statistics(x + start, norm, scratch);
    float sum = 0.0f, along = 0.0f;
    for (int i = threadIdx.x; i < norm.width; i += blockDim.x) {
        float inner = load(grad, start + i);
        if (scale) inner *= load(scale, own + i) + norm.one;
        sum += inner;
        along += inner * (load(x, start + i) - mean) * inverse;
    }
    sum = norm.centred ? block_sum(sum, scratch) / norm.width : 0.0f;
    along = block_sum(along, scratch) / norm.width;
    for (int i = threadIdx.x; i < norm.width; i += blockDim.x) {
        float normal = (load(x, start + i) - mean) * inverse;
        float inner = load(grad, start + i);
        if (scale) inner *= load(scale, own + i) + norm.one;
        store(out, start + i, (inner - sum - normal * along) * inverse);
    }
    if (threadIdx.x == 0) {
        rows[2 * row] = mean;
        rows[2 * row + 1] = inverse;
    }
}

// Column sums of g·x̂ and of g over a chunk of `chunk` rows of a group: `sums` `[2, groups, chunks, width]`.
// A block takes 32 columns, a warp every eighth row; the warps' sums are added in their order.
template <typename T>
__device__ void scale_gradient(const T* x, const T* grad, const float* rows, float* sums, int chunk, Norm norm) {
    SHARED_MEMORY(partial);  // [2, warps, 32]
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    int tiles = (norm.width + WARP - 1) / WARP, chunks = (norm.rows + chunk - 1) / chunk;
    int column = blockIdx.x % tiles * WARP + lane;
    size part = blockIdx.x / tiles;  // group · chunks + chunk
    size group = part / chunks;
    int first = part % chunks * chunk, end = min(first + chunk, norm.rows);
    float along = 0.0f, plain = 0.0f;
    if (column < norm.width) {
        for (int i = first + warp; i < end; i += warps) {
            size row = group * norm.rows + i, at = row * norm.width + column;
            float g = load(grad, at);
            along += g * (load(x, at) - rows[2 * row]) * rows[2 * row + 1];
            plain += g;
        }
    }
    partial[threadIdx.x] = along;
    partial[blockDim.x + threadIdx.x] = plain;
    BARRIER();
    if (warp < 2 && column < norm.width) {
        float total = 0.0f;
        for (int other = 0; other < warps; other++) total += partial[warp * blockDim.x + other * WARP + lane];
        sums[((size)warp * norm.groups * chunks + part) * norm.width + column] = total;
    }
}

// x + gate ⊙ branch.
template <typename T>
__device__ void add_gated(const T* x, const T* branch, const T* gate, T* out, int rows, int width, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        size own = at / width / rows * width + at % width;
        store(out, at, load(x, at) + load(gate, own) * load(branch, at));
    }
}

// ∂branch = g ⊙ gate.
template <typename T>
__device__ void times_gate(const T* grad, const T* gate, T* out, int rows, int width, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads())
        store(out, at, load(grad, at) * load(gate, at / width / rows * width + at % width));
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(normalise_##type, 256, (const T* x, const T* scale, const T* shift, T* out, Norm norm),            \
          normalise(x, scale, shift, out, norm))                                                             \
    ENTRY(normalise_gradient_##type, 256,                                                                    \
          (const T* x, const T* scale, const T* grad, T* out, float* rows, Norm norm),                       \
          normalise_gradient(x, scale, grad, out, rows, norm))                                               \
    ENTRY(scale_gradient_##type, 256,                                                                        \
          (const T* x, const T* grad, const float* rows, float* sums, int chunk, Norm norm),                 \
          scale_gradient(x, grad, rows, sums, chunk, norm))                                                  \
    ENTRY(add_gated_##type, 256,                                                                             \
          (const T* x, const T* branch, const T* gate, T* out, int rows, int width, size count),             \
          add_gated(x, branch, gate, out, rows, width, count))                                               \
    ENTRY(times_gate_##type, 256, (const T* grad, const T* gate, T* out, int rows, int width, size count),   \
          times_gate(grad, gate, out, rows, width, count))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
