"""Whole pipeline against rendering and writing alone: recorded frames per CPU second at 128 × 128.

The peer's half is MuJoCo rendering RGB alone (OSMesa, shadows and multisampling off) handed to
lerobot's own writer with its streaming encoder, which is its fastest way, and for the record with
its default way through PNG files. Its physics is not counted: the states are computed beforehand.
Worldloom's half is everything that `worldloom generate` does: physics, all labels, H.264, PNG,
parquet, digests. Both use one codec, preset, quality and distance of key frames, both pictures are
compared with what was rendered (PSNR), and CPU seconds count all threads and child processes.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "osmesa")
os.environ.setdefault("LP_NUM_THREADS", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import av
import mujoco
import numpy as np
from lerobot.configs.video import RGBEncoderConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image

import common
import scene as twin

av.logging.set_level(av.logging.ERROR)

SIZE = 128
EPISODE_FRAMES = 100
TARGET = 10.0
LEAST_PSNR_DB = 38.0
CAMERA = "observation.images.front"


def recorded_states(path):
    """The model, and the positions of one episode, one row per frame."""
    description = twin.load(path)
    model = mujoco.MjModel.from_xml_string(twin.mjcf(description))
    data = mujoco.MjData(model)
    for name, thing in description["objects"].items():
        if not thing.get("fixed"):
            start = model.joint(model.body(name).jntadr[0]).dofadr[0]
            data.qvel[start : start + 3] = thing.get("velocity", [0, 0, 0])
    substeps = description["engine"]["physics_rate"] // description["engine"]["control_rate"]
    rows = []
    for _ in range(EPISODE_FRAMES):
        rows.append(data.qpos.copy())
        for _ in range(substeps):
            mujoco.mj_step(model, data)
    return model, np.array(rows)


class Peer:
    """MuJoCo's renderer and lerobot's writer."""

    def __init__(self, path, encoder):
        self.model, self.states = recorded_states(path)
        self.data = mujoco.MjData(self.model)
        self.renderer = mujoco.Renderer(self.model, SIZE, SIZE)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self.renderer.scene.flags[flag] = 0
        self.encoder = encoder

    def picture(self, frame):
        """RGB of a recorded instant."""
        self.data.qpos[:] = self.states[frame]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self.renderer.update_scene(self.data, "front")
        return self.renderer.render()

    def check(self):
        """Fails unless the first picture shows what the scene holds."""
        self.picture(0)
        self.renderer.enable_segmentation_rendering()
        seen = len(np.unique(self.renderer.render()[..., 0]))
        self.renderer.disable_segmentation_rendering()
        if seen < self.model.ngeom - 2:
            sys.exit(f"expected nearly all of {self.model.ngeom} primitives in MuJoCo's picture, found {seen}")

    def write(self, root, episodes, streaming):
        """Records `episodes` times the episode; the CPU seconds that it took."""
        features = {
            "observation.state": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
            "action": {"dtype": "float32", "shape": (1,), "names": ["c"]},
            CAMERA: {"dtype": "video", "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]},
        }
        start = common.cpu_seconds()
        dataset = LeRobotDataset.create(
            "peer/tumble", fps=25, features=features, root=root, rgb_encoder=self.encoder, streaming_encoding=streaming, encoder_threads=1
        )
        for _ in range(episodes):
            for frame in range(EPISODE_FRAMES):
                dataset.add_frame(
                    {
                        "observation.state": self.states[frame, :2].astype(np.float32),
                        "action": np.zeros(1, np.float32),
                        CAMERA: self.picture(frame),
                        "task": "watch",
                    }
                )
            dataset.save_episode()
        dataset.finalize()
        return common.cpu_seconds() - start

    def psnr(self, root):
        """Of the first episode's video against what was rendered, dB."""
        return psnr(decoded(root, EPISODE_FRAMES), (self.picture(frame) for frame in range(EPISODE_FRAMES)))


def decoded(root, frames):
    """RGB of the first frames of the only camera's first file."""
    path = next(iter(sorted(Path(root).glob("videos/*/*/*.mp4"))))
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == frames:
                return
            yield frame.to_ndarray(format="rgb24")


def png_pictures(root):
    """RGB of the pictures in a dataset written with `--codec png`."""
    import io

    import pyarrow.parquet as parquet

    for path in sorted(Path(root).glob("data/*/*.parquet")):
        for row in parquet.read_table(path, columns=[CAMERA]).column(0):
            yield np.array(Image.open(io.BytesIO(row.as_py()["bytes"])).convert("RGB"))


def psnr(pictures, references):
    """Luma and RGB over all pixels of all frames, dB. In 4:2:0 the luma keeps every pixel and the colour a quarter of them, so
    hard edges between strong colours hold RGB at about 31 dB whatever the quality: the target is for the luma."""
    errors = {"luma": [], "RGB": []}
    for picture, reference in zip(pictures, references, strict=True):
        difference = picture.astype(np.float64) - reference.astype(np.float64)
        errors["RGB"].append((difference**2).mean())
        errors["luma"].append(((difference @ [0.299, 0.587, 0.114]) ** 2).mean())
    return {name: float(10 * np.log10(255.0**2 / max(np.mean(values), 1e-9))) for name, values in errors.items()}


def our_psnr(path, video):
    """Of our encoded video against the same episode written losslessly, dB."""
    with tempfile.TemporaryDirectory() as folder:
        for codec, extra in (("h264", video), ("png", [])):
            common.worldloom(
                "generate", path, "--episodes", 1, "--seed", 0, "--out", f"{folder}/{codec}", "--codec", codec, "--labels", "none", *extra
            )
        references = list(png_pictures(f"{folder}/png"))
        settings = json.loads(Path(f"{folder}/h264/meta/info.json").read_text())["features"][CAMERA]["info"]
        return psnr(decoded(f"{folder}/h264", len(references)), references), settings


def main():
    args = common.arguments(
        __doc__,
        pairs=(3, "pairs of measurements"),
        episodes=(4, f"episodes of {EPISODE_FRAMES} frames a measurement"),
        crf=(16, "x264's constant rate factor"),
        gop=(10, "frames from one key frame to the next, for --peer-only (else as ours)"),
    )
    preset = "veryfast"
    path = common.SCENES / "tumble.yaml"
    video = ["--crf", args.crf, "--preset", preset]
    own_psnr, gop = None, args.gop
    if not args.peer_only:
        own_psnr, settings = our_psnr(path, video)
        gop = settings["video.g"]
    # Worldloom writes no B-frames, so that times need no reordering; lerobot is told the same.
    encoder = RGBEncoderConfig(vcodec="h264", pix_fmt="yuv420p", g=gop, crf=args.crf, preset=preset, extra_options={"bf": 0})
    peer = Peer(path, encoder)
    peer.check()
    folder = Path(tempfile.mkdtemp())
    frames = args.episodes * EPISODE_FRAMES

    def write(streaming):
        shutil.rmtree(folder / "peer", ignore_errors=True)
        with common.quiet():
            return frames / peer.write(folder / "peer", args.episodes, streaming)

    def ours():
        return common.worldloom("bench", "pipeline", "--scenario", path, "--size", f"{SIZE}x{SIZE}", "--count", frames, *video)[
            "frames_per_cpu_second"
        ]

    write(True)  # warms up
    measured = common.pairs(args.pairs, None if args.peer_only else ours, lambda: write(True))
    peer_psnr = peer.psnr(folder / "peer")
    through_png = write(False)
    peer.renderer.close()
    shutil.rmtree(folder)
    rows = {
        "MuJoCo RGB + lerobot's streaming writer (frames/CPU s)": common.median([other for _, other in measured]),
        "MuJoCo RGB + lerobot's default writer (frames/CPU s)": through_png,
        "Worldloom, everything (frames/CPU s)": common.median([own for own, _ in measured]),
    }
    for name, value in (("lerobot", peer_psnr), ("Worldloom", own_psnr)):
        for plane in ("luma", "RGB"):
            rows[f"PSNR of {name}'s video, {plane} (dB)"] = value and value[plane]
    settings = {
        "scene": f"{path.relative_to(common.ROOT)}, {peer.model.ngeom} primitives, {SIZE} × {SIZE}, episodes of {EPISODE_FRAMES} frames",
        "encoder": f"H.264, preset {preset}, crf {args.crf}, key frame every {gop}, yuv420p, no B-frames, one thread",
        "pairs": f"{args.pairs}, alternating, medians",
    }
    ratio = common.median([own and own / other for own, other in measured])
    status = common.conclude(
        args, "Pipeline: Worldloom against MuJoCo and lerobot's writer", settings, ["mujoco", "lerobot", "av"], rows, ratio, TARGET
    )
    for name, value in (("lerobot", peer_psnr), ("Worldloom", own_psnr)):
        if value is not None and value["luma"] < LEAST_PSNR_DB:
            print(f"  luma of {name} is {value['luma']:.1f} dB, below {LEAST_PSNR_DB} dB")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
