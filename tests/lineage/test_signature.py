"""Signatures of exports, made and verified with keys, beside OpenSSF's own program."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pipeline.errors import PipelineError
from pipeline.lineage import signature
from pipeline.paths import ModelPaths
from tests.harness.signing import PEM, keys


@pytest.fixture
def paths(tmp_path: Path) -> ModelPaths:
    """The export of a model, of two files."""
    paths = ModelPaths("m", tmp_path)
    paths.export.mkdir(parents=True)
    paths.onnx.write_bytes(b"network")
    paths.info.write_text('{"model": "m"}')
    return paths


def sign(paths: ModelPaths, key: Path, password: str | None = None) -> None:
    """Write the signature of an export."""
    paths.signature.write_bytes(signature.signer(key, password)(paths))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_what_a_key_signed_is_verified_here_and_by_openssf(
    paths: ModelPaths, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    private, public = keys(tmp_path, curve=curve)
    sign(paths, private)
    assert paths.signature == tmp_path / "models/m.sig"
    assert signature.verifier(public)(paths) == ""
    theirs = [sys.executable, "-m", "model_signing", "verify", "key", str(paths.export), "--signature"]
    done = subprocess.run(
        [*theirs, str(paths.signature), "--public_key", str(public)], check=False, capture_output=True, text=True
    )
    assert (done.returncode, "succeeded" in done.stdout) == (0, True), done.stdout + done.stderr


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")


def _link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda paths: paths.onnx.write_bytes(b"networl"), "Hash mismatch for 'model.onnx')"),
        (lambda paths: (paths.export / "more").write_bytes(b""), "more"),
        (lambda paths: (paths.export / ".gitattributes").write_bytes(b""), ".gitattributes"),
        (lambda paths: _write(paths.export / ".git/x/evil.onnx"), ".git/x/evil.onnx"),
        (lambda paths: paths.info.unlink(), "info.json"),
        (lambda paths: _link(paths.onnx), "Cannot use"),
        (lambda paths: paths.signature.write_text("{}"), "verificationMaterial"),
        (lambda paths: paths.signature.write_bytes(b"\xff"), "utf-8"),
        (lambda paths: paths.signature.write_text("[" * 100_000), "recursion"),
        (lambda paths: paths.signature.write_text(paths.signature.read_text().replace('"sig":"M', '"sig":"N')), ""),
    ],
    ids=[
        "another byte",
        "one more file",
        "one that git reads",
        "one below .git",
        "one less",
        "a link",
        "an empty signature",
        "no text",
        "deep",
        "not by the key",
    ],
)
def test_another_export_or_a_made_up_signature_is_refused(
    paths: ModelPaths, tmp_path: Path, change: Callable[[ModelPaths], object], reason: str
) -> None:
    private, public = keys(tmp_path)
    sign(paths, private)
    change(paths)
    problem = signature.verifier(public)(paths)
    assert problem.startswith(f"{paths.signature}: the holder of {public} did not sign {paths.export} as it is here (")
    assert problem.endswith("run `pipeline promote m --sign KEY` to make it anew.")
    assert reason in problem


def test_a_signature_of_another_model_or_by_another_key_is_refused(paths: ModelPaths, tmp_path: Path) -> None:
    _, public = keys(tmp_path)
    other, other_public = keys(tmp_path, "other")
    sign(paths, other)
    assert "Key mismatch" in signature.verifier(public)(paths)
    second = ModelPaths("n", tmp_path)
    second.export.mkdir(parents=True)
    second.onnx.write_bytes(b"another network")
    paths.signature.rename(second.signature)
    assert "did not sign" in signature.verifier(other_public)(second)
    shutil.copytree(paths.export, second.export, dirs_exist_ok=True)
    assert "(it is of m)" in signature.verifier(other_public)(second), "also if the export moved with it"


def test_files_that_a_signature_leaves_out_are_not_signed(paths: ModelPaths, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    theirs = [sys.executable, "-m", "model_signing", "sign", "key", str(paths.export), "--private_key", str(private)]
    theirs += ["--signature", str(paths.signature), "--ignore-paths", str(paths.onnx)]
    subprocess.run(theirs, check=True)
    assert "(model.onnx is not signed)" in signature.verifier(public)(paths)


def test_a_signature_without_the_hint_of_its_key_is_verified_in_silence(
    paths: ModelPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = keys(tmp_path)
    sign(paths, private)
    content = json.loads(paths.signature.read_text())
    content["verificationMaterial"]["publicKey"] = {}
    paths.signature.write_text(json.dumps(content))
    assert signature.verifier(public)(paths) == ""
    assert not capsys.readouterr().out


def test_an_export_of_links_cannot_be_signed(paths: ModelPaths, tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    _link(paths.onnx)
    with pytest.raises(PipelineError, match=r"could not be signed \(.*\); make its files plain files: `rm -rf"):
        sign(paths, private)


def test_a_model_without_a_signature_is_named_with_what_makes_one(paths: ModelPaths, tmp_path: Path) -> None:
    _, public = keys(tmp_path)
    problem = signature.verifier(public)(paths)
    assert problem == f"{paths.signature} does not exist; run `pipeline promote m --sign KEY` to make it."


def test_an_encrypted_key_needs_its_password(paths: ModelPaths, tmp_path: Path) -> None:
    private, public = keys(tmp_path, password=b"secret")
    plain, _ = keys(tmp_path, "plain")
    assert [signature.is_encrypted(key) for key in (private, plain)] == [True, False]
    for password in (None, "another"):
        with pytest.raises(PipelineError, match="or its password is another one"):
            signature.signer(private, password)
    sign(paths, private, "secret")
    assert signature.verifier(public)(paths) == ""


def test_what_is_no_key_is_refused_in_a_sentence(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    koblitz, _ = keys(tmp_path, "koblitz", ec.SECP256K1())
    edwards = tmp_path / "edwards.pem"
    lock = serialization.NoEncryption()
    edwards.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, serialization.PrivateFormat.PKCS8, lock)
    )
    large = tmp_path / "large"
    large.write_bytes(bytes(signature.LARGEST + 1))
    for path in (public, koblitz, edwards):
        with pytest.raises(PipelineError, match="is not a private key of the curve P-256, P-384 or P-521 in PEM"):
            signature.signer(path)
    with pytest.raises(PipelineError, match="is not a public key"):
        signature.verifier(private)
    with pytest.raises(PipelineError, match="is not a file"):
        signature.verifier(tmp_path / "none")
    with pytest.raises(PipelineError, match="has 1,000,001 bytes, expected at most 1,000,000"):
        signature.signer(large)
