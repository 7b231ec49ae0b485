// What the passes of attention share: the problem, masks, and tiles of rows in shared memory.
//
// A block of 4 warps takes a tile of 32 rows of one head of one group (queries, or keys for their gradients) and goes
// over the other side tile by tile. Each warp owns 8 rows of the tile; its lanes stand for the 32 rows of the other
// side while scores are computed, and for elements of a head while rows are summed up.
#pragma once

#include "common.cuh"

#define TILE 32
#define ROWS 8
#define THREADS 128
// Rows of scores are one longer, so that a column of them lies in as many banks.
#define SCORES (TILE + 1)

// As `View` in `src/attention/view.rs`, in elements.
struct View {
    size start, inner, outer_stride, inner_stride, row_stride, head_stride, dim_stride;
};

enum Mask { Full, Causal, BlockCausal, Window };

struct Problem {
    View q, k, v, out;  // the output's view is also where its gradient lies in the backward passes
    int groups, heads, queries, keys, dim;
    int mask, mask_size;
    int offset;  // the position of query 0
    float scale;
};

// The tables of the rotary embedding, `[positions, dim / 2]`; null for none.
template <typename T>
struct Rotation {
    const T *cos, *sin;
};

struct Range {
    int begin, end;
};

__device__ __forceinline__ size base(const View& view, int group, int head) {
    return view.start + group / view.inner * view.outer_stride + group % view.inner * view.inner_stride +
           head * view.head_stride;
}

// Rows are padded to an odd length, so that a column lies in as many banks as it has rows.
__device__ __forceinline__ int pitch(const Problem& p) { return p.dim | 1; }

// The keys that a query sees.
__device__ __forceinline__ Range visible(const Problem& p, int query) {
    int i = p.offset + query;
    switch (p.mask) {
        case Causal: return {0, min(p.keys, i + 1)};
        case BlockCausal: return {0, (int)min((size)p.keys, ((size)i / p.mask_size + 1) * p.mask_size)};
        case Window: return {max(0, i + 1 - p.mask_size), min(p.keys, i + 1)};
        default: return {0, p.keys};
    }
}

// The queries that see any key of a range, as `Mask::seeing` in `src/attention/mask.rs`.
__device__ __forceinline__ Range seeing(const Problem& p, Range keys) {
    size first = keys.begin, end = (size)p.offset + p.queries;
    if (p.mask == Full) return {0, p.queries};
    if (p.mask == BlockCausal) first = keys.begin / p.mask_size * p.mask_size;
    if (p.mask == Window) end = min(end, (size)keys.end + p.mask_size - 1);
    int last = max((size)0, min(end - p.offset, (size)p.queries));
    return {(int)max((size)0, min(first - p.offset, (size)last)), last};
}

// Rows `first..` of a head into a tile, rotated, zeros past `rows`.
template <typename T>
__device__ void load_tile(const Problem& p, const T* x, const View& view, size start, int first, int rows,
                          Rotation<T> rotation, float* tile) {
    int half = p.dim / 2;
    for (int i = threadIdx.x; i < TILE * p.dim; i += THREADS) {
        int row = first + i / p.dim, d = i % p.dim;
        float value = 0.0f;
        if (row < rows) {
            size at = start + row * view.row_stride;
            value = load(x, at + d * view.dim_stride);
            if (rotation.cos) {
                size angle = (size)row * half + d % half;
                float other = load(x, at + (d < half ? d + half : d - half) * view.dim_stride);
                float sin = d < half ? -load(rotation.sin, angle) : load(rotation.sin, angle);
                value = value * load(rotation.cos, angle) + other * sin;
            }
        }
        tile[i / p.dim * pitch(p) + d] = value;
    }
}

// Writes a warp's rows of gradients, `factor` times as large, turned back. `tile` is its rows of a tile, free to use
// if there is a rotation.
template <typename T, int CHUNKS>
__device__ void write_rows(const Problem& p, const float (&sums)[ROWS][CHUNKS], float factor, T* out, const View& view,
                           size start, int first, int rows, Rotation<T> rotation, float* tile) {
    int lane = threadIdx.x % WARP, half = p.dim / 2;
    if (rotation.cos) {
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < CHUNKS; c++)
                if (lane + WARP * c < p.dim) tile[r * pitch(p) + lane + WARP * c] = sums[r][c];
        WARP_BARRIER();
    }
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < CHUNKS; c++) {
            int row = first + r, d = lane + WARP * c;
            if (row >= rows || d >= p.dim) continue;
            float value = sums[r][c];
            if (rotation.cos) {
                size angle = (size)row * half + d % half;
                float other = tile[r * pitch(p) + (d < half ? d + half : d - half)];
                float sin = d < half ? load(rotation.sin, angle) : -load(rotation.sin, angle);
                value = value * load(rotation.cos, angle) + other * sin;
            }
            store(out, start + row * view.row_stride + d * view.dim_stride, factor * value);
        }
    }
}
