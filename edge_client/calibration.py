"""This board's calibration (the file of `fimi-calibrate fit`) held against this client, and as a server gets it."""

from __future__ import annotations

import msgspec

from edge_client.errors import SetupError
from edge_client.hardware.modelled import same_board
from edge_client.protocol.calibrations import Calibration as Offer
from edge_client.protocol.calibrations import CalibrationLaw, CalibrationPoint
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.values import finite
from edge_client.runtimes import Name
from firmware_profiles.calibrated import Calibration


def runtimes(calibration: Calibration | None, path: str | None, candidates: tuple[Name, ...]) -> tuple[Name, ...]:
    """Those that a client may train with: what it was calibrated with leaves no choice. Raises SetupError where that is
    none of the candidates."""
    measured = None if calibration is None else calibration.origin.runtime
    if measured is None:
        return candidates
    if measured in candidates:
        return tuple(name for name in candidates if name == measured)
    raise SetupError(
        f'--calibration {path} was measured with runtime "{measured}", this client trains with '
        f"{' or '.join(candidates)}; calibrate with --runtime {candidates[0]}, or install and allow {measured}"
    )


def check(calibration: Calibration, path: str | None, board: str, threads: int) -> None:
    """Raise SetupError where the calibration of the file `path` is of another board, or of another number of cores than
    this client trains on, or beyond all bounds."""
    origin, cores = calibration.origin, calibration.cores
    if origin.board is not None and not same_board(origin.board, board):
        raise SetupError(f"--calibration {path} is of a {origin.board}, this is a {board}; give this board's own")
    if cores is not None and cores != threads:
        raise SetupError(
            f"--calibration {path} was measured on {counted(cores)}, this client trains on {counted(threads)}; "
            f"set threads = {cores}, or calibrate with --cores {threads}"
        )
    try:
        offer(calibration)
    except ValueError as error:
        raise SetupError(f"--calibration {path}: {error}; give a file that fimi-calibrate fit has written") from error


def offer(calibration: Calibration) -> Offer:
    """What goes to the server; raises ValueError where it does not keep the bounds of the wire."""
    origin, law, held_out = calibration.origin, calibration.law, calibration.fit.held_out
    made = Offer(
        digest=origin.sha256,
        measured=origin.ended or origin.started,
        board=origin.board,
        network=origin.network,
        batch_size=origin.batch_size,
        cores=calibration.cores,
        runtime=origin.runtime,
        boundary=origin.boundary,
        meter=origin.meter,
        idle_w=calibration.idle_w,
        model=calibration.fit.model,
        s_error=held_out.time_mape,
        j_error=held_out.energy_mape,
        law=CalibrationLaw(
            fixed_s_per_sample=law.fixed_s_per_sample,
            cycles_per_sample=law.cycles_per_sample,
            power_static_w=law.power_static_w,
            kappa_w_per_hz3=law.kappa_w_per_hz3,
            time_covariance=law.time_covariance,
            power_covariance=law.power_covariance,
        ),
        points=tuple(
            CalibrationPoint(
                freq_hz=opp.freq_hz,
                s_per_sample=opp.s_per_sample,
                j_per_sample=opp.j_per_sample,
                s_uncertainty=opp.s_uncertainty,
                j_uncertainty=opp.j_uncertainty,
            )
            for opp in calibration.opp
        ),
    )
    try:  # a struct checks its bounds only when it is read
        finite(made)
        return msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Offer)
    except (ProtocolError, msgspec.ValidationError) as error:
        raise ValueError(str(error)) from error


def counted(cores: int) -> str:
    """ "1 core", "2 cores"."""
    return f"{cores} core{'s' * (cores != 1)}"
