#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""kill -9 of kvstore at random moments under writes:
test-kvstore-crash.py KHO KVSTORE-V1 KVSTORE-V2 KVSTORE-V3
KHO_TEST_SEED repeats a run."""
import contextlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib

import harness
from harness import SEED, Custody, Service, diag, equal, wait_for
from load import Load, Writer
from resp import encode

KHO, V1, V2, V3 = sys.argv[1:]


def killed_under_writes():
    """50 times kill -9 under writes: every acknowledged write is there"""
    for version, times in (V1, 20), (V2, 20), (V3, 10):
        with Custody(version) as server:
            writers = [Writer(f'w{i}', SEED, lists=version != V1)
                       for i in range(2)]
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


def recovered(client):
    wait_for(lambda: client.info()['recovery_in_progress'] == '0', 'recovery')


def killed_recovering():
    """killed again while it recovers: all is there at once, each time"""
    n = 50000
    with Custody(V2) as server:
        client = server.client()
        client.pipeline([('SET', f'k:{i}', i) for i in range(n)])
        client.pipeline([('RPUSH', f'l:{i}', *range(100), 9000 * 'x')
                         for i in range(100)])
        used = []
        early = 0
        for turn in range(6):
            # Much that is lost: entries, elements, and pages of their own.
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.sendall(b''.join(
                    encode('MSET', *(x for k in range(50)
                                     for x in (f'k:{i + k}', i + k))) +
                    encode('RPUSH', f'l:{i % 100}', *range(50), 9000 * 'y') +
                    encode('RPOP', f'l:{i % 100}', 51) +
                    encode('LPUSH', f'l:{i % 100}', *range(50), 9000 * 'y') +
                    encode('LPOP', f'l:{i % 100}', 51)
                    for i in range(0, n, 50)))
            time.sleep(random.uniform(0, 0.01))
            for kill in range(turn % 3 + 1):
                server.kill()
                client.close()
                server.start()
                server.wait()
                client = server.client()
                early += client.info()['recovery_in_progress'] == '1'
                equal(client('DBSIZE'), n + 100)
                some = random.sample(range(n), 1000)
                equal(client('MGET', *(f'k:{i}' for i in some)),
                      [str(i).encode() for i in some])
                for elements in client.pipeline(
                        [('LRANGE', f'l:{i}', 0, -1) for i in range(100)]):
                    assert elements[-1] in (9000 * b'x', 9000 * b'y') or \
                        elements[-1].isdigit(), elements[-1][:30]
            recovered(client)
            client.pipeline([('SET', f'l:{i}', 'x') for i in range(100)])
            used.append(int(client.info()['used_memory']))
            client.pipeline([('DEL', f'l:{i}') for i in range(100)])
            client.pipeline([('RPUSH', f'l:{i}', *range(100), 9000 * 'x')
                             for i in range(100)])
        diag(f'{early} looks during a recovery; bytes in use: {used}')
        assert used[-1] <= used[2], used


def nothing_leaks():
    """what a crash leaves behind is found and freed"""
    with Custody(V2) as server:
        writer = Writer('w', SEED, lists=True)
        used = []
        for turn in range(10):
            client = server.client()
            writer.check(client)
            for _ in range(20):
                writer.round(client, n=100)
            client.pipeline([('SET', f'x:{i}', 300 * 'x')
                             for i in range(3000)])
            writer.pending = []
            equal(client('FLUSHALL'), b'OK')
            writer.known = {}
            client.pipeline([('SET', f'x:{i}', 300 * 'x')
                             for i in range(3000)])
            client.socket.sendall(b''.join(
                encode('SET', f'x:{i}', 9000 * 'x') +
                encode('RPUSH', f'l:{i % 10}', 9000 * 'x', 'y', 'z')
                for i in range(200)))
            server.kill()
            client.close()
            server.start()
            server.wait()
            client = server.client()
            equal(client('FLUSHALL'), b'OK')
            recovered(client)
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


def damaged():
    """a damaged state is refused up front, and not made worse"""
    for version in V1, V2, V3:
        with Custody(version) as server:
            client = server.client()
            client.pipeline([('SET', f'x:{i}', i) for i in range(1000)])
            server.kill()
            client.close()
            arena = dict(server.store)['kho-arena']
            state = json.loads(subprocess.check_output(
                [KHO, 'inspect', '--json', f'/proc/self/fd/{arena}'],
                pass_fds=[arena]))
            tree = {x['name']: x for x in state['root']['subtrees']}
            state = tree['kvstore']['phys']
            table = struct.unpack('Q', os.pread(arena, 8, state))[0]
            for phys, bad, why in [
                    (state, 1 << 40, 'outside the memory'),
                    (state, 2**64 - 8, 'outside the memory'),
                    (table, 77, 'there is no table'),
                    (table + 16, 0, 'has 0 buckets'),
                    (table + 16, 1 << 40, 'has 1099511627776 buckets'),
                    (table + 16, 1 << 20, 'lacks buckets'),
                    (table + 88, 7, 'logged 7 words')]:
                good = os.pread(arena, 8, phys)
                os.pwrite(arena, struct.pack('Q', bad), phys)
                before = zlib.crc32(os.pread(arena, 1 << 30, 0))
                said = len(server.output())
                server.start()
                code = os.waitstatus_to_exitcode(
                    os.waitpid(server.pid_, 0)[1])
                equal(code, 1, why)
                said = server.output()[said:]
                assert why in said, said
                equal(zlib.crc32(os.pread(arena, 1 << 30, 0)), before,
                      'the arena')
                os.pwrite(arena, good, phys)
            server.start()
            server.wait()
            equal(server.client()('DBSIZE'), 1000)


harness.main([
    killed_under_writes, killed_recovering, nothing_leaks, under_kho_run, flushed, damaged,
])
