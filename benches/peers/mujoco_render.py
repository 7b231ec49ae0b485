"""G-buffer against G-buffer: frames per CPU second at 64 × 64 on one plane and 20 primitives.

MuJoCo's `Renderer` over OSMesa makes RGB, depth and segmentation (three passes, since it has no way
to make them in one), shadows, reflections and multisampling off, and llvmpipe kept on the calling
thread, which is its fastest setting in CPU time. Worldloom makes the same three channels without
shadows and anti-aliasing, and then for the record with normals, shadows and anti-aliasing too (flow,
which takes two instants, is in pipeline.py). Both draw benches/scenes/primitives.yaml from the same camera.
"""

import os
import sys

os.environ.setdefault("MUJOCO_GL", "osmesa")
os.environ.setdefault("LP_NUM_THREADS", "0")

import mujoco
import numpy as np

import common
import scene as twin

SIZE = 64
TARGET = 15.0


class Peer:
    """MuJoCo's half: the model, its data and a renderer."""

    def __init__(self, path, size):
        self.model = mujoco.MjModel.from_xml_string(twin.mjcf(twin.load(path)))
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        self.renderer = mujoco.Renderer(self.model, size, size)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self.renderer.scene.flags[flag] = 0

    def gbuffer(self):
        """RGB, depth and segmentation of the present state."""
        self.renderer.update_scene(self.data, "front")
        rgb = self.renderer.render()
        self.renderer.enable_depth_rendering()
        depth = self.renderer.render()
        self.renderer.disable_depth_rendering()
        self.renderer.enable_segmentation_rendering()
        ids = self.renderer.render()
        self.renderer.disable_segmentation_rendering()
        return rgb, depth, ids

    def close(self):
        """Frees the context while the interpreter still can."""
        self.renderer.close()


def check(peer):
    """Fails unless the twin shows what the scene holds: every primitive, at sane depths."""
    _, depth, ids = peer.gbuffer()
    seen = len(np.unique(ids[..., 0]))
    wanted = peer.model.ngeom + 1  # the background too
    if seen != wanted:
        sys.exit(f"expected {wanted} ids in MuJoCo's picture, found {seen}")
    if not 1.0 < depth.min() < 3.0:
        sys.exit(f"expected the nearest surface between 1 m and 3 m, found {depth.min()} m")


def main():
    args = common.arguments(__doc__, pairs=(5, "pairs of measurements"), frames=(400, "frames a measurement of MuJoCo"))
    path = common.SCENES / "primitives.yaml"
    peer = Peer(path, SIZE)
    check(peer)

    def theirs():
        start = common.cpu_seconds()
        for _ in range(args.frames):
            peer.gbuffer()
        return args.frames / (common.cpu_seconds() - start)

    def render(*words):
        return common.worldloom("bench", "render", "--scenario", path, "--size", f"{SIZE}x{SIZE}", *words)["frames_per_cpu_second"]

    def ours():
        return render("--channels", "colour,depth,instance", "--no-shadows", "--no-antialias"), render("--channels", "colour,depth,normal,instance")

    theirs()  # warms up
    measured = common.pairs(args.pairs, None if args.peer_only else ours, theirs)
    peer.close()
    mujoco_rate = common.median([other for _, other in measured])
    same = common.median([own and own[0] for own, _ in measured])
    everything = common.median([own and own[1] for own, _ in measured])
    rows = {
        "MuJoCo: RGB, depth, segmentation (frames/CPU s)": mujoco_rate,
        "Worldloom: colour, depth, instances (frames/CPU s)": same,
        "Worldloom: the same with normals, shadows, anti-aliasing (frames/CPU s)": everything,
    }
    ratio = common.median([own and own[0] / other for own, other in measured])
    settings = {
        "scene": f"{path.relative_to(common.ROOT)}, {peer.model.ngeom} primitives, {SIZE} × {SIZE}",
        "MuJoCo": f"Renderer over OSMesa (llvmpipe on the calling thread), no shadows, no multisampling, {args.frames} frames",
        "pairs": f"{args.pairs}, alternating, medians",
    }
    return common.conclude(args, "G-buffer: Worldloom against MuJoCo", settings, ["mujoco", "numpy"], rows, ratio, TARGET)


if __name__ == "__main__":
    sys.exit(main())
