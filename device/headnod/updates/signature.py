"""Signatures: ed25519 (RFC 8032) over the exact bytes of a manifest, which holds every other file's hash.

The only file that imports PyNaCl (libsodium, 1 MB installed), and only when there is a signature to verify.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from headnod.errors import BundleError, ConfigError, MissingExtraError
from headnod.extras import how_to_install

_KIND = "ed25519:"
_BYTES = 32


def verify(manifest: bytes, signature: bytes | None, keys: Sequence[str]) -> None:
    """Verify the signature of a manifest.

    Args:
        manifest: The exact bytes of the file.
        signature: 64 bytes; None if the bundle is not signed.
        keys: Trusted public keys as `headnod-train keygen` writes them; a signature by one of them is enough.

    Raises:
        BundleError: The signature is missing, or is not one of these keys for this manifest.
        ConfigError: A key is malformed.
        MissingExtraError: PyNaCl is not installed.
    """
    trusted = [decoded(key) for key in keys]
    if signature is None:
        raise BundleError("is not signed (sign it with 'headnod-train sign')")
    try:
        from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - needed for a new model only
        from nacl.signing import VerifyKey  # noqa: PLC0415
    except ImportError:
        message = f"a signature cannot be verified without PyNaCl: {how_to_install('device')}"
        raise MissingExtraError(message) from None
    for key in trusted:
        try:
            VerifyKey(key).verify(manifest, signature)
        except (BadSignatureError, ValueError):
            # ValueError: it has another length than 64 bytes.
            continue
        return
    message = f"its signature is by none of the {len(keys)} keys in model.keys (or it was changed after signing)"
    raise BundleError(message)


def decoded(key: str) -> bytes:
    """The 32 bytes of a public key.

    Raises:
        ConfigError: It is malformed.
    """
    try:
        content = base64.b64decode(key.removeprefix(_KIND), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not key.startswith(_KIND) or len(content) != _BYTES:
        message = f"model.keys: '{key[:60]}' is not a public key (copy the line that 'headnod-train keygen' printed)"
        raise ConfigError(message)
    return content


def encoded(key: bytes) -> str:
    """The 32 bytes of a public key as a line for people and configurations."""
    return _KIND + base64.b64encode(key).decode()
