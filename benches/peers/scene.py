"""The MJCF twin of a Worldloom scene made of literals and primitives."""

import math
from xml.sax.saxutils import quoteattr

import numpy as np
import yaml

# Full edges, diameters and lengths become MuJoCo's half sizes.
SIZES = {
    "box": lambda edges: [0.5 * edge for edge in edges],
    "sphere": lambda radius: [radius],
    "capsule": lambda shape: [shape["radius"], 0.5 * shape["length"]],
    "cylinder": lambda shape: [shape["radius"], 0.5 * shape["height"]],
    "plane": lambda half_width: [half_width, half_width, 1.0],
}


def load(path):
    """The parsed scenario file."""
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def words(values):
    """Numbers as an XML attribute holds them."""
    return " ".join(f"{value:.9g}" for value in values)


def geom(name, thing):
    """One <geom>, in a free body of its own unless it is fixed. Rotations: ours are x y z w, MuJoCo's are w x y z."""
    shape = next(key for key in SIZES if key in thing)
    x, y, z, w = thing.get("rotation", [0, 0, 0, 1])
    colour = thing.get("material", {}).get("colour", [0.7, 0.7, 0.7])
    pose = f"pos={quoteattr(words(thing['at']))} quat={quoteattr(words([w, x, y, z]))}"
    look = (
        f"name={quoteattr(name)} type={quoteattr(shape)} size={quoteattr(words(SIZES[shape](thing[shape])))} "
        f"rgba={quoteattr(words([*colour, 1]))}"
    )
    if thing.get("fixed"):
        return f"<geom {look} {pose}/>"
    return f"<body name={quoteattr(name)} {pose}><freejoint/><geom {look}/></body>"


def camera(name, lens):
    """One <camera>: MuJoCo's frame is x right, y up, looking along -z."""
    at, target = np.array(lens["at"], float), np.array(lens["look_at"], float)
    forward = (target - at) / np.linalg.norm(target - at)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    return (
        f"<camera name={quoteattr(name)} pos={quoteattr(words(at))} "
        f"xyaxes={quoteattr(words([*right, *up]))} fovy={quoteattr(f'{math.degrees(lens['fov']):.9g}')}/>"
    )


def light(name, lamp):
    """One directional <light>."""
    strength = words([lamp.get("intensity", 1.0)] * 3)
    return f'<light name={quoteattr(name)} directional="true" castshadow="false" dir={quoteattr(words(lamp["direction"]))} diffuse={quoteattr(strength)}/>'


def mjcf(scene, multisamples=0):
    """MJCF text: shadows off, multisampling as given."""
    parts = [geom(name, thing) for name, thing in scene["objects"].items()]
    parts += [camera(name, lens) for name, lens in scene["cameras"].items()]
    parts += [light(name, lamp) for name, lamp in scene.get("lights", {}).items()]
    body = "\n    ".join(parts)
    return f"""<mujoco>
  <option timestep="{1 / scene['engine']['physics_rate']}"/>
  <visual><quality shadowsize="0" offsamples="{multisamples}"/><headlight ambient="0.4 0.4 0.4" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    {body}
  </worldbody>
</mujoco>"""
