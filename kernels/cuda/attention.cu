// Attention and its gradients by tiles, without a queries × keys matrix (Dao et al. 2022). See `src/attention/mod.rs`.
//
// Scores are computed again in the backward pass, once for the gradients of queries and once for those of keys and
// values, so that each number is summed up by one thread in one order.
#include "attention.cuh"

// The forward pass: a block for each tile of queries. CHUNKS · 32 is at least the size of a head.
template <typename T, int CHUNKS>
__device__ void attend(const T* q, const T* k, const T* v, Rotation<T> rotation, T* out, float* log_sum_exp, Problem p) {
    SHARED_MEMORY(memory);
    float *queries = memory, *others = queries + TILE * pitch(p), *scores = others + TILE * pitch(p);
    int tiles = (p.queries + TILE - 1) / TILE, first = blockIdx.x % tiles * TILE;
    int head = blockIdx.x / tiles % p.heads, group = blockIdx.x / tiles / p.heads;
    int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * ROWS;
    size k_start = base(p.k, group, head), v_start = base(p.v, group, head), out_start = base(p.out, group, head);
    load_tile(p, q, p.q, base(p.q, group, head), first, p.queries, rotation, queries);
    float most[ROWS], total[ROWS], sums[ROWS][CHUNKS];
    for (int r = 0; r < ROWS; r++) {
        most[r] = -CUDART_INF_F;
        total[r] = 0.0f;
        for (int c = 0; c < CHUNKS; c++) sums[r][c] = 0.0f;
    }
    int last = visible(p, min(first + TILE, p.queries) - 1).end;
    for (int key = visible(p, first).begin / TILE * TILE; key < last; key += TILE) {
        BARRIER();
        load_tile(p, k, p.k, k_start, key, p.keys, rotation, others);
        BARRIER();
        float score[ROWS] = {};
        for (int d = 0; d < p.dim; d++) {
            float element = others[lane * pitch(p) + d];
            for (int r = 0; r < ROWS; r++) score[r] += queries[(own + r) * pitch(p) + d] * element;
        }
        for (int r = 0; r < ROWS; r++) {
            Range range = visible(p, first + own + r);
            bool seen = first + own + r < p.queries && key + lane >= range.begin && key + lane < range.end;
            float s = seen ? score[r] * p.scale : -CUDART_INF_F;
            float largest = fmaxf(most[r], warp_max(s));
            // Nothing seen yet: every sum is 0, and stays so.
            float correction = most[r] == -CUDART_INF_F ? 0.0f : expf(most[r] - largest);
            float weight = seen ? expf(s - largest) : 0.0f;
            most[r] = largest;
            total[r] = total[r] * correction + warp_sum(weight);
            for (int c = 0; c < CHUNKS; c++) sums[r][c] *= correction;
            scores[(own + r) * SCORES + lane] = weight;
        }
        BARRIER();
        load_tile(p, v, p.v, v_start, key, p.keys, Rotation<T>{}, others);
        BARRIER();
        for (int j = 0; j < TILE; j++) {
            for (int c = 0; c < CHUNKS; c++) {
                int d = lane + WARP * c;
                float element = d < p.dim ? others[j * pitch(p) + d] : 0.0f;
                for (int r = 0; r < ROWS; r++) sums[r][c] += scores[(own + r) * SCORES + j] * element;
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
        int row = first + own + r;
        if (row >= p.queries) continue;
        for (int c = 0; c < CHUNKS; c++) {
            int d = lane + WARP * c;
            if (d < p.dim) store(out, out_start + row * p.out.row_stride + d * p.out.dim_stride, sums[r][c] / total[r]);
        }
        if (lane == 0) log_sum_exp[((size)group * p.heads + head) * p.queries + row] = most[r] + logf(total[r]);
    }
}

// Σ out ⊙ grad of each row: a warp for each of `[groups, heads, queries]`. The problem's views are those of the two:
// `out` of the gradient and `q` of the output.
template <typename T>
__device__ void row_dots(const T* out, const T* grad, float* dots, size rows, Problem p) {
    size row = grid_thread() / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= rows) return;
    int query = row % p.queries, head = row / p.queries % p.heads, group = row / p.queries / p.heads;
    size from = base(p.q, group, head) + query * p.q.row_stride;
    size along = base(p.out, group, head) + query * p.out.row_stride;
    float dot = 0.0f;
    for (int d = lane; d < p.dim; d += WARP)
        dot += load(out, from + d * p.q.dim_stride) * load(grad, along + d * p.out.dim_stride);
    dot = warp_sum(dot);
    if (lane == 0) dots[row] = dot;
}

// ∂q: a block for each tile of queries. `into` is the view of ∂q.
template <typename T, int CHUNKS>
__device__ void query_gradient(const T* q, const T* k, const T* v, Rotation<T> rotation, const T* grad,
                               const float* log_sum_exp, const float* dots, T* dq, View into, Problem p) {
    SHARED_MEMORY(memory);
    float *queries = memory, *grads = queries + TILE * pitch(p), *others = grads + TILE * pitch(p);
    float* scores = others + TILE * pitch(p);
    int tiles = (p.queries + TILE - 1) / TILE, first = blockIdx.x % tiles * TILE;
    int head = blockIdx.x / tiles % p.heads, group = blockIdx.x / tiles / p.heads;
    int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * ROWS;
    size k_start = base(p.k, group, head), v_start = base(p.v, group, head);
    load_tile(p, q, p.q, base(p.q, group, head), first, p.queries, rotation, queries);
    load_tile(p, grad, p.out, base(p.out, group, head), first, p.queries, Rotation<T>{}, grads);
    float sums[ROWS][CHUNKS] = {};
    int last = visible(p, min(first + TILE, p.queries) - 1).end;
    for (int key = visible(p, first).begin / TILE * TILE; key < last; key += TILE) {
        BARRIER();
        load_tile(p, v, p.v, v_start, key, p.keys, Rotation<T>{}, others);
        BARRIER();
        float d_weight[ROWS] = {}, score[ROWS] = {};
        for (int d = 0; d < p.dim; d++) {
            float element = others[lane * pitch(p) + d];
            for (int r = 0; r < ROWS; r++) d_weight[r] += grads[(own + r) * pitch(p) + d] * element;
        }
        BARRIER();
        load_tile(p, k, p.k, k_start, key, p.keys, rotation, others);
        BARRIER();
        for (int d = 0; d < p.dim; d++) {
            float element = others[lane * pitch(p) + d];
            for (int r = 0; r < ROWS; r++) score[r] += queries[(own + r) * pitch(p) + d] * element;
        }
        for (int r = 0; r < ROWS; r++) {
            int query = first + own + r;
            Range range = visible(p, query);
            float d_score = 0.0f;
            if (query < p.queries && key + lane >= range.begin && key + lane < range.end) {
                size row = ((size)group * p.heads + head) * p.queries + query;
                d_score = expf(score[r] * p.scale - log_sum_exp[row]) * (d_weight[r] - dots[row]);
            }
            scores[(own + r) * SCORES + lane] = d_score;
        }
        WARP_BARRIER();
        for (int j = 0; j < TILE; j++) {
            for (int c = 0; c < CHUNKS; c++) {
                int d = lane + WARP * c;
                float element = d < p.dim ? others[j * pitch(p) + d] : 0.0f;
                for (int r = 0; r < ROWS; r++) sums[r][c] += scores[(own + r) * SCORES + j] * element;
            }
        }
    }
    write_rows(p, sums, p.scale, dq, into, base(into, group, head), first + own, p.queries, rotation,
               queries + own * pitch(p));
}

// ∂k and ∂v: a block for each tile of keys.
template <typename T, int CHUNKS>
__device__ void key_gradient(const T* q, const T* k, const T* v, Rotation<T> rotation, const T* grad,
                             const float* log_sum_exp, const float* dots, T* dk, T* dv, View dk_view, View dv_view,
                             Problem p) {
    SHARED_MEMORY(memory);
    float *keys = memory, *values = keys + TILE * pitch(p), *queries = values + TILE * pitch(p);
    float *grads = queries + TILE * pitch(p), *scores = grads + TILE * pitch(p);
    int tiles = (p.keys + TILE - 1) / TILE, first = blockIdx.x % tiles * TILE;
    int head = blockIdx.x / tiles % p.heads, group = blockIdx.x / tiles / p.heads;
    int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * ROWS;
    size q_start = base(p.q, group, head), grad_start = base(p.out, group, head);
    load_tile(p, k, p.k, base(p.k, group, head), first, p.keys, rotation, keys);
    load_tile(p, v, p.v, base(p.v, group, head), first, p.keys, Rotation<T>{}, values);
    float d_keys[ROWS][CHUNKS] = {}, d_values[ROWS][CHUNKS] = {};
    Range seers = seeing(p, {first, min(first + TILE, p.keys)});
    for (int start = seers.begin / TILE * TILE; start < seers.end; start += TILE) {
        BARRIER();
        load_tile(p, q, p.q, q_start, start, p.queries, rotation, queries);
        load_tile(p, grad, p.out, grad_start, start, p.queries, Rotation<T>{}, grads);
        BARRIER();
        float score[ROWS] = {}, d_weight[ROWS] = {};
        for (int d = 0; d < p.dim; d++) {
            float query = queries[lane * pitch(p) + d], grad = grads[lane * pitch(p) + d];
            for (int r = 0; r < ROWS; r++) {
                score[r] += keys[(own + r) * pitch(p) + d] * query;
                d_weight[r] += values[(own + r) * pitch(p) + d] * grad;
            }
        }
        bool there = start + lane < p.queries;
        size row = ((size)group * p.heads + head) * p.queries + start + lane;
        float normaliser = there ? log_sum_exp[row] : 0.0f, dot = there ? dots[row] : 0.0f;
        Range range = visible(p, start + lane);
        for (int r = 0; r < ROWS; r++) {
            int key = first + own + r;
            bool seen = there && key >= range.begin && key < range.end;
            float weight = seen ? expf(score[r] * p.scale - normaliser) : 0.0f;
            scores[(own + r) * SCORES + lane] = weight;
            d_weight[r] = weight * (d_weight[r] - dot);
        }
        WARP_BARRIER();
        for (int j = 0; j < TILE; j++) {
            for (int c = 0; c < CHUNKS; c++) {
                int d = lane + WARP * c;
                float element = d < p.dim ? grads[j * pitch(p) + d] : 0.0f;
                for (int r = 0; r < ROWS; r++) d_values[r][c] += scores[(own + r) * SCORES + j] * element;
            }
        }
        WARP_BARRIER();
        for (int r = 0; r < ROWS; r++) scores[(own + r) * SCORES + lane] = d_weight[r];
        WARP_BARRIER();
        for (int j = 0; j < TILE; j++) {
            for (int c = 0; c < CHUNKS; c++) {
                int d = lane + WARP * c;
                float element = d < p.dim ? queries[j * pitch(p) + d] : 0.0f;
                for (int r = 0; r < ROWS; r++) d_keys[r][c] += scores[(own + r) * SCORES + j] * element;
            }
        }
    }
    // With a rotation q and k are of one sequence: each key is seen, and the loop's barriers have freed its own rows.
    write_rows(p, d_keys, p.scale, dk, dk_view, base(dk_view, group, head), first + own, p.keys, rotation,
               keys + own * pitch(p));
    write_rows(p, d_values, 1.0f, dv, dv_view, base(dv_view, group, head), first + own, p.keys, Rotation<T>{}, keys);
}

#define PASSES(T, type, CHUNKS, dim)                                                                         \
    ENTRY(attend_##dim##_##type, THREADS,                                                                    \
          (const T* q, const T* k, const T* v, Rotation<T> rotation, T* out, float* log_sum_exp, Problem p), \
          (attend<T, CHUNKS>(q, k, v, rotation, out, log_sum_exp, p)))                                       \
    ENTRY(query_gradient_##dim##_##type, THREADS,                                                            \
          (const T* q, const T* k, const T* v, Rotation<T> rotation, const T* grad, const float* log_sum_exp, \
           const float* dots, T* dq, View into, Problem p),                                                  \
          (query_gradient<T, CHUNKS>(q, k, v, rotation, grad, log_sum_exp, dots, dq, into, p)))              \
    ENTRY(key_gradient_##dim##_##type, THREADS,                                                              \
          (const T* q, const T* k, const T* v, Rotation<T> rotation, const T* grad, const float* log_sum_exp, \
           const float* dots, T* dk, T* dv, View dk_view, View dv_view, Problem p),                          \
          (key_gradient<T, CHUNKS>(q, k, v, rotation, grad, log_sum_exp, dots, dk, dv, dk_view, dv_view, p)))

#define ENTRIES(T, type)                                                                                     \
    PASSES(T, type, 1, 32)                                                                                   \
    PASSES(T, type, 2, 64)                                                                                   \
    PASSES(T, type, 4, 128)                                                                                  \
    ENTRY(row_dots_##type, THREADS, (const T* out, const T* grad, float* dots, size rows, Problem p),        \
          row_dots(out, grad, dots, rows, p))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
