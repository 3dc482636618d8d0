"""The server's errors, split by what the caller does about them.

FimiServerError
├── ConfigError      the run file or the command line is wrong: mend it          exit 2
├── InfeasibleError  no plan keeps the constraints: relax what it names          exit 3
├── DataError        a data set is missing, broken or mixed: mend it             exit 4
├── BrokerError      no broker, the port is taken, or it does not let us in      exit 5
├── FleetError       too few devices answered                                    exit 6
├── MissingExtraError a package of an extra is not installed                     exit 7
└── ResourceError    the disk or the memory is full: make room, go on            exit 8
"""

from __future__ import annotations


class FimiServerError(Exception):
    """Root of all errors the server explains in one sentence; `exit_code` is what the command returns."""

    exit_code = 1


class ConfigError(FimiServerError):
    exit_code = 2


class InfeasibleError(FimiServerError):
    exit_code = 3


class DataError(FimiServerError):
    exit_code = 4


class BrokerError(FimiServerError):
    exit_code = 5


class FleetError(FimiServerError):
    exit_code = 6


class MissingExtraError(FimiServerError):
    exit_code = 7


class ResourceError(FimiServerError):
    exit_code = 8
