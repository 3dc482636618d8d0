"""What a failed attempt to join a broker is answered with, and which failures are for good."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiomqtt
import pytest
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_client.protocol.joining import Obstacle, Settings, obstacle, tls_context

SETTINGS = Settings(url="--broker", ca_file="--ca-file")


def met(cause: BaseException, *, tls: bool = True, ca_file: str | None = None) -> Obstacle:
    """As aiomqtt raises it: its own error, and the real one behind."""
    try:
        try:
            raise cause
        except BaseException as error:
            raise aiomqtt.MqttError(str(error)) from None
    except aiomqtt.MqttError as error:
        return obstacle(error, SETTINGS, tls=tls, ca_file=ca_file)


def mistrust(code: int, said: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, said
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (mistrust(20, "unable to get local issuer certificate"),
         "no authority of ca.pem signed the broker's certificate (unable to get local issuer certificate); "
         "give --ca-file the PEM file of the authority that did"),
        (mistrust(62, "Hostname mismatch, certificate is not valid for 'h'."),
         "Hostname mismatch, certificate is not valid for 'h'; "
         "give --broker a host that stands in the broker's certificate"),
        (mistrust(92, "CA cert does not include key usage extension"),
         "the broker's certificate does not hold (CA cert does not include key usage extension); "
         "make it as server/README.md shows"),
    ],
)  # fmt: skip
def test_a_broker_that_is_not_trusted_is_not_tried_again(error: ssl.SSLCertVerificationError, why: str) -> None:
    assert met(error, ca_file="ca.pem") == Obstacle(why, for_good=True)


def test_without_a_ca_file_the_authorities_are_the_systems() -> None:
    assert met(mistrust(19, "self-signed certificate in certificate chain")).why.startswith(
        "no authority of this system signed the broker's certificate"
    )


@pytest.mark.parametrize(("code", "said"), [(9, "certificate is not yet valid"), (10, "certificate has expired")])
def test_the_time_may_mend_itself(code: int, said: str) -> None:
    """A board without a battery for its clock starts in the past, until it has asked for the time."""
    right = "set this machine's clock, or renew the broker's certificate"
    assert met(mistrust(code, said)) == Obstacle(f"{said}; {right}", for_good=False)


@pytest.mark.parametrize(
    ("code", "why", "for_good"),
    [
        (0x86, "it does not let us in (Bad user name or password); give --broker a user and password that it knows: "
               "mqtt://user:password@host:port", True),
        (0x85, "it refuses us (Client identifier not valid)", True),
        (0x89, "it refuses us (Server busy)", False),
    ],
)  # fmt: skip
def test_a_broker_that_says_no(code: int, why: str, for_good: bool) -> None:
    error = MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=code))
    assert obstacle(error, SETTINGS, tls=False, ca_file=None) == Obstacle(why, for_good)


@pytest.mark.parametrize(
    ("error", "tls", "why"),
    [
        (ConnectionRefusedError(111, "Connection refused"), True, "Connection refused"),
        (ConnectionResetError(104, "Connection reset by peer"), False, "Connection reset by peer"),
        (ConnectionResetError(104, "Connection reset by peer"), True,
         "no TLS on this port (Connection reset by peer); for a port without TLS give --broker mqtt://"),
        (TimeoutError("timed out"), True, "timed out"),
    ],
)  # fmt: skip
def test_what_is_tried_again(error: OSError, tls: bool, why: str) -> None:
    assert met(error, tls=tls) == Obstacle(why, for_good=False)


@pytest.mark.parametrize(("tls", "hint"), [(True, "a certificate of ours"), (False, "for a TLS port give --broker")])
def test_silence_is_answered_with_a_guess(tls: bool, hint: str) -> None:
    """aiomqtt waits for an answer that the broker of another kind of port never gives."""
    error = aiomqtt.MqttError("Operation timed out")
    error.__context__ = asyncio.TimeoutError()
    why = obstacle(error, SETTINGS, tls=tls, ca_file=None).why
    assert why.startswith("it takes connections on this port but does not answer; ")
    assert hint in why


def test_files_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    right = "; give the PEM file of the authority that signed the broker's certificate"
    with pytest.raises(ValueError, match="ca_file: none.pem: No such file or directory" + right):
        tls_context("none.pem")
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(ValueError, match=f"ca_file: {empty}: no certificate or crl found" + right):
        tls_context(empty)
    with pytest.raises(ValueError, match=r"cert_file, key_file: c\.pem, k\.pem: No such file or directory; give PEM"):
        tls_context(None, "c.pem", "k.pem")
