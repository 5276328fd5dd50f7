"""headnod-train answers wrong input with one line, and loads TensorFlow only to train."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from headnod import __version__
from headnod.cli.parser import Parser
from headnod.features.frontend import FrontEnd
from headnod_train import cli
from headnod_train.__main__ import command_parser, main
from support.command_line import PATIENCE
from support.tones import write_tones


@pytest.fixture
def archive(tmp_path):
    return write_tones(tmp_path / "tones.npz", FrontEnd())


def refused(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return status, lines[0]


def test_a_missing_bundle_is_one_line(capsys, tmp_path):
    absent = tmp_path / "absent"
    status, line = refused(capsys, "evaluate", absent, "--data", tmp_path / "no.npz")
    assert status == 1
    assert str(absent) in line


def test_a_missing_archive_is_one_line(tmp_path):
    absent = tmp_path / "no.npz"
    command = [sys.executable, "-m", "headnod_train", "fit", "--data", absent, "--run", tmp_path / "run"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (1, "")
    # Without TensorFlow its absence is the one line.
    assert ended.stderr.count("\n") == 1
    assert str(absent) in ended.stderr or "headnod[train]" in ended.stderr


def test_a_fit_that_is_interrupted_keeps_its_last_whole_epoch(tmp_path, archive):
    pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "headnod_train", "fit", "--data", archive, "--run", run, "--epochs", "999"]
    command += ["--width", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as fitting:
        said = next(line for line in fitting.stderr if line.startswith("epoch 1 "))
        fitting.send_signal(signal.SIGINT)
        _, rest = fitting.communicate(timeout=PATIENCE)
    assert "of tracks" in said
    assert fitting.returncode == 130
    assert rest.splitlines()[-1].startswith("headnod-train: stopped; every finished epoch is kept")
    assert "Traceback" not in rest
    assert (run / "weights.keras").is_file()
    assert (run / "history.json").is_file()


def test_a_run_without_a_recipe_says_which_command_comes_first(capsys, tmp_path, archive):
    status, line = refused(
        capsys, "pack", "--data", archive, "--run", tmp_path, "--models", tmp_path, "--version", "0.1.0"
    )
    assert status == 1
    assert "recipe.json" in line
    assert "headnod-train fit" in line


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--version", "one"], "'one' is not a version of a model (three numbers, such as 0.1.0)"),
        (["--version", "0.1.0", "--name", "../genre"], "'../genre' is not a name of a model"),
        (["--version", "0.1.0", "--collection", "mine"], "the licence of 'mine' is not known"),
    ],
)
def test_a_bundle_that_could_not_be_named_or_licensed_is_refused_first(capsys, tmp_path, archive, options, complaint):
    status, line = refused(capsys, "pack", "--data", archive, "--run", tmp_path, "--models", tmp_path, *options)
    assert status == 1
    assert complaint in line


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fit"],
        ["fit", "--data", "a", "--run", "b", "--epochs", "0"],
        ["fit", "--data", "a", "--run", "b", "--epochs", "many"],
        ["fit", "--data", "a", "--run", "b", "--n-mfcc", "129"],
        ["fit", "--data", "a", "--run", "b", "--seed", "-1"],
        ["evaluate", "--data", "a"],
    ],
)
def test_wrong_usage_exits_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: headnod-train" in capsys.readouterr().err


def test_the_help_shows_how_a_bundle_is_made(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("fit ", "quantise ", "evaluate ", "pack "))


def test_the_version_is_reported(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"headnod-train {__version__}\n"


def test_every_command_shows_examples_that_can_be_typed():
    parser, subparsers = command_parser(), Parser().add_subparsers()
    cli.add_all(subparsers)
    for name, command in subparsers.choices.items():
        examples = [
            line
            for line in command.format_help().replace("\\\n", " ").splitlines()
            if line.startswith("  headnod-train ")
        ]
        assert examples, name
        for example in examples:
            assert shlex.split(example)[1] == name
            parser.parse_args(shlex.split(example)[1:])


def test_a_misspelt_command_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as end:
        main(["quantize"])
    assert end.value.code == 2
    assert "did you mean 'quantise'?" in capsys.readouterr().err


def test_a_label_that_the_terminal_s_alphabet_lacks_ends_nothing(tmp_path):
    data = write_tones(tmp_path / "tones.npz", FrontEnd(n_mfcc=20))
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "headnod_train", "import", data, "--out", tmp_path / "out.npz", "--jobs", "1"]
    command += ["--rename", "low=日本"]
    ended = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=PATIENCE)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)
    assert b"?? " in ended.stdout


def test_measuring_and_packing_never_load_tensorflow():
    program = (
        "import sys; import headnod_train.__main__; "
        "sys.exit(', '.join({'tensorflow', 'keras', 'matplotlib', 'scipy', 'librosa'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stderr) == (0, "")
