"""Peak memory of `worldloom generate` over 100 and over 10,000 short episodes, measured from outside.

The episodes of `bouncing_balls` are cut to a few frames, so that what grows with their number, if
anything does, shows. Peak resident memory is the kernel's count for the child process.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import common

LIMIT_MB = 500.0
# Allocator noise and longer lists of parquet footers; ten thousand episodes kept in memory would be hundreds of MB.
GROWTH_MB = 40.0


def peak_mb(binary, episodes, workers):
    """Peak resident memory of one run in MB."""
    folder = tempfile.mkdtemp()
    command = [
        binary, "generate", "bouncing_balls", "--episodes", str(episodes), "--seed", "1", "--workers", str(workers),
        "--out", f"{folder}/data", "--set", "engine.duration=0.12", "--json",
    ]  # fmt: skip
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    shutil.rmtree(folder)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit status {child.returncode}")
    return usage.ru_maxrss / 1024


def main():
    args = common.arguments(__doc__, few=(100, "episodes of the short run"), many=(10_000, "episodes of the long run"), workers=(2, "worlds at once"))
    binary = common.binary()
    few, many = (peak_mb(binary, count, args.workers) for count in (args.few, args.many))
    rows = {
        f"peak over {args.few:,} episodes (MB)": few,
        f"peak over {args.many:,} episodes (MB)": many,
        "growth (MB)": many - few,
    }
    settings = {"scenario": "bouncing_balls, episodes of 0.12 s, all labels", "workers": str(args.workers)}
    common.conclude(args, "Memory of generate", settings, [], rows)
    if many > LIMIT_MB or many - few > GROWTH_MB:
        print(f"  wanted: under {LIMIT_MB} MB, and at most {GROWTH_MB} MB of growth")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
