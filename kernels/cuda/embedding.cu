// Rows of a table by id, and the gradient added back to them in the order of the ids. See `src/embedding.rs`.
#include "common.cuh"

// A row for each id. An id past the table gives NaN: the host would have to wait for the GPU to refuse it.
template <typename T>
__device__ void gather_rows(const T* table, const unsigned* ids, T* out, size rows, int width, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) {
        size id = ids[at / width];
        store(out, at, id < rows ? load(table, id * width + at % width) : CUDART_NAN_F);
    }
}

// 1 in each thread if `found` is anywhere in the block.
__device__ __forceinline__ bool block_any(bool found, float* scratch) {
    return block_sum(found ? 1.0f : 0.0f, scratch) > 0.0f;
}

// The gradient of the table, in which rows that no id names are zero already. A block for each id: it is done if an
// id before is the same, else it adds up the gradients of all that are, in their order. Reads of ids grow with
// their square, but stay in the cache.
template <typename T>
__device__ void scatter_rows(const T* grad, const unsigned* ids, T* out, size rows, int width, int count) {
    SHARED_MEMORY(scratch);
    int own = blockIdx.x;
    unsigned id = ids[own];
    if (id >= rows) return;
    for (int start = 0; start < own; start += blockDim.x) {
        int other = start + threadIdx.x;
        if (block_any(other < own && ids[other] == id, scratch)) return;
    }
    for (int first = 0; first < width; first += blockDim.x) {
        int column = first + threadIdx.x;
        float sum = 0.0f;
        for (int other = own; other < count; other++)
            if (ids[other] == id && column < width) sum += load(grad, (size)other * width + column);
        if (column < width) store(out, (size)id * width + column, sum);
    }
}

#define ENTRIES(T, type)                                                                                     \
    ENTRY(gather_rows_##type, 256,                                                                           \
          (const T* table, const unsigned* ids, T* out, size rows, int width, size count),                   \
          gather_rows(table, ids, out, rows, width, count))                                                  \
    ENTRY(scatter_rows_##type, 128,                                                                          \
          (const T* grad, const unsigned* ids, T* out, size rows, int width, int count),                     \
          scatter_rows(grad, ids, out, rows, width, count))                                                  \
    ENTRY(zero_##type, 256, (T* out, size count),                                                            \
          for (size at = grid_thread(); at < count; at += grid_threads()) store(out, at, 0.0f))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
