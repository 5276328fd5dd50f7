"""What a person can do wrong costs one line that names the thing and the way out, and the right exit status."""

import pytest

from headnod.inference.manifest import MODEL
from headnod.resources import demo_clip
from support.bundles import copied, edited, flipped
from support.command_line import fault, json_lines, write
from support.signals import RATE, music, wav

BROKEN = {
    "missing.wav": None,
    "text.wav": b"this is no music, it only says so\n" * 40,
    "empty.wav": b"",
    "mute.wav": wav(music(1.0).tobytes(), channels=0),
    "hush.wav": wav(b""),
    "odd.wav": wav(b"\0" * 4_000, rate=3),
}


def test_a_broken_file_costs_one_line_and_no_other_file(headnod, tmp_path, demo):
    good = write(tmp_path / "good.wav", demo[: 4 * RATE])
    for name, content in BROKEN.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    cut = write(tmp_path / "cut.flac", demo)
    cut.write_bytes(cut.read_bytes()[:-40_000])
    (tmp_path / "folder.wav").mkdir()
    # Folders are refused before the first file is read.
    broken = [tmp_path / name for name in ("folder.wav", *BROKEN, "cut.flac")]
    ended = headnod("classify", "--json", good, *broken, good)
    assert ended.returncode == 1
    assert [each["genre"] for each in json_lines(ended)] == ["metal", "metal"]
    lines = ended.stderr.splitlines()
    assert len(lines) == len(broken)
    for path, line in zip(broken, lines, strict=True):
        assert line.startswith(f"headnod: {path}: ")


@pytest.mark.parametrize("name", BROKEN)
def test_listening_to_a_broken_file_is_one_line(headnod, tmp_path, name):
    if BROKEN[name] is not None:
        (tmp_path / name).write_bytes(BROKEN[name])
    ended = headnod("listen", "--audio", tmp_path / name, "--json")
    assert str(tmp_path / name) in fault(ended, 0 if name == "hush.wav" else 1)
    assert ended.stdout == ""


def test_a_bundle_with_one_changed_byte_is_refused(headnod, bundle, tmp_path):
    folder = copied(bundle, tmp_path)
    flipped(folder / MODEL, 1_000)
    for words in (("classify",), ("listen", "--audio")):
        line = fault(headnod(*words, demo_clip(), "--model", folder))
        assert line.startswith(f"headnod: {folder / MODEL}: sha256 is ")
        assert line.endswith("reinstall the model)")


def test_a_manifest_with_a_misspelt_key_is_refused(headnod, bundle, tmp_path):
    folder = edited(
        copied(bundle, tmp_path), lambda content: content["front_end"].update(hopp=content["front_end"].pop("hop"))
    )
    line = fault(headnod("classify", demo_clip(), "--model", folder))
    assert line == f"headnod: {folder}/manifest.json: front_end: unknown key 'hopp' (repack or reinstall the model)"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["lisen"],
        ["listen", "--no-such-option"],
        ["listen", "--js"],
        ["listen", "--json", "--plain"],
        ["listen", "--rate", "fast"],
        ["listen", "--pace", "slow"],
        ["classify"],
        ["classify", "--json"],
        ["config"],
    ],
)
def test_wrong_usage_exits_with_2(headnod, words):
    ended = headnod(*words)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "usage: headnod" in ended.stderr


def test_a_configuration_that_is_absent_exits_with_78(headnod):
    line = fault(headnod("listen", "--audio", demo_clip(), "--config", "nowhere.toml"), 78)
    assert line.startswith("headnod: nowhere.toml: there is no such file")


@pytest.mark.parametrize("words", [("listen", "--audio", "x.wav"), ("classify", "x.wav"), ("leds", "preview")])
def test_a_model_that_is_absent_exits_with_2_from_a_flag_and_with_78_from_the_configuration(
    headnod, environment, words
):
    reason = "there is no model 'gener' (shipped are "
    assert fault(headnod(*words, "--model", "gener"), 2).startswith(f"headnod: --model: {reason}")
    environment |= {"HEADNOD_MODEL__NAME": "gener"}
    assert fault(headnod(*words), 78).startswith(f"headnod: HEADNOD_MODEL__NAME: model.name: {reason}")


@pytest.mark.parametrize("words", [["--rate", "7"], ["--every", "0"], ["--every", "nan"]])
def test_a_flag_that_cannot_be_exits_with_2(headnod, words):
    assert fault(headnod("listen", "--audio", demo_clip(), *words), 2).startswith(f"headnod: {words[0]}: ")


def test_a_wrong_configuration_exits_with_78(headnod, environment, tmp_path):
    (tmp_path / "headnod.toml").write_text("[listen]\nevry = 1.0\n")
    for words in (
        ("listen", "--audio", demo_clip()),
        ("classify", demo_clip()),
        ("config", "check"),
        ("config", "show"),
    ):
        line = fault(headnod(*words), 78)
        assert line.endswith("headnod.toml:2: listen.evry: there is no such key (did you mean 'every'?)")
    environment |= {"HEADNOD_CONFIG": str(tmp_path / "empty"), "HEADNOD_LOG__LEVEL": "loud"}
    (tmp_path / "empty").touch()
    assert fault(headnod("config", "check"), 78).startswith("headnod: HEADNOD_LOG__LEVEL: log.level: ")


def test_a_history_that_is_another_file_ends_the_listener_with_78(headnod, environment, tmp_path):
    (tmp_path / "notes").write_text("no history\n")
    environment |= {"HEADNOD_HISTORY__PATH": str(tmp_path / "notes")}
    line = fault(headnod("listen", "--audio", demo_clip(), "--json"), 78)
    assert line == (
        f"headnod: HEADNOD_HISTORY__PATH: history.path: {tmp_path}/notes: is not an SQLite database "
        "(set another history.path)"
    )


def test_a_file_in_place_of_the_state_folder_is_named_and_nothing_is_advised_to_be_deleted(
    headnod, environment, tmp_path
):
    (tmp_path / "state").write_text("a file\n")
    environment |= {"HEADNOD_HISTORY__PATH": str(tmp_path / "state" / "history.sqlite")}
    ended = headnod("listen", "--audio", demo_clip(), "--json")
    assert ended.returncode == 0
    assert "Not a directory" in ended.stderr
    assert "Errno" not in ended.stderr
    assert "delete" not in ended.stderr
    assert "File exists" not in ended.stderr
