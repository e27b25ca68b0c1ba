#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""How long kvstore is away after kill -9: bench-kvstore-kill.py KVSTORE
KEYS: how many it has (1000000)."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) +
                '/../tests/update')
from harness import Custody, equal
from resp import Client, encode

KEYS = int(os.environ.get('KEYS') or 1000000)
BATCH = 100


def value(i):
    return f'value:{i}'.ljust(40).encode()


def fill(client):
    for start in range(0, KEYS, 100 * BATCH):
        batches = range(start, min(start + 100 * BATCH, KEYS), BATCH)
        client.socket.sendall(b''.join(
            encode('MSET', *(x for i in range(at, at + BATCH)
                             for x in (f'key:{i}', value(i))))
            for at in batches))
        equal({client.reply() for _ in batches}, {b'OK'})


def connect(path):
    while True:
        try:
            client = Client(path)
            equal(client('PING'), b'PONG')
            return client
        except (OSError, ConnectionError):
            time.sleep(0.0002)


def get_one(client):
    i = random.randrange(KEYS)
    equal(client('GET', f'key:{i}'), value(i))


def main():
    with Custody(sys.argv[1]) as server:
        fill(server.client())
        print(f'{KEYS} keys, milliseconds after kill -9\n')
        print(f'{"FIRST REPLY":>12} {"RANDOM KEY":>11} {"RECOVERED":>10} '
              f'{"SLOWEST GET":>12} {"BYTES":>12}')
        for _ in range(5):
            server.kill()
            killed = time.monotonic()
            server.start()
            client = connect(server.path)
            times = [time.monotonic() - killed]
            get_one(client)
            times.append(time.monotonic() - killed)
            slowest = 0
            while client.info().get('recovery_in_progress') == '1':
                before = time.monotonic()
                get_one(client)
                slowest = max(slowest, time.monotonic() - before)
            times += [time.monotonic() - killed, slowest]
            a, b, c, d = (1000 * x for x in times)
            used = client.info()['used_memory']
            print(f'{a:12.1f} {b:11.1f} {c:10.1f} {d:12.1f} {used:>12}',
                  flush=True)
            client.close()


main()
