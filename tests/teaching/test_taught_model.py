"""A model that is taught on the device: better on what was corrected, with the same body, rolled back like all."""

import hashlib
from functools import lru_cache

import numpy as np
import pytest
from msgspec.structs import replace

from headnod.inference.manifest import GOLDEN, MODEL, read_manifest, softmax
from headnod.inference.model import GenreModel, golden_windows
from headnod.resources import find_model
from headnod.teaching.corrections import CorrectionStore, EmbeddedWindows, LabelledEmbeddings
from headnod.teaching.last_layer import LastLayer, TeachError
from headnod.teaching.teacher import Teacher, matching_label, starting_bundle, summary, teach
from headnod.updates.state import Stage
from headnod.updates.store import Store
from support.command_line import fault, json_lines, run, surroundings

START = find_model("genre")
SIZE = 200


@pytest.fixture(scope="module")
def base():
    return read_manifest(START)


def songs(*labels, each=12, seed=0, spread=0.25):
    """Windows of songs: each label has a place of its own among embeddings, each song lies beside it."""
    rng = np.random.default_rng(seed)
    for number, label in enumerate(labels):
        own = np.random.default_rng(int(hashlib.sha256(label.encode()).hexdigest()[:8], 16))
        place = own.uniform(0.0, 6.0, SIZE) * (own.random(SIZE) < 0.15)
        song = place + rng.normal(0.0, spread, SIZE)
        yield number + 1, label, np.clip(song + rng.normal(0.0, spread, (each, SIZE)), 0.0, 6.0).astype(np.float32)


@lru_cache(maxsize=1)
def other_music():
    """Names of songs whose windows the shipped layer is sure of."""
    base = read_manifest(START)
    last = LastLayer((START / MODEL).read_bytes(), base)
    names = []
    for _, name, values in songs(*(f"other {number}" for number in range(150))):
        scores = softmax(last.shipped.logits(last.features_of(values)))
        if np.median(scores.max(axis=1)) >= 0.5:
            names.append(name)
    assert len(names) >= 8
    return names


def labelled(base, *labels, seed=0, players=(), context=60):
    rows = list(songs(*labels, seed=seed))
    counts = [len(values) for _, _, values in rows]
    names = [label for (_, label, values) in rows for _ in values]
    other = [values for _, _, values in songs(*other_music()[:5], seed=seed)]
    around = np.concatenate(other)[:context]
    return LabelledEmbeddings(
        model=base.id,
        body=base.body,
        times=3.0 * np.arange(sum(counts)),
        embeddings=np.concatenate([values for _, _, values in rows]),
        labels=tuple(names),
        weights=np.array([0.25 if name in players else 1.0 for name in names], np.float32),
        groups=np.repeat([number for number, _, _ in rows], counts),
        context_times=1e6 + 3.0 * np.arange(len(around)),
        context_embeddings=around,
    )


@pytest.fixture(scope="module")
def taught(base):
    return teach(labelled(base, *("reggae", "cumbia", "not music") * 4), START, name="mine", version="1.0.0")


def answers(taught, embeddings):
    last = LastLayer(taught.files[MODEL], taught.manifest)
    names = (*taught.manifest.labels, "not music")
    return [names[place] for place in last.shipped.logits(last.features_of(embeddings)).argmax(axis=1)]


def test_new_songs_of_the_corrected_labels_are_right_and_a_new_label_is_there(taught, base):
    assert taught.manifest.labels == (*base.labels, "cumbia")
    for _, label, values in songs("reggae", "cumbia", "not music", seed=9):
        found = answers(taught, values)
        assert found.count(label) > 0.9 * len(found)


def test_it_says_how_many_held_out_windows_were_right_before_and_after(taught):
    by_label = {each.label: each for each in taught.improvements}
    assert set(by_label) == {"reggae", "cumbia", "not music"}
    for each in by_label.values():
        assert (each.windows, each.corrections) == (48, 4)
    assert by_label["cumbia"].before == 0
    assert by_label["cumbia"].after > 40
    assert taught.improves
    assert any("cumbia: 0 of 48 windows right before" in line for line in summary(taught))


def confident(base, names):
    """Windows of other music that the shipped layer is sure of, and its answers."""
    last = LastLayer((START / MODEL).read_bytes(), base)
    values = np.concatenate([values for _, _, values in songs(*names, seed=5)])
    scores = softmax(last.shipped.logits(last.features_of(values)))
    sure = scores.max(axis=1) >= 0.5
    assert sure.sum() > 20
    return values[sure], [(*base.labels, "not music")[place] for place in scores[sure].argmax(axis=1)]


def agreement(taught, values, before):
    return np.mean([one == other for one, other in zip(before, answers(taught, values), strict=True)])


def test_what_nobody_corrected_keeps_its_answers(taught, base):
    assert agreement(taught, *confident(base, other_music()[:5])) > 0.8


def test_the_body_is_identical_to_the_bit(taught, base):
    before, after = GenreModel(base, (START / MODEL).read_bytes()), GenreModel(taught.manifest, taught.files[MODEL])
    for window in golden_windows((START / GOLDEN).read_bytes())[:4]:
        one, other = before.predict(window), after.predict(window)
        assert one.embedding.tobytes() == other.embedding.tobytes()
        assert one.tags.tobytes() == other.tags.tobytes()
    assert taught.manifest.body == base.body


def test_without_other_music_to_compare_with_little_is_changed(base):
    alone = teach(labelled(base, *["reggae"] * 4, context=0), START, name="mine", version="1.0.0")
    assert agreement(alone, *confident(base, other_music())) > 0.6
    assert any("no windows of other music" in line for line in summary(alone))


def test_music_between_the_corrected_label_and_others_has_the_weight_of_the_corrections(base):
    (_, _, near), *_ = songs("reggae", each=60)
    others = np.concatenate([values for _, _, values in songs(*other_music()[:5])])
    given = replace(labelled(base, *["reggae"] * 4), context_embeddings=(0.3 * near + 0.7 * others).astype(np.float32))
    (reggae,) = teach(given, START, name="mine", version="1.0.0").improvements
    assert reggae.before <= 1
    assert reggae.windows == 48
    # With a tenth of that weight none is right.
    assert reggae.after > 40


def test_one_correction_of_a_label_is_halved_and_named_so(base):
    taught = teach(labelled(base, "reggae", "cumbia"), START, name="mine", version="1.0.0")
    assert [each.corrections for each in taught.improvements] == [1, 1]
    assert all("halved" in line for line in summary(taught) if "right before" in line)


def test_labels_of_players_count_where_the_model_or_a_person_knows_them(base):
    given = labelled(
        base, "Hip-Hop", "cumbia", "Alternative Punk", "Cumbia", players=("Hip-Hop", "Alternative Punk", "Cumbia")
    )
    taught = teach(given, START, name="mine", version="1.0.0")
    assert taught.manifest.labels == (*base.labels, "cumbia")
    assert taught.left_out == ("Alternative Punk",)
    assert {each.label: each.corrections for each in taught.improvements} == {"hiphop": 1, "cumbia": 2}


def test_a_label_differs_by_more_than_case_and_hyphens():
    assert matching_label("hip hop", ("rock", "Hip-Hop")) == "Hip-Hop"
    assert matching_label("rock'n'roll", ("rock",)) is None
    assert matching_label("日本", ("日本",)) == "日本"


def test_too_few_windows_are_refused(base):
    given = labelled(base, "unknown genre", players=("unknown genre",))
    with pytest.raises(TeachError, match="0 windows"):
        teach(given, START, name="mine", version="1.0.0")


@pytest.fixture
def state(tmp_path, base):
    """A state folder with corrections."""
    folder = tmp_path / "state"
    folder.mkdir()
    correct(folder, base)
    return folder


def correct(folder, base, labels=("reggae", "cumbia") * 4, seed=0):
    store = CorrectionStore(folder)
    ((_, _, other),) = songs(other_music()[0], each=40, seed=seed)
    for number, label, values in songs(*labels, seed=seed):
        times = 1e9 + 1000.0 * number + 3.0 * np.arange(len(values))
        windows, context = (
            EmbeddedWindows(base.id, base.body, (), at, part.astype(np.float16), np.empty((len(part), 0)))
            for at, part in ((times, values), (times[:1] - 500.0 + np.arange(len(other)), other))
        )
        store.add(windows, label, start=times[0], end=times[-1], made=times[-1], source="person", context=context)


def teacher(folder, steps):
    return Teacher(folder, START, steps.append, budget=1.5, windows=10)


def test_a_taught_model_is_tested_put_on_probation_and_rolled_back(state):
    steps = []
    made = teacher(state, steps)
    made.install(made.teach())
    assert [step.stage for step in steps] == [Stage.VERIFIED, Stage.TESTED, Stage.PROBATION]
    store = Store(state)
    assert store.current == "genre-taught-1.0.0.0"
    assert store.read().active.windows_left == 10
    made._installer.store.roll_back("")  # noqa: SLF001 - as headnod models rollback does
    assert Store(state).current is None


def test_teaching_again_starts_from_the_model_that_was_not_taught(state, base):
    first = teacher(state, [])
    first.install(first.teach())
    correct(state, base, ("salsa",) * 3, seed=4)
    again = teacher(state, []).teach()
    assert again.manifest.id == "genre-taught-2.0.0"
    assert again.manifest.labels == (*base.labels, "cumbia", "salsa")
    assert again.manifest.training.recipe["start_sha256"] == base.sha256[MODEL]
    store = Store(state)
    assert starting_bundle(store.active_folder(), [START]) == START
    assert starting_bundle(store.active_folder(), []) == store.active_folder()


def test_corrections_of_another_network_are_named(tmp_path, base):
    correct(tmp_path, replace(base, sha256={**base.sha256, MODEL: "1" * 64}))
    with pytest.raises(TeachError, match=r"those of genre-2\.2\.0 are of another network"):
        teacher(tmp_path, []).teach()


def test_the_command_teaches_installs_and_the_list_shows_it(state, tmp_path):
    environment = surroundings(tmp_path, PYTHONUTF8="1")
    ended = run("teach", "--state", state, environment=environment)
    assert ended.returncode == 0, ended.stderr
    assert "cumbia: 0 of 48 windows right before" in ended.stdout
    assert "on probation for 10 windows" in ended.stdout
    rows = json_lines(run("models", "list", "--json", "--state", state, environment=environment))
    assert next(row["model"] for row in rows if row["listens"]) == "genre-taught-1.0.0"
    assert run("models", "rollback", "--state", state, environment=environment).returncode == 0
    exported = run("corrections", "export", tmp_path / "songs.npz", "--state", state, environment=environment)
    assert exported.returncode == 0, exported.stderr
    with np.load(tmp_path / "songs.npz") as arrays:
        assert arrays["features"].shape == (96, 264)
    below = tmp_path / "songs.npz" / "songs.npz"
    refused = run("corrections", "export", below, "--state", state, environment=environment)
    assert fault(refused) == f"headnod: {below}: cannot be written: not a directory"


def test_the_command_installs_nothing_where_nothing_improves(tmp_path, base):
    folder = tmp_path / "state"
    folder.mkdir()
    last = LastLayer((START / MODEL).read_bytes(), base)
    names = (*base.labels, "not music")
    rng = np.random.default_rng(3)
    store = CorrectionStore(folder)
    # Two corrections that agree with the present answers.
    for number in range(2):
        values = rng.uniform(0.0, 0.2, (8, SIZE)).astype(np.float16)
        label = names[last.shipped.logits(last.features_of(values)).mean(axis=0).argmax()]
        times = 1e9 + 1000.0 * number + np.arange(8)
        windows = EmbeddedWindows(base.id, base.body, (), times, values, np.empty((8, 0)))
        store.add(
            windows, label, start=times[0], end=times[-1], made=0.0, source="person", context=windows.rows(np.arange(0))
        )
    ended = run("teach", "--state", folder, environment=surroundings(tmp_path))
    assert ended.returncode == 1
    assert "nothing is installed" in ended.stdout
    assert not (folder / "models").exists()


def test_without_corrections_the_command_says_what_to_do(tmp_path):
    ended = run("teach", "--state", tmp_path, environment=surroundings(tmp_path))
    assert ended.returncode == 1
    assert "there are no corrections of genre-2.2.0 (correct songs on the page)" in ended.stderr
