// What every kernel here begins with: element types, barriers, and sums over a warp and a block.
//
// A kernel is a template over the element type T (float or bf16) that loads and stores T and computes in
// f32, and an `extern "C"` entry for each type. It also compiles as C++17 with `host/shim.h` in place of CUDA, where
// the tests run it on the CPU. So that this works, a kernel
//   - keeps all of its shared memory in SHARED_MEMORY, which the shim fills with NaN before every block,
//   - waits with BARRIER() and WARP_BARRIER(), each of which the tests take out in turn,
//   - exchanges values within a warp with warp_sum and warp_max, in which all 32 lanes take part,
//   - uses no atomics: sums run in an order that depends on the shape alone, so two runs give the same bits.
// Blocks are one-dimensional and a multiple of 32 threads.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <math_constants.h>
#define SHARED_MEMORY(name) extern __shared__ float name[]
#define BARRIER() __syncthreads()
#define WARP_BARRIER() __syncwarp()
#define HOST_ENTRY(kernel)
#else
#include "host/shim.h"
#endif

typedef __nv_bfloat16 bf16;
// Element counts and offsets; dimensions alone are ints.
typedef long long size;

// An entry of a kernel under a name of its own: `ENTRY(name_f32, threads, (parameters), body<float>(arguments))`.
#define ENTRY(name, threads, parameters, call)                                   \
    extern "C" __global__ void __launch_bounds__(threads) name parameters { call; } \
    HOST_ENTRY(name)

#define WARP 32

__device__ __forceinline__ float load(const float* from, size at) { return from[at]; }
__device__ __forceinline__ float load(const bf16* from, size at) { return __bfloat162float(from[at]); }
__device__ __forceinline__ void store(float* to, size at, float value) { to[at] = value; }
__device__ __forceinline__ void store(bf16* to, size at, float value) { to[at] = __float2bfloat16(value); }

// The number of this thread in the grid, and of the block in it.
__device__ __forceinline__ size grid_thread() { return (size)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ size grid_threads() { return (size)gridDim.x * blockDim.x; }

// The sum over a warp, in each of its lanes.
__device__ __forceinline__ float warp_sum(float value) {
    for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

// The largest value of a warp, in each of its lanes.
__device__ __forceinline__ float warp_max(float value) {
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}

// The sum over the block, in each of its threads. `scratch` holds a value for each warp; it is free again afterwards.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = value;
    BARRIER();
    float total = 0.0f;
    for (int warp = 0; warp < (int)(blockDim.x / WARP); warp++) total += scratch[warp];
    BARRIER();
    return total;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
