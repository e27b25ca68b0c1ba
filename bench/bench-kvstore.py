#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""kvstore and a real redis-server side by side, as redis-benchmark sees them:
bench-kvstore.py KVSTORE

Both serve one Unix socket without writing to disk. They take turns, and the
best of three rounds counts."""
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time

TESTS = 'ping_mbulk,set,get,incr,mset'
ROUNDS = 3
PIPELINES = {1: 50000, 16: 300000}


def start(path, *command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and subprocess.run(
            ['redis-cli', '-s', path, 'ping'],
            capture_output=True).stdout != b'PONG\n':
        time.sleep(0.05)
    return process


def measure(path, pipeline, requests):
    """{test: requests per second}"""
    out = subprocess.run(
        ['redis-benchmark', '-s', path, '-t', TESTS, '-n', str(requests),
         '-r', '100000', '-d', '100', '-P', str(pipeline), '--csv'],
        capture_output=True, text=True, check=True).stdout
    return {row['test']: float(row['rps'])
            for row in csv.DictReader(out.splitlines())}


def main():
    missing = [x for x in ('redis-server', 'redis-benchmark')
               if not shutil.which(x)]
    if missing:
        print(f'skipped: no {missing[0]}')
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = directory + '/kvstore', directory + '/redis'
        servers = [
            start(ours, sys.argv[1], '--port', '0', '--unix', ours),
            start(theirs, 'redis-server', '--port', '0', '--unixsocket',
                  theirs, '--save', '', '--dir', directory),
        ]
        print(f'{os.path.basename(sys.argv[1])} and redis-server, '
              'requests per second, 100000 keys of 100 bytes, 50 clients\n')
        print(f'{"TEST":24} {"PIPELINE":>8} {"KVSTORE":>10} {"REDIS":>10} '
              f'{"RATIO":>6}')
        for pipeline, requests in PIPELINES.items():
            best = {ours: {}, theirs: {}}
            for _ in range(ROUNDS):
                for path in best:
                    for test, rps in measure(path, pipeline,
                                             requests).items():
                        best[path][test] = max(rps, best[path].get(test, 0))
            for test in best[ours]:
                us, them = best[ours][test], best[theirs][test]
                print(f'{test:24} {pipeline:8} {us:10.0f} {them:10.0f} '
                      f'{us / them:6.2f}', flush=True)
        for server in servers:
            server.terminate()
            server.wait()


main()
