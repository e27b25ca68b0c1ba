#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""From one real kernel to the next: test-kexec.py KHO SESSIONS [TEST]..."""
import collections
import hashlib
import itertools
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.dom.minidom

import guest
from guest import CURRENT, NEXT, OLDER

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, SESSIONS, *NAMES = sys.argv[1:]

# ---- sessions, {name: {token: File}}, and what is to be seen of them ----

PAGE, MIB = 4096, 1 << 20
SEALS = ['seal', 'shrink', 'grow', 'write', 'future-write', 'exec']
# Each HOLESth page, from the first on, is not written. ORDER is that of folios.
File = collections.namedtuple('File', 'size seals position holes order',
                              defaults=(0, 0, 0, 0))

FEW = {
    b'empty': {},
    b'small': {1: File(0), 2: File(1, 1, 1), 2**64 - 1: File(PAGE, 15, 17)},
    b'large': {7: File(20 * MIB, 2, 12345)},
}
# More than a chunk of Linux' vmalloc has room for: 511 pages of 256 folios.
HUGE = {b'huge': {7: File(520 * MIB, 4, 521 * MIB), 8: File(1)}}
LARGE = {b'large folios': {n: File(size, holes=n % 4, order=9) for n, size in
                           enumerate((1, 2 * MIB, 5 * MIB, 5 * MIB + 1))}}
ODD = [b'n' * 63, b'n' * 62, b'n' * 62 + b'm', b'.', b'/', b' ', b'%s', b'\n',
       b'\xff\xfe', 'ä'.encode()]


def parts(n, size):
    """How many parts of that size hold n."""
    return (n + size - 1) // size


def many():
    """Sessions and files of many kinds."""
    sizes = [n * PAGE + more for n in (1, 2, 255, 256, 512)
             for more in (-1, 0, 1)]
    # To seal against exec is to seal against being changed, too.
    seals = sorted({s | (30 if s & 32 else 0) for s in range(64)})
    made = {
        **FEW,
        **{name: {} for name in ODD},
        # Large enough to have its name in a picture.
        b'<&>"\\\x01\xff': {0: File(3 * MIB)},
        b'sizes': {n: File(size, holes=n % 4) for n, size in enumerate(sizes)},
        b'seals': {s: File(100 * s, s) for s in seals},
        b'positions': {n: File(2 * PAGE, 0, position) for n, position in
                       enumerate((0, 1, PAGE, 2 * PAGE, 2**40, 2**63 - 1))},
        # A block has 63 files, or 51 sessions.
        **{b'files-%d' % n: {t: File(t) for t in range(n)}
           for n in (62, 63, 64, 127)},
    }
    for n in range(6 * 51 - len(made)):
        made[b'many-%d' % n] = {2**63 + n: File(n)} if n % 3 else {}
    return made


MANY = many()


def listing(sessions):
    """What the guest's program makes them from."""
    return b''.join(
        b' '.join([b''.join(b'%%%02x' % byte for byte in name),
                   *(b'%d:%d:%d:%d:%d' % (token, *file[:4])
                     for token, file in files.items())]) + b'\n'
        for name, files in sessions.items())


def checksum(token, file):
    tail = bytes(i * 31 & 255 for i in range(16, PAGE))
    sha = hashlib.sha256()
    for n in range(parts(file.size, PAGE)):
        page = struct.pack('<QQ', token, n) + tail
        if file.holes and n % file.holes == 0:
            page = bytes(PAGE)
        sha.update(page[:file.size - n * PAGE])
    return sha.hexdigest()


def expected(sessions):
    """The same in kho inspect's words."""
    return [
        {'name': name.decode(errors='replace'), 'files': [
            {'token': token, 'handler': 'memfd-v2', 'size': file.size,
             'position': file.position, 'sha256': checksum(token, file),
             'seals': [s for i, s in enumerate(SEALS) if file.seals >> i & 1]}
            for token, file in files.items()]}
        for name, files in sessions.items()]


def found(state):
    return [
        {'name': session['name'], 'files': [
            {'token': f['token'], 'handler': f['handler'],
             **{key: f['memfd'][key]
                for key in ('size', 'position', 'sha256', 'seals')}}
            for f in session['files']]}
        for session in state['kernel']['luo']['sessions']]


def pages(sessions):
    """All that Linux preserves for them."""
    # The root FDT, the blobs of LUO and of kexec-metadata, FLBs.
    n = 4 + parts(len(sessions), 51)
    for files in sessions.values():
        n += parts(len(files), 63)
        for file in files.values():
            folios = parts(file.size, PAGE << file.order)
            array = parts(16 * folios, PAGE)
            # One that is full has another behind it.
            chunks = array // 511 + 1 if array else 0
            n += 1 + (folios << file.order) + array + chunks
    return n


# ---- machines ----

def boot(*args, **kwargs):
    return guest.boot([KHO, SESSIONS], *args, **kwargs)


def make(g, sessions, large_folios='never'):
    g.put('/tmp/list', listing(sessions))
    g.run(f'echo {large_folios} '
          '>/sys/kernel/mm/transparent_hugepage/shmem_enabled; rm -f /tmp/made;'
          ' sessions make </tmp/list >/tmp/made 2>&1 & '
          'until [ -s /tmp/made ]; do usleep 10000; done; '
          'grep -qx made /tmp/made || { cat /tmp/made; false; }')


def take(g, sessions):
    """(exit code, output)"""
    g.put('/tmp/list', listing(sessions))
    return g.try_run('sessions take </tmp/list')


def dump(g, core):
    """What the next kernel would have got; where its root FDT is."""
    g.send('kho kexec --capture')
    where = g.expect(rb'kho capture: fdt 0x(\S+) size')[1]
    g.monitor(f'dump-guest-memory {core}')
    return int(where, 16)


def folder(size):
    """A temporary one, with room for that many bytes."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < size:
        raise tap.Skip(f'{tempfile.gettempdir()} has no {size // MIB} MiB left')
    return tempfile.TemporaryDirectory()


def kho(*args):
    """What it prints. It needs little memory, whatever it looks at."""
    limit = resource.RLIMIT_DATA, (64 * MIB, 64 * MIB)
    ran = subprocess.run([KHO, *args], capture_output=True,
                         preexec_fn=lambda: resource.setrlimit(*limit))
    assert ran.returncode == 0, (ran.stderr, ran.stdout)
    return json.loads(ran.stdout)


def judge(core, sessions, *args):
    """What kho inspect and kho verify say is exactly what was made."""
    state = kho('inspect', '--json', *args, core)
    assert state['kernel']['luo']['written']
    wrong = [pair for pair in itertools.zip_longest(found(state),
                                                    expected(sessions))
             if pair[0] != pair[1]]
    assert not wrong, wrong[0]
    verdict = kho('verify', '--json', core)
    assert verdict['verdict'] == 'sound' and not verdict['problems'], verdict
    assert verdict['accounted'] == verdict['preserved'] == pages(sessions), \
        (verdict['accounted'], verdict['preserved'], pages(sessions))
    return state


def capture():
    """a capture shows exactly the sessions and files that were made"""
    with folder(600 * MIB) as temp:
        with boot() as g:
            make(g, MANY)
            where = dump(g, f'{temp}/core')
        state = judge(f'{temp}/core', MANY, '--svg', f'{temp}/svg')
        assert state['root']['phys'] == where, state['root']
        picture(f'{temp}/svg')


def picture(path):
    assert os.path.getsize(path) < MIB
    svg = xml.dom.minidom.parse(path)
    assert svg.documentElement.tagName == 'svg'


def huge():
    """a file of more than 511 MiB, large folios; trimmed, it says the same"""
    with folder(1700 * MIB) as temp:
        with boot(memory='1G') as g:
            make(g, HUGE)
            make(g, LARGE, 'always')
            dump(g, f'{temp}/core')
        made = {**HUGE, **LARGE}
        state = judge(f'{temp}/core', made, '--svg', f'{temp}/svg', '--trim',
                      f'{temp}/trimmed')
        picture(f'{temp}/svg')
        os.unlink(f'{temp}/core')
        trimmed = judge(f'{temp}/trimmed', made)
        for key in 'root', 'preserved':
            assert trimmed[key] == state[key], key
        for key in 'luo', 'scratch', 'metadata', 'regions':
            assert trimmed['kernel'][key] == state['kernel'][key], key


# ---- handovers ----

def look(g, sessions, kexecs, state='running'):
    """What a kernel shows before the kexec: pages, but no sessions yet."""
    seen = json.loads(g.run(f'kho inspect --json {state}'))
    kernel = seen['kernel']
    assert kernel['metadata'] == {'release': g.run('uname -r').strip(),
                                  'kexecs': kexecs}, kernel
    assert kernel['luo']['live_updates'] == kexecs, kernel
    assert not kernel['luo']['written'] and not found(seen), kernel
    assert seen['preserved']['pages'] == pages(sessions), seen
    return kernel


def handovers(*images):
    """From each of these kernels to the next, with sessions that are new."""
    with boot(images[0], {*images}) as g:
        for kexecs, image in enumerate(images[1:], 1):
            taken = {name: {token ^ kexecs: file for token, file in
                            files.items()} for name, files in MANY.items()}
            left = {b'left-%d' % kexecs: {1: File(PAGE)}}
            make(g, {**taken, **left})
            make(g, LARGE, 'always')
            made = {**taken, **left, **LARGE}
            old = look(g, made, kexecs)
            assert old['scratch'], old
            code, out = g.try_run('kho verify --json running')
            verdict = json.loads(out.splitlines()[0])
            assert (code, verdict['verdict']) == (2, 'cannot tell'), out
            # The root FDT, the blobs of subtrees, FLBs.
            assert (verdict['preserved'], verdict['accounted']) == \
                (pages(made), 4), out
            if kexecs == 1:
                look(g, made, kexecs, '/proc/kcore')

            g.kexec(image)
            new = look(g, {}, kexecs + 1)
            assert new['incoming']['metadata'] == old['metadata'], new
            assert new['scratch'] == old['scratch'], (new, old)
            assert take(g, {**taken, **LARGE}) == (0, 'taken\n')
            if kexecs > 1:
                code, out = take(g, gone)
                assert code == 1 and 'No such file' in out, out
            gone = left
        # Nobody wanted it, but nobody has thrown it away yet.
        assert take(g, left) == (0, 'taken\n')


def same():
    """into the same kernel, twice: every session and file is there"""
    handovers(CURRENT, CURRENT, CURRENT)


def update():
    """from an older kernel, and back: every session and file is there"""
    handovers(OLDER, CURRENT, OLDER)


def refused():
    """a kernel that cannot read the state is refused; forced, it has lost it"""
    with boot(kernels=(CURRENT, NEXT)) as g:
        make(g, FEW)
        code, out = g.try_run('kho kexec --initrd /tmp/none /boot/' + CURRENT)
        assert (code, '/tmp/none' in out) == (2, True), out
        code, out = g.try_run(f'kho kexec --reuse-cmdline /boot/{NEXT}')
        assert code == 1, out
        failing = out.split('COMPONENT')[0]
        assert 'kho' in failing and 'memfd' in failing, out
        code, out = g.try_run(
            f'kho check --json --reuse-cmdline running /boot/{NEXT}')
        report = json.loads(out.strip().splitlines()[-1])
        assert {c['name'] for c in report['components']
                if c['verdict'] in ('incompatible', 'unknown')} == \
            {'kho', 'memfd'}, out
        # It lives on, and so do its sessions.
        assert g.run('cat /proc/sys/kernel/random/boot_id').strip() == g.boot
        g.kexec(NEXT, '--force')
        code, out = take(g, FEW)
        assert code == 1, out


tap.main([capture, huge, same, update, refused], NAMES, guest.missing())
