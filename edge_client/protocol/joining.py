"""Joining a broker: where it is, whom TLS trusts, and one sentence for what went wrong - the same on both sides.

A broker that is away is worth another attempt; one that we do not trust, or that does not let us in, stays so until
somebody changes a setting. aiomqtt raises the same error for both and keeps what happened in its `__context__`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

_WRONG_TIME = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED (openssl-verification-options(1))
_WRONG_NAME = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
_WRONG_AUTHORITY = {2, 18, 19, 20, 21}  # no issuer, or one that nobody vouches for
_WRONG_USER = {0x86, 0x87}  # CONNACK: bad user name or password, not authorized (MQTT 5, 3.2.2.2)
_REFUSED = _WRONG_USER | {0x84, 0x85, 0x8A, 0x8C}  # CONNACK reasons that trying again does not mend


@dataclass(frozen=True)
class Address:
    """Where a broker listens, and who we are there."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """For people: without the password."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """mqtt://[user:password@]host[:port] (1883) or mqtts:// (8883).

    Raises ValueError for anything else; its text may hold a piece of the password, and is for nobody to see.
    """
    parts = urlsplit(url)
    port = parts.port
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("no broker's address")
    tls = parts.scheme == "mqtts"
    return Address(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


@dataclass(frozen=True)
class Settings:
    """What this side calls the settings that a sentence may name."""

    url: str
    ca_file: str


@dataclass(frozen=True)
class Obstacle:
    """Why the broker could not be joined: "<what was wrong>; <what would be right>"."""

    why: str
    for_good: bool  # until somebody changes a setting, here or there


def tls_context(
    ca_file: str | Path | None, cert_file: str | Path | None = None, key_file: str | Path | None = None
) -> ssl.SSLContext:
    """Trust the authorities in `ca_file` (None: the system's) and prove who we are with a certificate, if given.

    Raises ValueError("<field>: <file>: <what is wrong>; <what would be right>").
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        right = "give the PEM file of the authority that signed the broker's certificate"
        raise ValueError(f"ca_file: {ca_file}: {_word(error)}; {right}") from error
    if cert_file and key_file:
        try:
            context.load_cert_chain(cert_file, key_file, password="")  # left out, it would ask on the terminal
        except OSError as error:
            right = "give PEM files of a certificate and of its key, the key without a pass phrase"
            raise ValueError(f"cert_file, key_file: {cert_file}, {key_file}: {_word(error)}; {right}") from error
    return context


def obstacle(error: aiomqtt.MqttError, settings: Settings, *, tls: bool, ca_file: str | Path | None) -> Obstacle:
    """What an attempt to join that raised `error` ran into."""
    cause = error.__context__
    if isinstance(error, MqttConnectError):
        return _refusal(error, settings, tls=tls)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _mistrust(cause, settings, ca_file)
    if str(error) == "Operation timed out":  # aiomqtt's words for a CONNECT that nobody answered
        hint = "does it ask for a certificate of ours?" if tls else f"for a TLS port give {settings.url} mqtts://"
        return Obstacle(f"it takes connections on this port but does not answer; {hint}", for_good=False)
    if tls and isinstance(cause, ssl.SSLError | ConnectionResetError):
        plain = f"for a port without TLS give {settings.url} mqtt://"
        return Obstacle(f"no TLS on this port ({_word(cause)}); {plain}", for_good=False)
    return Obstacle(_word(cause) if isinstance(cause, OSError) else str(error), for_good=False)


def _refusal(error: MqttConnectError, settings: Settings, *, tls: bool) -> Obstacle:
    code = getattr(error.rc, "value", error.rc)
    if code in _WRONG_USER:
        right = f"{'mqtts' if tls else 'mqtt'}://user:password@host:port"
        return Obstacle(
            f"it does not let us in ({error.rc}); give {settings.url} a user and password that it knows: {right}",
            for_good=True,
        )
    return Obstacle(f"it refuses us ({error.rc})", for_good=code in _REFUSED)


def _mistrust(error: ssl.SSLCertVerificationError, settings: Settings, ca_file: str | Path | None) -> Obstacle:
    said = error.verify_message.rstrip(".")
    if error.verify_code in _WRONG_TIME:
        # A board without a battery for its clock starts in the past, and a certificate can be renewed under a fleet.
        return Obstacle(f"{said}; set this machine's clock, or renew the broker's certificate", for_good=False)
    if error.verify_code in _WRONG_NAME:
        right = f"give {settings.url} a host that stands in the broker's certificate"
        return Obstacle(f"{said}; {right}", for_good=True)
    if error.verify_code in _WRONG_AUTHORITY:
        trusted = ca_file if ca_file is not None else "this system"
        right = f"give {settings.ca_file} the PEM file of the authority that did"
        return Obstacle(f"no authority of {trusted} signed the broker's certificate ({said}); {right}", for_good=True)
    return Obstacle(
        f"the broker's certificate does not hold ({said}); make it as server/README.md shows", for_good=True
    )


def _word(error: OSError) -> str:
    """The system's or OpenSSL's word without its numbers."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)
