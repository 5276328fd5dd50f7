"""`train/make_models` from end to end, with a few clips and a few steps of training."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from headnod.inference.model import load_checked

REPOSITORY = Path(__file__).parents[3]
DATA = REPOSITORY.parent / "shared" / "data"
SCRIPT = REPOSITORY / "train" / "make_models"


@pytest.mark.parametrize("words", [[], ["data"], ["--fast", "data", "work"]])
def test_wrong_usage_prints_the_arguments(words):
    ended = subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "train/make_models [--quick] DATA WORK [MODELS]" in ended.stderr


def link(paths, target):
    target.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (target / path.name).symlink_to(path)


@pytest.fixture
def few(tmp_path):
    """A folder as DATA, with three train clips and two valid clips of each genre, and two games' music."""
    data = tmp_path / "data"
    gtzan = data / "gtzan"
    clips = []
    for split, most in (("train", 3), ("valid", 2)):
        names = set((DATA / "gtzan" / "splits" / f"{split}_filtered.txt").read_text().split())
        by_genre = {}
        for path in sorted((DATA / "gtzan" / "audio").rglob("*.*")):
            if path.stem in names:
                by_genre.setdefault(path.stem.partition(".")[0], []).append(path)
        clips += [path for paths in by_genre.values() for path in paths[:most]]
    link(clips, gtzan / "audio")
    link([DATA / "gtzan" / name for name in ("splits", "logmel.npz", "tags_train.npz")], gtzan)
    link(sorted((DATA / "rooms").glob("*.flac"))[:8], data / "rooms")
    for kind in ("speech", "noise"):
        link(sorted((DATA / "not_music" / kind).iterdir())[:12], data / "not_music" / kind)
    link([DATA / "teachers"], data)
    with np.load(DATA / "unlabelled" / "logmel.npz") as music:
        names = [name for name in music["names"] if str(name).startswith(("asc-music/", "zaz-data/"))]
    (data / "unlabelled").mkdir()
    np.savez(data / "unlabelled" / "logmel.npz", names=np.array(names))
    return data


@pytest.mark.long
@pytest.mark.skipif(not (DATA / "teachers").is_dir(), reason="needs the clips and the teachers in ../shared/data")
def test_every_step_runs_and_both_bundles_load(few, tmp_path):
    subprocess.run([SCRIPT, "--quick", few, tmp_path / "work"], check=True, timeout=3600)
    for name in ("genre-2.2.0", "genre-small-2.2.0"):
        model = load_checked(tmp_path / "work" / "models" / name)
        assert model.manifest.training.recipe["seed"] == 1
        assert "make_models" in (tmp_path / "work" / "models" / name / "CARD.md").read_text()
        with np.load(tmp_path / "work" / "statistics" / f"{name}.npz") as statistics:
            assert str(statistics["network"]) == model.manifest.sha256["model.tflite"]
            assert len(statistics["means"]) == len(model.manifest.labels) + 1
    assert (tmp_path / "work" / "genre" / "float.tflite").is_file()
