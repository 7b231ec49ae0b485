// What moved goes on moving: see `src/advect.rs`.
#include "common.cuh"

// Pixels a frame, squared, below which a point stands still: `SLOWEST` in `src/advect.rs`.
#define SLOWEST_SQUARED (0.25 * 0.25)

// The square of a point's speed, or 0 where it stands still, is unknown, or is not finite. In f64, as on the CPU, so that the
// fastest of several is the same one.
template <typename T>
__device__ __forceinline__ double moving(const T* motion, size at, size plane) {
    double dx = load(motion, at), dy = load(motion, at + plane);
    double square = dx * dx + dy * dy;
    bool moves = load(motion, at + 2 * plane) > 0.0f && square >= SLOWEST_SQUARED && square < (double)CUDART_INF_F;
    return moves ? square : 0.0;
}

// A thread has a row of the result, and looks at every point in raster order for those that arrive there.
template <typename T>
__device__ void advect(const T* motion, T* out, size rows, int height, int width) {
    size own = grid_thread();
    if (own >= rows) return;
    size plane = (size)height * width, picture = own / height * 3 * plane;
    int row = own % height;
    size start = picture + (size)row * width;
    for (size at = start; at < start + width; at++) {
        store(out, at, 0.0f);
        store(out, at + plane, 0.0f);
        store(out, at + 2 * plane, moving(motion, at, plane) > 0.0 ? -1.0f : 0.0f);
    }
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            size from = picture + (size)y * width + x;
            double square = moving(motion, from, plane);
            if (square == 0.0) continue;
            double to_x = round(x - (double)load(motion, from)), to_y = round(y - (double)load(motion, from + plane));
            if (to_y != (double)row || to_x < 0.0 || to_x >= (double)width) continue;
            // What has arrived so far was stored as it was: its speed is still known.
            size to = start + (size)to_x;
            double dx = load(out, to), dy = load(out, to + plane);
            if (square > dx * dx + dy * dy) {
                store(out, to, load(motion, from));
                store(out, to + plane, load(motion, from + plane));
                store(out, to + 2 * plane, 1.0f);
            }
        }
    }
}

#define ENTRIES(T, type)                                                                  \
    ENTRY(advect_##type, 64, (const T* motion, T* out, size rows, int height, int width), \
          advect(motion, out, rows, height, width))

ENTRIES(float, f32)
ENTRIES(bf16, bf16)
