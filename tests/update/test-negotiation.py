#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Components of all sorts, from one program to the next:
test-negotiation.py KHO PEER"""
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import harness
from harness import Service, alive, diag, equal, wait_for

KHO, PEER = sys.argv[1:]
SLOTS, NAMES = 6, ['apple', 'birch', 'cedar', 'daisy', 'elder', 'fern']
STRUCTURE, OPTIONAL = 1, 2
NOTE = struct.Struct('<III4s 24s IIII 192s I')
CALLBACKS = 8 | 16 | 32

with open(PEER, 'rb') as f:
    ELF = f.read()
FOLDER = tempfile.mkdtemp()


def component(name, write=(1, 1), read=(1, 1), flags=0, deps=()):
    return dict(name=name, write=write, read=read, flags=flags, deps=deps)


def program(name, *components):
    """A copy of peer that has these components."""
    elf = bytearray(ELF)
    spare = [component(f'spare-{i}', flags=STRUCTURE) for i in range(SLOTS)]
    for slot, c in enumerate([*components, *spare][:SLOTS]):
        mark = b'slot-%d'.ljust(24 + 2, b'\0') % slot
        at = -1
        while (at := elf.find(mark[:24], at + 1)) >= 0:
            note = NOTE.unpack_from(elf, at - 16) if at >= 16 else [0]
            if note[:4] == (4, NOTE.size - 16, 1, b'KHO\0'):
                break
        assert at >= 0, f'slot {slot} has no note'
        deps = b''.join(d.encode().ljust(24, b'\0') for d in c['deps'])
        NOTE.pack_into(elf, at - 16, *note[:4], c['name'].encode(),
                       *c['write'], *c['read'], deps, c['flags'] | CALLBACKS)
    path = f'{FOLDER}/{name}'
    # A running program's file cannot be written to.
    if os.path.exists(path):
        os.unlink(path)
    with open(path, 'wb') as f:
        f.write(elf)
    os.chmod(path, 0o755)
    return path


class Peer(Service):
    def __init__(self, path):
        self.told = tempfile.mkdtemp(dir=FOLDER)
        super().__init__(KHO, path, self.told, wait=False)
        self.now()

    def status(self):
        try:
            return super().status()
        except FileNotFoundError:
            return {'pid': 0}

    def now(self):
        """(pid, {name: (version, payload)}) of the program that serves"""
        def serving():
            pid = self.status()['pid']
            return pid and alive(pid) and self.found(pid) is not None
        wait_for(serving, 'a program that serves', pause=0.02)
        pid = self.status()['pid']
        return pid, self.found(pid)

    def found(self, pid):
        """what a program has found; None before it is ready"""
        try:
            with open(f'{self.told}/{pid}') as f:
                lines = [line.split() for line in f]
            return {n: (int(v), p) for n, v, p in lines}
        except FileNotFoundError:
            return None

    def tell(self, what, name=''):
        with open(f'{self.told}/{what}', 'w') as f:
            f.write(name)

    def ask(self, verb, path, *options):
        """(exit code, document) of kho check or kho update"""
        run = subprocess.run([KHO, verb, '--json', *options, 'it', path],
                             env=self.env, capture_output=True, text=True)
        diag(run.stderr)
        answer = json.loads(run.stdout or '{}')
        if answer.get('result') == 'updated':
            wait_for(lambda: self.status()['pid'] == answer['pid'],
                     'the supervisor knows')
        return run.returncode, answer

    def outside(self):
        """what can be seen of the old program: pid, memory and open files"""
        pid = self.status()['pid']
        files = {}
        for fd in os.listdir(f'/proc/{pid}/fd'):
            files[fd] = os.readlink(f'/proc/{pid}/fd/{fd}')
        arena = [fd for fd, link in files.items() if 'kho-arena' in link]
        assert arena, files
        with open(f'/proc/{pid}/fd/{arena[0]}', 'rb') as f:
            memory = hashlib.file_digest(f, 'sha256').hexdigest()
        with open(f'/proc/{pid}/maps') as f:
            maps = [line for line in f if 'kho-arena' in line]
        return pid, memory, files, maps


    def same_as(self, before):
        """but for the request, whose socket it may be closing right now"""
        for _ in range(100):
            now = self.outside()
            if now == before:
                return
            time.sleep(0.01)
        equal(now, before, 'after the refusal')


def run_check(a, b, *options):
    run = subprocess.run([KHO, 'check', '--json', *options, a, b],
                         capture_output=True, text=True)
    assert run.returncode in (0, 1, 3), run.stderr
    return run.returncode, json.loads(run.stdout)


def payloads(peer):
    return {n: p for n, (_, p) in peer.now()[1].items()}


def versions(report):
    return {c['name']: c['version'] for c in report['components']
            if c['verdict'] in ('ok', 'older') and c['name'] in NAMES}


# ---- What is picked is what is written ----

def one_way(a, b, want, *options):
    """Update a to b: as check says, and b finds what was agreed."""
    code, report = run_check(a, b, *options)
    with Peer(a) as peer:
        old, before = peer.now()
        equal(peer.ask('check', b, *options)[0], code, 'asked of the program')
        updated, answer = peer.ask('update', b, *options)
        equal(updated, code, f'check said {report}, update {answer}')
        pid, found = peer.now()
        if want is None:
            equal((code, pid, found), (1, old, before))
            return report
        equal({n: v for n, (v, _) in found.items()}, want)
        equal({n: p for n, (_, p) in found.items()},
              {n: p for n, (_, p) in before.items() if n in found})
    return report


def lower():
    """the successor gets the highest version that both know"""
    a = program('a', component('apple', (1, 3), (1, 3)))
    b = program('b', component('apple', (1, 2), (1, 2)))
    report = one_way(a, b, {'apple': 2})
    equal(report['components'][-1]['name'] and
          [c['verdict'] for c in report['components']
           if c['name'] == 'apple'], ['older'])


def up_again():
    """what came in an old version goes on in a newer one"""
    a = program('a', component('apple', (1, 1), (1, 1)))
    b = program('b', component('apple', (1, 3), (1, 3)))
    with Peer(a) as peer:
        for path, want in (b, 1), (b, 3), (a, 1), (b, 1), (b, 3):
            code, answer = peer.ask('update', path)
            equal(code, 0, answer)
            equal(peer.now()[1]['apple'][0], want)


def pinned():
    """a profile is honoured or refused, by name"""
    a = program('a', component('apple', (1, 3), (1, 3)))
    b = program('b', component('apple', (1, 3), (2, 3)))
    profile = FOLDER + '/profile.json'
    for pin, want in (3, 3), (2, 2), (1, None), (4, None):
        with open(profile, 'w') as f:
            json.dump({'schema': 'kho-profile', 'version': 1,
                       'name': 'last-quarter', 'pins': {'apple': pin}}, f)
        report = one_way(a, b, want and {'apple': want}, '--profile', profile)
        if not want:
            first = report['components'][0]
            equal(first['name'], 'apple')
            assert 'last-quarter' in first['reason'], first


# ---- Who refuses, and that nothing was touched ----

def refused(a, b, tell, reason, code=1):
    with Peer(a) as peer:
        for what, name in tell:
            peer.tell(what, name)
        before = peer.outside()
        updated, answer = peer.ask('update', b)
        equal(updated, code, answer)
        assert reason in json.dumps(answer), (reason, answer)
        peer.same_as(before)
        # It is not only the same, it also works.
        for what, _ in tell:
            os.unlink(f'{peer.told}/{what}')
        code, answer = peer.ask('update', a)
        equal(code, 0, answer)
        peer.now()


SAME = component('apple', (1, 2), (1, 2)), component('birch', (1, 2), (1, 2))


def unknown_refused():
    """refused as unknown: every byte and every file as before"""
    refused(program('a', *SAME), program('b', SAME[0]), [],
            'does not know birch')


def can_write_refused():
    """refused by can_write: every byte and every file as before"""
    b = program('b', component('apple', (1, 1), (1, 1)), SAME[1])
    refused(program('a', *SAME), b, [('can-write', 'apple')],
            'told not to write v1')


def check_refused():
    """refused by the successor's check: every byte and every file as before"""
    refused(program('a', *SAME), program('b', *SAME), [('check', 'birch')],
            'told to refuse it')


def freeze_refused():
    """refused at freeze: every byte and every file as before"""
    refused(program('a', *SAME), program('b', *SAME), [('freeze', '')],
            'cannot freeze')


def crash_aborted():
    """the successor crashes: every byte and every file as before"""
    refused(program('a', *SAME), program('b', *SAME), [('crash', 'birch')],
            'killed by signal 6')


def converted_back():
    """aborted after the conversion: converted back, and serving"""
    a = program('a', *SAME, component('cedar', (1, 3), (1, 3)))
    b = program('b', *SAME, component('cedar', (2, 2), (2, 2)))
    for what, name, why in (('convert', 'birch', 'told not to convert'),
                            ('check', 'cedar', 'told to refuse it'),
                            ('crash', 'apple', 'killed by signal 6')):
        with Peer(a) as peer:
            pid = peer.now()[0]
            peer.tell(what, name)
            code, answer = peer.ask('update', b)
            equal(code, 1, answer)
            assert why in json.dumps(answer), answer
            os.unlink(f'{peer.told}/{what}')
            equal(peer.status()['pid'], pid)
            # What is there is in the versions from before.
            run = subprocess.run([KHO, 'inspect', '--json', 'it'],
                                 env=peer.env, capture_output=True, text=True)
            tree = json.loads(run.stdout)['root']['subtrees']
            equal({s['name']: s['compatible'] for s in tree},
                  {'apple': 'apple-v2', 'birch': 'birch-v2',
                   'cedar': 'cedar-v3'})
            equal(peer.ask('update', a)[0], 0)
            equal([v for v, _ in peer.now()[1].values()], [2, 2, 3])


# ---- Optional components ----

def carried():
    """what a generation cannot read is carried through it"""
    photos = component('cedar', (1, 2), (1, 2), OPTIONAL, ['fern'])
    a = program('a', SAME[0], photos,
                component('fern', (1, 1), (1, 1), STRUCTURE))
    b = program('b', SAME[0])
    c = program('c', SAME[0],
                component('cedar', (2, 3), (2, 3), OPTIONAL, ['fern']),
                component('fern', (1, 2), (1, 2), STRUCTURE))
    with Peer(a) as peer:
        first = peer.now()[1]
        equal(sorted(first), ['apple', 'cedar'])
        before = peer.outside()
        code, answer = peer.ask('update', b)
        equal(code, 1, answer)
        assert '--allow-degraded' in json.dumps(answer), answer
        peer.same_as(before)

        code, answer = peer.ask('update', b, '--allow-degraded')
        equal(code, 3, answer)
        pid, found = peer.now()
        equal(sorted(found), ['apple'])
        # A crash does not need new consent, nor does the next of its kind.
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), 'its death')
        equal(sorted(peer.now()[1]), ['apple'])
        code, answer = peer.ask('update', b)
        equal(code, 0, answer)

        # Two who can read it again, of which one is newer.
        for path, version in (c, 2), (a, 2):
            code, answer = peer.ask('update', path)
            equal(code, 0, answer)
            equal(peer.now()[1]['cedar'], (version, first['cedar'][1]))
        # And from here it takes consent again.
        code, answer = peer.ask('update', b)
        equal(code, 1, answer)


def degraded_abort():
    """a degraded update that is aborted leaves nothing carried"""
    a = program('a', SAME[0], component('cedar', flags=OPTIONAL))
    b = program('b', SAME[0])
    with Peer(a) as peer:
        peer.tell('crash', 'apple')
        before = peer.outside()
        code, answer = peer.ask('update', b, '--allow-degraded')
        equal(code, 1, answer)
        equal(peer.outside()[0], before[0])
        os.unlink(f'{peer.told}/crash')
        code, answer = peer.ask('update', b)
        equal(code, 1, 'consent that was given for another update')
        equal(peer.ask('update', a)[0], 0)
        equal(sorted(peer.now()[1]), ['apple', 'cedar'])


def carried_as_it_is():
    """what the successor could read, but goes without, is not converted"""
    a = program('a', component('cedar', (2, 4), (2, 4), OPTIONAL, ['elder']),
                component('elder', flags=STRUCTURE))
    b = program('b', component('cedar', (2, 3), (2, 3), OPTIONAL))
    with Peer(a) as peer:
        before = peer.now()[1]
        equal(peer.ask('update', b, '--allow-degraded')[0], 3)
        equal(peer.now()[1], {})
        equal(peer.ask('update', a)[0], 0)
        equal(peer.now()[1], before)


# ---- Any programs ----

def some_range(top):
    low = random.randint(1, top)
    return low, random.randint(low, top)


def some_components(rng):
    chosen = sorted(rng.sample(range(SLOTS), rng.randint(1, SLOTS)))
    out = []
    for i in chosen:
        write = some_range(4)
        # It must be able to read what it writes itself.
        read = (random.randint(1, write[0]), random.randint(write[1], 4))
        later = [NAMES[j] for j in chosen if j > i]
        deps = rng.sample(later, rng.randint(0, min(2, len(later))))
        flags = rng.choice([0, 0, OPTIONAL, STRUCTURE])
        out.append(component(NAMES[i], write, read, flags, deps))
    return out


def change(rng, components):
    """something like these: what one would update to"""
    out = []
    for c in components:
        if rng.random() < 0.15:
            continue
        c = dict(c)
        if rng.random() < 0.4:
            c['read'] = some_range(4)
        if rng.random() < 0.3:
            c['flags'] = rng.choice([0, OPTIONAL, STRUCTURE])
        out.append(c)
    there = {c['name'] for c in out}
    for c in out:
        c['deps'] = [d for d in c['deps'] if d in there]
    return out or [component('fern')]


def agree():
    """check says of any two programs what an update then does"""
    rounds = int(os.environ.get('ROUNDS', 40))
    outcomes = {0: 0, 1: 0, 3: 0}
    i = 0
    while i < rounds or not all(outcomes.values()):
        i += 1
        first = some_components(random)
        second = change(random, first)
        a, b = program('a', *first), program('b', *second)
        options = random.choice([[], ['--allow-degraded'],
                                 ['--allow-degraded']])
        code, report = run_check(a, b, *options)
        outcomes[code] += 1
        with Peer(a) as peer:
            old, before = peer.now()
            for verb in 'check', 'update':
                got, answer = peer.ask(verb, b, *options)
                equal(got, code, f'{verb}: {first} {second} {report} {answer}')
            pid, found = peer.now()
            if code == 1:
                equal((pid, found), (old, before))
                continue
            # Each in the version that check said, or not there at all.
            want = versions(report)
            owners = {n for n in before
                      if n in want and not structure(second, n)}
            equal({n: found[n][0] for n in owners if n in found},
                  {n: want[n] for n in owners}, f'{first} {second} {report}')
            # And back to the first, where everything is found again.
            got, answer = peer.ask('update', a)
            if got == 0:
                equal(payloads(peer), {n: p for n, (_, p) in before.items()})
    diag(f'compatible, incompatible, degraded: {outcomes}')


def structure(components, name):
    return any(c['name'] == name and c['flags'] & STRUCTURE
               for c in components)


def killed_at():
    """kill -9 in freeze and in each conversion, up and down: all is there"""
    low = program('low', component('apple'), component('birch'))
    both = program('both', component('apple', (1, 3), (1, 3)),
                   component('birch', (1, 3), (1, 3)))
    for to, version, first in (both, 3, low), (low, 1, None):
        for what, name in (('freeze', 'kill'), ('kill', 'apple'),
                           ('kill', 'birch')):
            with Peer(first or both) as peer:
                want = payloads(peer)
                # It is in version 1 now, but could be in 3, or the other way.
                equal(peer.ask('update', both)[0], 0)
                peer.now()
                peer.tell(what, name)
                equal(peer.ask('update', to)[0], 2)
                os.unlink(f'{peer.told}/{what}')
                equal(payloads(peer), want)
                equal(peer.ask('update', to)[0], 0, peer.output())
                equal(payloads(peer), want)
                equal({v for v, _ in peer.now()[1].values()}, {version})


def freeze_refused_below():
    """refused at freeze, on the way up: the tree says what is there"""
    low = program('low', component('apple', (1, 1), (1, 3)))
    both = program('both', component('apple', (1, 3), (1, 3)))
    with Peer(low) as peer:
        equal(peer.ask('update', both)[0], 0)
        peer.now()
        peer.tell('freeze')
        before = peer.outside()
        equal(peer.ask('update', both)[0], 1)
        peer.same_as(before)


def killed():
    """kill -9 of either at any moment: everything is still there"""
    a = program('a', component('apple', (1, 2), (1, 2)),
                component('birch', (1, 2), (1, 2), OPTIONAL))
    b = program('b', component('apple', (1, 1), (1, 1)))
    for i in range(int(os.environ.get('ROUNDS', 40)) // 4):
        with Peer(a) as peer:
            want = payloads(peer)
            update = subprocess.Popen(
                [KHO, 'update', '--allow-degraded', 'it', b], env=peer.env,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.random() * 0.06)
            pid = peer.status()['pid']
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            update.wait()
            peer.now()
            equal(peer.ask('update', a)[0], 0, peer.output())
            equal(payloads(peer), want)


try:
    harness.main([lower, up_again, pinned, unknown_refused, can_write_refused,
                  check_refused, freeze_refused, crash_aborted, converted_back,
                  freeze_refused_below, carried, degraded_abort, carried_as_it_is,
                  agree, killed_at, killed])
finally:
    shutil.rmtree(FOLDER)
