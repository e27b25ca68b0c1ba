#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Updates of kvstore under load:
test-kvstore-update.py KHO SUCCESSOR KVSTORE-V1 KVSTORE-V2 KVSTORE-V3
KEYS: how many there are (100000). KHO_TEST_SEED repeats a run."""
import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import harness
from harness import (SEED, Alone, Service, Skip, alive, diag, equal,
                     successor_of, wait_for)
from keys import KEYS, compare, fill, update
from load import Load
from resp import encode

KHO, SUCCESSOR, V1, V2, V3 = sys.argv[1:]


def v1_to_v2():
    """version 1 to version 2, under load: no wrong reply, no lost key"""
    with Service(KHO, V1) as service:
        fill(service)
        pid = service.pid()
        with Load(service, SEED) as load:
            load.progress()
            load.longest()
            answer = update(service, V2)
            load.progress()
            diag(f'frozen {answer["frozen_us"] / 1000:.1f} ms, '
                 f'the slowest client waited {load.longest() * 1000:.1f} ms')
            equal(answer['old_pid'], pid)
            equal(service.pid(), answer['pid'])
            wait_for(lambda: not alive(pid), 'end of the old process')
            info = service.client().info()
            equal((info['state_version'], info['generation']), ('2', '1'))
            load.progress()
        compare(service)
        client = service.client()
        idle = client('OBJECT', 'IDLETIME', 'key:0')
        assert isinstance(idle, int), idle
        equal(client('DBSIZE'), KEYS + sum(w.count() for w in load.writers))


def real_clients():
    """redis-benchmark goes on through an update"""
    if not shutil.which('redis-benchmark'):
        raise Skip('no redis-tools')
    with Service(KHO, V1) as service:
        bench = subprocess.Popen(
            ['redis-benchmark', '-s', service.path, '-t', 'set,get,incr',
             '-n', '100000', '-r', '10000', '-c', '30', '-P', '4', '-q'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(0.3)
        update(service, V2)
        assert bench.poll() is None, 'redis-benchmark was done too early'
        out = bench.communicate()[0]
        equal(bench.returncode, 0, out)
        equal(out.count('requests per second'), 3, out)
        assert 'rror' not in out, out


def again_and_again():
    """version 2 to version 2, ten times, under load, with lists"""
    with Service(KHO, V2) as service, \
            Load(service, SEED, lists=True) as load:
        for _ in range(10):
            load.progress()
            update(service, V2)
        load.progress()
        diag(f'the slowest client waited {load.longest() * 1000:.1f} ms')
        equal(service.client().info()['generation'], '10')


def upgrade_interrupted():
    """killed and updated again and again as soon as it has a new version"""
    with Service(KHO, V1) as service:
        fill(service)
        update(service, V2)
        equal(service.client().info()['state_version'], '2')
        os.kill(service.pid(), signal.SIGKILL)
        service.wait()
        update(service, V2)
        update(service, V2)
        compare(service)
        equal(service.client()('DBSIZE'), KEYS)


def refused():
    """version 3 is refused: exit 1, a report, the same process"""
    for version in V1, V2:
        with Service(KHO, version) as service:
            fill(service, 1000)
            pid = service.pid()
            with Load(service, SEED) as load:
                load.progress()
                code, answer = service.update(V3)
                equal((code, answer['result']), (1, 'aborted'), answer)
                verdicts = {c['name']: c['verdict']
                            for c in answer['report']['components']}
                equal(verdicts['kvtable'], 'incompatible')
                equal(verdicts['kvstore'], 'ok')
                equal(service.pid(), pid)
                load.progress()
            compare(service, 1000)


def failing_successors():
    """a successor that fails: the old one serves, nobody notices"""
    with Service(KHO, V1) as service:
        fill(service, 1000)
        pid = service.pid()
        with Load(service, SEED) as load:
            for how in ('early-exit', 'early-crash', 'early-hang', 'exit',
                        'crash', 'hang', 'write', 'close'):
                code, answer = service.update(SUCCESSOR, how, timeout=1)
                equal((code, answer['result']), (1, 'aborted'),
                      f'{how}: {answer}')
                diag(f'{how}: {answer["error"]}')
                equal(service.pid(), pid)
                load.progress()
            for program in ('/bin/true', '/nix', '/etc/passwd', '/tmp'):
                code, answer = service.update(program)
                assert code in (1, 2), (program, code)
                equal(service.pid(), pid)
            compare(service, 1000)
            update(service, V2)
            load.progress()
        compare(service, 1000)
        info = service.client().info()
        equal(info['generation'], '1')


def kill_during_update():
    """kill -9 of the old or the new one at random moments of an update"""
    outcomes = {}
    for turn in range(30):
        with Service(KHO, V1) as service, \
                Load(service, SEED + turn, n=2, crashes=True) as load:
            load.progress()
            pid = service.pid()
            result = []
            thread = threading.Thread(
                target=lambda: result.append(service.update(V2)))
            thread.start()
            wait_for(lambda: successor_of(pid) or not thread.is_alive(),
                     'a successor', pause=0)
            who = random.choice(['old', 'new'])
            victims = [pid] if who == 'old' else successor_of(pid)
            time.sleep(random.uniform(0, 0.015))
            for victim in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            thread.join()
            service.wait()
            load.progress()
            outcome = who, result[0][1].get('result', 'no answer')
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    diag(f'who was killed, and what came of the update: {outcomes}')


def half_a_command():
    """commands and replies that are half way through an update"""
    big = 3000000 * b'x'
    with Service(KHO, V1) as service:
        service.client()('SET', 'big', big)
        whole = encode('SET', 'k', 'value') + encode('GET', 'k')
        halves = []
        for cut in range(len(whole)):
            client = service.client()
            client.socket.sendall(whole[:cut])
            halves.append((client, whole[cut:]))
        # Replies that nobody reads yet, and commands that wait for that.
        slow = service.client()
        for _ in range(20):
            slow.send('GET', 'big')
        slow.send('INCR', 'n')
        half_big = service.client()
        data = encode('SET', 'big2', big)
        half_big.socket.sendall(data[:1234567])
        named = service.client()
        named('CLIENT', 'SETNAME', 'me')
        number = named('CLIENT', 'ID')
        resp3 = service.client()
        equal(resp3('HELLO', '3')[b'proto'], 3)
        inline = service.client()
        inline.socket.sendall(b'ECHO "a ')
        time.sleep(0.2)

        update(service, V2)

        for client, rest in halves:
            client.socket.sendall(rest)
            equal([client.reply(), client.reply()], [b'OK', b'value'])
        for _ in range(20):
            equal(slow.reply(), big)
        equal(slow.reply(), 1)
        half_big.socket.sendall(data[1234567:])
        equal(half_big.reply(), b'OK')
        equal(half_big('GET', 'big2'), big)
        equal(named('CLIENT', 'GETNAME'), b'me')
        equal(named('CLIENT', 'ID'), number)
        assert service.client()('CLIENT', 'ID') > number
        # Its protocol came along, and so did that of the others.
        equal(resp3('CONFIG', 'GET', 'save'), {b'save': b''})
        equal(named('CONFIG', 'GET', 'save'), [b'save', b''])
        inline.socket.sendall(b'b"\r\n')
        equal(inline.reply(), b'a b')


def many_clients():
    """thousands of connections are handed over"""
    n = 3000
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * n:
        raise Skip(f'only {hard} open files are allowed')
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Service(KHO, V1) as service:
        clients = []
        for i in range(n):
            clients.append(service.client())
            if i % 100 == 0:
                clients[-1]('PING')
        for i, client in enumerate(clients):
            client.send('SET', f'c:{i}', i)
        answer = update(service, V2)
        diag(f'{n} connections: frozen {answer["frozen_us"] / 1000:.1f} ms')
        for client in clients:
            equal(client.reply(), b'OK')
        for i, client in enumerate(clients):
            client.send('GET', f'c:{i}')
        for i, client in enumerate(clients):
            equal(client.reply(), str(i).encode())
        equal(service.client().info()['connected_clients'], str(n + 1))
        for client in clients:
            client.close()
        update(service, V2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def leaving():
    """a client that leaves while another process still has its socket"""
    with Alone(V2) as server:
        stays, leaves = server.client(), server.client()
        equal([stays('PING'), leaves('PING')], [b'PONG', b'PONG'])
        # As the old process does for a moment after a handover.
        pid = server.process.pid
        process = os.pidfd_open(pid)
        pidfd_getfd = 438
        copies = [ctypes.CDLL(None).syscall(pidfd_getfd, process, int(fd), 0)
                  for fd in os.listdir(f'/proc/{pid}/fd')
                  if os.readlink(f'/proc/{pid}/fd/{fd}').startswith('socket:')]
        if -1 in copies:
            raise Skip('pidfd_getfd() is not allowed')
        leaves.close()
        wait_for(lambda: stays.info()['connected_clients'] == '1', 'departure')
        for _ in range(10):
            equal(stays('PING'), b'PONG')
        equal(server.process.poll(), None, 'the server')
        for fd in copies:
            os.close(fd)
        os.close(process)


def crowded():
    """clients beyond the limit of open files wait, and are served later"""
    limit = 64
    with Alone(V2) as server:
        subprocess.run(['prlimit', '--pid', str(server.process.pid),
                        f'--nofile={limit}:{limit}'], check=True)
        clients = [server.client() for _ in range(2 * limit)]
        for client in clients:
            client.send('PING')
        for client in clients:
            equal(client.reply(), b'PONG')
            client.close()


harness.main([
    v1_to_v2, real_clients, again_and_again, upgrade_interrupted, refused,
    failing_successors, kill_during_update, half_a_command, many_clients,
    leaving, crowded,
])
