#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Back from version 2 of kvstore to version 1:
test-kvstore-back.py KHO SUCCESSOR KVSTORE-V1 KVSTORE-V2 KVSTORE-V3
KEYS: how many there are (100000). KHO_TEST_SEED repeats a run."""
import contextlib
import json
import os
import random
import signal
import struct
import sys
import threading
import time

import harness
from harness import SEED, Service, diag, equal, successor_of, wait_for
from keys import KEYS, compare, fill, update
from load import Load
from resp import Error, encode

KHO, SUCCESSOR, V1, V2, V3 = sys.argv[1:]

# Around these sizes an entry of version 2 needs other memory than its
# equivalent of version 1: pages of its own, or one more of them.
EDGES = [*range(1990, 2030), *range(4040, 4070), *range(8140, 8170)]


def versions(client):
    info = client.info()
    return (info['kvstore_version'], info['state_version'],
            info['table_version'])


def finding(answer, name):
    return [c for c in answer['report']['components'] if c['name'] == name][0]


def fill_edges(client):
    replies = client.pipeline([('SET', f'edge:{n}', n * 'x') for n in EDGES])
    equal(set(replies), {b'OK'})


def compare_edges(client):
    got = client.pipeline([('GET', f'edge:{n}') for n in EDGES])
    equal([len(x or b'') for x in got], EDGES)


def there_and_back():
    """1 -> 2 -> 1 -> 2 under load: no key and no time to live is lost"""
    with Service(KHO, V1) as service:
        fill(service)
        client = service.client()
        fill_edges(client)
        equal(set(client.pipeline([('EXPIRE', f'key:{i}', 100000 + i)
                                   for i in range(1000)])), {1})
        client('SET', 'soon', 'x', 'PX', 1)
        started = time.monotonic()
        with Load(service, SEED) as load:
            for program, want in 2 * [(V2, ('2', '2', '2')),
                                      (V1, ('1', '1', '1'))]:
                load.progress()
                load.longest()
                answer = update(service, program)
                load.progress()
                diag(f'to version {want[0]}: frozen '
                     f'{answer["frozen_us"] / 1000:.1f} ms, the slowest '
                     f'client waited {load.longest() * 1000:.1f} ms')
                # The connection was made before the first update.
                equal(versions(client), want)
                for name in 'kvstore', 'kvtable':
                    equal(finding(answer, name)['version'], 1)
                load.progress()
                compare_edges(client)
                left = client.pipeline([('TTL', f'key:{i}')
                                        for i in range(1000)])
                passed = time.monotonic() - started
                for i, seconds in enumerate(left):
                    assert 0 <= 100000 + i - seconds <= passed + 2, (i, left)
                equal(client('TTL', 'key:1000'), -1)
                equal(client('EXISTS', 'soon'), 0)
        compare(service)
        equal(client('DBSIZE'), KEYS + len(EDGES) +
              sum(w.count() for w in load.writers))
        equal(client.info()['generation'], '4')


def statistics():
    """what version 1 does not count begins anew, but not in an abort"""
    with Service(KHO, V2) as service:
        client = service.client()
        client('SET', 'a', '1')
        client.pipeline([('GET', 'a')] * 7 + [('GET', 'b')] * 3)
        code, _ = service.update(SUCCESSOR, 'exit')
        equal(code, 1)
        info = client.info()
        equal((info['keyspace_hits'], info['keyspace_misses']), ('7', '3'))
        update(service, V1)
        client('GET', 'a')
        update(service, V2)
        info = client.info()
        equal((info['keyspace_hits'], info['keyspace_misses']), ('0', '0'))
        client('GET', 'a')
        equal(client.info()['keyspace_hits'], '1')


def refused(service, client, reason):
    """Neither kho update nor kho check says yes, and both say why."""
    pid = service.pid()
    code, answer = service.update(V1)
    equal((code, answer['result']), (1, 'aborted'), answer)
    table = finding(answer, 'kvtable')
    equal(table['verdict'], 'incompatible')
    assert reason in table['reason'], table['reason']
    assert reason in answer['error'], answer['error']
    code, report = service.check(V1)
    equal((code, report['compatible']), (1, False), report)
    equal(finding({'report': report}, 'kvtable'), table)
    equal(service.pid(), pid)
    equal(versions(client), ('2', '2', '2'))


def lists_in_the_way():
    """no way back while there are lists: a report that names them"""
    one = ("1 key holds a list, which kvtable-v1 cannot: 'queue': "
           "delete it (DEL) or stay")
    three = ("3 keys hold lists, which kvtable-v1 cannot: 'queue', 'jobs:7', "
             "'x': delete them (DEL) or stay")
    long = 1000 * 'long' + 'e'
    with Service(KHO, V2) as service, Load(service, SEED) as load:
        fill(service, 1000)
        client = service.client()
        client('RPUSH', 'queue', 'a', 'b')
        refused(service, client, one)
        client('LPUSH', 'jobs:7', 'a')
        client('RPUSH', 'x', 10000 * 'x')
        refused(service, client, three)
        load.progress()
        equal(client('LRANGE', 'queue', 0, -1), [b'a', b'b'])
        # Names that cannot be printed, or are too long.
        client('RPUSH', b'\x00\xff\n\x1b[32m', 'a')
        client('RPUSH', long, 'a')
        refused(service, client,
                "5 keys hold lists, which kvtable-v1 cannot: "
                r"'\x00\xff\x0a\x1b[32m', "
                "'longlonglonglonglonglonglonglonglonglon...', "
                "'queue' and 2 more: ")
        # Each in another way.
        client('DEL', b'\x00\xff\n\x1b[32m')
        client('SET', long, 'a string')
        client('LPOP', 'x')
        client('EXPIRE', 'jobs:7', -1)
        refused(service, client, one)
        client('UNLINK', 'queue')
        code, report = service.check(V1)
        equal((code, report['compatible']), (0, True), report)
        equal(finding({'report': report}, 'kvtable')['verdict'], 'older')
        load.progress()
        update(service, V1)
        equal(versions(client), ('1', '1', '1'))
        load.progress()
        compare(service, 1000)
        equal(client('GET', long), b'a string')
        assert isinstance(client('RPUSH', 'queue', 'a'), Error)
        update(service, V2)
        equal(client('RPUSH', 'queue', 'a'), 1)


def expired_lists():
    """lists that have expired are not in the way"""
    with Service(KHO, V2) as service:
        fill(service)
        client = service.client()
        n = 300
        client.pipeline([('RPUSH', f'list:{i}', 'a', 5000 * 'b')
                         for i in range(n)])
        equal(client('EXISTS', 'list:7'), 1)
        client.pipeline([('PEXPIRE', f'list:{i}', 1) for i in range(n)])
        time.sleep(0.01)
        # They go by themselves, but not that soon.
        diag(f'{client("DBSIZE") - KEYS} of {n} are still there')
        update(service, V1)
        equal(client('DBSIZE'), KEYS)
        compare(service)


def emptied():
    """FLUSHALL takes the lists out of the way; a crash does not bring them"""
    with Service(KHO, V2) as service:
        client = service.client()
        client.pipeline([('RPUSH', f'list:{i}', 'a') for i in range(100)])
        refused(service, client, '100 keys hold lists')
        os.kill(service.pid(), signal.SIGKILL)
        service.wait()
        client = service.client()
        refused(service, client, "100 keys hold lists")
        client('FLUSHALL')
        client('SET', 'a', '1')
        update(service, V1)
        equal(client('GET', 'a'), b'1')


def failing_successors():
    """a successor of version 1 that fails: version 2 has everything as before"""
    with Service(KHO, V2) as service:
        fill(service)
        client = service.client()
        fill_edges(client)
        pid = service.pid()
        with Load(service, SEED) as load:
            for how in ('early-exit', 'exit', 'crash', 'hang', 'write',
                        'close'):
                load.progress()
                code, answer = service.update(SUCCESSOR, how, timeout=1)
                equal((code, answer['result']), (1, 'aborted'),
                      f'{how}: {answer}')
                equal(finding(answer, 'kvtable')['version'], 1)
                diag(f'{how}: {answer["error"]}')
                equal(service.pid(), pid)
                equal(versions(client), ('2', '2', '2'))
                equal(client('RPUSH', 'list', how), 1)
                load.progress()
                equal(client('LPOP', 'list'), how.encode())
                compare_edges(client)
                equal(client('GET', 'edge:2000'), 2000 * b'x')
                equal(client('OBJECT', 'IDLETIME', 'edge:2000'), 0)
        compare(service)
        update(service, V1)
        compare(service)
        compare_edges(client)


def kill_converting(service, load):
    """(who serves then, what kho update said)"""
    load.progress()
    if service.client().info()['kvstore_version'] == '1':
        update(service, V2)
    pid = service.pid()
    result = []
    thread = threading.Thread(
        target=lambda: result.append(service.update(V1)))
    thread.start()
    wait_for(lambda: successor_of(pid) or not thread.is_alive(),
             'a successor', pause=0)
    time.sleep(random.uniform(0, 0.03))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    thread.join()
    service.wait()
    load.progress()
    client = service.client()
    compare_edges(client)
    compare(service)
    return (f'version {client.info()["kvstore_version"]}',
            result[0][1].get('result', 'no answer'))


def killed_converting():
    """kill -9 while it goes back: each acknowledged write is there"""
    outcomes = {}
    # kho run makes longer and longer pauses before it starts what dies again.
    for _ in range(6):
        with Service(KHO, V2) as service:
            fill(service)
            fill_edges(service.client())
            with Load(service, SEED, n=2, crashes=True) as load:
                for _ in range(5):
                    outcome = kill_converting(service, load)
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1
    diag(f'what came of the updates: {outcomes}')


def arena_of(pid):
    """A file descriptor of the arena of a process"""
    for fd in os.listdir(f'/proc/{pid}/fd'):
        path = f'/proc/{pid}/fd/{fd}'
        if os.readlink(path).startswith('/memfd:'):
            return os.open(path, os.O_RDONLY)
    raise AssertionError(f'process {pid} has no arena')


def killed_frozen():
    """killed while all is converted for a successor: it has to recover"""
    with Service(KHO, V2) as service:
        fill(service, 1000)
        pid = service.pid()
        arena = arena_of(pid)
        thread = threading.Thread(
            target=lambda: service.update(SUCCESSOR, 'hang', timeout=20))
        thread.start()

        def subtrees():
            _, state = service.ask('inspect', '--json', 'it')
            return {x['name']: x for x in state['root']['subtrees']}
        wait_for(lambda: 'kvtable-v1' in subtrees()['kvstore']['compatible'],
                 'the conversion')
        state = subtrees()['kvstore']['phys']
        clean = struct.unpack('QQ', os.pread(arena, 16, state))[1]
        equal(clean, 0, 'the mark of a state that lost nothing')
        os.kill(pid, signal.SIGKILL)
        thread.join()
        service.wait()
        compare(service, 1000)
        client = service.client()
        wait_for(lambda: client.info()['recovery_in_progress'] == '0',
                 'recovery')
        os.close(arena)


def composites(service, **kwargs):
    """All that the state tree says during an update to a successor that hangs,
    and then is gone: [{name: composite}]"""
    thread = threading.Thread(target=lambda: service.update(
        SUCCESSOR, 'hang', timeout=1, **kwargs))
    thread.start()
    seen = []
    while thread.is_alive():
        _, state = service.ask('inspect', '--json', 'it')
        tree = {x['name']: x['compatible'] for x in state['root']['subtrees']}
        if tree not in seen:
            seen.append(tree)
    thread.join()
    return seen


def highest(service, *names):
    """The versions of structures that are written when nobody wants others"""
    _, manifest = service.ask('manifest', '--json', V2)
    return [f'{name}-v{c["write"]["max"]}' for name in names
            for c in manifest['components'] if c['name'] == name]


def older_blocks():
    """many connections in blocks of version 1, when a profile wants that"""
    n = 500
    with Service(KHO, V2) as service:
        fill(service)
        profile = service.dir + '/profile'
        with open(profile, 'w') as f:
            json.dump({'schema': 'kho-profile', 'version': 1,
                       'name': 'older blocks',
                       'pins': {'block': 1, 'vmalloc': 1}}, f)
        clients = [service.client() for _ in range(n)]
        for i, client in enumerate(clients):
            client.socket.sendall(encode('SET', f'c:{i}', i)[:i % 20])
        best = highest(service, 'block', 'vmalloc')
        before = 'kvstore-v2;kmalloc-v1;kvtable-v2;' + best[1]
        for pins, (block, vmalloc) in [(None, best),
                                       (profile, ('block-v1', 'vmalloc-v1'))]:
            seen = composites(service, profile=pins)
            after = 'kvstore-v1;kmalloc-v1;kvtable-v1;' + vmalloc
            want = {'kvstore': after, 'kvclients': 'kvclients-v1;' + block}
            assert want in seen, seen
            # It never says less than what may be there.
            equal({tree['kvstore'] for tree in seen}, {before, after})
        for program in V2, V1, V2:
            update(service, program, profile=profile)
        for i, client in enumerate(clients):
            client.socket.sendall(encode('SET', f'c:{i}', i)[i % 20:])
            equal(client.reply(), b'OK')
        compare(service)
        equal(service.client()('DBSIZE'), KEYS + n)


def never_from_3():
    """neither to version 3 nor from it"""
    for old, new in (V3, V2), (V3, V1), (V2, V3), (V1, V3):
        with Service(KHO, old) as service:
            client = service.client()
            client('SET', 'a', '1')
            pid = service.pid()
            code, answer = service.update(new)
            equal((code, answer['result']), (1, 'aborted'), answer)
            equal(finding(answer, 'kvtable')['verdict'], 'incompatible')
            code, _ = service.check(new)
            equal(code, 1)
            equal((client('GET', 'a'), service.pid()), (b'1', pid))


harness.main([
    there_and_back, statistics, lists_in_the_way, expired_lists, emptied,
    failing_successors, killed_converting, killed_frozen, older_blocks, never_from_3,
])
