#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Services through a kexec: test-custody.py PROGRAM... [TEST]..."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import guest
from guest import CURRENT, NEXT, OLDER

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

PROGRAMS = [arg for arg in sys.argv[1:] if '/' in arg]

KEYS = 100000


def lines(fields):
    return '\n'.join(fields) + '\n'


def keys():
    """Files for redis-cli: what sets all keys, gets them, and is to come out."""
    values = [f'{n}:' * (1 + n % 20) for n in range(KEYS)]
    some = [range(at, at + 1000) for at in range(0, KEYS, 1000)]
    return {
        'keys/set': lines('mset ' + ' '.join(f'key:{n} {values[n]}'
                                             for n in numbers)
                          for numbers in some),
        'keys/get': lines('mget ' + ' '.join(f'key:{n}' for n in numbers)
                          for numbers in some),
        'keys/values': lines(values),
    }


def boot(*args, files=None):
    return guest.boot(
        [*PROGRAMS, shutil.which('redis-cli')], *args, memory='1G',
        extra={path: guest.text(content)
               for path, content in (files or {}).items()})


def start(g, name, program, ready):
    """A service; waits until the shell command @ready succeeds."""
    log = f'/tmp/{name.split()[0]}.log'
    g.run(f'kho run --name {name} -- {program} >{log} 2>&1 & '
          f'i=0; until {ready} >/dev/null 2>&1; do usleep 100000; '
          f'i=$((i+1)); [ $i -lt 3000 ] || {{ cat {log}; exit 1; }}; done')


def start_store(g, program='kvstore-v1'):
    start(g, 'store', f'{program} --port 6379', 'redis-cli ping | grep PONG')


# What says that it counts.
COUNTS = 'tail -1 /tmp/counter.log | grep "^[0-9]*: "'


def start_counter(g):
    start(g, 'counter', 'minimal', COUNTS)


def counter(g):
    return int(g.run('tail -1 /tmp/counter.log').split(': ')[1])


def fill(g, number, size):
    """So many keys, each with at least so many bytes."""
    g.run(f"""awk 'BEGIN {{ for (v = "x"; length(v) < {size};) v = v v;
        for (i = 0; i < {number}; i++) print "set key:" i " " v }}' |
        redis-cli >/dev/null""")


def compare(g):
    assert g.run('redis-cli dbsize | cat').strip() == str(KEYS)
    g.run('redis-cli </keys/get >/tmp/got && cmp /tmp/got /keys/values')


def generations(g):
    return {service['name']: service['arena']['generation'] for service in
            json.loads(g.run('kho list --json'))['services']}


def counts(g):
    """Does the counter go on?"""
    before = counter(g)
    g.run(f'until [ $(tail -1 /tmp/counter.log | cut -d: -f2) -gt {before} ]; '
          'do usleep 100000; done')


def through(images):
    with boot(images[0], images[1:], files=keys()) as g:
        start_store(g)
        start_counter(g)
        g.run('redis-cli </keys/set >/dev/null')
        compare(g)
        count = counter(g)
        for number, image in enumerate(images[1:], 1):
            g.run(f'kho check --reuse-cmdline running /boot/{image}')
            said = g.kexec(image)
            assert 'store: stays behind: tcp (1)' in said, said
            assert g.run('uname -r').strip() in image
            start_store(g)
            start_counter(g)
            assert 'back from a kexec' in g.run('cat /tmp/store.log')
            # It is finished: the kernel has no such session any more.
            code, out = g.try_run('custodian-v1 get kho:store')
            assert code == 1 and 'No such file' in out, out
            compare(g)
            assert counter(g) > count
            count = counter(g)
            assert generations(g) == {'store': number, 'counter': number}
            # It is a state like any other: it can be changed, and verified.
            g.run('redis-cli set more than-before && redis-cli del more')
            g.run('kho verify store && kho verify counter')
        g.run('kho update store /bin/kvstore-v2')
        compare(g)


def same():
    """a kernel to itself, twice: 100,000 keys are all there"""
    through([CURRENT, CURRENT, CURRENT])


def update():
    """an older kernel to this, and on to itself: 100,000 keys are all there"""
    through([OLDER, CURRENT, CURRENT])


def refused():
    """what cannot take over is refused, and all services serve on"""
    with boot(CURRENT, (CURRENT, NEXT)) as g:
        start_store(g)
        start_counter(g)
        g.run('redis-cli set k v')
        for code, options, text in (
                (1, f'/boot/{NEXT}', 'kho'),
                (1, f'--next store=/bin/kvstore-v3 /boot/{CURRENT}', 'kvtable'),
                (2, f'--next stove=/bin/kvstore-v2 /boot/{CURRENT}', 'stove'),
                (2, f'--next store=/bin/none /boot/{CURRENT}', '/bin/none'),
                (2, f'--next store /boot/{CURRENT}', 'NAME=PROGRAM')):
            got, out = g.try_run(f'kho kexec --reuse-cmdline {options}')
            assert got == code and text in out, (options, got, out)
        code, out = g.try_run('kho kexec --json --reuse-cmdline '
                              f'/boot/{NEXT} 2>/tmp/err')
        document = json.loads(out)
        assert code == 1 and document['result'] == 'refused', document
        assert {c['name'] for c in document['report']['components']
                if c['verdict'] != 'ok'} == {'kho', 'memfd'}
        counts(g)
        assert g.run('redis-cli get k | cat').strip() == 'v'


def aborted():
    """a service that does not answer, or a kexec that is killed: all serve on"""
    with boot() as g:
        start_store(g)
        start_counter(g)
        g.run('redis-cli set k v')
        pid = next(s['pid'] for s in json.loads(g.run('kho list --json'))
                   ['services'] if s['name'] == 'store')
        # The counter is suspended when the store's turn comes.
        g.run(f'kill -STOP {pid}')
        code, out = g.try_run(f'kho kexec --timeout 3 --reuse-cmdline '
                              f'/boot/{CURRENT}')
        assert code == 1 and 'store: no answer in 3 s' in out, out
        counts(g)
        # Nor does another reboot execute what was loaded.
        assert g.run('cat /sys/kernel/kexec_loaded').strip() == '0'
        # As long as it has not noticed that it was given up:
        code, out = g.try_run(f'kho kexec --reuse-cmdline /boot/{CURRENT}')
        assert code == 1 and 'has not noticed' in out, out
        g.run(f'kill -CONT {pid}; redis-cli ping; kill -STOP {pid}')
        g.run(f'kho kexec --reuse-cmdline /boot/{CURRENT} >/tmp/out 2>&1 & '
              'echo $! >/tmp/pid')
        # Suspended: it does not count any more.
        g.run('until a=$(tail -1 /tmp/counter.log); sleep 3; '
              '[ "$a" = "$(tail -1 /tmp/counter.log)" ]; do :; done')
        g.run('kill -9 $(cat /tmp/pid)')
        counts(g)
        g.run(f'kill -CONT {pid}')
        assert g.run('redis-cli get k | cat').strip() == 'v'
        # The arena can grow again.
        fill(g, 20000, 1000)
        assert g.run('redis-cli dbsize | cat').strip() == '20001'
        counts(g)
        # Nothing is left that would be in the way of another.
        g.kexec(CURRENT)
        start_store(g)
        assert g.run('redis-cli dbsize | cat').strip() == '20001'


def forced():
    """--force: goes without a service that does not answer, and says so"""
    with boot() as g:
        start_store(g)
        start_counter(g)
        g.run('redis-cli set k v; kill -STOP $(pidof kvstore-v1)')
        before = counter(g)
        said = g.kexec(CURRENT, '--force --timeout 2')
        assert 'store: forced: its state is lost: no answer in 2 s' in said, said
        start_store(g)
        start_counter(g)
        assert 'nothing was saved for it' in g.run('cat /tmp/store.log')
        assert g.run('redis-cli dbsize | cat').strip() == '0'
        assert counter(g) > before


def older():
    """--next: the state arrives in versions that an older program reads"""
    with boot() as g:
        start_store(g, 'kvstore-v2')
        g.run('redis-cli set k v; redis-cli rpush list 1 2')
        code, out = g.try_run(
            'kho kexec --reuse-cmdline --next store=/bin/kvstore-v1 '
            f'/boot/{CURRENT}')
        assert code == 1 and "'list'" in out, out
        g.run('redis-cli del list')
        g.kexec(CURRENT, '--next store=/bin/kvstore-v1')
        start_store(g, 'kvstore-v1')
        assert g.run('redis-cli get k | cat').strip() == 'v'


def trimmed():
    """free space does not become memory"""
    with boot() as g:
        start_store(g)
        g.run('head -c 2097152 /dev/zero | tr "\\0" x >/tmp/value; '
              'for i in $(seq 0 39); do redis-cli -x set key:$i </tmp/value; '
              'done >/dev/null')
        sizes = json.loads(g.run('kho list --json'))['services'][0]['arena']
        size = sizes['file_size']
        assert size > 80 << 20, sizes
        g.run('for i in $(seq 1 39); do echo del key:$i; done | redis-cli '
              '>/dev/null')
        g.kexec(CURRENT)
        start_store(g)
        sizes = json.loads(g.run('kho list --json'))['services'][0]['arena']
        assert sizes['file_size'] < size // 2, (sizes, size)
        assert g.run('redis-cli strlen key:0 | cat').strip() == str(1 << 21)
        g.run('kho verify store')


def nobody():
    """a service whose program dies at each start goes along, and is mended"""
    with boot() as g:
        program = "sh -c '[ ! -e /tmp/broken ] && exec minimal'"
        start(g, 'counter', program, COUNTS)
        before = counter(g)
        g.run('touch /tmp/broken; kill -9 $(pidof minimal)')
        g.run('until kho list | grep restarting; do usleep 100000; done')
        g.kexec(CURRENT)
        # In the next kernel it dies, too, and is replaced by one that does not.
        g.run('touch /tmp/broken')
        start(g, 'counter', program, 'grep restarting /tmp/counter.log')
        g.run('kho update counter /bin/minimal -- minimal')
        g.run(f'until {COUNTS}; do usleep 100000; done')
        assert counter(g) > before


def files():
    """other memfds go along, pipes do not; a session that nobody wants waits"""
    with boot() as g:
        start(g, 'one', 'custodian-v1', 'grep serving /tmp/one.log')
        start(g, 'two', 'custodian-v1', 'grep serving /tmp/two.log')
        said = g.kexec(CURRENT)
        for name in 'one', 'two':
            assert f'{name}: stays behind: pipe (2)' in said, said
        start(g, 'one', 'custodian-v1', 'grep serving /tmp/one.log')
        assert 'serving 2' in g.run('cat /tmp/one.log')
        # A program that cannot read it does not lose it.
        start(g, 'two', 'custodian-v2', 'grep restarting /tmp/two.log')
        g.run('kho update two /bin/custodian-v1')
        g.run('until grep "serving 2" /tmp/two.log; do usleep 100000; done')
        # Started again it is a service like any other, and cold without one.
        g.run('kill $(pidof kho); while pidof kho; do usleep 100000; done')
        start(g, 'one', 'custodian-v1', 'grep serving /tmp/one.log')
        assert 'serving 1' in g.run('cat /tmp/one.log')
        g.kexec(CURRENT)
        start(g, 'one --cold', 'custodian-v1', 'grep serving /tmp/one.log')
        assert 'serving 1' in g.run('cat /tmp/one.log')


def capture():
    """what the kernel gets of a service: to the page"""
    with boot() as g, tempfile.TemporaryDirectory() as folder:
        start(g, 'one', 'custodian-v1', 'grep serving /tmp/one.log')
        start_counter(g)
        g.send('kho kexec --capture')
        g.expect(rb'kho capture: fdt 0x(\S+) size')
        g.monitor(f'dump-guest-memory {folder}/core')

        def kho(*args):
            done = subprocess.run([PROGRAMS[0], *args, f'{folder}/core'],
                                  stdout=subprocess.PIPE)
            assert done.returncode == 0, done
            return json.loads(done.stdout)
        found = {s['name']: s['files'] for s in kho(
            'inspect', '--json')['kernel']['luo']['sessions']}
        assert set(found) == {'kho:one', 'kho:counter'}, found
        for name, sizes in ('counter', [80 + 16, 2 << 20]), \
                ('one', [2 * 72 + 24, 2 << 20, 100000]):
            files = {f['token']: f['memfd'] for f in found['kho:' + name]}
            assert set(files) == set(range(len(sizes))), files
            assert [files[n]['size'] for n in range(len(sizes))] == sizes, files
            assert files[1]['seals'] == ['seal', 'shrink'], files
        assert kho('verify', '--json')['accounted'] > 1024


def own():
    """a program with a session of its own: suspend, resume, suspend, attach"""
    for version, said in (1, 'back, generation 1'), (2, 'taken'):
        with boot() as g:
            g.pack()
            g.run('kho kexec --load-only --initrd /tmp/initrd --reuse-cmdline '
                  f'/boot/{CURRENT}')
            g.send('custodian-v1 put mine')
            g.ready()
            out = g.run(f'custodian-v{version} get mine')
            assert said in out, out
            assert ('refused: ' in out) == (version == 2), out


tap.main([same, update, refused, aborted, forced, older, trimmed, nobody, files,
          capture, own],
         [arg for arg in sys.argv[1:] if '/' not in arg],
         missing=guest.missing() or
         (not shutil.which('redis-cli') and 'no redis-cli'))
