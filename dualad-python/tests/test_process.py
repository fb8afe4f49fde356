"""Threads, forks, interrupts, and other processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Array, picture

import dualad

Script = Callable[..., "subprocess.CompletedProcess[str]"]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

TESTS = str(Path(__file__).parent)


def score(packed: bytes, images: list[Array]) -> list[float]:
    detector = pickle.loads(packed)
    return [found.score for found in detector.inspect_batch(images)]


def test_eight_threads_under_load(detector: dualad.Detector, files: list[Path]) -> None:
    images = [picture(seed, defect=seed % 3 == 0) for seed in range(16)]
    inputs: list[dualad.ImageLike] = [*images, *files, *(path.read_bytes() for path in files)]
    expected = [detector.inspect(image).to_json() for image in inputs]
    batch = [found.to_json() for found in detector.inspect_batch(inputs)]
    own = detector.with_threads(2)
    failures: list[object] = []
    stop = time.monotonic() + 5

    def load(number: int) -> int:
        rounds = 0
        random = np.random.default_rng(number)
        while time.monotonic() < stop:
            used = own if (number + rounds) % 2 else detector
            if rounds % 3 == 0:
                found = [result.to_json() for result in used.inspect_batch(inputs)]
                if found != batch:
                    failures.append(number)
            elif rounds % 3 == 1:
                place = int(random.integers(len(inputs)))
                if used.inspect(inputs[place]).to_json() != expected[place]:
                    failures.append(number)
            else:
                [result] = used.inspect_batch(["missing.png"], errors="return")
                if not isinstance(result, dualad.FileMissingError):
                    failures.append(number)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(load, range(8)))
    assert not failures and min(rounds) > 0


def test_the_interpreter_runs_while_images_are_inspected(detector: dualad.Detector) -> None:
    longest, done = 0.0, threading.Event()

    def inspect() -> None:
        for _ in range(3):
            detector.inspect_batch([picture(1, 600, 800)] * 40)
        done.set()

    thread = threading.Thread(target=inspect)
    thread.start()
    before = time.monotonic()
    while not done.is_set():
        now = time.monotonic()
        longest, before = max(longest, now - before), now
        time.sleep(0.001)
    thread.join()
    assert longest < 0.5


@needs_fork
def test_a_child_of_a_fork_inspects(script: Script, model: Path) -> None:
    """The parent has used its threads, which do not exist in the child, nor in the child's child."""
    code = """
import os, sys
import dualad
sys.path.insert(0, sys.argv[2])
from conftest import picture
shared = dualad.Detector.load(sys.argv[1])
own = dualad.Detector.load(sys.argv[1], threads=2)
images = [picture(seed) for seed in range(9)]
expected = [found.to_json() for found in shared.inspect_batch(images)]
assert [found.to_json() for found in own.inspect_batch(images)] == expected

def check(depth):
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [found.to_json() for found in shared.inspect_batch(images)] == expected
        return
    for detector in (shared, own, own.with_calibration(own.calibration), dualad.Detector.load(sys.argv[1])):
        assert [found.to_json() for found in detector.inspect_batch(images)] == expected
        assert detector.inspect(images[0]).score > 0
    assert dualad.metrics.auroc([0.1, 0.2], [0, 1]) == 1.0
    if depth:
        check(depth - 1)
    os._exit(0)

check(1)
print("done")
"""
    done = script(code, model, TESTS)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr


@needs_fork
def test_a_fork_before_the_first_use_needs_nothing(script: Script, model: Path) -> None:
    code = """
import os, sys
import dualad
sys.path.insert(0, sys.argv[2])
from conftest import picture
child = os.fork()
found = dualad.Detector.load(sys.argv[1]).inspect_batch([picture(1)] * 9)
assert len(found) == 9
if not child:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = script(code, model, TESTS)
    assert done.returncode == 0, done.stderr


@needs_fork
def test_a_fork_during_a_call_is_a_clear_error(script: Script, model: Path) -> None:
    code = """
import os, sys, threading, time
import dualad
sys.path.insert(0, sys.argv[2])
from conftest import picture
detector = dualad.Detector.load(sys.argv[1])
begun, end = threading.Event(), threading.Event()

def wait(progress):
    begun.set()
    end.wait()

thread = threading.Thread(target=detector.inspect_batch, args=([picture(1)] * 100_000,), kwargs={"progress": wait})
thread.start()
begun.wait()
child = os.fork()
if not child:
    for call in (lambda: detector.inspect(picture(1)), lambda: dualad.Detector.load(sys.argv[1]),
                 lambda: dualad.metrics.auroc([0.1, 0.2], [0, 1])):
        try:
            call()
            os._exit(1)
        except dualad.ForkError as error:
            assert "spawn" in str(error)
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os.write(1, f"{status}".encode())
os._exit(0)
"""
    done = script(code, model, TESTS)
    assert done.stdout == "0", done.stderr


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_other_processes(detector: dualad.Detector, method: str, files: list[Path]) -> None:
    images = [picture(seed) for seed in range(10)]
    expected = [found.score for found in detector.inspect_batch(images)]
    context = multiprocessing.get_context(method)
    packed = pickle.dumps(detector)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for found in pool.map(score, [packed] * 3, [images] * 3):
            assert found == expected
        # A detector as an argument, as Ray and Spark send it.
        results = pool.submit(detector.inspect_batch, images).result()
        assert [found.score for found in results] == expected


INTERRUPTED = """
import os, signal, sys, threading, time, warnings
import numpy as np
import dualad
from dualad._types import SyntheticWeights
sys.path.insert(0, sys.argv[2])
from conftest import TINY, picture
warnings.simplefilter("ignore")
# A process in the background of a shell ignores the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
images = [picture(seed, 400, 400) for seed in range(24)]
kind = sys.argv[3]
if kind == "large":
    # A batch takes longer than a second: the work is left behind, and ends before the process does.
    detector = dualad.Detector.fit(
        {"part": images[:5]}, backbone="wide-resnet50-2", weights=SyntheticWeights(1), preset="accurate", epochs=0, hold_out=0.0
    )
elif kind != "fit":
    detector = dualad.Detector.load(sys.argv[1])
begun = threading.Event()

def work():
    if kind == "fit":
        dualad.Detector.fit({"part": images}, recipe=TINY, epochs=900_000, progress=lambda progress: begun.set())
    elif kind in ("inspect", "large"):
        detector.inspect_batch(images * 5000, progress=lambda progress: begun.set())
    elif kind == "silent":
        begun.set()
        detector.inspect_batch(images * 5000)
    else:
        # Copies count once.
        different = list(np.repeat(picture(50)[None], 20_000, axis=0))
        for number, image in enumerate(different):
            image[0, 0] = (number >> 8, number & 255, 0)
        detector.calibrate(different, progress=lambda progress: begun.set())

def interrupt():
    begun.wait()
    time.sleep(0.4)
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    work()
except KeyboardInterrupt:
    print(time.monotonic() - sent)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process of Windows")
@pytest.mark.parametrize("kind", ["fit", "inspect", "silent", "calibrate", "large"])
def test_an_interrupt_takes_less_than_a_second(script: Script, model: Path, kind: str) -> None:
    done = script(INTERRUPTED, model, TESTS, kind)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert float(done.stdout) < 1.0


def test_a_handler_of_another_signal_runs_meanwhile(script: Script, model: Path) -> None:
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no timers")
    code = """
import signal, sys
import dualad
sys.path.insert(0, sys.argv[2])
from conftest import picture
detector = dualad.Detector.load(sys.argv[1])
calls = []
signal.signal(signal.SIGALRM, lambda *_: calls.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
detector.inspect_batch([picture(1, 300, 300)] * 800)
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(calls))
"""
    done = script(code, model, TESTS)
    assert done.returncode == 0 and int(done.stdout) >= 2, done.stderr


def test_the_end_of_the_process_does_not_wait_for_other_threads(script: Script, model: Path) -> None:
    code = """
import sys, threading, time
import dualad
sys.path.insert(0, sys.argv[2])
from conftest import picture
detector = dualad.Detector.load(sys.argv[1])
begun = threading.Event()
work = dict(target=detector.inspect_batch, args=([picture(1)] * 100_000,), kwargs={"progress": lambda _: begun.set()})
threading.Thread(**work, daemon=True).start()
begun.wait()
print(time.time())
"""
    done = script(code, model, TESTS)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert time.time() - float(done.stdout) < 5.0
