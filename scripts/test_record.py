"""Makes demo/test-record, the music for `headnod check --music`: see scripts/test_record."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod_train.degradation import read_all
from headnod_train.distillation.recordings import debian_music, download, packages

OUT = Path("demo/test-record")
_KART = "supertuxkart-data/usr/share/games/supertuxkart/data/music/"
_WIDELANDS = "widelands-data/usr/share/games/widelands/data/music/"
PIECES = {
    f"{_KART}Boom_boom_boom.ogg": ("Boom boom boom", "Keith Baylis aka Vim", "CC-BY-SA-4.0"),
    f"{_KART}bay.ogg": ("Bay", "0zone0ne", "CC-BY-SA-3.0"),
    f"{_KART}SkyVibe-HighFrequency.ogg": (
        "SkyVibe - High Frequency", "Speedsound, modified by Constantin Pelikan", "CC-BY-SA-3.0"
    ),
    f"{_KART}celtic.ogg": ("Celtic", "0zone0ne and Krobonil", "CC-BY-SA-3.0"),
    f"{_KART}demonhill.ogg": ("Demonhill", "0zone0ne", "CC-BY-SA-3.0"),
    f"{_WIDELANDS}ingame_24.ogg": ("ingame 24", "Stuart Marshall", "CC-BY-SA-3.0"),
    f"{_WIDELANDS}ingame_26.ogg": ("ingame 26", "Stuart Marshall", "CC-BY-SA-3.0"),
    "ufoai-music/x/music/David01.ogg": ("David01", "David Reeves (Destructavator)", "CC-BY-3.0"),
    "ufoai-music/x/music/David03.ogg": ("David03", "David Reeves (Destructavator)", "CC-BY-3.0"),
}  # fmt: skip
"""Title, artist and licence of each piece, by its package and its path in it."""

RATE, SECONDS, FADE = 32_000, 10.0, 0.1
QUALITY = 0.45
"""Of Vorbis: the record stays well under 2 MB."""


def best_part(path: Path, model: GenreModel) -> tuple[Audio, str, float]:
    """Mono samples of the ten seconds with the most probable answer, that answer and its probability."""
    rate, size = model.front_end.sample_rate, model.front_end.window_samples
    audio = read_all(path, rate)[: 60 * rate]
    starts = np.arange(0, len(audio) - round(SECONDS * rate), rate)
    windows = np.stack(
        [model.scores(model.front_end.mfcc(audio[start : start + size])) for start in range(0, len(audio) - size, rate)]
    )
    together = round(SECONDS - size / rate)
    means = np.stack([windows[place : place + together].mean(axis=0) for place in range(len(starts))])
    labels = len(model.labels)
    place, answer = divmod(int(means[:, :labels].argmax()), labels)
    sound = read_all(path, RATE)[place * RATE : round((place + SECONDS) * RATE)]
    ramp = np.minimum(np.arange(sound.size) / (FADE * RATE), 1.0)
    sound = sound * ramp * ramp[::-1]
    return 0.1 * sound / np.sqrt(np.mean(np.square(sound))), model.labels[answer], float(means[place, answer])


def main() -> None:
    """Make the record, its list and its description."""
    model, sounds, clips = GenreModel.load(find_model("genre")), [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        download(packages(PIECES), folder)
        paths = {each.name: each.path for each in debian_music(folder, PIECES, folder)}
        for name, (title, artist, licence) in PIECES.items():
            sound, genre, probability = best_part(paths[name], model)
            print(f"{title}: {genre} {probability:.2f}")
            clips.append({
                "start": round(sum(map(len, sounds)) / RATE, 3), "seconds": round(sound.size / RATE, 3), "genre": genre,
                "title": title, "artist": artist, "licence": licence, "package": name.partition("/")[0],
            })  # fmt: skip
            sounds.append(sound)
    OUT.mkdir(exist_ok=True)
    record = np.concatenate(sounds)
    record *= 0.9 / np.abs(record).max()
    with soundfile.SoundFile(
        OUT / "record.ogg", "w", RATE, 1, format="OGG", subtype="VORBIS", compression_level=1.0 - QUALITY
    ) as file:
        for start in range(0, record.size, RATE):
            file.write(record[start : start + RATE])
    (OUT / "record.json").write_text(json.dumps({"clips": clips}, indent=1) + "\n")
    rows = "\n".join(
        f"| {each['start']:.0f} s | {each['title']} | {each['artist']} | {each['licence']} | {each['package']} |"
        for each in clips
    )
    (OUT / "SOURCE.md").write_text(f"""# The test record

`record.ogg` is the music of `headnod check --music`, made by `scripts/test_record`. Each part is ten seconds of a piece
from a Debian package, mixed to mono, set to one loudness and faded at both ends, under the licence of the piece. The
texts of the licences are at https://creativecommons.org/licenses/.

| from | piece | by | licence | package |
| --- | --- | --- | --- | --- |
{rows}
""")
    print(f"{OUT / 'record.ogg'}: {(OUT / 'record.ogg').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
