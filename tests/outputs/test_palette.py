import os
import subprocess
import sys
import zlib
from itertools import combinations

import numpy as np
import pytest

from headnod.escaping import SILENCE, UNKNOWN
from headnod.outputs import GENRES, colour, colours, hexadecimal
from support.estimates import GTZAN

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
    script = "from headnod.outputs import colour; print(colour('fado'))"
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
    assert hexadecimal(colour("jazz")) == "#00ffee"
    assert tuple(bytes.fromhex(hexadecimal(colour("fado"))[1:])) == colour("fado")


def lab(each):
    """CIELAB under D65 (CIE 15:2018)."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    share = linear(each) @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(labels):
    """CIE76 of the two labels whose colours are most alike."""
    places = [lab(each) for each in colours(labels).values()]
    return min(np.linalg.norm(one - other) for one, other in combinations(places, 2))


def ciede2000(one, other):
    """Colour difference by Sharma, Wu and Dalal (2005), for the constants 1, 1, 1."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    hue = (h1 + turn / 2) % 360
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * cos(hue - 30) + 0.24 * cos(2 * hue) + 0.32 * cos(3 * hue + 6) - 0.20 * cos(4 * hue - 63)
    in_l = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    in_c = (c2 - c1) / (1 + 0.045 * chroma)
    in_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    twist = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))) * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return np.sqrt(in_l**2 + in_c**2 + in_h**2 - 2 * twist * in_c * in_h)


def cos(degrees):
    return np.cos(np.radians(degrees))


OWN = [f"style {number:02}" for number in range(40)]


def test_the_difference_is_that_of_the_published_examples():
    one, other = (50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485)
    assert ciede2000(one, other) == pytest.approx(2.0425, abs=1e-4)
    assert ciede2000((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619)) == pytest.approx(2.0373, abs=1e-4)
    assert ciede2000((50.0, 2.5, 0.0), (58.0, 24.0, 15.0)) == pytest.approx(19.4535, abs=1e-4)


@pytest.mark.parametrize("known", range(11))
@pytest.mark.parametrize("own", [0, 6, 16])
def test_labels_that_are_shown_together_are_far_apart(known, own):
    if known + own > 1:
        assert nearest([*GENRES[:known], *OWN[:own]]) >= 25


@pytest.mark.parametrize("pair", [("punk", "techno"), ("house", "electronica"), ("Rock", "Rock 2"), ("R&B", "Música")])
def test_any_two_labels_are_far_apart(pair):
    assert nearest(pair) >= 25


def test_sixteen_own_labels_are_far_apart_by_ciede2000_too():
    places = [lab(each) for each in colours(OWN[:16]).values()]
    assert min(ciede2000(one, other) for one, other in combinations(places, 2)) >= 25


def test_all_twenty_six_colours_are_used_before_names_decide():
    assert nearest(OWN[:26]) >= 25
    assert len(set(colours(OWN).values())) == 40


def test_silence_and_unknown_look_like_no_label():
    greys = [lab(colour(each)) for each in (SILENCE, UNKNOWN)]
    for label, each in colours(OWN[:16]).items():
        assert min(np.linalg.norm(lab(each) - grey) for grey in greys) >= 25, label


def test_the_order_of_labels_makes_no_difference():
    assert colours(OWN) == colours(reversed(OWN)) == colours([*OWN, *OWN])


def test_shipped_genres_keep_their_colours_in_any_company_and_spelling():
    mixed = colours(["Hip-Hop", "JAZZ", "punk", "metal", *OWN[:8]])
    assert mixed["metal"] == colour("metal")
    assert (mixed["Hip-Hop"], mixed["JAZZ"]) == (colour("hiphop"), colour("jazz"))


def test_of_two_spellings_the_shipped_one_has_the_shipped_colour():
    assert colours(["Rock", "rock"])["rock"] == colour("rock")
    assert nearest(["Rock", "rock", "ROCK"]) >= 25


def test_labels_of_a_former_model_change_no_colour_of_the_present_one():
    both = colours(["punk", "techno"], ["acid", "punk", "jazz"])
    assert both.items() >= colours(["punk", "techno"]).items()
    assert len(set(both.values())) == 4


def test_colours_stay_the_same_from_version_to_version():
    """Lights, pages and pictures of former versions show genres in these colours."""
    labels = [f"label {number:02}" for number in range(17)]
    shown = "".join(hexadecimal(each) for each in colours([*GTZAN, SILENCE, UNKNOWN, *labels]).values())
    assert zlib.crc32(shown.encode()) == 167154676


@pytest.mark.parametrize(("label", "shown"), [("fado", "#5c5ce6"), ("acid", "#e6a55c")])
def test_a_label_alone_has_the_hue_of_its_name(label, shown):
    assert hexadecimal(colour(label)) == shown
