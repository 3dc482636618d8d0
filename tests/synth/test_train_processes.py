"""Training in processes of its own: killed and gone on with, and on two at once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from server.synth.train import learning_rate
from tests.synth.small_training import ENVIRONMENT, ROOT, SETTINGS_OF_TWO

PROGRAM = """
import sys
from pathlib import Path
import torch
from server.synth import train as training
from tests.synth.small_training import SETTINGS, SHAPE, images
torch.set_num_threads(1)
training.SAVE_EVERY_S = 0.0  # after each step
training.train(*images(), SHAPE, SETTINGS, Path(sys.argv[1]), lambda p: print(p.step, flush=True))
"""


def start(out: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, str(out)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def steps_of(out: Path, kill_at: int | None = None) -> list[int]:
    """The steps that a training reported; killed in the step after `kill_at`, at whatever it does then."""
    seen: list[int] = []
    with start(out) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(int(line))
            if kill_at is not None and seen[-1] >= kill_at:
                process.kill()
                break
    assert process.returncode == (0 if kill_at is None else -9)
    return seen


@pytest.mark.slow
def test_a_training_killed_five_times_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "a" / "g.safetensors", tmp_path / "b" / "g.safetensors"
    assert steps_of(unbroken) == list(range(1, 13))
    seen = []
    for step in sorted(random.Random(1).sample(range(1, 11), 5)):
        seen += steps_of(broken, kill_at=step)
    seen += steps_of(broken)
    assert broken.read_bytes() == unbroken.read_bytes()
    assert not broken.with_suffix(".state").exists()
    assert len(seen) <= 12 + 5  # it went on each time, and did not begin anew


def launch(processes: int, program: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*words, str(program), str(out)], cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


LOSING = """
import os, signal, sys
from pathlib import Path
import torch
from server.synth import train as training
from tests.synth.small_training import SETTINGS_OF_BFLOAT16, SHAPE, images
torch.set_num_threads(2)
seconds = iter(range(10_000))
training.time.monotonic = lambda: next(seconds)  # one a step, and some more when it saves: it does so now and then
training.SAVE_EVERY_S = 3.5
last = int(sys.argv[2])
def killed(step, settings, real=training.learning_rate):
    print(step, flush=True)
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(step, settings)
training.learning_rate = killed
training.train(*images(), SHAPE, SETTINGS_OF_BFLOAT16, Path(sys.argv[1]), lambda _: None)
"""


@pytest.mark.slow
def test_steps_that_a_kill_lost_are_made_again_bit_for_bit_in_bfloat16_on_two_threads(tmp_path: Path) -> None:
    def steps(out: Path, kill_at: int) -> list[int]:
        words = [sys.executable, "-c", LOSING, str(out), str(kill_at)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == (0 if kill_at < 0 else -9), done.stderr[-2000:]
        return [int(step) for step in done.stdout.split()]

    unbroken, broken = tmp_path / "a" / "g.safetensors", tmp_path / "b" / "g.safetensors"
    assert steps(unbroken, -1) == list(range(12))
    assert steps(broken, 6)[0] == 0
    again = steps(broken, 10)
    assert 0 < again[0] <= 6  # the kill lost some
    steps(broken, -1)
    assert broken.read_bytes() == unbroken.read_bytes()


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Both see the images that one would; each draws the noise of its own half."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("SETTINGS", "SETTINGS_OF_TWO"))
    weights = []
    for n in (1, 2):
        out = tmp_path / f"{n}.safetensors"
        done = launch(n, program, out)
        assert done.stdout.split() == ["1", "2", "3"]  # one of them speaks
        weights.append(load_file(out))
    one, two = weights
    far = max(float((one[name].float() - two[name].float()).abs().max()) for name in one)
    assert 0 < far < 3 * 2 * SETTINGS_OF_TWO.lr  # other noise, but no more than three steps of AdamW apart


KEPT = """
import os
def kept(averaged, unet, keep, real=training._average):
    real(averaged, unet, keep)
    torch.save(unet.state_dict(), sys.argv[1] + os.environ["RANK"])
training._average = kept
"""
TIGHT = """
def tight(unet, schedule, clean, *more, real=training.training_loss):
    if os.environ["RANK"] == "1" and len(clean) > 1:
        raise torch.OutOfMemoryError
    return real(unet, schedule, clean, *more)
training.training_loss = tight
"""


@pytest.mark.slow
def test_a_process_that_runs_out_of_memory_keeps_the_others_company(tmp_path: Path) -> None:
    """One of two takes its half of the batch in pieces: nobody waits for ever, and all make the same steps."""
    made = []
    for name, more in (("roomy", KEPT), ("tight", KEPT + TIGHT)):
        program, out = tmp_path / f"{name}.py", tmp_path / f"{name}.safetensors"
        one_step = PROGRAM.replace("SETTINGS", "SETTINGS_OF_TWO").replace("training.train(", more + "\ntraining.train(")
        program.write_text(one_step)
        done = launch(2, program, out)
        assert ("images at once do not fit into memory" in done.stderr) == (name == "tight")
        first, second = (torch.load(f"{out}{rank}", weights_only=True) for rank in (0, 1))
        assert all(torch.equal(first[weight], second[weight]) for weight in first)  # they saw other images
        made.append(second)
    roomy, tight = made
    far = max(float((roomy[weight] - tight[weight]).abs().max()) for weight in roomy)
    assert far < learning_rate(0, SETTINGS_OF_TWO)  # AdamW would move by twice the rate for another gradient's sign


SHARING = """
import os, sys
import torch
from server.synth import train as training
from server.synth.hardware import Hardware
from tests.synth.small_training import SETTINGS, SHAPE, images
accelerator = training.accelerator_on(Hardware.here("cpu"), bfloat16=False)
model = torch.nn.Linear(3, 2)
step_of = training._Stepper(model, SETTINGS, SHAPE, accelerator, *images())
model.weight.grad = torch.full((2, 3), 1.0 + accelerator.process_index)  # 1 here, 2 there
model.bias.grad = torch.tensor([10.0, 30.0 * accelerator.process_index])
step_of._share_gradients()
torch.save([model.weight.grad, model.bias.grad], sys.argv[1] + os.environ["RANK"])
accelerator.end_training()
"""


@pytest.mark.slow
def test_processes_go_on_with_the_mean_of_their_gradients(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SHARING)
    launch(2, program, tmp_path / "grad")
    for rank in (0, 1):
        weight, bias = torch.load(tmp_path / f"grad{rank}", weights_only=True)
        assert torch.equal(weight, torch.full((2, 3), 1.5))
        assert bias.tolist() == [10.0, 15.0]


TIMING = """
import os, sys
from pathlib import Path
from server.synth import train as training
from server.synth.hardware import Hardware
from tests.synth.small_training import SETTINGS, SHAPE, images
training.TIMED_STEPS = 2
steps = training.steps_in(60.0 if os.environ["RANK"] == "0" else 1.0, *images(), SHAPE, SETTINGS, Hardware.here("cpu"))
Path(sys.argv[1] + os.environ["RANK"]).write_text(str(steps))
training.accelerator_on(Hardware.here("cpu"), bfloat16=False).end_training()
"""


@pytest.mark.slow
def test_all_processes_take_as_many_steps_as_the_first_one_finds_time_for(tmp_path: Path) -> None:
    program, out = tmp_path / "program.py", tmp_path / "steps"
    program.write_text(TIMING)
    launch(2, program, out)
    first, second = ((tmp_path / f"steps{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert int(first) > 1
