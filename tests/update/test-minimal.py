#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The smallest program: test-minimal.py KHO MINIMAL"""
import os
import re
import signal
import subprocess
import sys

import harness
from harness import Service, equal, wait_for

KHO, MINIMAL = sys.argv[1:]


def counts(service):
    """(pid, number) of each line that it printed"""
    return [(int(pid), int(n)) for pid, n in
            re.findall(r'^(\d+): (\d+)$', service.output(), re.M)]


def lives_on():
    """it counts on after kill -9 and after an update"""
    with Service(KHO, MINIMAL, wait=False) as service:
        wait_for(lambda: len(counts(service)) >= 2, 'counting')
        first = counts(service)[-1][0]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: counts(service)[-1][0] != first, 'a restart')
        second = counts(service)[-1][0]
        code, answer = service.update(MINIMAL)
        equal((code, answer['result'], answer['old_pid']),
              (0, 'updated', second), answer)
        wait_for(lambda: counts(service)[-1][0] == answer['pid'], 'the next')
        numbers = [n for _, n in counts(service)]
        equal(numbers, list(range(1, len(numbers) + 1)), 'what it counted')


def short():
    """its source has less than 60 lines"""
    path = os.path.dirname(__file__) + '/../../examples/minimal/minimal.c'
    with open(path) as f:
        assert len(f.readlines()) < 60


def alone():
    """it runs alone, too"""
    process = subprocess.Popen([MINIMAL], stdout=subprocess.PIPE, text=True)
    equal(process.stdout.readline(), f'{process.pid}: 1\n')
    process.kill()
    process.wait()


harness.main([lives_on, short, alone])
