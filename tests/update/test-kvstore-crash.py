#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""kill -9 of kvstore at random moments under writes:
test-kvstore-crash.py KHO KVSTORE-V1 KVSTORE-V2 KVSTORE-V3
SEED repeats a run."""
import contextlib
import os
import random
import signal
import sys
import time

import harness
from harness import SEED, Custody, Service, diag, equal, wait_for
from load import Load, Writer
from resp import encode

KHO, V1, V2, V3 = sys.argv[1:]


def killed_under_writes():
    """50 times kill -9 under writes: every acknowledged write is there"""
    for version, times in (V1, 20), (V2, 20), (V3, 10):
        with Custody(version) as server:
            writers = [Writer(f'w{i}', SEED) for i in range(2)]
            acknowledged = cut = 0
            for turn in range(times):
                clients = [server.client() for _ in writers]
                for writer, client in zip(writers, clients):
                    writer.check(client)
                equal(clients[0]('DBSIZE'), sum(w.count() for w in writers),
                      'keys')
                moment = time.monotonic() + random.uniform(0, 0.15)
                while time.monotonic() < moment:
                    for writer, client in zip(writers, clients):
                        writer.round(client, n=50)
                for writer, client in zip(writers, clients):
                    writer.send(client, n=100)
                time.sleep(random.uniform(0, 0.002))
                server.kill()
                # What arrived was acknowledged.
                for writer, client in zip(writers, clients):
                    with contextlib.suppress(ConnectionError):
                        writer.receive(client)
                    client.close()
                    cut += bool(writer.pending)
                server.start()
                server.wait()
                acknowledged = sum(w.acknowledged for w in writers)
            diag(f'{os.path.basename(version)}: {times} kills, '
                 f'{cut} pipelines were cut, '
                 f'{acknowledged} commands were acknowledged')


def nothing_leaks():
    """what a crash leaves behind is found and freed"""
    with Custody(V2) as server:
        writer = Writer('w', SEED)
        used = []
        for turn in range(10):
            client = server.client()
            writer.check(client)
            writer.round(client, n=2000)
            client.pipeline([('SET', f'x:{i}', 300 * 'x')
                             for i in range(3000)])
            writer.pending = []
            equal(client('FLUSHALL'), b'OK')
            writer.known = {}
            client.pipeline([('SET', f'x:{i}', 300 * 'x')
                             for i in range(3000)])
            client.socket.sendall(b''.join(
                encode('SET', f'x:{i}', 9000 * 'x')
                for i in range(200)))
            server.kill()
            client.close()
            server.start()
            server.wait()
            client = server.client()
            equal(client('FLUSHALL'), b'OK')
            used.append(int(client.info()['used_memory']))
            client.close()
        diag(f'bytes in use after each crash, emptied: {used}')
        assert used[-1] <= used[2], used


def under_kho_run():
    """kill -9 under kho run, with clients that connect again"""
    with Service(KHO, V1) as service, \
            Load(service, SEED, n=2, crashes=True) as load:
        for _ in range(3):
            load.progress()
            pid = service.pid()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: service.answers(), 'an answer after the kill')
            assert service.pid() != pid
            # kho run restarts at once what has served for a while.
            time.sleep(3)
            load.progress()


def flushed():
    """kill -9 during FLUSHALL: all keys are there, or none"""
    both = set()
    for turn in range(12):
        with Custody(V2) as server:
            client = server.client()
            client.pipeline([('SET', f'x:{i}', 'x') for i in range(20000)])
            client.send('FLUSHALL')
            time.sleep(turn * 0.0004)
            server.kill()
            client.close()
            server.start()
            server.wait()
            keys = server.client()('DBSIZE')
            assert keys in (0, 20000), keys
            both.add(keys)
    diag(f'outcomes: {sorted(both)}')


harness.main([killed_under_writes, nothing_leaks, under_kho_run, flushed])
