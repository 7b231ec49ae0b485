"""Controls of the checks themselves: a dataset that lerobot wrote passes, and the same dataset damaged does not.

A check that accepts everything would prove nothing about Worldloom.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from lerobot.configs.video import RGBEncoderConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset

import lerobot_checks as checks

CAMERA = "observation.images.front"
SIZE, FRAMES, EPISODES, FPS = 64, 12, 2, 25


def write(root, codec="h264"):
    """Two short episodes of a square that moves over a gradient, written by lerobot itself.

    `codec` is one of lerobot's video codecs, or `png` for pictures in the data rows."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["d", "e"]},
        CAMERA: {"dtype": "image" if codec == "png" else "video", "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]},
    }
    options = {
        "h264": {"rgb_encoder": RGBEncoderConfig(vcodec="h264", g=4, crf=8, preset="veryfast")},
        # As lerobot sets it where nothing is said.
        "av1": {},
        "png": {"use_videos": False},
    }[codec]
    dataset = LeRobotDataset.create("compat/control", fps=FPS, features=features, root=root, **options)
    random = np.random.default_rng(7)
    ramp = np.linspace(40, 200, SIZE, dtype=np.uint8)
    for _ in range(EPISODES):
        for k in range(FRAMES):
            picture = np.repeat(np.tile(ramp, (SIZE, 1))[..., None], 3, axis=2)
            picture[8:24, 3 * k : 3 * k + 16] = (220, 60, 40)
            dataset.add_frame(
                {
                    "observation.state": random.normal(size=3).astype(np.float32),
                    "action": random.normal(size=2).astype(np.float32),
                    CAMERA: picture,
                    "task": "watch",
                }
            )
        dataset.save_episode()
    dataset.finalize()


def shift_times(root):
    """The second episode's pictures are one frame late."""
    path = next(Path(root).glob("meta/episodes/*/*.parquet"))
    table = parquet.read_table(path)
    name = f"videos/{CAMERA}/from_timestamp"
    times = [t + (1 / FPS if row == 1 else 0) for row, t in enumerate(table.column(name).to_pylist())]
    column = table.column_names.index(name)
    parquet.write_table(table.set_column(column, name, arrow.array(times)), path)


def nudge_times(root):
    """The second episode's pictures are asked for a millisecond off: beyond the tolerance."""
    path = next(Path(root).glob("meta/episodes/*/*.parquet"))
    table = parquet.read_table(path)
    name = f"videos/{CAMERA}/from_timestamp"
    times = [t + (1e-3 if row == 1 else 0) for row, t in enumerate(table.column(name).to_pylist())]
    parquet.write_table(table.set_column(table.column_names.index(name), name, arrow.array(times)), path)


def swap_statistics(root):
    """Wrong means."""
    path = Path(root) / "meta/stats.json"
    path.write_text(path.read_text().replace('"mean"', '"tmp"').replace('"max"', '"mean"').replace('"tmp"', '"max"'))


def passes_and_fails(folder):
    """Runs the controls; raises `AssertionError` if a check is blind."""
    whole = Path(folder) / "whole"
    write(whole)
    frames = checks.frames_are_what_was_recorded(whole, "pyav")
    assert frames == FRAMES * EPISODES, f"expected {FRAMES * EPISODES} frames, checked {frames}"
    checks.statistics_are_those_of_the_data(whole)
    checks.batches_with_history_come(whole)
    checks.policies_see_pictures_state_and_action_alone(whole)
    damages = [
        (shift_times, lambda root: checks.frames_are_what_was_recorded(root, "pyav")),
        (nudge_times, lambda root: checks.frames_are_what_was_recorded(root, "pyav")),
        (swap_statistics, checks.statistics_are_those_of_the_data),
    ]
    for damage, check in damages:
        broken = Path(folder) / damage.__name__
        shutil.copytree(whole, broken)
        damage(broken)
        caught = False
        try:
            check(broken)
        except Exception:  # lerobot raises its own errors, the checks AssertionError
            caught = True
        assert caught, f"{damage.__name__}: expected the checks to notice, they did not"
