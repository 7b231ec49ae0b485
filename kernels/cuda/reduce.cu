// Sums along rows and columns, and squared errors. See `src/reduce.rs`.
//
// A block adds up a chunk of a row, or a chunk of rows of 32 columns; the host launches again until one is left.
#include "common.cuh"

// factor · Σ of each chunk of each row of `length` values: `out` `[outer, chunks]`, a block for each.
template <typename From, typename To>
__device__ void row_sums(const From* x, To* out, size length, int chunk, float factor) {
    SHARED_MEMORY(scratch);
    size chunks = max((length + chunk - 1) / chunk, (size)1);
    size first = blockIdx.x % chunks * chunk, end = min(first + chunk, length), row = blockIdx.x / chunks * length;
    float sum = 0.0f;
    for (size i = first + threadIdx.x; i < end; i += blockDim.x) sum += load(x, row + i);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) store(out, blockIdx.x, factor * sum);
}

// Column sums of chunks of rows: `out` `[outer, chunks, inner]` of x `[outer, length, inner]`, of products with
// `times` unless it is null. A block takes 32 columns, a warp every so many rows; warps are added in their order.
template <typename From, typename To>
__device__ void column_sums(const From* x, const From* times, To* out, int length, int inner, int chunk) {
    SHARED_MEMORY(partial);  // [warps, 32]
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    int tiles = (inner + WARP - 1) / WARP, chunks = max((length + chunk - 1) / chunk, 1);
    int column = blockIdx.x % tiles * WARP + lane;
    size part = blockIdx.x / tiles;  // outer · chunks + chunk
    int first = part % chunks * chunk, end = min(first + chunk, length);
    float sum = 0.0f;
    if (column < inner) {
        for (int row = first + warp; row < end; row += warps) {
            size at = (part / chunks * length + row) * inner + column;
            sum += times ? load(x, at) * load(times, at) : load(x, at);
        }
    }
    partial[threadIdx.x] = sum;
    BARRIER();
    if (warp == 0 && column < inner) {
        float total = 0.0f;
        for (int other = 0; other < warps; other++) total += partial[other * WARP + lane];
        store(out, part * inner + column, total);
    }
}

// Σ weight·(predicted − target)² of each chunk of values, rows of `width` of which share a weight.
template <typename T>
__device__ void squared_error(const T* predicted, const T* target, const T* weight, float* out, size count, size width,
                              int chunk) {
    SHARED_MEMORY(scratch);
    size first = (size)blockIdx.x * chunk, end = min(first + chunk, count);
    float sum = 0.0f;
    for (size at = first + threadIdx.x; at < end; at += blockDim.x) {
        float difference = load(predicted, at) - load(target, at);
        sum += load(weight, at / width) * difference * difference;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

template <typename T>
__device__ void squared_error_gradient(const T* predicted, const T* target, const T* weight, const T* grad, T* out,
                                       size count, size width, float factor) {
    factor *= load(grad, 0);
    for (size at = grid_thread(); at < count; at += grid_threads())
        store(out, at, factor * load(weight, at / width) * (load(predicted, at) - load(target, at)));
}

#define SUMS(From, from, To, to)                                                                             \
    ENTRY(row_sums_##from##_##to, 256, (const From* x, To* out, size length, int chunk, float factor),       \
          row_sums(x, out, length, chunk, factor))                                                           \
    ENTRY(column_sums_##from##_##to, 256,                                                                    \
          (const From* x, const From* times, To* out, int length, int inner, int chunk),                     \
          column_sums(x, times, out, length, inner, chunk))

SUMS(float, f32, float, f32)
SUMS(float, f32, bf16, bf16)
SUMS(bf16, bf16, float, f32)
SUMS(bf16, bf16, bf16, bf16)

#define ENTRIES(T, type)                                                                                     \
    ENTRY(squared_error_##type, 256,                                                                         \
          (const T* predicted, const T* target, const T* weight, float* out, size count, size width, int chunk), \
          squared_error(predicted, target, weight, out, count, width, chunk))                                \
    ENTRY(squared_error_gradient_##type, 256,                                                                \
          (const T* predicted, const T* target, const T* weight, const T* grad, T* out, size count, size width, \
           float factor),                                                                                    \
          squared_error_gradient(predicted, target, weight, grad, out, count, width, factor))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
