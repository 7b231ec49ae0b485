#!/bin/sh
# Draws the previews again: `scenarios/library/previews/make.sh [path to worldloom]`. The same version gives the same bytes.
set -eu
cd "$(dirname "$0")"
worldloom=${1:-../../../target/release/worldloom}

# name, camera, time of the episode (s), episode; square, as the cameras record
draw() {
    "$worldloom" preview "../$1.yaml" --seed 3 --episode "$4" --camera "$2" --at "$3" --size 256x256 --out "$1.png"
}

draw bouncing_balls front 0.4 0
draw billiards top 0.9 0
draw domino_chain side 0.9 0
draw block_tower front 0.2 0
draw cart_pole side 0.6 1
draw tabletop_push front 2.5 0
draw pick_place front 4.0 0
draw conveyor_sorting top 2.4 1
draw corridor_rover chase 1.5 0
draw rough_quadruped side 2.0 0
