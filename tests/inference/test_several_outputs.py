"""A network of several outputs: one inference gives answers, tags, energy and embedding."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="only LiteRT brings the format's own writer")

from headnod.errors import ManifestError
from headnod.inference.manifest import GOLDEN, MANIFEST, MODEL, manifest_bytes, parse_manifest, read_manifest, softmax
from headnod.inference.model import GenreModel, check_golden, interpreter, load_checked, write_golden
from headnod.resources import models
from headnod.testing import SMALL_FRONT_END, fixed_manifest
from support.bundles import SMALL_POWER, edited, put, replaced
from support.multi_output_bundle import EMBEDDING, ENERGY, LABELS, SIZES, TAGS, manifest_of_several, network, write
from support.signals import music

FEATURES = SMALL_POWER.mfcc(music(1.0)[: SMALL_POWER.window_samples])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("bundle") / "fixed-1.0.0")


@pytest.fixture
def copy(tmp_path):
    return write(tmp_path / "fixed-1.0.0")


def by_hand(content, features):
    """The outputs in real numbers, by the runtime alone and by place."""
    network = interpreter(content)
    (given,) = network.get_input_details()
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        features = np.clip(np.rint(features / scale) + zero, -128, 127).astype(np.int8)
    network.set_tensor(given["index"], features[None])
    network.invoke()
    read = []
    for output in network.get_output_details():
        values, (scale, zero) = network.get_tensor(output["index"])[0], output["quantization"]
        read.append((values.astype(np.float64) - zero) * scale if values.dtype == np.int8 else values)
    return dict(zip(SIZES, read, strict=True))


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_one_inference_gives_every_output(kind):
    content, manifest = network(kind=kind), manifest_of_several(kind=kind)
    said, expected = GenreModel(manifest, content).predict(FEATURES), by_hand(content, FEATURES)
    assert said.scores == pytest.approx(softmax(expected["answers"]), abs=1e-5)
    cooled = np.array(manifest.tags.scale) * expected["tags"] + np.array(manifest.tags.offset)
    assert said.tags == pytest.approx(1.0 / (1.0 + np.exp(-cooled)), abs=1e-5)
    assert said.tags.shape == (len(TAGS),)
    energy = np.dot(ENERGY.weights, expected["tags"]) + ENERGY.bias
    assert said.energy == pytest.approx(1.0 / (1.0 + np.exp(-energy)), abs=1e-5)
    assert said.embedding == pytest.approx(expected["embedding"], abs=1e-5)
    assert said.embedding.shape == (EMBEDDING,)


def test_a_model_of_one_output_has_neither_tags_nor_energy_nor_embedding(model):
    said = model.predict(model.front_end.mfcc(music(4.0)[: model.front_end.window_samples]))
    assert (said.tags, said.energy, said.embedding) == (None, None, None)
    assert said.scores.shape == (len(model.answers),)
    assert model.tags == ()


def test_energy_is_safe_for_any_logits():
    manifest = structs.replace(manifest_of_several(), energy=structs.replace(ENERGY, weights=(1e6,) * len(TAGS)))
    said = GenreModel(manifest, network()).predict(FEATURES)
    assert 0.0 <= said.energy <= 1.0


def test_an_embedding_outlives_the_next_inference(folder):
    model = load_checked(folder)
    first = model.predict(FEATURES)
    kept = first.embedding.copy(), first.tags.copy(), first.scores.copy()
    model.predict(FEATURES[::-1].copy())
    for before, after in zip(kept, (first.embedding, first.tags, first.scores), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda outputs: outputs[:2], "has 3 outputs, the manifest names 2 (repack the model)"),
        (lambda outputs: outputs[::-1], "output 0, tags, is (1, 5), the manifest says (1, 7)"),
        (
            lambda outputs: [structs.replace(outputs[0], type="float32"), *outputs[1:]],
            "output 0, embedding, is int8, the manifest says float32",
        ),
    ],
)
def test_other_outputs_than_the_promised_ones_are_refused(change, complaint):
    manifest = manifest_of_several()
    with pytest.raises(ManifestError) as caught:
        GenreModel(structs.replace(manifest, outputs=tuple(change(manifest.outputs))), network())
    assert str(caught.value).startswith(f"{MODEL}: {complaint}")


def test_a_manifest_is_written_in_the_oldest_format_that_holds_it():
    for folder in models():
        stored, manifest = json.loads((folder / MANIFEST).read_bytes()), read_manifest(folder)
        written = json.loads(manifest_bytes(manifest))
        # The first bundle is older than these keys.
        unsaid = {"serial": 0, "health": None, "single": None} if "serial" not in stored else {}
        assert written == {**stored, **unsaid, "rejection": {"not_music": False, **stored["rejection"]}}, folder.name
        assert manifest.format == (2 if "tags" in stored else 1)


def test_a_manifest_with_new_fields_is_written_in_format_2_and_read_as_it_was(tmp_path):
    for manifest in (
        manifest_of_several(),
        structs.replace(fixed_manifest(SMALL_POWER), notice="Copyright Somebody"),
        fixed_manifest(SMALL_POWER),
        fixed_manifest(dataclasses.replace(SMALL_FRONT_END, n_mfcc=0)),
    ):
        read = parse_manifest(manifest_bytes(manifest), tmp_path)
        assert read == structs.replace(manifest, format=2, outputs=manifest.tensors)
        assert manifest_bytes(read) == manifest_bytes(manifest)


def gone(*path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put(1, "format"), "format: is 1, which has no 'outputs'"),
        (put([], "outputs"), "outputs: there must be one or more"),
        (gone("outputs"), "outputs: there must be one or more"),
        (put("answers", "outputs", 0, "role"), "outputs: contain a duplicate role"),
        (put("logits", "outputs", 0, "role"), "at `$.outputs[0].role`"),
        (put([1, 3], "outputs", 1, "shape"), "outputs: that of role 'answers' is not the manifest's 'output'"),
        (put([1, 6], "outputs", 2, "shape"), "outputs: that of role 'tags' is (1, 6), the tags need (1, 7)"),
        (put([1, 4097], "outputs", 0, "shape"), "outputs: that of role 'embedding' is (1, 4097), not (1, 1 to 4096)"),
        (put([1, 0], "outputs", 0, "shape"), "outputs: that of role 'embedding' is (1, 0)"),
        (put([5], "outputs", 0, "shape"), "outputs: that of role 'embedding' is (5,)"),
        (put("int4", "outputs", 0, "type"), "at `$.outputs[0].type`"),
        (put(None, "tags"), "outputs: that of role 'tags' is (1, 7), the tags need (1, 0)"),
        (put("guitar", "tags", "names", 0), "tags.names: is empty or contains a duplicate"),
        (put("\x1b[2Jmellow", "tags", "names", 0), "at `$.tags.names[0]`"),
        (put("", "tags", "names", 0), "at `$.tags.names[0]`"),
        (put("x" * 40, "tags", "names", 0), "at `$.tags.names[0]`"),
        (put(["a" + str(number) for number in range(300)], "tags", "names"), "length <= 256 - at `$.tags.names`"),
        (put([1.0], "tags", "scale"), "tags: has 1 scales and 7 offsets for 7 names"),
        (put(1e7, "tags", "scale", 3), "tags: holds a number that is not finite, or over 1e+06"),
        (put(-1e300, "tags", "offset", 3), "tags: holds a number that is not finite, or over 1e+06"),
        (put("much", "tags", "offset", 3), "at `$.tags.offset[3]`"),
        (put([1.0], "energy", "weights"), "energy.weights: has 1 numbers, not one for each tag"),
        (put(1e300, "energy", "bias"), "energy: holds a number that is not finite"),
        (put("\x1b[2J", "notice"), "notice: holds '\\x1b', which cannot be printed"),
        (put("x" * 70_000, "notice"), "at `$.notice`"),
        (put("loud", "front_end", "compression"), "at `$.front_end.compression`"),
        (put(1e99, "front_end", "level_db"), "level_db is 1e+99, it must lie between -100 and 100 - at `$.front_end`"),
        (gone("front_end", "level"), "front_end: 'level' is missing"),
        (put(1e300, "standardisation", "mean", 3), "standardisation: holds a number that is not finite"),
        (put(1e-300, "standardisation", "deviation", 3), "standardisation: holds a deviation that is not positive"),
    ],
)
def test_a_hostile_field_is_refused_by_name(copy, change, complaint):
    with pytest.raises(ManifestError) as caught:
        read_manifest(edited(copy, change))
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_tags_without_their_output_are_refused(copy):
    def change(content):
        content["outputs"].pop()

    with pytest.raises(ManifestError, match="tags: no output has the role 'tags'"):
        read_manifest(edited(copy, change))


def test_energy_without_tags_is_refused(copy):
    def change(content):
        content["outputs"].pop()
        content["tags"] = None

    with pytest.raises(ManifestError, match="energy: needs tags, and there are none"):
        read_manifest(edited(copy, change))


@pytest.mark.parametrize("key", ["compression", "level", "mel_scale", "mel_norm"])
def test_a_front_end_that_format_1_has_no_words_for_is_refused_in_it(tmp_path, key):
    other = {"compression": "log10", "level": "power", "mel_scale": "htk", "mel_norm": "none"}[key]
    content = json.loads(manifest_bytes(fixed_manifest()))
    content["front_end"][key] = other
    with pytest.raises(ManifestError, match=f"format: is 1, which has no 'front_end.{key}'"):
        parse_manifest(json.dumps(content).encode(), tmp_path)


def test_log_mel_as_features_is_refused_in_format_1(tmp_path):
    content = json.loads(manifest_bytes(fixed_manifest()))
    content["front_end"]["n_mfcc"] = 0
    with pytest.raises(ManifestError, match=r"front_end\.n_mfcc: is 0, format 1 needs 1 or more"):
        parse_manifest(json.dumps(content).encode(), tmp_path)


@given(data=st.data())
def test_no_damage_to_a_manifest_escapes_as_another_error(tmp_path_factory, data):
    content = bytearray(manifest_bytes(manifest_of_several()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ManifestError):
        parse_manifest(bytes(content), tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("name", ["scores", "tags", "energy", "embedding"])
def test_golden_numbers_cover_every_output(copy, name):
    golden = (copy / GOLDEN).read_bytes()
    model = GenreModel.load(copy)
    check_golden(model, golden)
    with np.load(io.BytesIO(golden)) as arrays:
        changed = dict(arrays)
    changed[name] = changed[name] + np.float32(0.2 * np.abs(changed[name]).max())
    file = io.BytesIO()
    np.savez_compressed(file, **changed)
    with pytest.raises(ManifestError, match=rf"golden\.npz: {name}: this machine differs by"):
        check_golden(model, file.getvalue())
    file = io.BytesIO()
    np.savez_compressed(file, **{each: array for each, array in changed.items() if each != name})
    with pytest.raises(ManifestError, match=rf"golden\.npz: cannot be read: .*{name}"):
        check_golden(model, file.getvalue())


def test_a_front_end_of_another_level_is_found_by_the_chirp(copy):
    golden = (copy / GOLDEN).read_bytes()
    edited(copy, put(-5.0, "front_end", "level_db"))
    with pytest.raises(ManifestError, match=r"golden\.npz: chirp_features: this machine differs"):
        check_golden(GenreModel.load(copy), golden)


def test_golden_numbers_of_another_network_are_refused(copy):
    other = GenreModel(manifest_of_several(), network(seed=4))
    replaced(copy, GOLDEN, write_golden(other, FEATURES[None]))
    with pytest.raises(ManifestError, match=r"golden\.npz: (scores|tags)"):
        load_checked(copy)


def test_labels_are_those_of_the_answers(folder):
    assert GenreModel.load(folder).labels == LABELS
    assert GenreModel.load(folder).tags == TAGS


@pytest.mark.parametrize(
    ("name", "difference", "allowed"),
    [
        ("chirp_features", 0.0049, True), ("chirp_features", 0.0051, False),
        ("tags", 0.049, True), ("tags", 0.051, False),
        ("energy", 0.049, True), ("energy", 0.051, False),
    ],
)  # fmt: skip
def test_features_in_decades_tags_and_energy_have_tolerances(copy, name, difference, allowed):
    differs(copy, name, difference, allowed)


@pytest.mark.parametrize(("share", "allowed"), [(0.039, True), (0.041, False)])
def test_an_embedding_may_differ_by_four_hundredths_of_its_largest_number(copy, share, allowed):
    with np.load(copy / GOLDEN) as arrays:
        largest = np.abs(arrays["embedding"]).max()
    differs(copy, "embedding", share * largest, allowed)


def differs(folder, name, difference, allowed):
    with np.load(folder / GOLDEN) as arrays:
        changed = dict(arrays)
    smallest = np.abs(changed[name]).argmin()
    changed[name].flat[smallest] += np.float32(difference)
    file = io.BytesIO()
    np.savez_compressed(file, **changed)
    with contextlib.nullcontext() if allowed else pytest.raises(ManifestError, match=f"{name}: this machine differs"):
        check_golden(GenreModel.load(folder), file.getvalue())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put(1e6, "tags", "scale", 3), ""),
        (put(1.000001e6, "tags", "scale", 3), "tags: holds a number"),
        (put(-1e6, "energy", "bias"), ""),
        (put(-1.000001e6, "energy", "bias"), "energy: holds a number"),
        (put([1, 4096], "outputs", 0, "shape"), ""),
        (put([1, 1], "outputs", 0, "shape"), ""),
        (put(["a" + str(number) for number in range(256)], "tags", "names"), "tags need (1, 256)"),
        (put("a" * 32, "tags", "names", 0), ""),
        (put("a" * 33, "tags", "names", 0), "at `$.tags.names[0]`"),
        (put("x" * 65_536, "notice"), ""),
        (put("x" * 65_537, "notice"), "at `$.notice`"),
    ],
)
def test_numbers_and_texts_are_accepted_up_to_their_limits(copy, change, complaint):
    edited(copy, change)
    with pytest.raises(ManifestError) if complaint else contextlib.nullcontext() as refused:
        read_manifest(copy)
    assert complaint in str(refused.value if complaint else "")
