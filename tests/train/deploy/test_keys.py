"""The signing key: made once, read by its owner alone, and never in anybody's way."""

import os
import stat
import subprocess
import sys

import pytest

from headnod.errors import BundleError
from headnod.updates.bundle import verify
from headnod_train.deploy.signing import KeyFileError, generate, load, new_passphrase, passphrase_from, public_line


def never():
    raise AssertionError("it was asked for a passphrase")


def test_what_is_signed_with_the_file_is_verified_by_the_line(tmp_path):
    line = generate(tmp_path / "signing.key", None)
    key = load(tmp_path / "signing.key", never)
    verify(b"manifest", key.sign(b"manifest"), [line])
    assert public_line(key) == line == (tmp_path / "signing.key.pub").read_text().strip()
    with pytest.raises(BundleError):
        verify(b"manifest.", key.sign(b"manifest"), [line])


def test_the_private_file_is_its_owners_alone_whatever_the_umask(tmp_path):
    former = os.umask(0)
    try:
        generate(tmp_path / "deep" / "signing.key", None)
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "deep" / "signing.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["signing.key", "signing.key.pub"])
def test_a_key_is_never_replaced(tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(KeyFileError, match="exists already"):
        generate(tmp_path / "signing.key", None)
    assert (tmp_path / there).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1, "and no half of a pair is left"


def test_a_passphrase_is_needed_where_one_was_set(tmp_path):
    line = generate(tmp_path / "signing.key", b"correct horse")
    assert b"ENCRYPTED" in (tmp_path / "signing.key").read_bytes()
    assert public_line(load(tmp_path / "signing.key", lambda: b"correct horse")) == line
    with pytest.raises(KeyFileError, match="is the passphrase right"):
        load(tmp_path / "signing.key", lambda: b"battery staple")


def test_a_key_that_others_may_read_is_refused(tmp_path):
    generate(tmp_path / "signing.key", None)
    (tmp_path / "signing.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="others may read it"):
        load(tmp_path / "signing.key", never)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "signing.key").write_bytes(content)
    (tmp_path / "signing.key").chmod(0o600)
    with pytest.raises(KeyFileError, match="is not a readable key"):
        load(tmp_path / "signing.key", never)


def test_an_rsa_key_is_refused(tmp_path):
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-out", tmp_path / "rsa"], check=True, capture_output=True
    )
    (tmp_path / "rsa").chmod(0o600)
    with pytest.raises(KeyFileError, match="is not an ed25519 key"):
        load(tmp_path / "rsa", never)


def test_a_missing_key_says_how_one_is_made(tmp_path):
    with pytest.raises(KeyFileError, match="headnod-train keygen"):
        load(tmp_path / "nowhere", never)


def test_a_new_passphrase_is_typed_twice_and_has_some_length():
    assert new_passphrase(lambda _: "correct horse") == b"correct horse"
    with pytest.raises(KeyFileError, match="8 characters"):
        new_passphrase(lambda _: "short")
    with pytest.raises(KeyFileError, match="the passphrases differ"):
        new_passphrase(lambda prompt: f"{prompt} and more")


def test_a_passphrase_comes_from_a_file_or_a_terminal_and_from_nowhere_else(tmp_path):
    (tmp_path / "secret").write_text("correct horse\nand a note\n")
    assert passphrase_from(tmp_path / "secret") == b"correct horse"
    assert passphrase_from(None, lambda _: "typed") == b"typed"
    generate(tmp_path / "signing.key", b"correct horse")
    ended = subprocess.run(
        [sys.executable, "-m", "headnod_train", "sign", str(tmp_path), "--key", str(tmp_path / "signing.key")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "no terminal to ask" in ended.stderr
