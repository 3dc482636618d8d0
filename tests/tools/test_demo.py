from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from server.config import load_config
from server.report import build_report
from tests.report.run_directory import write_run
from tools import demo

ROOT = Path(__file__).resolve().parents[2]


def report_of(tmp_path: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
    path = write_run(tmp_path / "small-1", **more)
    build_report(path)
    return path, demo.read_report(path)


class TestSeed:
    def test_only_the_seed_changes(self) -> None:
        text = '# a run\nname = "x"\nseed = 0\n[data]\nsplit_seed = 0\n'
        assert demo.seed_of(text) == 0
        assert demo.with_seed(text, 12) == '# a run\nname = "x"\nseed = 12\n[data]\nsplit_seed = 0\n'

    def test_spaces_and_a_comment_stay(self) -> None:
        assert demo.with_seed("seed=0  # the first\n", 12) == "seed = 12  # the first\n"

    def test_a_file_without_one(self) -> None:
        assert demo.with_seed('name = "x"\n', 3) == 'seed = 3\nname = "x"\n'

    @pytest.mark.parametrize("name", ["demo.toml", "demo-quick.toml"])
    def test_the_shipped_files_take_one(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text(demo.with_seed((demo.HERE / name).read_text(), 5))
        config = load_config(tmp_path / name)
        assert config.seed == 5
        assert config.strategies == ("tfl", "fill", "fimi")
        assert [board.profile for board in config.boards].count("jetson-nano") == 2


class TestShow:
    def shown(self, path: Path, report: dict[str, Any]) -> str:
        console = Console(width=160, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
        with console.file:
            demo.show(report, path, console)
        return console.export_text()

    def test_the_table_and_the_path(self, tmp_path: Path) -> None:
        path, report = report_of(tmp_path)
        text = self.shown(path, report)
        assert "Joules to accuracy 60.0%, where tfl ends" in text
        assert "0.48" in text  # 240 J of fimi over 500 J of tfl
        assert str(path / "report.html") in text
        assert "virtual boards" in text

    def test_no_ratio_where_nothing_may_be_compared(self, tmp_path: Path) -> None:
        text = self.shown(*report_of(tmp_path, starved=True))
        assert "0.48" not in text
        assert "No comparison: 10.0% of the training windows were starved" in text


class TestServe:
    def stand_in(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        """Another child in the server's place."""
        popen = subprocess.Popen
        monkeypatch.setattr(
            subprocess, "Popen", lambda _command, **more: popen([sys.executable, "-c", code], text=True, **more)
        )

    def test_the_exit_code_is_the_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in(monkeypatch, "raise SystemExit(5)")
        assert demo.serve("run") == 5

    def test_a_signal_is_handed_on_and_the_end_awaited(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        self.stand_in(
            monkeypatch,
            "import signal, sys\n"
            "signal.signal(signal.SIGINT, lambda *_: (print('stopping'), sys.exit(130)))\n"
            f"open({str(ready)!r}, 'w').close()\n"
            "signal.pause()\n",
        )

        def press() -> None:
            with ready.open():
                os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        assert demo.serve("run") == 130
        thread.join()
        assert "stopping" in capfd.readouterr().out
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def press_while_starting(self, monkeypatch: pytest.MonkeyPatch, ready: Path, code: str) -> None:
        """Ctrl-C once the child is ready for it, and before anybody here knows the child."""
        os.mkfifo(ready)
        self.stand_in(monkeypatch, f"import signal\n{code}\nopen({str(ready)!r}, 'w').close()\nsignal.pause()")
        start = subprocess.Popen

        def pressed(*command: object, **more: object) -> object:
            child = start(*command, **more)  # type: ignore[call-overload]
            ready.open().close()
            os.kill(os.getpid(), signal.SIGINT)
            return child

        monkeypatch.setattr(subprocess, "Popen", pressed)

    def test_a_signal_while_the_child_is_being_started(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.press_while_starting(monkeypatch, tmp_path / "ready", "")
        assert demo.serve("run") == 130

    def test_who_interrupts_the_last_moment_wants_no_other_run(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The child ends in order, as the server does when the last file is all that is left to write."""
        code = "signal.signal(signal.SIGTERM, lambda *_: exit(0))"
        self.press_while_starting(monkeypatch, tmp_path / "ready", code)
        assert demo.serve("run") == 130

    def test_under_nohup_a_hangup_is_still_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        self.stand_in(monkeypatch, "")
        start = subprocess.Popen

        def look(*command: object, **more: object) -> object:
            seen.append(signal.getsignal(signal.SIGHUP))
            return start(*command, **more)  # type: ignore[call-overload]

        monkeypatch.setattr(subprocess, "Popen", look)
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            assert demo.serve("run") == 0
        finally:
            signal.signal(signal.SIGHUP, before)
        assert seen == [signal.SIG_IGN]

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
    def test_the_server_does_not_outlive_it(self, number: signal.Signals) -> None:
        """However it ends: the child holds the other end of the pipe, which closes with the last of them."""
        stand_in = (
            "import subprocess, sys; from tools import demo; popen = subprocess.Popen;"
            " code = 'import signal; print(1, flush=True); signal.pause()';"
            " subprocess.Popen = lambda _command, **more: popen([sys.executable, '-c', code], **more);"
            " demo.serve('run')"
        )
        with subprocess.Popen([sys.executable, "-c", stand_in], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            process.send_signal(number)
            assert process.stdout.read() == b""
        assert process.returncode == -number


def test_another_seed_is_run_from_beside_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "mine.toml"
    template.write_text('seed = 0\nname = "x"\n')
    asked = []

    def serve(*arguments: str) -> int:
        file = Path(arguments[1])
        asked.append((file.parent, file.read_text(), arguments[2:]))
        (tmp_path / "runs" / "x-1").mkdir()
        (tmp_path / "runs" / "x-1" / "config.toml").touch()
        return 0

    monkeypatch.setattr(demo, "serve", serve)
    assert demo.run(template, seed=4, out=tmp_path / "runs") == (0, tmp_path / "runs" / "x-1")
    assert asked == [(tmp_path, 'seed = 4\nname = "x"\n', ("--out", str(tmp_path / "runs")))]
    assert list(tmp_path.glob(".*")) == []
