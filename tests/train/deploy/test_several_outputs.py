"""A network of answers, tags and embedding is converted, measured and packed as format 2."""

import json

import numpy as np
import pytest
from msgspec import structs
from rich.console import Console

pytest.importorskip("tensorflow", reason="conversion needs tensorflow: pip install 'headnod[train]'")

from headnod.errors import ManifestError
from headnod.inference.manifest import MANIFEST, Calibration, Energy, Tags, Tensor
from headnod.inference.model import load_checked
from headnod_train.backend import keras
from headnod_train.dataset.archive import read_archive, window_features
from headnod_train.deploy.pack import golden_features, pack
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.provenance import DatasetInfo
from headnod_train.training.quantise import converted
from headnod_train.training.run_folder import Quantised, Recipe, TrainingSettings, draft, runnable, with_outputs
from support.tones import FRONT_END, GENRES, write_tones

NAMES = ("mellow", "loud", "guitar", "Hip-Hop", "sad", "happy", "House")
TAGS = Tags(NAMES, (0.5,) * len(NAMES), (-0.25,) * len(NAMES))
ENERGY = Energy((0.1,) * len(NAMES), -0.5)


def untrained(front_end, *, answers, tags, embedding):
    """A small network of three outputs with random weights."""
    layers, initial = keras.layers, keras.initializers.GlorotUniform
    features = keras.Input((front_end.frames, front_end.n_features), name="features")
    x = layers.Reshape((front_end.frames, front_end.n_features, 1))(features)
    x = layers.Conv2D(8, 5, strides=2, activation="relu", kernel_initializer=initial(1))(x)
    x = layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Dense(embedding, activation="relu", kernel_initializer=initial(2), name="embedding")(x)
    heads = [
        layers.Dense(size, kernel_initializer=initial(3 + place), name=name)(x)
        for place, (name, size) in enumerate((("answers", answers), ("tags", tags)))
    ]
    return keras.Model(features, [*heads, x], name="untrained")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)


@pytest.fixture(scope="module")
def run(tmp_path_factory, archive):
    """A quantised run of a network with random weights."""
    run, played = tmp_path_factory.mktemp("run"), read_archive(archive, FRONT_END)
    learning = played.subset("train")
    features, _ = window_features(learning, FRONT_END)
    mean, deviation = features.mean(axis=(0, 1)), np.maximum(features.std(axis=(0, 1)), 1e-3)
    recipe = Recipe(
        archive.name, len(learning), GENRES, FRONT_END, tuple(map(float, mean)), tuple(map(float, deviation)),
        MelAugmentation(), TrainingSettings(epochs=1), tag_names=NAMES,
    )  # fmt: skip
    run_folder.start(run, recipe, [str(track) for track in learning.tracks])
    network = untrained(FRONT_END, answers=len(GENRES), tags=len(NAMES), embedding=12)
    windows = ((features - mean) / deviation)[:20].astype(np.float32)
    (run / run_folder.FLOAT).write_bytes(converted(network, "float32", windows))
    (run / run_folder.MODEL).write_bytes(converted(network, "int8", windows))
    quantised = Quantised(1.0, 0.0, 20, 1000, {"by": "hand"}, Calibration(1.0, 0.0), TAGS, ENERGY, "Copyright Somebody")
    write_json(run / run_folder.QUANTISED, quantised)
    return run


def test_int8_says_nearly_what_the_float_network_says(run, archive):
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    models = [
        runnable(run, name, structs.replace(draft(recipe, kind), tags=TAGS, energy=ENERGY))
        for name, kind in ((run_folder.MODEL, "int8"), (run_folder.FLOAT, "float32"))
    ]
    features, _ = window_features(read_archive(archive, FRONT_END).subset("train"), FRONT_END)
    for window in features[:20]:
        stored, exact = (model.predict(window) for model in models)
        assert np.abs(stored.scores - exact.scores).max() < 0.05
        assert np.abs(stored.tags - exact.tags).max() < 0.05
        assert abs(stored.energy - exact.energy) < 0.05
        assert np.abs(stored.embedding - exact.embedding).max() < 0.1 * np.abs(exact.embedding).max()


def test_the_outputs_of_a_packed_bundle_are_found_by_their_sizes(run, archive, tmp_path):
    folder, found = pack(
        run, archive, tmp_path, name="tones", version="2.0.0", collection=DatasetInfo("tones", "nobody's"),
        console=Console(quiet=True),
    )  # fmt: skip
    written = json.loads((folder / MANIFEST).read_bytes())
    assert written["format"] == 2
    assert sorted((each["role"], each["shape"][1]) for each in written["outputs"]) == [
        ("answers", len(GENRES)),
        ("embedding", 12),
        ("tags", len(NAMES)),
    ]
    model = load_checked(folder)
    assert model.manifest.tags == TAGS
    assert model.manifest.energy == ENERGY
    assert model.manifest.notice == "Copyright Somebody"
    assert found.floating is not None, "the float network was run too"
    said = model.predict(golden_features(FRONT_END)[0])
    assert (said.tags.shape, said.embedding.shape) == ((len(NAMES),), (12,))


@pytest.mark.parametrize(
    ("answers", "names", "complaint"),
    [
        (5, NAMES, "0 can be the answers"),
        (len(NAMES), NAMES, "answers and tags are 7 numbers each"),
        (len(GENRES), NAMES[:4], "0 can be the tags"),
    ],
)
def test_an_output_whose_size_says_nothing_is_refused(run, answers, names, complaint):
    recipe = structs.replace(run_folder.load(run, run_folder.RECIPE, Recipe), tag_names=names)
    manifest = structs.replace(draft(recipe, "int8"), output=Tensor((1, answers), "int8"))
    with pytest.raises(ManifestError, match=complaint):
        with_outputs(manifest, (run / run_folder.MODEL).read_bytes())
