"""A certificate authority that lives as long as a test: openssl, in a folder."""

import subprocess
from pathlib import Path
from typing import NamedTuple

_RULES = """\
[ca]
default_ca = test
[test]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
"""


class Certificate(NamedTuple):
    file: Path
    key: Path


class Authority:
    def __init__(self, folder: Path, *, name: str = "test authority"):
        folder.mkdir(parents=True)
        self._folder = folder
        self.file, self._key = folder / "ca.crt", folder / "ca.key"
        (folder / "ca.cnf").write_text(_RULES)
        (folder / "index").touch()
        (folder / "serial").write_text("01\n")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"),
            # Python 3.13 asks for it.
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-subj", f"/CN={name}", "-keyout", "ca.key", "-out", "ca.crt"),
        )

    def issue(self, name: str, *, addresses: str = "DNS:localhost,IP:127.0.0.1", expired: bool = False) -> Certificate:
        """A certificate for these names; an expired one was good in January 2020."""
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (self._folder / f"{name}.ext").write_text(
            f"subjectAltName={addresses}\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n"
        )
        dates = ("20200101000000Z", "20200131000000Z") if expired else ("20200101000000Z", "20991231000000Z")
        self._openssl(
            *("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"),
            *("-startdate", dates[0], "-enddate", dates[1], "-extfile", f"{name}.ext"),
            *("-in", f"{name}.csr", "-out", f"{name}.crt"),
        )
        return Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _openssl(self, *words: str):
        subprocess.run(["openssl", *words], cwd=self._folder, check=True, capture_output=True)
