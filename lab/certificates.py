# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of the laboratory's own, and certificates for its servers and their clients."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .embedded.configuration import write

DAYS = 397
"""As long as a browser accepts."""

Key = ec.EllipticCurvePrivateKey


def ensure(authority: str, path: str, names: Sequence[str], *, group: str = "") -> None:
    """``path``.crt and ``path``.key for these names, signed by ``authority``/ca.crt; what is there is kept.

    With ``group`` it is a client's: the first name is the user's, the group goes into the subject.
    """
    if os.path.exists(f"{path}.crt"):
        return
    issuer, signer = _authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH if group else ExtendedKeyUsageOID.SERVER_AUTH])
    builder = _begun(_name(names[0], group), issuer.subject, key).add_extension(usage, critical=False)
    if not group:
        builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    write(f"{path}.key", _private(key), replace=True)
    write(f"{path}.crt", _public(_signed(builder, signer)), replace=True)


def _authority(directory: str) -> tuple[x509.Certificate, Key]:
    """The authority, made once; its key is private to this account."""
    certificate, private = os.path.join(directory, "ca.crt"), os.path.join(directory, "ca.key")
    if not os.path.exists(certificate):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("The laboratory's authority")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = _begun(subject, subject, key).add_extension(constraints, critical=True)
        write(private, _private(key), replace=True)
        write(certificate, _public(_signed(builder.add_extension(usage, critical=True), key)), replace=True)
    with open(certificate, "rb") as file:
        found = x509.load_pem_x509_certificate(file.read())
    with open(private, "rb") as file:
        signer = serialization.load_pem_private_key(file.read(), password=None)
    return found, signer


def _begun(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, signer: Key) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA256())


def _name(name: str, group: str = "") -> x509.Name:
    organization = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
