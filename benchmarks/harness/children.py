# harness/children.py: runs other programs and says what they cost.
#
# Each step is a child of GNU time, so that its peak memory is its own: a child that Python starts
# itself would be charged with Python's. Processor time and peak memory include the processes that a
# step starts and waits for. `run` never raises for a child that fails; the outcome says so.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import tempfile

TIME = shutil.which('time') or '/usr/bin/time'
FIELDS = '%e %U %S %M'


@dataclasses.dataclass
class Cost:
    """What one or several steps took; seconds, and KiB at the peak of the largest."""
    wall: float = 0.0
    cpu: float = 0.0
    peak_kib: int = 0
    instructions: int | None = None

    def add(self, other):
        self.wall += other.wall
        self.cpu += other.cpu
        self.peak_kib = max(self.peak_kib, other.peak_kib)


@dataclasses.dataclass
class Outcome:
    code: int  # of the first step that failed; 124 when time ran out
    cost: Cost
    message: str = ''

    @property
    def ok(self):
        return self.code == 0


def call(argv, timeout, folder):
    """One program in a session of its own, killed as a whole when time is up."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=said, cwd=folder, start_new_session=True)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return 124, 'time is up'
        said.seek(max(0, said.seek(0, os.SEEK_END) - 400))
        return code, said.read().decode(errors='replace')


def run(steps, timeout, folder):
    """Runs argument lists one after the other until one fails; costs add up."""
    total = Cost()
    for argv in steps:
        times = os.path.join(folder, '.times')
        code, said = call([TIME, '-q', '-f', FIELDS, '-o', times, *map(str, argv)], timeout, folder)
        if code == 124:
            return Outcome(124, total, said)
        with open(times, encoding='utf-8') as file:
            wall, user, system, peak = file.read().split()[-4:]
        total.add(Cost(float(wall), float(user) + float(system), int(peak)))
        if code != 0:
            return Outcome(code, total, ' '.join(said.split())[-200:])
    return Outcome(0, total)


def count_instructions(steps, timeout, folder):
    """Instructions of steps as callgrind counts them, with their children; None when it cannot."""
    if shutil.which('valgrind') is None:
        return None
    total = 0
    for argv in steps:
        with tempfile.TemporaryDirectory() as logs:
            code, _ = call(['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null',
                            '--trace-children=yes', f'--log-file={logs}/%p', *map(str, argv)],
                           timeout, folder)
            if code != 0:
                return None
            for log in os.listdir(logs):
                with open(os.path.join(logs, log), encoding='utf-8', errors='replace') as file:
                    counted = re.search(r'Collected : (\d+)', file.read())
                total += int(counted[1]) if counted else 0
    return total or None
