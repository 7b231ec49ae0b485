// Just enough of CUDA to run the kernels on a CPU: one fiber for each thread of a block, blocks one after the other.
//
// Fibers run in a random order that a seed decides, each until it waits, and some warps far ahead of others. Shared memory is NaN when a block begins.
// A barrier, named by its file and line, can be left out on purpose: a test shows that its loss is noticed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define CUDART_INF_F INFINITY
#define CUDART_NAN_F NAN

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

// bf16 is the upper half of an f32; rounding is to nearest, ties to even, as on the device.
struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) {
    uint32_t bits = (uint32_t)value.bits << 16;
    float wide;
    memcpy(&wide, &bits, 4);
    return wide;
}

inline __nv_bfloat16 __float2bfloat16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return {0x7fff};
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

using std::max;
using std::min;

namespace shim {
// What a launch is given, besides the kernel's arguments.
struct Launch {
    unsigned grid, threads, shared_bytes, seed;
    // The barrier to leave out: the end of its file's name and its line; none if the line is 0.
    const char* without_file;
    int without_line;
    // Counts how often it was left out.
    int* left_out;
};

extern thread_local dim3 thread_index, block_index, block_size, grid_size;
float* shared_memory();
void barrier(const char* file, int line);
void warp_barrier(const char* file, int line);
float exchange(float value, int lane_mask);

// Runs `thread` once for each thread. 0, or 1 where threads wait for one another forever.
int run(const Launch& launch, const std::function<void()>& thread);

template <typename... Parameters, size_t... At>
void apply(void (*kernel)(Parameters...), void** arguments, std::index_sequence<At...>) {
    kernel(*static_cast<std::remove_reference_t<Parameters>*>(arguments[At])...);
}

// As the driver launches a kernel: a pointer to each argument.
template <typename... Parameters>
int launch(void (*kernel)(Parameters...), const Launch& how, void** arguments) {
    return run(how, [&] { apply(kernel, arguments, std::index_sequence_for<Parameters...>{}); });
}
}  // namespace shim

#define threadIdx shim::thread_index
#define blockIdx shim::block_index
#define blockDim shim::block_size
#define gridDim shim::grid_size
#define SHARED_MEMORY(name) float* name = shim::shared_memory()
#define BARRIER() shim::barrier(__FILE__, __LINE__)
#define WARP_BARRIER() shim::warp_barrier(__FILE__, __LINE__)
#define HOST_ENTRY(kernel)                                                        \
    extern "C" int host_##kernel(const shim::Launch* how, void** arguments) {     \
        return shim::launch(kernel, *how, arguments);                             \
    }

inline float __shfl_xor_sync(unsigned, float value, int lane_mask) { return shim::exchange(value, lane_mask); }
