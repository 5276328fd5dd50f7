"""`headnod-train teach`: a folder of made-up music in, a bundle that recognises it out."""

import json

import numpy as np
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from headnod.inference.bundle_files import read_manifest
from headnod.inference.manifest import MODEL
from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod.teaching.fitting import Features, fit, folds
from headnod.teaching.last_layer import LastLayer
from headnod.updates.signature import encoded
from headnod_train.__main__ import main
from headnod_train.dataset.tracks import Track
from headnod_train.packaging.synthetic_sounds import golden_features
from headnod_train.teaching.labelled_music import groups_of
from support.command_line import run, said, surroundings
from support.signals import RATE

LABELS = ("R&B [80s]", "klicks", "日本")
KEY = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)


def tune(label, seed, seconds=14.0):
    """One of three styles: slow organ chords, fast clicks over hiss, or a bass with a bouncing melody."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    root = rng.uniform(0.9, 1.1)
    if label == LABELS[0]:
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 0.3) * time)
        sound = sum(np.sin(2 * np.pi * root * pitch * time) for pitch in (196, 247, 294, 392, 494)) * swell
    elif label == LABELS[1]:
        tempo = rng.uniform(7.0, 9.0)
        sound = rng.standard_normal(time.size) * np.exp(-30.0 * ((time * tempo) % 1.0))
        sound += 0.5 * np.sin(2 * np.pi * 60 * root * time) * np.exp(-6.0 * ((time * tempo / 4) % 1.0))
    else:
        steps = rng.integers(0, 12, 200)[(time * rng.uniform(3.0, 4.0)).astype(int) % 200]
        phase = np.cumsum(440 * root * 2.0 ** (steps / 12)) / RATE
        sound = np.sign(np.sin(2 * np.pi * phase)) + np.sin(2 * np.pi * 82 * root * time)
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Six tracks for each of three labels, by three artists each, taught and signed."""
    folder = tmp_path_factory.mktemp("teach")
    for place, label in enumerate(LABELS):
        for number in range(6):
            path = folder / "music" / label / f"artist {place}{number % 3}" / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tune(label, 10 * place + number), RATE)
    (folder / "music" / LABELS[0] / "broken.mp3").write_bytes(b"not music at all")
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    words = ("--name", "mine", "--models", str(folder), "--key", str(key), "--jobs", "1")
    assert main(["teach", str(folder / "music"), *words]) == 0
    return folder


def test_taught_labels_are_recognised_by_the_listener(taught, tmp_path):
    environment = surroundings(tmp_path, PYTHONUTF8="1")
    for place, label in enumerate(LABELS):
        clip = tmp_path / "clip.wav"
        soundfile.write(clip, tune(label, 100 + place, 24.0), RATE)
        ended = run("listen", "--json", "--model", taught / "mine-1.0.0", "--audio", clip, environment=environment)
        assert said(ended)[-1]["genre"] == label, ended.stderr


def test_all_but_the_last_layer_is_identical_to_the_bit(taught):
    base, new = GenreModel.load(find_model("genre")), GenreModel.load(taught / "mine-1.0.0")
    for window in golden_features(base.front_end, 3, seed=5):
        one, other = base.predict(window), new.predict(window)
        assert one.embedding.tobytes() == other.embedding.tobytes()
        assert one.tags.tobytes() == other.tags.tobytes()
        # The row for sound that is not music has the same weights, and an output of another step.
        step = 2 * 24 / 255
        assert abs(base.logits(window)[-1] - new.logits(window)[-1]) <= step


@pytest.mark.parametrize("name", ["genre", "genre-small"])
def test_each_shipped_network_can_give_its_own_head_again(name):
    manifest = read_manifest(find_model(name))
    content = (find_model(name) / MODEL).read_bytes()
    last = LastLayer(content, manifest)
    rows = list(range(len(manifest.labels) + 1))
    again = GenreModel(manifest, last.replaced(last.shipped, [(row, row) for row in rows], np.zeros((1, len(rows)))))
    model = GenreModel(manifest, content)
    for window in golden_features(manifest.front_end, 3, seed=2):
        assert model.logits(window).tobytes() == again.logits(window).tobytes()


def test_the_signed_bundle_is_verified_installed_and_rolled_back(taught, tmp_path):
    public = encoded(KEY.public_key().public_bytes_raw())
    environment = surroundings(tmp_path, HEADNOD_MODEL__KEYS=json.dumps([public]), PYTHONUTF8="1")
    bundle, state = taught / "mine-1.0.0.bundle", ("--state", tmp_path / "state")
    (tmp_path / "state").mkdir()
    assert run("models", "verify", bundle, *state, environment=environment).returncode == 0
    installed = run("models", "install", bundle, *state, environment=environment)
    assert installed.returncode == 0, installed.stderr

    def active():
        rows = said(run("models", "list", "--json", *state, environment=environment))
        return next(row["model"] for row in rows if row["listens"])

    assert active() == "mine-1.0.0"
    assert run("models", "rollback", *state, environment=environment).returncode == 0
    assert active().startswith("genre")


def test_the_manifest_says_what_it_was_made_of(taught):
    manifest = read_manifest(taught / "mine-1.0.0")
    assert manifest.labels == LABELS
    assert manifest.training.recipe["base"] == find_model("genre").name
    assert manifest.training.recipe["tracks"] == 18
    assert manifest.measured["tracks"]["accuracy"] > 0.9
    assert manifest.measured["without_artists"] == []
    assert manifest.health is not None
    card = (taught / "mine-1.0.0" / "CARD.md").read_text("utf-8")
    assert "日本" in card
    assert "R&B \\[80s\\]" in card


def refused(capsys, folder, *words):
    assert main(["teach", str(folder), "--name", "mine", "--models", str(folder / "out"), "--jobs", "1", *words]) == 1
    assert not (folder / "out").exists()
    return capsys.readouterr().err.splitlines()[-1]


def silent_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(4 * RATE, np.float32), RATE)
    return folder


def test_one_label_is_refused(capsys, tmp_path):
    assert "one label, 'dub'" in refused(capsys, silent_files(tmp_path, *(f"dub/{n}.wav" for n in range(4))))


def test_too_few_tracks_are_refused_with_the_label_before_anything_is_decoded(capsys, tmp_path):
    silent_files(tmp_path, *(f"dub/{n}.wav" for n in range(4)), "ska/1.wav", "ska/2.wav")
    assert "'ska' has 2 usable tracks" in refused(capsys, tmp_path)


def test_a_reserved_label_is_refused_with_a_rename(capsys, tmp_path):
    silent_files(tmp_path, *(f"{label}/{n}.wav" for label in ("silence", "ska") for n in range(4)))
    assert "--rename" in refused(capsys, tmp_path)


def test_files_without_a_window_of_music_are_named_and_counted_out(capsys, tmp_path):
    silent_files(tmp_path, *(f"{label}/{n}.wav" for label in ("dub", "ska") for n in range(3)))
    assert "'dub' has 0" in refused(capsys, tmp_path)


def test_labels_and_artists_come_from_tags(tmp_path, capsys):
    import mutagen

    for place, label in enumerate(LABELS[:2]):
        for number in range(4):
            path = tmp_path / "all" / f"{place}{number}.flac"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, tune(label, 10 * place + number, 8.0), RATE)
            tags = mutagen.File(path, easy=True)
            tags["genre"], tags["artist"] = [label], [f"artist {place}{number % 2}"]
            tags.save()
    words = ("--labels", "tags", "--name", "tagged", "--models", str(tmp_path), "--jobs", "1")
    assert main(["teach", str(tmp_path / "all"), *words]) == 0
    manifest = read_manifest(tmp_path / "tagged-1.0.0")
    assert manifest.labels == LABELS[:2]
    assert manifest.measured["without_artists"] == []
    assert "headnod-train keygen" in capsys.readouterr().err
    assert main(["teach", str(tmp_path / "all"), *words]) == 0
    assert (tmp_path / "tagged-2.0.0").is_dir()


def test_tracks_of_one_artist_share_a_group_and_unknown_artists_are_named():
    tracks = [
        Track("a", "dub", "a", "Ann"),
        Track("b", "dub", "b", "ann"),
        Track("c", "dub", "c", "Bob"),
        Track("d", "ska", "d"),
        Track("e", "ska", "e"),
        Track("f", "mod", "f", "Cy"),
        Track("g", "mod", "g", "Cy"),
    ]
    groups, ungrouped = groups_of(tracks)
    assert groups[0] == groups[1]
    assert len(set(groups)) == 6
    assert ungrouped == ["mod", "ska"]


def windows_of_artists(seed, *, artists, labels=2, apart=1.0):
    """Windows whose feature 0 tells the label and whose feature 1 tells the artist."""
    rng = np.random.default_rng(seed)
    rows, label_of, track_of, group_of = [], [], [], []
    for group in range(artists * labels):
        mark = rng.standard_normal(4) * 5.0
        for track in range(2):
            for _ in range(5):
                rows.append(np.concatenate([[apart * (group % labels)], mark]) + 0.1 * rng.standard_normal(5))
                label_of.append(group % labels)
                track_of.append(2 * group + track)
                group_of.append(group)
    numbers = (np.array(each, np.intp) for each in (label_of, track_of, group_of))
    return Features(np.array(rows, np.float32), *numbers)


def test_held_out_answers_are_of_layers_that_had_no_track_of_the_artist():
    music = windows_of_artists(0, artists=4, apart=0.0)
    fitted = fit(music, 2)
    held_out = (fitted.held_out.argmax(axis=1) == music.labels).mean()
    own = (fitted.layer.logits(music.values).argmax(axis=1) == music.labels).mean()
    # Nothing but the artist tells these labels apart, so the layer is right on its own music only.
    assert own > 0.75
    assert held_out < 0.65


def test_folds_leave_every_artist_out_once_and_no_label_whole():
    music = windows_of_artists(1, artists=3)
    parts = folds(music, 5)
    assert sorted(np.concatenate([left_out for _, left_out in parts])) == list(range(len(music.labels)))
    for learned, left_out in parts:
        assert not set(music.groups[learned]) & set(music.groups[left_out])
        assert set(music.labels[learned]) == {0, 1}


def test_a_model_without_an_embedding_cannot_be_taught(tmp_path, capsys):
    silent_files(tmp_path, *(f"{label}/{n}.wav" for label in ("dub", "ska") for n in range(3)))
    assert "has no embedding" in refused(capsys, tmp_path, "--base", str(find_model("genre").parent / "genre-0.1.0"))


def test_a_key_that_is_not_there_is_named_before_any_work(tmp_path, capsys):
    assert "keygen" in refused(capsys, tmp_path, "--key", str(tmp_path / "none"))
