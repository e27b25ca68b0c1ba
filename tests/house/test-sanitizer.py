#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""A build with sanitizers ends faulty programs: test-sanitizer.py FAULTY"""
import subprocess
import sys

FAULTS = {
    'leak': 'LeakSanitizer',
    'overflow': 'AddressSanitizer: heap-buffer-overflow',
    'undefined': 'runtime error: signed integer overflow',
}

failed = False
print(f'1..{len(FAULTS)}')
for n, (fault, message) in enumerate(FAULTS.items(), 1):
    run = subprocess.run([sys.argv[1], fault], text=True, capture_output=True)
    ok = run.returncode != 0 and message in run.stderr
    print(f'{"" if ok else "not "}ok {n} - {fault} ends the program')
    if not ok:
        print(f'# exit {run.returncode}, stderr: {run.stderr!r}')
    failed |= not ok
sys.exit(failed)
