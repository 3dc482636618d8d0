from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server.report import build_report
from tests.report import run_directory as small

KEYS = {
    "accuracy_by_round", "energy_added_j", "energy_board_j", "joules_to_common_accuracy", "planned_j", "measured_j",
    "seconds", "up_bytes", "down_bytes", "synth_bytes", "synth_bytes_spared",
}  # fmt: skip
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "aria-label":
                self.labels.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = small.write_run(tmp_path_factory.mktemp("runs") / "small-1")
    build_report(path)
    return path


def test_report_json(run_dir: Path) -> None:
    report = json.loads((run_dir / "report.json").read_text())
    assert report.keys() >= {"strategies", "starved_share", "seeds", "versions"}
    assert all(strategy.keys() >= KEYS for strategy in report["strategies"].values())
    assert report["seeds"] == [7]
    assert report["common_accuracy"] == 0.6
    tfl, fimi = report["strategies"]["tfl"], report["strategies"]["fimi"]
    assert tfl["joules_to_common_accuracy"] == tfl["energy_added_j"] == 500  # five rounds, two tasks of 50 J
    assert fimi["joules_to_common_accuracy"] == pytest.approx(240)  # after its second round of 120 J
    assert fimi["board_joules_to_common_accuracy"] == pytest.approx(400)  # 2 W over 20 s more for each of four tasks
    assert fimi["up_bytes"] == 10_000
    assert report["comparable"] is True
    assert report["clocks"]["b"] == {
        "windows": 10, "windows_with_clock": 10, "accepted_share": 1.0, "verified_share": 1.0, "violation_s": 0.0,
        "throttled_windows": None, "starved_share": 0.0, "troubles": {},
    }  # fmt: skip


def test_every_key_is_explained(run_dir: Path) -> None:
    report = json.loads((run_dir / "report.json").read_text())
    names = set(report)
    names |= {f"strategies.NAME.{key}" for values in report["strategies"].values() for key in values}
    names |= {f"clocks.DEVICE.{key}" for values in report["clocks"].values() for key in values}
    names |= {f"uploads.NAME.DEVICE.{key}" for by in report["uploads"].values() for one in by.values() for key in one}
    names |= {f"loop.NAME.{key}" for values in report["loop"].values() for key in values}
    text = (Path(__file__).resolve().parents[2] / "server" / "README.md").read_text()
    told = text[text.index("\n## report.json\n") :].split("\n## ")[1]
    assert set(re.findall(r"^\| `([^`]*)` \|", told, re.MULTILINE)) == names


def test_the_page_stands_alone(run_dir: Path) -> None:
    text = (run_dir / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "<script" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)


def test_the_page_can_be_read_without_seeing_it(run_dir: Path) -> None:
    text = (run_dir / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("svg") == len(page.labels) == 5
    assert "fimi ends at 80.0% after 600 J" in page.labels[0]
    assert text.index("<table") < text.index("<svg")
    assert 'lang="en"' in text


def test_figures_for_documents(run_dir: Path) -> None:
    names = {"accuracy-over-joules", "accuracy-over-rounds", "classes", "joules-by-device", "samples"}
    assert {file.name for file in (run_dir / "figures").iterdir()} == {
        f"{n}.{k}" for n in names for k in ("png", "svg")
    }


def test_a_starved_run_is_not_compared(tmp_path: Path) -> None:
    path = small.write_run(tmp_path / "r", starved=True)  # two of twenty windows
    report = build_report(path)
    assert report["starved_share"] == pytest.approx(0.1)
    assert report["comparable"] is False
    text = (path / "report.html").read_text()
    assert "No comparison: 10.0% of the training windows" in text
    assert "0.48" not in text


def test_a_run_without_a_meter_still_has_its_report(tmp_path: Path) -> None:
    report = build_report(small.write_run(tmp_path / "r", metered=False))
    assert report["strategies"]["tfl"]["energy_added_j"] is None
    assert not (tmp_path / "r" / "figures" / "accuracy-over-joules.png").exists()


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    path = small.write_run(tmp_path / "r")
    for strategy in ("tfl", "fimi"):
        (path / f"rounds-{strategy}.jsonl").unlink()
    report = build_report(path)
    assert report["strategies"] == {}
    assert "no finished round" in report["not_comparable_because"]


def test_the_same_run_gives_the_same_figures(run_dir: Path, tmp_path: Path) -> None:
    again = small.write_run(tmp_path / "small-1")
    build_report(again)
    assert (again / "report.html").read_text() == (run_dir / "report.html").read_text()
