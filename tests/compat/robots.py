"""Real robots as their makers publish them, and the scenarios that try them."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import mujoco
import yaml

CONTROL_RATE = 25
DURATION_SECS = 2.0


@dataclass
class Robot:
    """A robot description in the environment's site-packages, and where to put it."""

    name: str
    kind: str  # "mjcf" or "urdf"
    file: str  # relative to site-packages
    at: tuple = (0.0, 0.0, 0.0)
    camera: tuple = (1.6, -1.4, 1.2)
    look_at: tuple = (0.0, 0.0, 0.5)
    own_floor: bool = False  # the file brings its floor, so the scenario does not


ROBOTS = [
    Robot("panda", "mjcf", "robosuite/models/assets/robots/panda/robot.xml"),
    Robot("ur5e", "mjcf", "robosuite/models/assets/robots/ur5e/robot.xml"),
    Robot("ant", "mjcf", "gymnasium/envs/mujoco/assets/ant.xml", camera=(3.0, -3.0, 2.2), look_at=(0, 0, 0.3), own_floor=True),
    Robot("humanoid", "mjcf", "gymnasium/envs/mujoco/assets/humanoid.xml", camera=(3.2, -3.0, 1.8), look_at=(0, 0, 0.8), own_floor=True),
    Robot("franka", "urdf", "pybullet_data/franka_panda/panda.urdf"),
    Robot("kuka", "urdf", "pybullet_data/kuka_iiwa/model.urdf"),
]


def scenario(robot):
    """YAML of a scenario: the robot over a floor, a ball beside it, a random driver, two cameras."""
    entry = {
        robot.kind: robot.file,
        "at": list(robot.at),
        "driver": {"random": {"scale": 0.4}},
    }
    tree = {
        "worldloom": 1,
        "name": f"compat-{robot.name}",
        "meta": {"task": f"Move the {robot.name} at random.", "license": "CC0-1.0"},
        "engine": {"physics_rate": 500, "control_rate": CONTROL_RATE, "duration": DURATION_SECS},
        "params": {"mu": {"uniform": [0.4, 0.9]}},
        "objects": {
            "floor": {"plane": 4.0, "friction": "$mu", "material": {"colour": [0.62, 0.64, 0.66]}},
            "ball": {
                "sphere": 0.08,
                "at": [0.9, {"uniform": [0.6, 0.8]}, 0.4],
                "restitution": 0.5,
                "material": {"colour": [0.85, 0.25, 0.2]},
            },
        },
        "robots": {"robot": entry},
        "cameras": {
            "front": {"resolution": [128, 96], "fov": "50 deg", "at": list(robot.camera), "look_at": list(robot.look_at)},
            "top": {"resolution": [64, 64], "fov": "60 deg", "at": [0.3, 0.0, 3.2], "look_at": [0.3, 0.01, 0.0]},
        },
        "lights": {"sun": {"direction": [-0.5, 0.6, -1.3]}},
        "action": ["robot.controllers"],
        "observation": ["joint(robot)", "jointvel(robot)", "pos(ball)"],
    }
    if robot.own_floor:
        del tree["objects"]["floor"]
    return yaml.safe_dump(tree, sort_keys=False)


def limits(robot, site_packages):
    """Joint limits by name as the file's own ecosystem reads them: {name: (lower, upper)}; unlimited joints are left out."""
    path = Path(site_packages) / robot.file
    if robot.kind == "mjcf":
        model = mujoco.MjModel.from_xml_path(str(path))
        return {
            model.joint(index).name: tuple(model.jnt_range[index])
            for index in range(model.njnt)
            if model.jnt_limited[index] and int(model.jnt_type[index]) in (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        }
    found = {}
    for joint in ElementTree.parse(path).getroot().iter("joint"):
        limit = joint.find("limit")
        if joint.get("type") in ("revolute", "prismatic") and limit is not None:
            found[joint.get("name")] = (float(limit.get("lower", 0)), float(limit.get("upper", 0)))
    return found
