"""What `make arm64` does without an emulator: ways in, sizes, refusals, and its round with a client of this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tools.arm64 import __main__ as command
from tools.arm64 import enter, install
from tools.arm64 import round as rounds
from tools.arm64.enter import Entrance, entrance
from tools.arm64.trouble import Trouble
from tools.arm64.watched import watched

REGISTERED = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.mark.parametrize(
    ("was", "now", "taken"),
    [
        ("", "", True),
        ("enabled", "disabled", False),
        ("0200b700", "02003e00", False),  # x86-64
        ("POF", "PO", False),  # the root would have to hold a copy of qemu
    ],
)
def test_a_registration_of_the_system_counts_if_it_runs_arm64_anywhere(
    tmp_path: Path, was: str, now: str, taken: bool
) -> None:
    (tmp_path / "qemu-aarch64").write_text(REGISTERED.replace(was, now) if was else REGISTERED)
    assert enter._takes_arm64(tmp_path / "qemu-aarch64") == taken


def test_a_root_is_entered_with_its_folders_and_a_clean_environment(tmp_path: Path) -> None:
    words = [str(word) for word in Entrance("binfmt", tmp_path).command(["true"], {tmp_path: "/wheels"})]
    assert words[:4] == ["unshare", "--mount", "--propagation", "private"]
    script = words.index("sh") + 4
    assert words[script : script + 4] == [str(tmp_path), str(tmp_path), "/wheels", "--"]
    assert words[script + 4 : script + 6] == ["/usr/bin/env", "-i"]
    assert words[-1] == "true"
    words = [str(word) for word in Entrance("proot", tmp_path, "/q").command(["true"], {tmp_path: "/wheels"})]
    assert words[:6] == ["proot", "-q", "/q", "-r", str(tmp_path), "-w"]
    assert f"{tmp_path}:/wheels" in words


def test_a_missing_emulator_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enter.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(enter.shutil, "which", lambda name: None)
    with pytest.raises(Trouble, match="apt-get install -y qemu-user-static"), entrance(tmp_path):
        pass


def test_it_is_for_root_only_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command.main(["--folder", str(tmp_path / "root")]) == 1
    assert "sudo make arm64" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_an_install_is_weighed_without_what_every_environment_has(tmp_path: Path) -> None:
    site = tmp_path / "debian/opt/fimi/lib/python3.11/site-packages"
    for name, size in {
        "numpy/core.so": 3_000_000,
        "numpy/__pycache__/a.cpython-311.pyc": 1_000_000,
        "six.py": 200_000,
        "pip/big.py": 9_000_000,
        "pip-23.0.1.dist-info/RECORD": 9_000_000,
        "setuptools/big.py": 9_000_000,
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(bytes(size))
    found = install.size(tmp_path)
    assert (found.files_mb, found.bytecode_mb) == (3.2, 1.0)
    assert found.installed_mb == pytest.approx(4.2)
    assert install.LIMIT_MB == 145


def test_a_command_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"(?s)looking: failed with status 3; .*\n    no such luck"):
        watched([sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], tmp_path / "log", "looking")


class ThisMachine(Entrance):
    """No other root: the client of this source tree."""

    def command(self, words: Sequence[str | Path], seen: Mapping[Path, str] | None = None) -> list[str | Path]:
        return [sys.executable, "-m", "edge_client.cli", *words[1:]]


@pytest.mark.slow
def test_a_round_is_held_against_its_run_directory(tmp_path: Path) -> None:
    folder = tmp_path / "round"
    done = rounds.one_round(folder, ThisMachine("native", tmp_path), "numpy", limit_s=120.0)
    assert done.samples == rounds.SAMPLES
    log = done.run_dir / "rounds-tfl.jsonl"
    record = json.loads(log.read_text())
    record["verdicts"] = {rounds.DEVICE: "late"}
    record["status"] = "failed"
    log.write_text(json.dumps(record) + "\n")
    (folder / "board" / rounds.POLICY / "scaling_governor").write_text("userspace\n")
    with pytest.raises(Trouble) as wrong:
        rounds.check(folder, 6, 1.0)
    for part in ("the round is failed", "'late'", "status 6", "left the governor userspace"):
        assert part in str(wrong.value)
    with pytest.raises(Trouble, match="the client ended with status 2 before the round was over"):
        rounds.one_round(folder, ThisMachine("native", tmp_path), "no-such-runtime", limit_s=60.0)
