"""`headnod-train teach`: a folder of made-up music in, a bundle that recognises it out."""

import json

import numpy as np
import pytest
import soundfile
from ai_edge_litert.interpreter import Interpreter
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from matplotlib.image import imread

from headnod.audio.processing import resampled
from headnod.inference.manifest import MODEL, read_manifest
from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod.teaching.correction_commands import LabelledFeatures, packed
from headnod.teaching.corrections import LabelledEmbeddings
from headnod.teaching.fitting import Features, fit, folds
from headnod.teaching.last_layer import LastLayer, Layer
from headnod.updates.bundle import encoded_key
from headnod.updates.selftest import self_test
from headnod_train.__main__ import main
from headnod_train.dataset.tracks import Track
from headnod_train.deploy.pack import golden_features
from headnod_train.evaluation.evaluation_report import confusion_matrix
from headnod_train.report import DARK, LIGHT, THEMES, contrast, genre_marks, rgb, save_png
from headnod_train.teaching.labelled_music import (
    LabelStatistics,
    features_of,
    groups_of,
    measure,
    read_statistics,
    run_network,
)
from headnod_train.training.provenance import training_names
from support.command_line import json_lines, run, surroundings
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


def rounding(taught):
    """The most by which equal logits of a bundle and its base differ: half an int8 step of each and biases rounded."""
    steps = []
    for bundle in (find_model("genre"), taught):
        outputs = Interpreter(model_path=str(bundle / MODEL)).get_output_details()
        answers = list(read_manifest(bundle).output.shape)
        steps += [output["quantization"][0] for output in outputs if output["shape"].tolist() == answers]
    assert len(steps) == 2
    return 0.51 * sum(steps)


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


def test_a_taught_model_is_not_evaluated_on_its_own_music_nor_on_that_of_its_base(taught, capsys):
    bundle = taught / "mine-1.0.0"
    assert main(["evaluate", str(bundle), "--audio", str(taught / "music")]) == 1
    error = capsys.readouterr().err.replace("\n", " ")
    assert f"mine-1.0.0 was trained on 18 of these files, such as {LABELS[0]}/artist 00/0.flac" in error
    names = [f"{genre}.{number:05}" for genre in ("blues", "jazz") for number in range(100)]
    learned, of_base = (
        training_names(read_manifest(path).training.recipe, names) for path in (bundle, find_model("genre"))
    )
    assert of_base
    assert learned == of_base


def test_taught_labels_are_recognised_by_the_listener(taught, tmp_path):
    environment = surroundings(tmp_path, PYTHONUTF8="1")
    for place, label in enumerate(LABELS):
        clip = tmp_path / "clip.wav"
        soundfile.write(clip, tune(label, 100 + place, 24.0), RATE)
        ended = run("listen", "--json", "--model", taught / "mine-1.0.0", "--audio", clip, environment=environment)
        assert json_lines(ended)[-1]["genre"] == label, ended.stderr


def test_all_but_the_last_layer_is_identical_to_the_bit(taught):
    base, new = GenreModel.load(find_model("genre")), GenreModel.load(taught / "mine-1.0.0")
    for window in golden_features(base.front_end, 3, seed=5):
        one, other = base.predict(window), new.predict(window)
        assert one.embedding.tobytes() == other.embedding.tobytes()
        assert one.tags.tobytes() == other.tags.tobytes()
        # The row for sound that is not music has the same weights, and an output of another step.
        assert abs(base.logits(window)[-1] - new.logits(window)[-1]) <= rounding(taught / "mine-1.0.0")


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
    public = encoded_key(KEY.public_key().public_bytes_raw())
    environment = surroundings(tmp_path, HEADNOD_MODEL__KEYS=json.dumps([public]), PYTHONUTF8="1")
    bundle, state = taught / "mine-1.0.0.bundle", ("--state", tmp_path / "state")
    (tmp_path / "state").mkdir()
    assert run("models", "verify", bundle, *state, environment=environment).returncode == 0
    installed = run("models", "install", bundle, *state, environment=environment)
    assert installed.returncode == 0, installed.stderr

    def active():
        rows = json_lines(run("models", "list", "--json", *state, environment=environment))
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


def test_the_confusion_matrix_is_drawn_beside_the_bundle_in_both_themes(taught):
    light, dark = (imread(taught / f"mine-1.0.0-confusion{theme.suffix}.png")[..., :3] for theme in THEMES)
    for picture, theme in ((light, LIGHT), (dark, DARK)):
        np.testing.assert_allclose(picture[0, 0], rgb(theme.ground), atol=0.005)
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    marks = genre_marks(LABELS, LIGHT)
    confusion = np.array(read_manifest(taught / "mine-1.0.0").measured["confusion"])
    right = [label for place, label in enumerate(LABELS) if confusion[place, place] == confusion[place].sum()]
    assert right
    for label in right:
        assert (np.abs(light - rgb(marks[label].colour)).max(axis=-1) < 0.005).sum() > 500


def cells(figure):
    (axes,) = figure.axes
    texts = {tuple(map(round, text.xy)): text.get_text() for text in axes.texts}
    corners = {tuple(round(corner + 0.46) for corner in patch.get_xy()): patch for patch in axes.patches}
    return axes, texts, corners


@pytest.mark.parametrize("theme", THEMES, ids=("light", "dark"))
def test_a_confusion_matrix_has_a_cell_for_each_answer_in_its_colour_and_nothing_is_cut_off(theme, tmp_path):
    labels = ("jazz", "never", "R&B $x$", "x" * 64)
    counts = np.array([[9, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 3]])
    figure = confusion_matrix(theme, labels, counts)
    axes, texts, patches = cells(figure)
    assert texts == {(0, 0): "9", (1, 0): "1", (0, 1): "1", (2, 1): "3"}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["jazz", "R&B $x$", "x" * 64]
    assert [text.get_text().replace("\n", "") for text in axes.get_yticklabels()] == ["jazz (10)", f"{'x' * 64} (4)"]
    colours = {place: np.array(patch.get_facecolor()[:3]) for place, patch in patches.items()}
    np.testing.assert_allclose(colours[1, 1], rgb(theme.ground))
    own = rgb(genre_marks(labels, theme)["jazz"].colour)
    strong, faint, full = (colour - rgb(theme.ground) for colour in (colours[0, 0], colours[0, 1], own))
    assert np.linalg.norm(faint) < np.linalg.norm(strong) < np.linalg.norm(full)
    np.testing.assert_allclose(faint * np.linalg.norm(full), full * np.linalg.norm(faint), atol=1e-6)
    for text in axes.texts:
        assert contrast(rgb(text.get_color()), colours[tuple(map(round, text.xy))]) >= 3
    save_png(tmp_path, "matrix", lambda theme: confusion_matrix(theme, labels, counts))
    picture = imread(tmp_path / f"matrix{theme.suffix}.png")[..., :3]
    edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    np.testing.assert_allclose(edges, np.broadcast_to(rgb(theme.ground), edges.shape), atol=0.005)
    figure.canvas.draw()
    assert min(patch.get_window_extent().width for patch in patches.values()) > 30


@pytest.fixture(scope="module")
def added(taught):
    """Two of the labels, added to the shipped ones."""
    folder = taught / "added"
    for label in LABELS[:2]:
        (folder / "music").mkdir(parents=True, exist_ok=True)
        (folder / "music" / label).symlink_to(taught / "music" / label)
    words = ("--name", "more", "--models", str(folder), "--jobs", "1", "--add")
    assert main(["teach", str(folder / "music"), *words]) == 0
    return folder / "more-1.0.0"


def test_added_labels_stand_beside_the_shipped_ones_and_are_recognised(added, tmp_path):
    shipped = read_manifest(find_model("genre"))
    manifest = read_manifest(added)
    assert manifest.labels == (*shipped.labels, *LABELS[:2])
    assert (manifest.temperature, manifest.rejection, manifest.single) == (
        shipped.temperature,
        shipped.rejection,
        shipped.single,
    )
    assert "only those of R&B \\[80s\\], klicks are new" in (added / "CARD.md").read_text("utf-8")
    environment = surroundings(tmp_path, PYTHONUTF8="1")
    for place, label in enumerate(LABELS[:2]):
        clip = tmp_path / "clip.wav"
        soundfile.write(clip, tune(label, 100 + place, 24.0), RATE)
        ended = run("listen", "--json", "--model", added, "--audio", clip, environment=environment)
        assert json_lines(ended)[-1]["genre"] == label, ended.stderr


def test_rows_of_shipped_labels_stay_the_same_when_labels_are_added(added):
    base, new = GenreModel.load(find_model("genre")), GenreModel.load(added)
    shipped = range(len(base.manifest.labels))
    for window in golden_features(base.front_end, 5, seed=7):
        before, after = base.logits(window), new.logits(window)
        # The output may have a coarser step, if a new label's logits have a wider range.
        assert np.abs(before[shipped] - after[shipped]).max() <= rounding(added)
        assert abs(before[-1] - after[-1]) <= rounding(added)


def test_drawn_music_of_shipped_labels_keeps_its_answer(added):
    base, new = GenreModel.load(find_model("genre")), GenreModel.load(added)
    drawn = read_statistics(base.manifest).draw(50, np.random.default_rng(5))
    before, after = (
        LastLayer((folder / MODEL).read_bytes(), model.manifest).shipped.logits(drawn.values).argmax(axis=1)
        for folder, model in ((find_model("genre"), base), (added, new))
    )
    before[before == len(base.manifest.labels)] = len(new.manifest.labels)
    assert (before == after).mean() > 0.98


def test_added_rows_know_sound_that_is_not_music():
    """A new label that resembles noise only in a feature that all music lacks is told apart from noise."""
    rng = np.random.default_rng(3)
    means = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    limits = np.array([[-20.0] * 3, [20.0] * 3])
    statistics = LabelStatistics(means, np.zeros((1, 3)), np.full(3, 0.5), limits)
    rows = [[-2.0, -2.0, 0.0], [2.0, -2.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    prior = Layer(np.array(rows), np.array([4.0, -4.0, -4.0, 0.0]))
    values = np.array([0.0, 4.0, 4.0]) + 0.5 * rng.standard_normal((40, 3))
    places = np.arange(40)
    music = Features(values.astype(np.float32), np.full(40, 3), places, places)
    layer = fit(music, 4, prior=prior, fixed=3, background=statistics.draw(40, rng), strengths=(0.3,)).layer
    assert (layer.logits(music.values).argmax(axis=1) == 3).mean() > 0.95
    drawn = statistics.draw(100, rng)
    assert (layer.logits(drawn.values).argmax(axis=1) == drawn.labels).mean() > 0.95
    np.testing.assert_array_equal(layer.kernel[:3], prior.kernel[:3])


def test_statistics_have_the_means_and_the_covariance_of_the_windows():
    rng = np.random.default_rng(4)
    mixing = rng.standard_normal((6, 6))
    labels = np.repeat([0, 1], 4000)
    values = rng.standard_normal((8000, 6)) @ mixing + 3.0 * labels[:, None]
    drawn = measure(values.astype(np.float32), labels).draw(4000, rng)
    for label in (0, 1):
        one, other = drawn.values[drawn.labels == label], values[labels == label]
        np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=0.2)
        np.testing.assert_allclose(np.cov(one.T), np.cov(other.T), atol=0.12 * np.abs(np.cov(other.T)).max())


@pytest.mark.parametrize("name", ["genre", "genre-small"])
def test_labels_can_be_added_to_each_shipped_network(name):
    manifest = read_manifest(find_model(name))
    last = LastLayer((find_model(name) / MODEL).read_bytes(), manifest)
    statistics = read_statistics(manifest)
    drawn = statistics.draw(20, np.random.default_rng(6))
    assert statistics.means.shape == (len(manifest.labels) + 1, last.shipped.kernel.shape[1])
    assert (last.shipped.logits(drawn.values).argmax(axis=1) == drawn.labels).mean() > 0.8


def test_a_shipped_label_cannot_be_added(tmp_path, capsys):
    silent_files(tmp_path, *(f"Jazz/{n}.wav" for n in range(3)))
    assert "--rename 'Jazz=...'" in refused(capsys, tmp_path, "--add")


def test_labels_are_added_to_shipped_models_only(taught, tmp_path, capsys):
    silent_files(tmp_path, *(f"dub/{n}.wav" for n in range(3)))
    message = refused(capsys, tmp_path, "--add", "--base", str(taught / "mine-1.0.0"))
    assert message.endswith("(--base genre-2.0.0, genre-2.1.0, genre-2.2.0, genre-small-2.0.0, genre-small-2.1.0)")


@pytest.fixture(scope="module")
def corrections(tmp_path_factory):
    """The file of a listener to which people named six made-up songs of two labels, one of them new."""
    manifest = read_manifest(find_model("genre"))
    last = LastLayer((find_model("genre") / MODEL).read_bytes(), manifest)
    network, songs, groups = last.with_features(), [], []
    for number in range(6):
        sound = resampled(tune(LABELS[number % 2], 300 + number), RATE, manifest.front_end.sample_rate)
        songs.append(features_of(sound, network, manifest))
        groups += [number] * len(songs[-1])
    features = np.concatenate(songs)
    windows = LabelledEmbeddings(
        manifest.id,
        manifest.body,
        3.0 * np.arange(len(features)),
        features[:, :200],
        tuple(("Organ", "jazz")[group % 2] for group in groups),
        np.ones(len(features), np.float32),
        np.array(groups),
        np.empty(0),
        np.empty((0, 200), np.float32),
    )
    path = tmp_path_factory.mktemp("corrections") / "songs.npz"
    path.write_bytes(packed(LabelledFeatures(windows, features, np.empty((0, 264), np.float32))))
    return path


def test_a_file_of_corrections_becomes_a_model_that_names_them(corrections, tmp_path, capsys):
    words = ("--name", "ours", "--models", str(tmp_path))
    assert main(["teach", "--corrections", str(corrections), *words]) == 0
    assert "Organ: 0 of" in capsys.readouterr().err
    manifest = read_manifest(tmp_path / "ours-1.0.0")
    assert manifest.labels == (*read_manifest(find_model("genre")).labels, "Organ")
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, tune(LABELS[1], 400, 24.0), RATE)
    ended = run(
        "listen", "--json", "--model", tmp_path / "ours-1.0.0", "--audio", clip, environment=surroundings(tmp_path)
    )
    assert json_lines(ended)[-1]["genre"] == "jazz", ended.stderr


def test_corrections_of_another_network_are_refused_with_its_name(corrections, tmp_path, capsys):
    words = ("--name", "ours", "--models", str(tmp_path), "--base", "genre-small")
    assert main(["teach", "--corrections", str(corrections), *words]) == 1
    assert "corrections of genre-2.2.0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_music_or_corrections_are_given_and_not_both(corrections, tmp_path, capsys):
    for words in ((), (str(tmp_path), "--corrections", str(corrections))):
        assert main(["teach", *words, "--name", "ours", "--models", str(tmp_path)]) == 1
        assert "--corrections FILE" in capsys.readouterr().err


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


def test_int8_weights_answer_like_the_fitted_ones_though_a_feature_hardly_changes():
    manifest = read_manifest(find_model("genre"))
    last = LastLayer((find_model("genre") / MODEL).read_bytes(), manifest)
    rng = np.random.default_rng(8)
    size = last.shipped.kernel.shape[1]
    labels = np.repeat([0, 1, 2], 60)
    values = np.abs(rng.standard_normal((180, size)) + rng.standard_normal((3, size))[labels]).astype(np.float32)
    values[:, 0] = 0.5 + 1e-5 * (labels == 1)
    places = np.arange(180)
    layer = fit(Features(values, labels, places, places), 3, strengths=(0.1,)).layer
    no_music = last.shipped.rows([10])
    whole = Layer(np.concatenate([layer.kernel, no_music.kernel]), np.append(layer.bias, no_music.bias))
    content = last.replaced(whole, [(3, 10)], whole.logits(values))
    stored = LastLayer(content, manifest).shipped.logits(values)[:, :3].argmax(axis=1)
    assert (stored == layer.logits(values).argmax(axis=1)).mean() > 0.98


def test_a_taught_network_is_taught_again_with_the_same_features(taught):
    shipped, manifest = (read_manifest(folder) for folder in (find_model("genre"), taught / "mine-1.0.0"))
    first = LastLayer((find_model("genre") / MODEL).read_bytes(), shipped)
    again = LastLayer((taught / "mine-1.0.0" / MODEL).read_bytes(), manifest)
    assert again.shipped.kernel.shape == (len(LABELS) + 1, first.shipped.kernel.shape[1])
    window = golden_features(shipped.front_end, 1, seed=9)[0]
    one, other = (
        run_network(window, last.with_features(), each) for last, each in ((first, shipped), (again, manifest))
    )
    np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """34 short tracks for each of three labels, by artists with two tracks each, fine-tuned."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    for place, label in enumerate(LABELS):
        for number in range(34):
            path = folder / "music" / label / f"artist {place} {number // 2}" / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tune(label, 500 * place + number, 3.5), RATE)
    words = ("--name", "tuned", "--models", str(folder), "--jobs", "1", "--fine-tune", "--anyway")
    assert main(["teach", str(folder / "music"), *words]) == 0
    return folder


def test_a_fine_tuned_network_passes_its_self_test_and_recognises_the_labels(fine_tuned, tmp_path):
    folder = fine_tuned / "tuned-1.0.0"
    assert self_test(folder, budget=1.0).fault == ""
    for place, label in enumerate(LABELS):
        clip = tmp_path / "clip.wav"
        soundfile.write(clip, tune(label, 100 + place, 24.0), RATE)
        ended = run("listen", "--json", "--model", folder, "--audio", clip, environment=surroundings(tmp_path))
        # The shipped network takes tones of a synthesiser for no music; which label is likeliest is asked here.
        scores = json_lines(ended)[-1]["scores"]
        assert max(scores, key=scores.get) == label, ended.stderr


def test_fine_tuning_keeps_the_tags_to_the_bit_and_is_another_network_to_corrections(fine_tuned):
    base, new = GenreModel.load(find_model("genre")), GenreModel.load(fine_tuned / "tuned-1.0.0")
    for window in golden_features(base.front_end, 3, seed=5):
        one, other = base.predict(window), new.predict(window)
        assert one.tags.tobytes() == other.tags.tobytes()
        assert one.energy == other.energy
        assert other.embedding.size == 264
        # The row for sound that is not music reads the hidden layer, which stays.
        assert abs(base.logits(window)[-1] - new.logits(window)[-1]) <= rounding(fine_tuned / "tuned-1.0.0")
    assert new.manifest.body == new.manifest.sha256[MODEL] != base.manifest.body
    last = LastLayer((fine_tuned / "tuned-1.0.0" / MODEL).read_bytes(), new.manifest)
    # A window like those of the training: others may be beyond the range of the int8 output.
    audio = resampled(tune(LABELS[0], 7, 3.5), RATE, base.front_end.sample_rate)
    window = base.front_end.mfcc(audio[: base.front_end.window_samples])
    found = new.predict(window).embedding[None]
    np.testing.assert_allclose(last.shipped.logits(last.features_of(found))[0], new.logits(window), atol=0.25)
    assert "a copy of the dense layer" in (fine_tuned / "tuned-1.0.0" / "CARD.md").read_text("utf-8")


def test_without_a_gain_the_last_layer_alone_is_written(fine_tuned, capsys):
    words = ("--name", "plain", "--models", str(fine_tuned), "--jobs", "1", "--fine-tune")
    assert main(["teach", str(fine_tuned / "music"), *words]) == 0
    text = capsys.readouterr().err
    assert "with the last layer alone" in text
    assert "the last layer alone is written" in text
    manifest = read_manifest(fine_tuned / "plain-1.0.0")
    assert manifest.body == read_manifest(find_model("genre")).body
    assert "epochs" not in manifest.training.recipe


def test_fine_tuning_needs_a_hundred_tracks_and_a_shipped_network(fine_tuned, taught, tmp_path, capsys):
    silent_files(tmp_path, *(f"{label}/{n}.wav" for label in ("dub", "ska") for n in range(3)))
    assert "has 6 tracks and --fine-tune needs 100" in refused(capsys, tmp_path, "--fine-tune")
    assert "cannot be combined with --add" in refused(capsys, tmp_path, "--fine-tune", "--add")
    assert "needs a shipped --base" in refused(capsys, tmp_path, "--fine-tune", "--base", str(taught / "mine-1.0.0"))
    assert "--anyway for --fine-tune" in refused(capsys, tmp_path, "--anyway")
    words = ("--name", "x", "--models", str(tmp_path / "out"), "--jobs", "1", "--fine-tune", "--base", "genre-small")
    assert main(["teach", str(fine_tuned / "music"), *words]) == 1
    assert "no dense layer" in capsys.readouterr().err
