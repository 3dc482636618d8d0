"""The client's errors, split by what the caller does about them.

FimiClientError
├── SetupError         the command line or the configuration is wrong: mend it           exit 2
├── DataError          the device's own data are missing or broken: mend them            exit 3
├── LinkError          the broker refuses us or is not to be trusted, a message too big  exit 5
├── HardwareError      a setting of the board could not be written or restored           exit 6
├── MissingExtraError  a package of an extra is not installed                            exit 7
├── StorageError       samples could not be kept, or are damaged: the task has failed    exit 8
└── TrainingError      the worker died, or the weights do not fit: the task has failed   exit 8

A broken configuration file raises `firmware_profiles.strict.ConfigError`, which also means exit 2.
"""

from __future__ import annotations


class FimiClientError(Exception):
    """Root of all errors that the client explains in one sentence; `exit_code` is what the command returns."""

    exit_code = 1


class SetupError(FimiClientError):
    exit_code = 2


class DataError(FimiClientError):
    exit_code = 3


class LinkError(FimiClientError):
    exit_code = 5


class HardwareError(FimiClientError):
    exit_code = 6


class MissingExtraError(FimiClientError):
    exit_code = 7


class TrainingError(FimiClientError):
    exit_code = 8


class StorageError(FimiClientError):
    exit_code = 8
