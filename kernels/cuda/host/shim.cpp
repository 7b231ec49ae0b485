// The fibers of `shim.h`.
#include "shim.h"

#include <setjmp.h>
#include <ucontext.h>

#include <vector>

namespace shim {
thread_local dim3 thread_index, block_index, block_size, grid_size;

namespace {
const size_t STACK_BYTES = 64 * 1024;
const unsigned WARP_THREADS = 32;

enum State { Ready, AtBarrier, AtWarpBarrier, Done };

// Entered once through its ucontext; from then on switched by jumps, which make no system calls.
struct Fiber {
    ucontext_t context;
    jmp_buf at;
    bool entered;
    State state;
    float offered;
};

struct Block {
    const Launch* launch;
    const std::function<void()>* thread;
    std::vector<Fiber> fibers;
    std::vector<char> stacks;
    std::vector<float> shared;
    jmp_buf scheduler;
    unsigned running;
    // The round until which each warp stands still, so that others run ahead of it.
    std::vector<unsigned> stalled;
};

// In one round of so many, if no warp stands still, one does: for up to so many rounds, or until no other can go on.
const unsigned STALL_ONE_IN = 4, STALL_ROUNDS = 32, FOREVER = ~0u;

thread_local Block* block = nullptr;

void enter() {
    (*block->thread)();
    block->fibers[block->running].state = Done;
    _longjmp(block->scheduler, 1);
}

void resume(unsigned fiber) {
    Fiber& next = block->fibers[fiber];
    block->running = fiber;
    thread_index.x = fiber;
    if (_setjmp(block->scheduler)) return;
    if (next.entered) _longjmp(next.at, 1);
    next.entered = true;
    setcontext(&next.context);
}

void wait(State state) {
    Fiber& fiber = block->fibers[block->running];
    fiber.state = state;
    if (!_setjmp(fiber.at)) _longjmp(block->scheduler, 1);
}

bool left_out(const char* file, int line) {
    const Launch& launch = *block->launch;
    if (line != launch.without_line) return false;
    size_t length = strlen(file), wanted = strlen(launch.without_file);
    if (length < wanted || strcmp(file + length - wanted, launch.without_file) != 0) return false;
    ++*launch.left_out;
    return true;
}

// Lets go on whoever waits for something that has come about: warps first, then the block.
bool release() {
    auto& fibers = block->fibers;
    bool any = false;
    for (size_t first = 0; first < fibers.size(); first += WARP_THREADS) {
        bool all = true;
        for (size_t i = first; i < first + WARP_THREADS; i++) all = all && fibers[i].state == AtWarpBarrier;
        for (size_t i = first; all && i < first + WARP_THREADS; i++) fibers[i].state = Ready;
        any = any || all;
    }
    if (any) return true;
    for (const Fiber& fiber : fibers)
        if (fiber.state != AtBarrier) return false;
    for (Fiber& fiber : fibers) fiber.state = Ready;
    return true;
}

uint64_t next_random(uint64_t& state) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

// Runs one block to its end; false where that does not come.
bool run_block(std::vector<unsigned>& order, uint64_t& random) {
    auto& fibers = block->fibers;
    block->shared.assign(block->shared.size(), NAN);
    for (unsigned i = 0; i < fibers.size(); i++) {
        Fiber& fiber = fibers[i];
        fiber.state = Ready;
        fiber.entered = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = &block->stacks[i * STACK_BYTES];
        fiber.context.uc_stack.ss_size = STACK_BYTES;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    auto& stalled = block->stalled;
    stalled.assign(fibers.size() / WARP_THREADS, 0);
    for (unsigned round = 1;; round++) {
        for (size_t i = order.size() - 1; i > 0; i--) std::swap(order[i], order[next_random(random) % (i + 1)]);
        if (*std::max_element(stalled.begin(), stalled.end()) <= round && next_random(random) % STALL_ONE_IN == 0) {
            unsigned& until = stalled[next_random(random) % stalled.size()];
            until = next_random(random) % 2 ? FOREVER : round + next_random(random) % STALL_ROUNDS;
        }
        bool ran = false, done = true, waiting = false;
        for (unsigned i : order) {
            if (fibers[i].state == Ready && stalled[i / WARP_THREADS] > round) {
                waiting = true;
            } else if (fibers[i].state == Ready) {
                ran = true;
                resume(i);
            }
            done = done && fibers[i].state == Done;
        }
        if (done) return true;
        if (release() || ran) continue;
        if (!waiting) return false;
        stalled.assign(stalled.size(), 0);
    }
}
}  // namespace

float* shared_memory() { return block->shared.data(); }

void barrier(const char* file, int line) {
    if (!left_out(file, line)) wait(AtBarrier);
}

void warp_barrier(const char* file, int line) {
    if (!left_out(file, line)) wait(AtWarpBarrier);
}

float exchange(float value, int lane_mask) {
    unsigned self = block->running, other = (self & ~(WARP_THREADS - 1)) + ((self % WARP_THREADS) ^ lane_mask);
    block->fibers[self].offered = value;
    wait(AtWarpBarrier);
    float taken = block->fibers[other].offered;
    wait(AtWarpBarrier);
    return taken;
}

int run(const Launch& launch, const std::function<void()>& thread) {
    Block here;
    here.launch = &launch;
    here.thread = &thread;
    here.fibers.resize(launch.threads);
    here.stacks.resize(launch.threads * STACK_BYTES);
    here.shared.resize(launch.shared_bytes / sizeof(float));
    std::vector<unsigned> order(launch.threads);
    for (unsigned i = 0; i < launch.threads; i++) order[i] = i;
    uint64_t random = (launch.seed + 1) * 0x9E3779B97F4A7C15ull;
    block = &here;
    block_size = {launch.threads, 1, 1};
    grid_size = {launch.grid, 1, 1};
    bool ended = true;
    for (unsigned x = 0; x < launch.grid && ended; x++) {
        block_index = {x, 0, 0};
        ended = run_block(order, random);
    }
    block = nullptr;
    return ended ? 0 : 1;
}
}  // namespace shim
