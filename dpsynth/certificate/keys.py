"""Ed25519 keys in the formats OpenSSL writes. Only making and using private ones needs ``cryptography``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dpsynth.errors import ConfigError, OutputError

_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*")
# DER of SubjectPublicKeyInfo for Ed25519 (RFC 8410 section 4): everything but the 32 bytes of the key.
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_L: Final = 2**252 + 27742317777372353535851937790883648493  # order of the base point (RFC 8032 section 5.1)


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key, 32 bytes in hex."""

    public: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.public):
            raise ConfigError("a public key must be 32 bytes in lower-case hex")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PublicKey:
        """The key in a PEM file such as ``keygen`` or ``openssl pkey -pubout`` writes."""
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"public key {path} cannot be read: {error.strerror}") from None
        if b"PRIVATE KEY" in content:
            raise ConfigError(f"{path} is a private key; to verify, give the public one ({path}.pub)")
        match = _PEM.fullmatch(content.strip() + b"\n")
        try:
            der = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
        except binascii.Error:
            der = b""
        if len(der) != len(_SPKI) + 32 or not der.startswith(_SPKI):
            raise ConfigError(f"{path} is not an Ed25519 public key in PEM form")
        return cls(der[len(_SPKI) :].hex())

    @property
    def keyid(self) -> str:
        """SHA-256 of the key's canonical JSON, the same id that securesystemslib gives it."""
        text = f'{{"keytype":"ed25519","keyval":{{"public":"{self.public}"}},"scheme":"ed25519"}}'
        return hashlib.sha256(text.encode()).hexdigest()

    def pem(self) -> str:
        """The key as PEM text."""
        body = base64.b64encode(_SPKI + bytes.fromhex(self.public)).decode()
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """True if ``signature`` is this key's over ``message``. Works with and without ``cryptography``."""
        from securesystemslib.exceptions import UnverifiedSignatureError
        from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]

        # The pure-Python verifier accepts S + L as well; one message must have one signature (RFC 8032 section 5.1.7).
        if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= _L:
            return False
        key = SSlibKey(self.keyid, "ed25519", "ed25519", {"public": self.public})
        try:
            key.verify_signature(Signature(self.keyid, signature.hex()), message)
        except UnverifiedSignatureError:  # the base class of every way to fail
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key in memory. Its repr shows the public key only."""

    public: PublicKey
    _signer: Any = field(repr=False, compare=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str], passphrase: bytes | None = None) -> SigningKey:
        """The key in a PKCS #8 PEM file that only its owner can read."""
        _require_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            mode, content = Path(path).stat().st_mode, Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"signing key {path} cannot be read: {error.strerror}") from None
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"signing key {path} can be read by others; run chmod 600 on it")
        try:
            private = load_pem_private_key(content, passphrase)
        except (ValueError, TypeError):
            raise ConfigError(f"{path} is not a private key in PEM form, or its passphrase is wrong") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"{path} is not an Ed25519 key")
        return cls.from_private(private)

    @classmethod
    def from_private(cls, private: Any) -> SigningKey:
        """Wrap a ``cryptography`` Ed25519 private key."""
        from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

        signer = CryptoSigner(private)
        return cls(PublicKey(signer.public_key.keyval["public"]), signer)

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``; Ed25519 is deterministic."""
        return bytes.fromhex(self._signer.sign(message).signature)


@dataclass(frozen=True)
class KeyPair:
    """The two files that ``keygen`` wrote, and the id of the key."""

    private: Path
    public: Path
    keyid: str


def keygen(path: str | os.PathLike[str]) -> KeyPair:
    """Make a key: the private half at ``path`` (mode 0600), the public half at ``path`` + ``.pub``. Never overwrites.

    Keep the private file away from the bundle and from the data.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private_path = Path(path)
    public_path = private_path.with_name(private_path.name + ".pub")
    private = Ed25519PrivateKey.generate()
    public = SigningKey.from_private(private).public
    if public_path.exists():
        raise OutputError(f"{public_path} exists; a key is never overwritten")
    _write_new(private_path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write_new(public_path, public.pem().encode(), 0o644)
    return KeyPair(private_path, public_path, public.keyid)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise OutputError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        path.unlink()
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigError("signing needs the extra 'sign': pip install 'dpsynth-release[sign]'") from None
