"""Signatures of exports by a key, in OpenSSF's format (https://model.sig.dev): who has the public key can verify them.

A signature lists the SHA-256 of each file of models/M/export; one of them, info.json, has the model's name. No service
is asked.
"""

import base64
import io
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, quoted, shortened
from pipeline.files import load_json, require
from pipeline.paths import ModelPaths, repro

LARGEST = 1_000_000  # bytes of a signature or a key


def signer(key: Path, password: str | None = None) -> Callable[[ModelPaths], bytes]:
    """What makes the content of a signature of a model's export, with a private key.

    Raises PipelineError if the key is none, is encrypted, or has another password.
    """
    config = _library("signing").Config()
    # What git would ignore is signed, too. The library hands the password on as it is.
    config.set_hashing_config(_library("hashing").Config().set_ignored_paths(paths=[], ignore_git_paths=False))
    secret = None if password is None else password.encode()
    _load(lambda: config.use_elliptic_key_signer(private_key=_small(key), password=secret), key, "private")

    def sign(paths: ModelPaths) -> bytes:
        require(paths.export, repro("export", paths.name))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / paths.signature.name
            if reason := _reason(lambda: config.sign(paths.export, file)):
                raise PipelineError(
                    f"{paths.export} could not be signed ({reason}); make its files plain files: "
                    f"`rm -rf {paths.export} && dvc config cache.type copy && dvc checkout {paths.export}`."
                )
            return file.read_bytes()

    return sign


def verifier(key: Path) -> Callable[[ModelPaths], str]:
    """What verifies the export of a model with a public key: a sentence of what is wrong, or an empty text.

    Raises PipelineError if the key is none.
    """
    module = _library("verifying")
    _load(lambda: module.Config().use_elliptic_key_verifier(public_key=_small(key)), key, "public")

    def check(paths: ModelPaths) -> None:
        # A new one for each model: it takes how to hash from the signature.
        config = module.Config().use_elliptic_key_verifier(public_key=key)
        config.verify(paths.export, _small(paths.signature))
        if unsigned := _files(paths.export) ^ _signed(paths.signature):
            raise ValueError(f"{min(unsigned)} is not signed")
        model = load_json(paths.info, "", {"model": str})["model"]
        if model != paths.name:
            raise ValueError(f"it is of {model}")

    def verify(paths: ModelPaths) -> str:
        file, again = paths.signature, f"run `pipeline promote {paths.name} --sign KEY` to make it"
        if not file.exists():
            return f"{file} does not exist; {again}."
        require(paths.export, repro("export", paths.name))
        if reason := _reason(lambda: check(paths)):
            return f"{file}: the holder of {key} did not sign {paths.export} as it is here ({reason}); {again} anew."
        return ""

    return verify


def is_encrypted(key: Path) -> bool:
    """Whether a private key in PEM needs a password."""
    return b"ENCRYPTED" in _small(key).read_bytes()


def _files(folder: Path) -> set[str]:
    """All files below a folder, hidden ones and links, too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _signed(signature: Path) -> set[str]:
    """The files that a signature lists; it may have left out others."""
    envelope = json.loads(signature.read_bytes())["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    return {each["name"] for each in statement["predicate"]["resources"]}


def _library(name: str) -> Any:
    try:
        import model_signing.hashing
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
        with redirect_stdout(io.StringIO()):  # it warns there of signatures by older versions
            call()
    except PipelineError:
        raise
    except Exception as error:
        return shortened(str(error).split(": Expected")[0], 70) or type(error).__name__  # two hashes follow
    return ""
