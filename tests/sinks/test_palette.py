import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from headnod.estimate import SILENCE, UNKNOWN
from headnod.sinks.palette import GENRES, colour, hexadecimal
from heard import GTZAN

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color
# Vision Deficiency" (2009), severity 1.0, on linear sRGB.
EYES = {
    "normal": np.eye(3),
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colours):
    share = np.asarray(colours) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def oklab(light):
    # B. Ottosson, "A perceptual color space for image processing" (2020).
    cones = light @ np.transpose(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.transpose(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )


@pytest.mark.parametrize(
    ("eye", "least"), [("normal", 17), ("protanope", 11.9), ("deuteranope", 11.9), ("tritanope", 11.9)]
)
def test_any_two_genres_look_different_to_every_eye(eye, least):
    seen = 100 * oklab(np.clip(linear([colour(genre) for genre in GENRES]) @ np.transpose(EYES[eye]), 0, 1))
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > least


def test_every_gtzan_genre_has_its_own_colour():
    assert GENRES == GTZAN
    assert len({colour(genre) for genre in GTZAN}) == 10


def test_silence_and_unknown_are_two_greys():
    silence, unknown = colour(SILENCE), colour(UNKNOWN)
    assert silence != unknown
    assert all(len(set(grey)) == 1 for grey in (silence, unknown))


def test_a_label_that_nobody_foresaw_has_the_same_colour_in_every_process():
    script = "from headnod.sinks.palette import colour; print(colour('fado'))"
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert said == {str(colour("fado"))}


def test_different_names_get_different_hues():
    assert len({colour(name) for name in ("fado", "ska", "drone", "\ud800", "音楽", "")}) == 6


def test_pages_get_the_same_colour_as_leds():
    assert hexadecimal("jazz") == "#00ffee"
    assert tuple(bytes.fromhex(hexadecimal("fado")[1:])) == colour("fado")
