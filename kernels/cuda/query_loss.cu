// Cross entropy of rows with a set of queries. See `src/query_loss.rs` for the equations.
//
// A warp has a row; the scores of its queries lie in shared memory, `count` values for each warp.
#include "common.cuh"

// The target of a row that does not count.
#define IGNORED 0xffffffffu

// Writes zₖ of a row to `scores`, each by the lane that reads it again, and gives log Σ exp z in every lane.
template <typename T>
__device__ __forceinline__ float logits(const T* feature, const T* queries, float* scores, int width, int count) {
    int lane = threadIdx.x % WARP;
    float top = -CUDART_INF_F;
    for (int k = 0; k < count; k++) {
        const T* query = queries + (size)k * (width + 1);
        float sum = 0.0f;
        for (int i = lane; i < width; i += WARP) sum += load(feature, i) * load(query, i);
        float z = warp_sum(sum) + load(query, width);
        if (lane == k % WARP) scores[k] = z;
        // NaN stays out of the maximum and comes back by the sum.
        top = fmaxf(top, z);
    }
    float total = 0.0f;
    for (int k = lane; k < count; k += WARP) total += expf(scores[k] - top);
    return top + logf(warp_sum(total));
}

// Each row's part of the loss, and 1 where it counts. A target past the queries gives NaN: the host would have to wait for the
// GPU to refuse it.
template <typename T>
__device__ void query_rows(const T* features, const T* queries, const unsigned* target, float* losses, float* counted,
                           size all, int rows, int width, int count) {
    SHARED_MEMORY(shared);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    size row = (size)blockIdx.x * (blockDim.x / WARP) + warp;
    if (row >= all) return;
    unsigned own = target[row];
    if (own == IGNORED) {
        if (lane == 0) losses[row] = counted[row] = 0.0f;
        return;
    }
    float* scores = shared + (size)warp * count;
    float sum = logits(features + row * width, queries + row / rows * count * (width + 1), scores, width, count);
    if (lane == (int)(own % WARP)) {
        losses[row] = own < (unsigned)count ? sum - scores[own] : CUDART_NAN_F;
        counted[row] = 1.0f;
    }
}

// The mean over the rows that count; 0 if none does.
template <typename T>
__device__ void query_mean(const float* loss, const float* counted, T* out) {
    if (grid_thread() == 0) store(out, 0, counted[0] > 0.0f ? loss[0] / counted[0] : 0.0f);
}

__device__ __forceinline__ void count_targets(const unsigned* target, float* counted, size count) {
    for (size at = grid_thread(); at < count; at += grid_threads()) counted[at] = target[at] == IGNORED ? 0.0f : 1.0f;
}

// ∂f, and ∂z `[rows, count]`.
template <typename T>
__device__ void query_feature_gradient(const T* features, const T* queries, const unsigned* target, const T* grad,
                                       const float* counted, float* d_scores, T* out, size all, int rows, int width,
                                       int count) {
    SHARED_MEMORY(shared);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    size row = (size)blockIdx.x * (blockDim.x / WARP) + warp;
    if (row >= all) return;
    unsigned own = target[row];
    d_scores += row * count;
    if (own == IGNORED) {
        for (int k = lane; k < count; k += WARP) d_scores[k] = 0.0f;
        for (int i = lane; i < width; i += WARP) store(out, row * width + i, 0.0f);
        return;
    }
    float* scores = shared + (size)warp * count;
    queries += row / rows * count * (width + 1);
    float sum = logits(features + row * width, queries, scores, width, count);
    float scale = load(grad, 0) / fmaxf(counted[0], 1.0f);
    for (int k = lane; k < count; k += WARP) {
        float d = (expf(scores[k] - sum) - (k == (int)own ? 1.0f : 0.0f)) * scale;
        scores[k] = own < (unsigned)count ? d : CUDART_NAN_F;
        d_scores[k] = scores[k];
    }
    WARP_BARRIER();
    for (int i = lane; i < width; i += WARP) {
        float total = 0.0f;
        for (int k = 0; k < count; k++) total += scores[k] * load(queries, (size)k * (width + 1) + i);
        store(out, row * width + i, total);
    }
}

// ∂q: Σ ∂z ⊙ f over the rows of a batch entry, and Σ ∂z in the last column. A block has 32 columns of a query, a warp every so
// many rows; warps are added in their order.
template <typename T>
__device__ void query_gradient(const T* features, const float* d_scores, T* out, int rows, int width, int count) {
    SHARED_MEMORY(partial);  // [warps, 32]
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    int tiles = (width + 1 + WARP - 1) / WARP, column = blockIdx.x % tiles * WARP + lane;
    size query = blockIdx.x / tiles, entry = query / count;
    float sum = 0.0f;
    if (column <= width) {
        for (int r = warp; r < rows; r += warps) {
            size row = entry * rows + r;
            float d = d_scores[row * count + query % count];
            sum += column < width ? d * load(features, row * width + column) : d;
        }
    }
    partial[threadIdx.x] = sum;
    BARRIER();
    if (warp == 0 && column <= width) {
        float total = 0.0f;
        for (int other = 0; other < warps; other++) total += partial[other * WARP + lane];
        store(out, query * (width + 1) + column, total);
    }
}

ENTRY(query_counted, 256, (const unsigned* target, float* counted, size count), count_targets(target, counted, count))

#define ENTRIES(T, type)                                                                                     \
    ENTRY(query_rows_##type, 128,                                                                            \
          (const T* features, const T* queries, const unsigned* target, float* losses, float* counted, size all, \
           int rows, int width, int count),                                                                  \
          query_rows(features, queries, target, losses, counted, all, rows, width, count))                   \
    ENTRY(query_mean_##type, 32, (const float* loss, const float* counted, T* out), query_mean(loss, counted, out)) \
    ENTRY(query_feature_gradient_##type, 128,                                                                \
          (const T* features, const T* queries, const unsigned* target, const T* grad, const float* counted, \
           float* d_scores, T* out, size all, int rows, int width, int count),                               \
          query_feature_gradient(features, queries, target, grad, counted, d_scores, out, all, rows, width, count)) \
    ENTRY(query_gradient_##type, 256,                                                                        \
          (const T* features, const float* d_scores, T* out, int rows, int width, int count),                \
          query_gradient(features, d_scores, out, rows, width, count))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
