#!/usr/bin/env python3
"""A dataset that Worldloom did not make: MuJoCo records, lerobot's own writer writes.

Gymnasium's Reacher or Pusher under random actions, rendered by MuJoCo, as a LeRobot v3 dataset with one or two
cameras; as H.264 or AV1 video, or as images. A world model trains on it unchanged:

    python benches/peers/mujoco_dataset.py reacher --episodes 50 --out data/reacher
    worldloom train video --data data/reacher --out models/reacher --minutes 10
"""

import argparse
import os
import sys

os.environ.setdefault("MUJOCO_GL", "osmesa")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import av
import gymnasium
import mujoco
import numpy as np
from lerobot.configs.video import RGBEncoderConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset

av.logging.set_level(av.logging.ERROR)

ENVIRONMENTS = {"reacher": "Reacher-v5", "pusher": "Pusher-v5"}
# Steps for which an action is held: random actions at every step would cancel out.
HELD = 4


def cameras(count):
    """Views of the scene, by name: from above, and from the side."""
    top = mujoco.MjvCamera()
    top.lookat[:], top.distance, top.azimuth, top.elevation = (0, 0, 0), 0.7, 90, -89
    side = mujoco.MjvCamera()
    side.lookat[:], side.distance, side.azimuth, side.elevation = (0, 0, 0), 0.9, 60, -35
    return dict(list({"top": top, "side": side}.items())[:count])


def record(options):
    env = gymnasium.make(ENVIRONMENTS[options.environment]).unwrapped
    views = cameras(options.cameras)
    if options.environment == "pusher":
        for view in views.values():
            view.lookat[:] = (0.4, -0.2, -0.2)
            view.distance *= 3
    renderer = mujoco.Renderer(env.model, options.size, options.size)
    actions, states = env.action_space.shape[0], env.observation_space.shape[0]
    picture = {"dtype": "image" if options.codec == "image" else "video", "shape": (options.size, options.size, 3)}
    picture["names"] = ["height", "width", "channels"]
    features = {
        "observation.state": {"dtype": "float32", "shape": (states,), "names": [f"s{i}" for i in range(states)]},
        "action": {"dtype": "float32", "shape": (actions,), "names": [f"torque{i}" for i in range(actions)]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        **{f"observation.images.{name}": picture for name in views},
    }
    encoder = None
    if options.codec != "image":
        encoder = RGBEncoderConfig(vcodec="h264" if options.codec == "h264" else "libsvtav1", crf=16)
    fps = round(1 / env.dt)
    dataset = LeRobotDataset.create(
        f"peer/{options.environment}",
        fps=fps,
        features=features,
        root=options.out,
        use_videos=options.codec != "image",
        rgb_encoder=encoder,
    )
    random = np.random.default_rng(options.seed)
    for episode in range(options.episodes):
        state, _ = env.reset(seed=options.seed * 100_003 + episode)
        for step in range(options.frames):
            if step % HELD == 0:
                action = random.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
            frame = {"observation.state": state.astype(np.float32), "action": action, "task": "move at random"}
            for name, view in views.items():
                renderer.update_scene(env.data, view)
                frame[f"observation.images.{name}"] = renderer.render()
            state, reward, *_ = env.step(action)
            frame["next.reward"] = np.array([reward], np.float32)
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()
    print(f"{options.environment}: {options.episodes} episodes of {options.frames} frames at {fps} Hz in {options.out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", choices=sorted(ENVIRONMENTS))
    parser.add_argument("--out", required=True, help="folder to write; must not exist")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--frames", type=int, default=50, help="frames of an episode")
    parser.add_argument("--size", type=int, default=64, help="pixels of each side")
    parser.add_argument("--cameras", type=int, choices=[1, 2], default=1)
    parser.add_argument("--codec", choices=["h264", "av1", "image"], default="h264")
    parser.add_argument("--seed", type=int, default=0)
    record(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
