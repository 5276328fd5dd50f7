"""What a network is taught comes from the label, from a tagger and from other networks, second by second."""

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import read_archive
from headnod_train.training.archive_batches import TagsError, labelled, with_tags, with_teacher_scores
from support.tones import write_tones

pytest.importorskip("sklearn", reason="learning from tags needs scikit-learn: scripts/setup train")

FRONT_END = FrontEnd(n_mfcc=20)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    path = write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)
    return read_archive(path, FRONT_END).subset("train")


def tags_file(folder, train, *, seconds=6, **changed):
    """Tags of every track but the first: two that tell the genre and one that is the second."""
    genre = np.repeat(train.targets(train.labels)[1:], seconds)
    second = np.tile(np.arange(seconds), len(train) - 1)
    tags = np.stack([genre / 2, genre == 1, second / 10], axis=1).astype(np.float16)
    arrays = {"tags": tags, "track": np.repeat(train.tracks[1:], seconds), **changed}
    np.savez(folder / "tags.npz", **{name: array for name, array in arrays.items() if array is not None})
    return folder / "tags.npz"


def test_a_label_is_sure_of_every_second(train):
    answers = labelled(train, train.labels, FRONT_END)
    genres, _, tagged = answers.at(np.array([0, 11]), np.array([0, 90]), FRONT_END)
    assert genres.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert tagged.tolist() == [0, 0]


def test_a_window_is_answered_with_the_tags_of_the_second_it_starts_in(train, tmp_path):
    answers = with_tags(labelled(train, train.labels, FRONT_END), train, tags_file(tmp_path, train))
    frame = round(4 * FRONT_END.sample_rate / FRONT_END.hop)
    _, tags, tagged = answers.at(np.array([1, 0]), np.array([frame, frame]), FRONT_END)
    assert tagged.tolist() == [1, 0]
    assert tags[0, 2] == pytest.approx(0.4, abs=0.01)
    assert tags[1].tolist() == [0, 0, 0]


def test_times_of_tags_are_believed_where_they_are_reported(train, tmp_path):
    times = np.tile(np.arange(0.0, 12.0, 2.0), len(train) - 1).astype(np.float32)
    answers = with_tags(labelled(train, train.labels, FRONT_END), train, tags_file(tmp_path, train, time=times))
    assert answers.tagged[1, :5].tolist() == [1, 0, 1, 0, 1]


def test_what_tags_say_of_genre_softens_the_label_and_never_outvotes_it(train, tmp_path):
    answers = with_tags(labelled(train, train.labels, FRONT_END), train, tags_file(tmp_path, train))
    targets = train.targets(train.labels)
    assert np.allclose(answers.genres.sum(axis=2), 1.0, atol=1e-5)
    assert (answers.genres.argmax(axis=2) == targets[:, None]).all()
    told = answers.genres[1, 0, targets[1]]
    assert 0.5 <= told < 1.0
    assert answers.genres[0, 0, targets[0]] == 1.0


def test_opinions_of_teachers_count_half(train):
    answers = labelled(train, train.labels, FRONT_END)
    teacher_scores = np.full_like(answers.genres, 1 / 3)
    blended = with_teacher_scores(answers, teacher_scores).genres[0, 0]
    assert blended == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"track": np.array(["stranger"] * 66)}, "has no track of the archive .*'stranger'"),
        ({"tags": np.full((66, 3), np.nan)}, "not a probability"),
        ({"tags": np.zeros((65, 3))}, r"tags has shape \(65, 3\), track \(66,\)"),
        ({"tags": None}, "is not a file of tags"),
    ],
)
def test_a_file_of_tags_that_cannot_be_used_says_why(train, tmp_path, changed, said):
    with pytest.raises(TagsError, match=said):
        with_tags(labelled(train, train.labels, FRONT_END), train, tags_file(tmp_path, train, **changed))


def test_a_missing_file_of_tags_is_named(train, tmp_path):
    with pytest.raises(TagsError, match=r"nowhere\.npz: No such file"):
        with_tags(labelled(train, train.labels, FRONT_END), train, tmp_path / "nowhere.npz")
