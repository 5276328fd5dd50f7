"""Only files that were asked for come out of packages and folders."""

import subprocess
import zipfile

import numpy as np
import pytest
import soundfile

from headnod_train.distillation.recordings import (
    RecordingError,
    debian_music,
    gtzan_clips,
    names_in,
    other_sounds,
    packages,
)


def write_sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(100, np.float32), 8000)
    return path


@pytest.fixture
def debs(tmp_path):
    """A folder with one real Debian package."""
    tree = tmp_path / "tree"
    write_sound(tree / "usr/share/games/tune.ogg")
    write_sound(tree / "usr/share/games/other.ogg")
    (tree / "usr/share/games/link.ogg").symlink_to("/etc/passwd")
    with zipfile.ZipFile(tree / "usr/share/games/data.pk3", "w") as nested:
        nested.write(tree / "usr/share/games/tune.ogg", "music/nested.ogg")
        nested.write(tree / "usr/share/games/tune.ogg", "../escaped.ogg")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: tunes\nVersion: 1:2.0\nArchitecture: all\nMaintainer: A <a@b.org>\nDescription: music\n"
    )
    folder = tmp_path / "debs"
    folder.mkdir()
    target = folder / "tunes_2.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(target)], check=True, capture_output=True)
    return folder


def test_only_the_named_files_of_a_package_are_unpacked(debs, tmp_path):
    names = ["tunes/usr/share/games/tune.ogg"]
    (found,) = debian_music(debs, names, tmp_path / "music")
    assert (found.name, found.kind, found.genre) == (names[0], "music", -1)
    assert soundfile.info(found.path).samplerate == 8000
    assert [path.name for path in (tmp_path / "music").rglob("*.ogg")] == ["tune.ogg"]


def test_a_second_time_nothing_is_unpacked(debs, tmp_path):
    names = ["tunes/usr/share/games/tune.ogg"]
    debian_music(debs, names, tmp_path / "music")
    for deb in debs.iterdir():
        deb.unlink()
    assert len(debian_music(debs, names, tmp_path / "music")) == 1


def test_files_of_a_games_archive_are_found_too(debs, tmp_path):
    names = ["tunes/x/music/nested.ogg"]
    (found,) = debian_music(debs, names, tmp_path / "music")
    assert soundfile.info(found.path).samplerate == 8000
    assert not list(tmp_path.rglob("escaped.ogg"))


def test_links_are_not_followed_out_of_a_package(debs, tmp_path):
    with pytest.raises(RecordingError, match="none of the named files is in"):
        debian_music(debs, ["tunes/usr/share/games/link.ogg"], tmp_path / "music")


def test_an_absent_package_is_named_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(RecordingError, match="apt-get download nowhere"):
        debian_music(tmp_path, ["nowhere/a.ogg"], tmp_path / "music")


def test_a_damaged_package_is_named(tmp_path):
    (tmp_path / "tunes_1_all.deb").write_bytes(b"!<arch>\nnothing")
    with pytest.raises(RecordingError, match="tunes_1_all"):
        debian_music(tmp_path, ["tunes/a.ogg"], tmp_path / "music")


def test_packages_are_what_names_begin_with():
    assert packages(["b/x/y.ogg", "a/z.ogg", "b/other.ogg"]) == ["a", "b"]


def test_clips_are_taken_by_the_names_of_the_wanted_tracks(tmp_path):
    for name in ("jazz/jazz.00001.flac", "rock/rock.00002.flac", "rock/rock.00003.flac"):
        write_sound(tmp_path / name)
    found = gtzan_clips(tmp_path, ["jazz.00001", "rock.00003"], ("jazz", "rock"))
    assert [(each.name, each.genre) for each in found] == [("jazz.00001", 0), ("rock.00003", 1)]
    with pytest.raises(RecordingError, match="none of its audio files"):
        gtzan_clips(tmp_path, ["blues.00001"], ("blues",))


def test_speech_and_noise_are_distinguished_by_their_folders(tmp_path):
    for name in ("speech/a.ogg", "noise/b.ogg", "elsewhere/c.ogg"):
        write_sound(tmp_path / name)
    assert [(each.name, each.kind) for each in other_sounds(tmp_path)] == [
        ("speech/a.ogg", "speech"),
        ("noise/b.ogg", "noise"),
    ]
    with pytest.raises(RecordingError, match="speech/ or noise/"):
        other_sounds(tmp_path / "elsewhere")


def test_a_file_without_names_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", levels=np.zeros(3))
    with pytest.raises(RecordingError, match="names"):
        names_in(tmp_path / "a.npz")


def test_names_of_music_may_be_a_text_file(tmp_path):
    (tmp_path / "music.txt").write_text("tunes/usr/share/games/tune.ogg\ntunes/usr/share/games/other.ogg\n")
    names = names_in(tmp_path / "music.txt")
    assert names == ["tunes/usr/share/games/tune.ogg", "tunes/usr/share/games/other.ogg"]
    assert packages(names) == ["tunes"]
