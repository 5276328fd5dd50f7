"""Corrections: the right windows, with precedence, within bounds, and out of the file again."""

import io
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.inference.manifest import MODEL, Prediction
from headnod.sqlite import DatabaseAccessError, ForeignDatabaseError
from headnod.teaching.correction_commands import CorrectionFileError, LabelledFeatures, packed, read_corrections
from headnod.teaching.corrections import CorrectionError, CorrectionStore, RecentWindows
from headnod.testing import ManualClock, fixed_manifest
from support.command_line import fault, run, surroundings
from support.estimates import estimate
from support.unprivileged import as_nobody

ANSWERS = ("jazz", "metal")
MANIFEST = fixed_manifest()
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def clock():
    return ManualClock()


def recorded(clock, count=20, capacity=50, **more):
    recent = RecentWindows(Clock(now=clock.now, monotonic=clock.monotonic), capacity=capacity)
    for number in range(count):
        clock.seconds = 3.0 * number
        add(recent, clock, number, **more)
    return recent


def add(recent, clock, number, manifest=MANIFEST, size=4):
    prediction = Prediction(np.array([0.75, 0.25], np.float32), embedding=np.full(size, number, np.float32))
    recent.add(replace(estimate("jazz"), monotonic=clock.monotonic()), prediction, manifest, ANSWERS)


def between(recent, start, end):
    """The windows from `start` to `end`, in seconds since noon."""
    windows = recent.all()
    return windows.rows(windows.between(NOON + start, NOON + end))


def numbers(windows):
    return windows.embeddings[:, 0].astype(int).tolist()


@pytest.fixture
def store(tmp_path):
    return CorrectionStore(tmp_path)


def correct(store, recent, start, end, label, source="person", context=(0, 0)):
    windows, around = between(recent, start, end), recent.all().rows(np.arange(*context))
    return store.add(windows, label, start=NOON + start, end=NOON + end, made=NOON + 60, source=source, context=around)


def test_a_time_range_has_the_windows_whose_estimates_were_made_in_it(clock):
    recent = recorded(clock)
    assert numbers(between(recent, 9.0, 15.0)) == [3, 4, 5]
    assert numbers(between(recent, 9.1, 14.9)) == [4]
    assert between(recent, 9.0, 9.0).scores.tolist() == [[0.75, 0.25]]


def test_the_oldest_windows_make_room_and_another_model_starts_anew(clock):
    recent = recorded(clock, count=20, capacity=8)
    assert numbers(recent.all()) == list(range(12, 20))
    add(
        recent,
        clock,
        98,
        manifest=replace(MANIFEST, version="2.0.0", sha256={**MANIFEST.sha256, MODEL: "1" * 64}),
        size=7,
    )
    assert recent.all().embeddings.shape == (1, 7)


def test_a_model_that_was_taught_here_keeps_the_windows_of_its_body(clock):
    recent = recorded(clock, count=6)
    training = replace(MANIFEST.training, recipe={"base_sha256": MANIFEST.body})
    taught = replace(MANIFEST, name="taught", training=training, sha256={**MANIFEST.sha256, MODEL: "1" * 64})
    prediction = Prediction(np.array([0.1, 0.2, 0.7], np.float32), embedding=np.full(4, 6, np.float32))
    recent.add(replace(estimate("jazz"), monotonic=18.0), prediction, taught, ("ska", "jazz", "metal"))
    windows = recent.all()
    assert (numbers(windows), windows.model) == (list(range(7)), "taught-1.0.0")
    assert windows.scores[0].tolist() == [0.0, 0.75, 0.25]


def test_a_window_without_an_embedding_is_left_out(clock):
    recent = recorded(clock, count=2)
    recent.add(estimate("jazz"), Prediction(np.array([0.5, 0.5], np.float32)), MANIFEST, ANSWERS)
    assert len(recent.all().times) == 2


def test_times_follow_a_wall_clock_that_is_set_later(clock):
    wall = [timedelta(0)]
    recent = RecentWindows(Clock(now=lambda: clock.now() + wall[0], monotonic=clock.monotonic))
    add(recent, clock, 1)
    wall[0] = timedelta(days=30)
    assert numbers(between(recent, 30 * 86_400 - 1, 30 * 86_400 + 1)) == [1]


def test_a_correction_keeps_label_times_and_embeddings(store, clock):
    added = correct(store, recorded(clock), 9, 15, "reggae", context=(10, 13))
    assert (added.label, added.windows, added.start, added.end) == ("reggae", 3, NOON + 9, NOON + 15)
    (found,) = CorrectionStore(store.path.parent).all()
    assert found == added
    labelled = store.labelled(MANIFEST.body)
    assert labelled.times.tolist() == [NOON + 9, NOON + 12, NOON + 15]
    assert labelled.embeddings[:, 0].tolist() == [3, 4, 5]
    assert labelled.labels == ("reggae",) * 3
    assert labelled.context_embeddings[:, 0].tolist() == [10, 11, 12]
    assert store.labelled("0" * 63 + "1") is None


def test_the_newest_label_of_a_person_has_precedence(store, clock):
    recent = recorded(clock)
    correct(store, recent, 0, 30, "dub")
    correct(store, recent, 12, 18, "reggae", context=(0, 4))
    correct(store, recent, 15, 36, "ska", source="player")
    labelled = store.labelled(MANIFEST.body)
    by_time = dict(zip((labelled.times - NOON).tolist(), labelled.labels, strict=True))
    assert [by_time[seconds] for seconds in (0, 9, 12, 18, 21, 30, 33, 36)] == [
        *("dub", "dub", "reggae", "reggae", "dub", "dub", "ska", "ska")
    ]
    assert labelled.weights[-1] < labelled.weights[0] == 1.0
    assert len(labelled.times) == len(set(labelled.times.tolist())) == 13
    assert len(labelled.context_times) == 0


@pytest.mark.parametrize(
    ("label", "fault"),
    [("", "empty"), ("unknown", "reserved"), ("x" * 65, "65 characters"), ("a\x1b[2J", "printed"), (" ska", "space")],
)
def test_a_text_that_cannot_be_a_label_is_refused(store, clock, label, fault):
    with pytest.raises(CorrectionError, match=fault):
        correct(store, recorded(clock), 0, 30, label)
    assert not store.path.exists()


def test_a_range_without_music_or_of_hours_is_refused(store, clock):
    with pytest.raises(CorrectionError, match="no window of music"):
        correct(store, recorded(clock), 500, 600, "ska")
    long = recorded(clock, count=1_300, capacity=2_000)
    with pytest.raises(CorrectionError, match="1300 windows"):
        correct(store, long, 0, 9_000, "ska")


def test_the_file_is_bounded_and_labels_of_players_go_first(tmp_path, clock):
    store, recent = CorrectionStore(tmp_path, capacity=25), recorded(clock)
    for label, source in (("a", "person"), ("b", "player"), ("c", "person"), ("d", "player")):
        correct(store, recent, 0, 27, label, source=source)
    assert [each.label for each in store.all()] == ["a", "c"]
    correct(store, recent, 0, 27, "e")
    assert [each.label for each in store.all()] == ["c", "e"]


def test_what_is_deleted_is_not_left_in_the_file(store, clock):
    recent = recorded(clock)
    first, second = correct(store, recent, 0, 27, "secret"), correct(store, recent, 0, 27, "kept")
    assert store.delete([first.id, 999]) == 1
    assert [each.id for each in store.all()] == [second.id]
    assert b"secret" not in store.path.read_bytes()
    assert store.delete() == 1
    assert store.all() == []


@pytest.mark.parametrize("deleted", [None, [2]])
@pytest.mark.parametrize("former", [False, True])
def test_the_number_of_a_deleted_correction_is_not_used_again(store, clock, former, deleted):
    recent = recorded(clock)
    first, _ = correct(store, recent, 0.0, 3.0, "jazz"), correct(store, recent, 6.0, 9.0, "metal")
    if former:
        give_former_table(store)
    store.delete(deleted)
    assert correct(store, recent, 6.0, 9.0, "jazz").id == 3
    assert store.all()[:-1] == ([first] if deleted else [])
    with closing(sqlite3.connect(store.path)) as db:
        # `former` would be there after an upgrade that was not finished.
        assert db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'").fetchall() == [
            ("corrections",)
        ]


def test_the_command_deletes_what_there_is_and_names_what_there_is_not(store, clock, tmp_path):
    recent = recorded(clock)
    for start in (0.0, 9.0):
        correct(store, recent, start, start + 3.0, "jazz")
    ended = run("corrections", "delete", "7", "1", "9", "--state", tmp_path, environment=surroundings(tmp_path))
    assert fault(ended) == "headnod: there is no correction 7, 9 (see 'headnod corrections list')"
    assert ended.stdout == "1 deleted\n"
    assert [each.id for each in store.all()] == [2]
    ended = run("corrections", "delete", "--all", "--state", tmp_path, environment=surroundings(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1 deleted\n", "")


def give_former_table(store):
    """Make the table as headnod up to 0.3 did."""
    with closing(sqlite3.connect(store.path)) as db, db:
        (made_by,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'corrections'").fetchone()
        db.execute("ALTER TABLE corrections RENAME TO newer")
        db.execute(made_by.replace(" AUTOINCREMENT", ""))
        db.execute("INSERT INTO corrections SELECT * FROM newer")
        db.execute("DROP TABLE newer")
        db.execute("DELETE FROM sqlite_sequence")


def test_only_the_owner_may_read_the_file(store, clock):
    correct(store, recorded(clock), 0, 27, "ska")
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_moved_aside_by_the_next_correction(store, clock):
    recent = recorded(clock)
    correct(store, recent, 0, 27, "ska")
    store.path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    correct(store, recent, 0, 27, "dub")
    assert [each.label for each in store.all()] == ["dub"]
    assert store.path.with_name("corrections.sqlite.bad").exists()


def test_a_file_of_another_program_or_a_newer_headnod_is_left_alone(store, clock):
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("CREATE TABLE cats (name TEXT)")
    with pytest.raises(ForeignDatabaseError):
        correct(store, recorded(clock), 0, 27, "ska")
    with closing(sqlite3.connect(store.path)) as db, db:
        assert db.execute("SELECT count(*) FROM cats").fetchone() == (0,)


@pytest.fixture
def exported(store, clock):
    recent = recorded(clock)
    correct(store, recent, 0, 12, "reggae", context=(10, 14))
    correct(store, recent, 15, 21, "日本", source="player")
    labelled = store.labelled(MANIFEST.body)
    wide = lambda embeddings: np.repeat(embeddings, 2, axis=1)  # noqa: E731
    return LabelledFeatures(labelled, wide(labelled.embeddings), wide(labelled.context_embeddings))


def test_an_exported_file_has_what_the_store_has(exported, tmp_path):
    path = tmp_path / "songs.npz"
    path.write_bytes(packed(exported))
    found = read_corrections(path)
    assert found.windows.labels == ("reggae",) * 5 + ("日本",) * 3
    assert (found.windows.model, found.windows.body) == ("fixed-1.0.0", MANIFEST.body)
    for name in ("times", "embeddings", "weights", "groups", "context_times", "context_embeddings"):
        assert np.array_equal(getattr(found.windows, name), getattr(exported.windows, name)), name
    assert np.array_equal(found.features, exported.features)
    assert np.array_equal(found.context_features, exported.context_features)


def with_array(content, name, value):
    with np.load(io.BytesIO(content)) as arrays:
        changed = {**arrays, name: value}
    file = io.BytesIO()
    np.savez(file, **{key: array for key, array in changed.items() if array is not None})
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("format", 2, "format: is 2"),
        ("labels", np.array(["ska"] * 7), "labels: shape"),
        ("labels", np.array(["unknown"] * 8), "reserved"),
        ("labels", np.array(["ska"] * 8, object), "cannot be read"),
        ("embeddings", np.full((8, 4), np.nan), "not finite"),
        ("embeddings", np.zeros((8, 9000)), "embeddings: shape"),
        ("features", np.zeros(8), "features: shape"),
        ("context_features", np.zeros((4, 9)), "context_features: shape"),
        ("weights", np.zeros(8), "weights"),
        ("times", np.zeros(0), "0 windows"),
        ("groups", None, "cannot be read"),
        ("model", np.array(["a", "b"]), "model: shape"),
    ],
)
def test_a_file_that_was_changed_is_refused_and_named(exported, tmp_path, name, value, fault):
    path = tmp_path / "songs.npz"
    path.write_bytes(with_array(packed(exported), name, value))
    with pytest.raises(CorrectionFileError, match=rf"songs\.npz.*{fault}"):
        read_corrections(path)


def test_a_file_that_is_absent_or_no_archive_is_named(tmp_path):
    with pytest.raises(CorrectionFileError, match="no such file"):
        read_corrections(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(CorrectionFileError, match=r"text\.npz: is not a file of corrections"):
        read_corrections(tmp_path / "text.npz")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_may_not_read_the_file_is_named_as_such(store, clock):
    correct(store, recorded(clock), 0, 27, "ska")
    store.path.parent.chmod(0o755)
    with as_nobody(), pytest.raises(DatabaseAccessError):
        store.all()
