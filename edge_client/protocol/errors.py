"""Errors of the wire contract."""

from __future__ import annotations


class ProtocolError(Exception):
    """Bytes that do not keep the contract: an unknown message, a wrong digest, a chunk that cannot be."""


class NotFiniteError(ProtocolError):
    """A number that is none, among weights or their change."""
