"""Signatures of exports by a key, in OpenSSF's format (https://model.sig.dev): who has the public key can verify them.

A signature lists the SHA-256 of each file of models/M/export. No service is asked.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, quoted, shortened
from pipeline.files import require, write_atomic
from pipeline.paths import ModelPaths, repro

LARGEST = 1_000_000  # bytes of a signature or a key


def signer(key: Path, password: str | None = None) -> Callable[[ModelPaths], Path]:
    """What signs the export of a model with a private key, and returns the file: models/M.sig.

    Raises PipelineError if the key is none, is encrypted, or has another password.
    """
    config = _library("signing").Config()
    secret = None if password is None else password.encode()  # which the library hands on as it is
    _load(lambda: config.use_elliptic_key_signer(private_key=_small(key), password=secret), key, "private")

    def sign(paths: ModelPaths) -> Path:
        require(paths.export, repro("export", paths.name))
        write_atomic(paths.signature, lambda draft: config.sign(paths.export, draft))
        return paths.signature

    return sign


def verifier(key: Path) -> Callable[[ModelPaths], str]:
    """What verifies the export of a model with a public key: a sentence of what is wrong, or an empty text.

    Raises PipelineError if the key is none.
    """
    module = _library("verifying")
    _load(lambda: module.Config().use_elliptic_key_verifier(public_key=_small(key)), key, "public")

    def verify(paths: ModelPaths) -> str:
        file, again = paths.signature, f"run `pipeline promote {paths.name} --sign KEY` to make it"
        if not file.exists():
            return f"{file} does not exist; {again}."
        require(paths.export, repro("export", paths.name))
        # A new one for each model: it takes how to hash from the signature.
        config = module.Config().use_elliptic_key_verifier(public_key=key)
        if reason := _reason(lambda: config.verify(paths.export, _small(file))):
            return f"{file}: the holder of {key} did not sign {paths.export} as it is here ({reason}); {again} anew."
        return ""

    return verify


def is_encrypted(key: Path) -> bool:
    """Whether a private key in PEM needs a password."""
    return b"ENCRYPTED" in _small(key).read_bytes()


def _library(name: str) -> Any:
    try:
        import model_signing.signing
        import model_signing.verifying
    except ImportError:
        raise PipelineError("model-signing is not installed; run `pip install model-signing pyopenssl`.") from None
    return getattr(model_signing, name)


def _small(path: Path) -> Path:
    """The path. Raises PipelineError unless it is a file of at most LARGEST bytes."""
    if not path.is_file():
        raise PipelineError(f"{quoted(str(path), 200)} is not a file; name one that is.")
    if (size := path.stat().st_size) > LARGEST:
        raise PipelineError(
            f"{quoted(str(path), 200)} has {size:,} bytes, expected at most {LARGEST:,}; name another file."
        )
    return path


def _load(load: Callable[[], Any], key: Path, kind: str) -> None:
    if _reason(load):
        raise PipelineError(
            f"{quoted(str(key), 200)} is not a {kind} key of the curve P-256, P-384 or P-521 in PEM, or its password "
            "is another one; make one as docs/tracking.md says."
        )


def _reason(call: Callable[[], Any]) -> str:
    """Why a call of the library failed, or an empty text. It may raise anything for a file that was made up."""
    try:
        call()
    except PipelineError:
        raise
    except Exception as error:
        return shortened(" ".join(str(error).split()), 70) or type(error).__name__
    return ""
