"""The keys of a cluster: an authority's certificate, a certificate that it signed with its private key, and a token.

Whoever has them is a member. The authority's private key is written nowhere, so that nobody can add a member later.
"""

import datetime
import ipaddress
import os
import secrets
import ssl
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PipelineError, quoted

AUTHORITY, CERTIFICATE, KEY, TOKEN = "authority.pem", "node.pem", "node-key.pem", "token"
ADDRESSES = "addresses"  # for which the certificate is
VALID = datetime.timedelta(days=365)
MOST = 500  # addresses: more do not fit into what Ray's connections begin with
FOLDER = "PIPELINE_KEYS"  # a variable of the environment


def folder() -> Path:
    """Where this machine's keys are."""
    return Path(os.environ.get(FOLDER) or Path.home() / ".lstm-cluster")


def make(addresses: Sequence[str] = ()) -> dict[str, bytes]:
    """New keys, by the names of their files; the certificate is one for these IP addresses.

    Raises PipelineError for what is no IP address.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(addresses) > MOST:
        raise PipelineError(f"{len(addresses):,} addresses are more than {MOST}, which a certificate can have.")
    names = [x509.IPAddress(_address(text)) for text in addresses]
    now = datetime.datetime.now(datetime.UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, name = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("lstm-cluster", "lstm-node")
    )

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, signs: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(signs, 0 if signs else None), critical=True)
        )

    authority = certificate(authority_name, authority_key.public_key(), signs=True)
    node = certificate(name, key.public_key(), signs=False)
    if names:
        node = node.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return {
        AUTHORITY: authority.sign(authority_key, hashes.SHA256()).public_bytes(pem),
        CERTIFICATE: node.sign(authority_key, hashes.SHA256()).public_bytes(pem),
        KEY: key.private_bytes(pem, *plain),
        TOKEN: secrets.token_hex(32).encode(),
        ADDRESSES: "\n".join(addresses).encode(),
    }


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Raises PipelineError unless it is the address of a machine that others reach by it."""
    try:
        address = ipaddress.ip_address(text)
        if not address.is_unspecified and not getattr(address, "scope_id", None):
            return address
    except ValueError:
        pass
    raise PipelineError(
        f"{quoted(text)} is not the IP address of a machine; give those of all machines, such as 10.0.0.1 10.0.0.2."
    )


def write(keys: dict[str, bytes], path: Path) -> None:
    """Write keys into a new folder, which its owner alone can open, and which git ignores.

    Raises PipelineError if it is there.
    """
    if (path / AUTHORITY).exists():
        raise PipelineError(
            f"{path} is there, with the keys of a cluster; remove it to make others, and copy these to all machines."
        )
    if path.exists() or not path.name:
        raise PipelineError(f"{quoted(str(path), 200)} is there; name a new folder.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.mkdir(mode=0o700)
            for name, content in ({".gitignore": b"*\n"} | keys).items():
                (draft / name).touch(mode=0o600)
                (draft / name).write_bytes(content)
            draft.rename(path)
    except OSError as error:
        raise PipelineError(f"{path} could not be written ({error.strerror}); free some space, or fix it.") from None


def context(server: bool) -> ssl.SSLContext:
    """TLS 1.3 with a peer that shows a certificate of the same authority. Raises PipelineError without keys."""
    path, files = folder(), (AUTHORITY, CERTIFICATE, KEY)
    try:
        if missing := [name for name in files if not (path / name).is_file()]:
            raise FileNotFoundError(missing[0])
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.check_hostname = False  # the authority signs certificates of this cluster alone
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(path / AUTHORITY)
        made.load_cert_chain(path / CERTIFICATE, path / KEY, password=lambda: b"")  # else it would ask for one
        (authority,) = made.get_ca_certs()
    except (OSError, ValueError):
        raise PipelineError(
            f"{path} has no keys of a cluster that can be read; make them with `pipeline keys ADDRESS...`, and copy "
            "that folder to each machine."
        ) from None
    if ssl.cert_time_to_seconds(until := str(authority["notAfter"])) < time.time():
        raise PipelineError(
            f"the keys in {path} expired on {until}; make new ones with `pipeline keys` for all machines."
        )
    return made
