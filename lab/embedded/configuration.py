# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's configuration to protect (``.env``, TLS), and the OpenPGP key it is sealed to."""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import pysequoia
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PUBLIC_KEY = "backup-public.asc"
SECRET_KEY = "backup-secret.asc"  # noqa: S105 - a file's name
_NGINX = """\
server {
    listen 443 ssl;
    server_name demo.example.com;
    ssl_certificate     ssl/erni.crt;
    ssl_certificate_key ssl/erni.key;
    location / { proxy_pass http://127.0.0.1:8000; }
}
"""


def write_configuration(directory: str, passwords: Mapping[str, str]) -> None:
    """``.env`` and ``nginx/``, with a self-signed certificate; what is there is kept."""
    env = {
        "ENVIRONMENT": "production", "CORS_ORIGINS": "https://demo.example.com",
        "OPENAI_API_KEY": f"sk-demo-{secrets.token_hex(16)}", "OPENAI_VECTOR_STORE_ID": "vs_demo",
        "SECRET_KEY": secrets.token_hex(32), "JWT_SECRET_KEY": secrets.token_hex(32), **passwords,
    }  # fmt: skip
    write(os.path.join(directory, ".env"), "".join(f"{name}={value}\n" for name, value in env.items()).encode())
    write(os.path.join(directory, "nginx", "nginx.conf"), _NGINX.encode())
    ssl = os.path.join(directory, "nginx", "ssl")
    if not os.path.exists(os.path.join(ssl, "erni.crt")):
        key = ec.generate_private_key(ec.SECP256R1())
        write(os.path.join(ssl, "erni.key"), _key_bytes(key), replace=True)
        write(os.path.join(ssl, "erni.crt"), _certificate(key))


def write_keys(directory: str, owner: str = "Demo backups <backup@demo.example.com>") -> str:
    """An OpenPGP key pair, made once: the public one seals, the secret one opens. Returns its fingerprint."""
    secret, public = os.path.join(directory, SECRET_KEY), os.path.join(directory, PUBLIC_KEY)
    if not os.path.exists(secret):
        write(secret, str(pysequoia.Tsk.generate(owner)).encode())
    key = pysequoia.Tsk.from_file(secret)
    certificate = key.extract_certificate()
    write(public, str(certificate).encode())
    return str(certificate.fingerprint)


def write(path: str, data: bytes, *, replace: bool = False) -> None:
    """A private file, whole or not at all; an existing one is kept."""
    if os.path.exists(path) and not replace:
        return
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(f"{path}.partial", "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
    os.rename(f"{path}.partial", path)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo.example.com")])
    now = datetime.now(timezone.utc)
    names = [x509.DNSName("demo.example.com"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
