# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Many keys of kvstore that are set once and compared later, and updates that
must work."""
import os

from harness import equal

KEYS = int(os.environ.get('KEYS') or 100000)


def value(i):
    return f'{i}:'.encode() * (1 + i % 20)


def fill(service, keys=KEYS):
    client = service.client()
    for start in range(0, keys, 1000):
        replies = client.pipeline(
            [('SET', f'key:{i}', value(i))
             for i in range(start, min(start + 1000, keys))])
        equal(set(replies), {b'OK'})
    client.close()


def compare(service, keys=KEYS):
    client = service.client()
    for start in range(0, keys, 1000):
        numbers = range(start, min(start + 1000, keys))
        equal(client('MGET', *(f'key:{i}' for i in numbers)),
              [value(i) for i in numbers], f'keys from {start}')
    client.close()


def update(service, program, *args, **kwargs):
    code, answer = service.update(program, *args, **kwargs)
    equal((code, answer.get('result')), (0, 'updated'), answer.get('error'))
    return answer
