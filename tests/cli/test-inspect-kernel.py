#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""What kernels hand over: test-inspect-kernel.py KHO TALLY-V1

kho inspect and kho verify of real handovers (tests/data), as they are and
damaged, and kho verify of arenas."""
import hashlib
import json
import lzma
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import xml.dom.minidom
import zlib

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, TALLY = (os.path.abspath(p) for p in sys.argv[1:3])
DATA = os.path.dirname(os.path.abspath(__file__)) + '/../data'
DIR = tempfile.mkdtemp(prefix='kho-kernel-')
ENV = {**os.environ, 'KHO_RUNTIME_DIR': f'{DIR}/run'}
PAGE = 4096


def kho(*args, code=None, env=None):
    """Runs the command; checks the exit code and the form of its errors."""
    done = subprocess.run([KHO, *args], capture_output=True, timeout=60,
                          env={**ENV, **(env or {})}, errors='replace',
                          text=True)
    if code is not None:
        assert done.returncode == code, \
            f'exit {done.returncode}, not {code}: {done}'
    assert done.returncode in (0, 1, 2), done
    if done.returncode == 2:
        assert re.fullmatch(r'(kho: [^\n]+: [^\n]+\n)+', done.stderr), done
    return done


def inspect(path, *args, code=0, env=None):
    return json.loads(kho('inspect', '--json', *args, path, code=code,
                          env=env).stdout)


def verify(path, *args, code=0):
    done = kho('verify', '--json', *args, path, code=code)
    return json.loads(done.stdout)


def file(name, data):
    path = f'{DIR}/{name}'
    with open(path, 'wb') as f:
        f.write(data)
    return path


class Core:
    """The bytes of an ELF core, by phys."""

    def __init__(self, data):
        self.data = bytearray(data)
        off, = struct.unpack_from('<Q', data, 32)
        num, = struct.unpack_from('<H', data, 56)
        self.segments = []
        for i in range(num):
            kind, _, at, _, phys, size = struct.unpack_from(
                '<IIQQQQ', data, off + 56 * i)
            if kind == 1:
                self.segments.append((phys, size, at))

    def at(self, phys):
        """offset in the file"""
        for start, size, at in self.segments:
            if start <= phys < start + size:
                return at + phys - start
        raise KeyError(hex(phys))

    def u64(self, phys):
        return struct.unpack_from('<Q', self.data, self.at(phys))[0]

    def put(self, phys, value):
        struct.pack_into('<Q', self.data, self.at(phys), value)

    def file(self, name):
        return file(name, self.data)

    def leaf(self, tracker, phys):
        """where the bit of a page is, in a tracker of 4 KiB pages"""
        key = 1 << 52 | phys >> 12
        node = tracker
        for level in range(5, 0, -1):
            node = self.u64(node + 8 * (key >> (15 + 9 * (level - 1)) & 511))
        return node + (key & 32767) // 8, 1 << (key & 7)


def load(name):
    with lzma.open(f'{DATA}/{name}-7.3.4.core.xz') as f:
        return f.read()


SMALL, FULL = load('sessions'), load('handover')
SMALL_FILE, FULL_FILE = file('small', SMALL), file('full', FULL)


def sha(data):
    return hashlib.sha256(data).hexdigest()


# What is there

def small():
    """the sessions, tokens, sizes, seals and contents of a real handover"""
    d = inspect(SMALL_FILE)
    assert (d['schema'], d['version'], d['kind']) == \
        ('kho-inspect', 1, 'elf-core')
    assert d['arena'] is None
    assert d['root']['phys'] == 0x22a0000 and d['root']['size'] == 285
    assert d['root']['compatible'] == 'kho-v4'
    assert [s['name'] for s in d['root']['subtrees']] == \
        ['LUO', 'kexec-metadata']
    assert d['preserved']['pages'] == d['preserved']['folios'] == 24
    assert d['preserved']['orders'] == [
        {'order': 0, 'folios': 24, 'pages': 24, 'bytes': 24 * PAGE}]
    kernel = d['kernel']
    assert kernel['machine'] == 'x86-64' and kernel['page_size'] == PAGE
    assert kernel['scratch'] is None and kernel['incoming'] is None
    luo = kernel['luo']
    assert luo['compatible'] == 'luo-v5' and luo['live_updates'] == 1
    assert luo['written'] is True and luo['flbs'] == []
    want = {
        'kexec_multi_state': {998: b'2'},
        'multi-test-empty-1': {},
        'multi-test-empty-2': {},
        'multi-test-files-1': {0x1001: b'Data for session files 1'},
        'multi-test-files-2': {0x2002: b'First file for session files 2',
                               0x3003: b'Second file for session files 2'},
    }
    assert [s['name'] for s in luo['sessions']] == list(want)
    for session in luo['sessions']:
        files = want[session['name']]
        assert [f['token'] for f in session['files']] == list(files)
        for f in session['files']:
            assert f['handler'] == 'memfd-v2'
            assert f['memfd'] == {
                'size': PAGE, 'position': 0, 'seals': ['seal'], 'folios': 1,
                'pages': 1,
                'sha256': sha(files[f['token']].ljust(PAGE, b'\0'))}, f


def contents(size, token):
    data = b''
    for n in range(0, (size + PAGE - 1) // PAGE):
        head = struct.pack('<QQ', token, n)
        if token == 0x11 and n % 7 == 3:
            head = b''
        data += head.ljust(PAGE, b'\0')
    return data[:size]


def full():
    """files of all sizes, metadata, scratch, reserved memory"""
    d = inspect(FULL_FILE)
    kernel = d['kernel']
    assert kernel['metadata'] == {'release': '7.3.4', 'kexecs': 1}
    assert kernel['scratch'] == [{'phys': 0x19400000, 'size': 80 << 20},
                                 {'phys': 0x14800000, 'size': 76 << 20}]
    assert [(r['name'], r['size']) for r in kernel['regions']] == \
        [('oops', 64 << 10), ('trace', 1 << 20)]
    assert kernel['problems'] == []
    sessions = {s['name']: s['files'] for s in kernel['luo']['sessions']}
    assert list(sessions) == ['empty', 'many-0', 'many-1', 'many-2', 'files',
                              'large']
    found = {f['token']: f['memfd'] for f in sessions['files']}
    want = {0x10: (0, 0, []),
            0x11: (100 * PAGE + 7, 4097, ['seal', 'shrink', 'grow']),
            0x12: (1, 1, []),
            0x13: (PAGE, 0, ['write']),
            # To seal against exec is to seal against being changed, too.
            2**64 - 1: (PAGE + 1, 0, ['shrink', 'grow', 'write',
                                      'future-write', 'exec'])}
    assert list(found) == list(want)
    for token, (size, position, seals) in want.items():
        assert found[token]['position'] == position
        assert found[token]['seals'] == seals
        assert found[token]['size'] == size
    assert [(f['token'], f['memfd']['size']) for f in sessions['large']] == \
        [(1000 + i, i) for i in range(80)]
    for f in sessions['files'] + sessions['large']:
        assert f['memfd']['sha256'] == \
            sha(contents(f['memfd']['size'], f['token'])), f
    orders = {o['order']: o['folios'] for o in d['preserved']['orders']}
    assert orders == {0: 444, 2: 2, 3: 1, 8: 1}
    fast = inspect(FULL_FILE, '--no-checksums')
    for session in fast['kernel']['luo']['sessions']:
        assert all(f['memfd']['sha256'] is None for f in session['files'])


def text():
    """for people: everything is in the text"""
    shown = kho('inspect', FULL_FILE, code=0).stdout
    for word in ('7.3.4, kexec 1', 'kho-v4', 'luo-v5', 'Sessions: 6, files: 85',
                 '0xffffffffffffffff', 'shrink,grow,write,future-write,exec',
                 sha(contents(100 * PAGE + 7, 0x11)), 'oops', 'trace',
                 '0x19400000', '448 folios', 'memblock', 'many-2'):
        assert word in shown, (word, shown)
    shown = kho('verify', FULL_FILE, code=0).stdout
    assert shown.startswith(f'sound: {FULL_FILE}: 716 of 716 preserved pages')
    assert '272    reserved memory' in shown, shown
    for line in kho('inspect', SMALL_FILE, code=0).stdout.split('\n'):
        assert line == line.rstrip(), repr(line)


def accounted():
    """verify: every page of a real handover is accounted for"""
    for path, pages, tracker in ((SMALL_FILE, 24, 6), (FULL_FILE, 716, 19)):
        d = verify(path)
        assert (d['schema'], d['version']) == ('kho-verify', 1)
        assert (d['verdict'], d['preserved'], d['accounted'], d['own']) == \
            ('sound', pages, pages, 0)
        uses = {(u['owner'], u['what']): u['pages'] for u in d['uses']}
        assert uses.pop(('/', 'tracker')) == tracker
        assert sum(uses.values()) == pages
    assert uses['files/0x11', 'contents'] == 101
    assert uses['oops', 'region'] == 16
    assert uses['large', 'file blocks'] == 2
    # The capture lost it; the next kernel goes on without.
    assert [p['severity'] for p in verify(SMALL_FILE)['problems']] == ['note']


# Where it is

def raw_image(data, base):
    """The same memory as a raw image that begins at base, as a sparse file."""
    core = Core(data)
    path = f'{DIR}/raw-{base:x}'
    with open(path, 'wb') as f:
        for phys, size, at in core.segments:
            f.seek(phys - base)
            f.write(core.data[at:at + size])
        f.truncate((512 << 20) - base)
    return path


def raw():
    """a raw image, from 0 on or with --base"""
    want = inspect(FULL_FILE)
    for base, args in ((0, ()), (0x1000000, ('--base', '0x1000000'))):
        path = raw_image(FULL, base)
        got = inspect(path, *args)
        assert got['kind'] == 'raw' and got['kernel']['machine'] is None
        assert got['kernel']['memory'] == (512 << 20) - base
        for key in 'root', 'preserved':
            assert got[key] == want[key], key
        for key in 'luo', 'scratch', 'metadata', 'regions':
            assert got['kernel'][key] == want['kernel'][key], key
        assert verify(path, *args)['accounted'] == 716
    # With a wrong base, nothing is where the root says.
    kho('inspect', path, code=2)
    kho('verify', '--base', '0', path, code=1)


def which_root():
    """--fdt, and a core with several roots"""
    args = '--fdt', '0x22a0000'
    assert inspect(SMALL_FILE, *args)['root']['phys'] == 0x22a0000
    for fdt, why in (('0x22a1000', 'no FDT at 0x22a1000'),
                     ('0x10000000', 'no memory at 0x10000000')):
        assert why in kho('inspect', '--fdt', fdt, SMALL_FILE, code=2).stderr
    for bad in '', 'x', '-1', '0x22a0000x', '0', '99999999999999999999999':
        err = kho('inspect', '--fdt', bad, SMALL_FILE, code=2).stderr
        assert 'is no address' in err, err
    # The page of somebody's contents becomes a copy, as good as the root: both
    # are preserved.
    core = Core(SMALL)
    at, root = core.at(0x1bd2000), core.at(0x22a0000)
    core.data[at:at + PAGE] = core.data[root:root + PAGE]
    path = core.file('two')
    err = kho('inspect', path, code=2).stderr
    assert 'several root FDTs, at 0x1bd2000, 0x22a0000' in err, err
    assert '--fdt' in err
    inspect(path, '--fdt', '0x22a0000')


def nothing():
    """files in which there is no handover"""
    cases = [
        ('zeros', bytes(1 << 20), 'all zeros'),
        ('text', b'hello' * 5000, 'nor is it an ELF core'),
        ('empty', b'', ''),
        ('short-elf', SMALL[:40], 'truncated'),
        ('no-root', None, 'no root FDT'),
    ]
    for name, data, why in cases:
        if data is None:
            core = Core(SMALL)
            core.data[core.at(0x22a0000)] = 0
            data = core.data
        path = file(name, data)
        for verb in 'inspect', 'verify':
            err = kho(verb, path, code=2).stderr
            assert why in err and 'rror 0' not in err, err
    for verb in 'inspect', 'verify':
        assert 'no core' in kho(verb, KHO, code=2).stderr
        kho(verb, '/dev/null', code=2)
        kho(verb, DIR, code=2)
        kho(verb, f'{DIR}/missing', code=2)
        kho(verb, code=2)
        kho(verb, 'a', 'b', code=2)
        kho(verb, '--frob', 'a', code=2)


def running():
    """the running kernel, by debugfs and kcore"""
    debug = f'{DIR}/debugfs'
    os.makedirs(f'{debug}/out/sub_fdts')
    env = {'KHO_DEBUGFS': debug, 'KHO_KCORE': FULL_FILE}

    def put(name, data):
        with open(f'{debug}/{name}', 'wb') as f:
            f.write(data)

    err = kho('inspect', 'running', code=2,
              env={'KHO_DEBUGFS': f'{DIR}/none'}).stderr
    assert 'hands nothing over' in err and 'kho=on' in err, err
    core, want = Core(FULL), inspect(FULL_FILE)
    root = want['root']
    at = core.at(root['phys'])
    put('out/scratch_phys', b'0x19400000\n0x1f000000\n0x14800000\n')
    put('out/scratch_len', b'0x5000000\n0x0\n0x4c00000\n')
    # Linux shows only as much of it as there was in the beginning.
    for size in root['size'], 240, 130:
        put('out/fdt', core.data[at:at + size])
        got = inspect('running', env=env)
        assert got['kind'] == 'running' and got['root'] == root
        for key in 'luo', 'scratch', 'metadata', 'regions':
            assert got['kernel'][key] == want['kernel'][key], key
        assert got['kernel']['incoming'] is None
    for bad in b'', b'\0' * 100, core.data[at:at + 60]:
        put('out/fdt', bad)
        kho('inspect', 'running', env=env, code=2)
    # A kernel that came by such a kexec does not show it at all.
    os.unlink(f'{debug}/out/fdt')
    assert inspect('running', env=env)['root'] == root
    os.makedirs(f'{debug}/in/sub_fdts')
    put('in/fdt', Core(SMALL).data[Core(SMALL).at(0x22a0000):][:285])
    kexecs = want['kernel']['metadata']['kexecs'] - 1

    def came(number):
        put('in/sub_fdts/kexec-metadata',
            struct.pack('<I65sI', 1, b'7.2.13', number))
    came(kexecs)
    got = inspect('running', env=env)['kernel']['incoming']
    assert got == {'compatible': 'kho-v4',
                   'subtrees': ['LUO', 'kexec-metadata'],
                   'metadata': {'release': '7.2.13', 'kexecs': kexecs}}, got
    shown = kho('inspect', 'running', env=env, code=0).stdout
    assert f'from 7.2.13, kexec {kexecs}' in shown and 'are gone' in shown, shown
    # Nor is what a kernel before that one had left in memory.
    came(kexecs + 1)
    assert 'only what came in' in kho('inspect', 'running', env=env,
                                      code=2).stderr
    came(kexecs)
    # What came in is not what goes out.
    put('in/fdt', core.data[at:at + root['size']])
    assert 'only what came in' in kho('inspect', 'running', env=env,
                                      code=2).stderr


# Damage

def damaged(core, why, name='damaged'):
    """verify says that it is damaged, and why"""
    d = verify(core.file(name), code=1)
    assert d['verdict'] == 'damaged'
    texts = [p['text'] for p in d['problems'] if p['severity'] == 'damage']
    assert any(why in text for text in texts), (why, texts)
    assert why in kho('verify', f'{DIR}/{name}', code=1).stdout
    return d


def accounts():
    """verify: pages too many, too few, and in use twice"""
    tracker = inspect(SMALL_FILE)['root']['tracker']

    core = Core(SMALL)
    at, bit = core.leaf(tracker, 0x1bd2000)
    core.data[core.at(at)] &= ~bit
    d = damaged(core, '0x1bd2000: not preserved: contents of '
                'multi-test-files-2/0x2002 (pages: 1)')
    assert d['accounted'] == d['preserved'] == 23

    core = Core(SMALL)
    at, bit = core.leaf(tracker, 0x29f5000)
    core.data[core.at(at)] |= bit
    d = damaged(core, '0x29f5000: preserved, but nothing leads there')
    assert (d['accounted'], d['preserved']) == (24, 25)
    # There is no such page in the trimmed core, either.
    assert any('not in the memory' in p['text'] for p in d['problems'])

    # Two files have the same page; then its own has nobody.
    core = Core(SMALL)
    arrays = [0x29f2000, 0x2a00000]
    core.put(arrays[1], core.u64(arrays[0]))
    d = damaged(core, '0x1bf2000: in use twice: contents of ')
    assert any('0x1bd2000: preserved, but nothing' in p['text']
               for p in d['problems'])

    # A page of the tracker is preserved itself.
    core = Core(SMALL)
    at, bit = core.leaf(tracker, tracker)
    core.data[core.at(at)] |= bit
    damaged(core, f'{tracker:#x}: preserved, although it is the tracker')

    # Preserved as a page, and in a folio of two pages.
    core = Core(SMALL)
    key = 1 << 51 | 0x1bee000 >> 13
    node = tracker
    for level in range(5, 0, -1):
        slot = node + 8 * (key >> (15 + 9 * (level - 1)) & 511)
        if not core.u64(slot):
            # Pages that the memory has, and nobody uses.
            core.put(slot, 0x3000000 + level * PAGE)
            core.segments.append((0x3000000 + level * PAGE, PAGE,
                                  len(core.data)))
            core.data += bytes(PAGE)
        node = core.u64(slot)
    core.data[core.at(node + (key & 32767) // 8)] |= 1 << (key & 7)
    d = verify(as_core(core), code=1)
    assert any('preserved twice' in p['text'] for p in d['problems']), d

    # Scratch is no place for anything.
    core = Core(FULL)
    root = inspect(FULL_FILE)['root']
    setup = [a + 16 for a in range(0, len(FULL) - 48, 8)
             if struct.unpack_from('<II', FULL, a + 8) == (10, 32)
             and struct.unpack_from('<Q', FULL, a + 16)[0] == root['phys']]
    scratch, = struct.unpack_from('<Q', FULL, setup[0] + 16)
    core.put(scratch, 0x2800000)
    damaged(core, 'in scratch')


def as_core(core):
    """A core anew, with the segments that it has by now."""
    n = len(core.segments)
    head = bytearray(core.data[:64])
    struct.pack_into('<Q', head, 32, 64)
    struct.pack_into('<H', head, 56, n)
    phdrs, body = b'', b''
    for phys, size, at in core.segments:
        phdrs += struct.pack('<IIQQQQQQ', 1, 0, 64 + 56 * n + len(body), 0,
                             phys, size, size, 0)
        body += core.data[at:at + size]
    return file('anew', head + phdrs + body)


def structures():
    """verify: each broken reference is named"""
    luo, sessions, files = 0x2892000, 0x29a1000, 0x29f1000
    memfd = 0x29f4000
    cases = [
        (luo, b'luo-v4', 'cannot tell', 'the state is luo-v4'),
        (luo + 16, 0x123, 'damaged', 'a block starts a page'),
        (luo + 16, 0x7fff0000000, 'damaged', 'outside the memory'),
        (luo + 24, 0x7fff0000000, 'damaged', 'FLBs at 0x7fff0000000'),
        (sessions, sessions, 'damaged', 'the chain of blocks does not end'),
        (sessions + 8, 52, 'damaged', '52 entries'),
        (sessions + 16, b'multi-test-empty-1\0', 'damaged',
         'session multi-test-empty-1 is there twice'),
        (sessions + 16 + 4 * 80 + 72, 3, 'damaged', 'has 3 files'),
        (sessions + 16 + 4 * 80 + 72, 1, 'damaged', 'more than the 1 files'),
        (files + 16 + 56, 0x3003, 'damaged', 'token 0x3003 is there twice'),
        (files + 16, b'vfio-v1\0', 'cannot tell', 'what a file of handler'),
        (memfd + 16, 0x40, 'damaged', 'seals 0x40'),
        (memfd + 8, 1 << 63, 'damaged', 'no file has such'),
        (memfd + 24, 9, 'damaged', '9 folios'),
        (memfd + 32, 0x2a00001, 'damaged', 'which no page is'),
        (0x2a01000 + 8, 0, 'damaged', '1 page, but the chunks have 0'),
    ]
    for phys, value, verdict, why in cases:
        core = Core(SMALL)
        if isinstance(value, bytes):
            core.data[core.at(phys):core.at(phys) + len(value)] = value
        else:
            core.put(phys, value)
        path = core.file('structure')
        d = verify(path, code=1 if verdict == 'damaged' else 2)
        assert d['verdict'] == verdict, (hex(phys), d)
        texts = [p['text'] for p in d['problems']]
        assert any(why in text for text in texts), (why, texts)
        # It shows the rest all the same.
        shown = kho('inspect', '--json', path)
        assert shown.returncode == (2 if verdict == 'damaged' else 0), shown
        assert len(json.loads(shown.stdout)['root']['subtrees']) == 2


def flips():
    """each byte of what describes a state: an error or a difference"""
    want, shown = verify(SMALL_FILE), inspect(SMALL_FILE)
    core = Core(SMALL)
    contents_of = {0x1bd2000, 0x1bee000, 0x1bef000, 0x1bf2000}
    places = []
    for phys, size, at in core.segments:
        for i in range(size):
            in_fdt = phys + i - shown['root']['phys']
            # An FDT can be of a later version. Behind its end there is what
            # was no longer used.
            if core.data[at + i] and phys + (i & ~4095) not in contents_of and \
                    in_fdt != 0x17 and not 285 <= in_fdt < PAGE:
                places.append((phys + i, at + i))
    assert len(places) > 300, len(places)
    random.seed(1)
    path = f'{DIR}/flip'
    for phys, at in random.sample(places, 250):
        data = bytearray(SMALL)
        data[at] ^= 0xff
        with open(path, 'wb') as f:
            f.write(data)
        done = kho('verify', '--json', path)
        if done.returncode:
            continue
        now, see = json.loads(done.stdout), inspect(path)
        for d in now, see:
            d['state'] = SMALL_FILE
        assert (now, see) != (want, shown), hex(phys)
    # And where there was nothing: no crash, whatever it means.
    for _ in range(150):
        data = bytearray(SMALL)
        for _ in range(20):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        with open(path, 'wb') as f:
            f.write(data)
        kho('verify', path)
        kho('inspect', '--json', path)


def headers():
    """each byte of the ELF headers, and a file that is cut anywhere"""
    end = Core(SMALL).segments[0][2]
    for at in range(0, end, 3):
        data = bytearray(SMALL)
        data[at] ^= 0xff
        kho('verify', file('header', data))
    for cut in list(range(0, end, 64)) + list(range(end, len(SMALL), PAGE)):
        path = file('cut', SMALL[:cut])
        done = kho('verify', path)
        assert done.returncode, cut
        kho('inspect', path)
    shown = kho('verify', path, code=2)
    assert 'truncated: 4096 bytes' in shown.stdout, shown


# Dumps that do not have all memory, or are something else

def pages(data):
    """(phys, bytes) of each page of a core."""
    for phys, size, at in Core(data).segments:
        for page in range(0, size, PAGE):
            yield phys + page, data[at + page:at + page + PAGE]


def filtered(data, drop):
    """The core, in which pages that drop() takes are memory without bytes."""
    segments = []
    for phys, content in pages(data):
        content = b'' if drop(phys, content) else content
        last = segments[-1] if segments else (0, b'', 0)
        if last[0] + last[2] == phys and (
                not content or len(last[1]) == last[2]):
            segments[-1] = (last[0], last[1] + content, last[2] + PAGE)
        else:
            segments.append((phys, content, PAGE))
    header = bytearray(data[:64])
    struct.pack_into('<Q', header, 32, 64)
    struct.pack_into('<H', header, 56, len(segments))
    out, body, at = b'', b'', 64 + 56 * len(segments)
    for phys, content, size in segments:
        out += struct.pack('<IIQQQQQQ', 1, 7, at + len(body), 0, phys,
                           len(content), size, 0)
        body += content
    return bytes(header) + out + body


def left_out():
    """memory that is not in the dump is neither damage nor zeros"""
    # See tests/data: they begin with the file's token and the page's number.
    contents = {phys for phys, page in pages(FULL) if page[16:] == bytes(PAGE - 16)
                and 16 <= struct.unpack_from('<Q', page)[0] < 2000}
    assert len(contents) > 100
    trimmed = f'{DIR}/trimmed-filtered'
    for name, drop, code in (
            ('contents', lambda phys, page: phys in contents, 0),
            ('zeros', lambda phys, page: not any(page), 2),
            ('tracker', lambda phys, page: phys == 0x288c000, 2),
            ('all but the root', lambda phys, page: page[:4] != b'\xd0\r\xfe\xed', 2)):
        path = file('filtered', filtered(FULL, drop))
        done = kho('verify', path, code=code)
        assert 'left out' in done.stdout and 'damage' not in done.stdout, done
        assert inspect(path)['kernel']['left_out']
        if code == 0:
            assert 'preserved bytes are not in the dump' in done.stdout
            kho('inspect', '--trim', trimmed, path)
            again = verify(trimmed)
            assert again['accounted'] == 716 and again['verdict'] == 'sound'


def lzo(page):
    """A page whose end is zeros, as LZO packs it: what it begins with, then one
    match. None: it does not end so, or begins with too much."""
    begin = page.rstrip(b'\0') + b'\0'
    rest = len(page) - len(begin) - 33
    if len(begin) > 238 or rest < 1:
        return None
    begin = begin.rjust(4, b'\0') if len(begin) < 4 else begin
    if page[:len(begin)] != begin:
        return None
    rest = len(page) - len(begin) - 33
    return bytes([17 + len(begin)]) + begin + b'\x20' + bytes((rest - 1) // 255) + \
        bytes([(rest - 1) % 255 + 1]) + b'\0\0' + b'\x11\0\0'


def zstd(page):
    return subprocess.run(['zstd', '-q'], input=page, capture_output=True,
                          check=True).stdout


def kdump(data, packers=(), left_out=(), machine=b'x86_64', status=0, split=0,
          version=6):
    """A compressed dump of what a core has. packers: (flag, function); pages
    left_out are memory that is not in it."""
    content = dict(pages(data))
    here = [phys // PAGE for phys in content if phys not in left_out]
    top = max(phys // PAGE for phys in content) + 1
    blocks = top // (8 * PAGE) + 1

    def bitmap(pfns):
        bits = bytearray(blocks * PAGE)
        for pfn in pfns:
            bits[pfn // 8] |= 1 << pfn % 8
        return bytes(bits)

    header = struct.pack('<8sI', b'KDUMP   ', version) + bytes(260) + \
        machine.ljust(65, b'\0')
    header = header.ljust(424, b'\0') + struct.pack(
        '<IIIII', status, PAGE, 1, 2 * blocks, top)
    second = struct.pack('<QII', 0, 1, split).ljust(96, b'\0') + struct.pack('<Q', top)
    out = header.ljust(PAGE, b'\0') + second.ljust(PAGE, b'\0') + \
        bitmap(phys // PAGE for phys in content) + bitmap(here)
    at = len(out) + 24 * len(here)
    descriptors, body = b'', b''
    for i, pfn in enumerate(here):
        page, flag = bytes(content[pfn * PAGE]), 0
        if packers:
            flag, pack = packers[i % len(packers)]
            packed = pack(page)
            if packed is None or len(packed) >= PAGE:
                flag = 0
            else:
                page = packed
        descriptors += struct.pack('<QIIQ', at + len(body), len(page), flag, 0)
        body += page
    return out + descriptors + body


def flattened(data, step=5000):
    """The same, as it goes through a pipe, its first block again at the end."""
    ranges = [(at, data[at:at + step]) for at in range(0, len(data), step)]
    ranges = [*reversed(ranges[1:]), (0, bytes(len(ranges[0][1]))), ranges[0]]
    return struct.pack('>16sqq', b'makedumpfile', 1, 1).ljust(4096, b'\0') + b''.join(
        struct.pack('>qq', at, len(piece)) + piece for at, piece in ranges) + \
        struct.pack('>qq', -1, -1)


def says_the_same(path, core=None):
    want, got = inspect(core or FULL_FILE), inspect(path)
    for key in 'root', 'preserved':
        assert got[key] == want[key], key
    for key in 'luo', 'scratch', 'metadata', 'regions':
        assert got['kernel'][key] == want['kernel'][key], key
    assert got['kind'] == 'kdump', got['kind']
    assert verify(path)['verdict'] == verify(core or FULL_FILE)['verdict']


def kdumps():
    """compressed dumps: packed in each way, flattened, and without some pages"""
    assert sum(lzo(page) is not None for _, page in pages(SMALL)) > 5
    packers = [(1, zlib.compress), (2, lzo)]
    if shutil.which('zstd'):
        packers.append((0x20, zstd))
    says_the_same(file('kdump', kdump(FULL)))
    says_the_same(file('kdump', kdump(FULL, packers[:2])))
    says_the_same(file('kdump', kdump(FULL, packers[:1], version=5)))
    says_the_same(file('kdump', flattened(kdump(FULL, packers[:2]))))
    for packer in packers:
        says_the_same(file('kdump', kdump(SMALL, [packer])), SMALL_FILE)
    for machine, name in ((b'', None), (b'Unknown', None), (b'aarch64', 'arm64')):
        path = file('kdump', kdump(SMALL, machine=machine))
        assert inspect(path)['kernel']['machine'] == name
    path = file('kdump', kdump(FULL, left_out=[0x288c000]))
    done = kho('verify', path, code=2)
    assert '4096 bytes of memory were left out' in done.stdout, done
    for data, word in (
            (kdump(SMALL, status=4), 'snappy'), (kdump(SMALL, split=1), '--reassemble'),
            (flattened(kdump(SMALL))[:-12], 'has no end'),
            (flattened(kdump(SMALL))[:-20], 'a piece that cannot be'),
            (flattened(kdump(SMALL))[:-16] + struct.pack('>qq', 3, 1) + b'x' +
             struct.pack('>qq', -1, -1), 'makedumpfile -R'),
            (flattened(SMALL), 'of another kind'),
            (kdump(SMALL)[:6000], 'bitmaps'), (kdump(SMALL)[:300], 'header')):
        error = kho('verify', file('kdump', data), code=2).stderr
        assert word in error and 'arena' not in error, error
    # Cut or damaged anywhere, the handover is not called damaged.
    whole = kdump(SMALL, packers)
    for cut in range(0, len(whole), 997):
        assert kho('verify', file('kdump', whole[:cut])).returncode == 2, cut
    body = len(whole) - 3000
    for at in [*range(400, 470), *range(PAGE, PAGE + 104, 3),
               *range(body, len(whole), 41)]:
        data = bytearray(whole)
        data[at] ^= 0xff
        kho('verify', file('kdump', bytes(data)))
        kho('verify', file('kdump', flattened(bytes(data))))


def qemu_dumps():
    """what QEMU's dump-guest-memory writes of a guest with this memory"""
    if not shutil.which('qemu-system-x86_64'):
        raise tap.Skip('no qemu-system-x86_64 here')
    ram = f'{DIR}/ram'
    with open(ram, 'wb') as f:
        f.truncate(512 << 20)
        for phys, page in pages(FULL):
            f.seek(phys)
            f.write(page)
    formats = {'elf': 'elf-core', 'kdump-zlib': 'kdump'}
    with subprocess.Popen(
            ['qemu-system-x86_64', '-nodefaults', '-nographic', '-accel', 'tcg',
             '-m', '512M', '-object',
             f'memory-backend-file,id=m,size=512M,mem-path={ram},share=off',
             '-machine', 'memory-backend=m', '-S', '-qmp', 'stdio'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
        def do(what, **arguments):
            json.dump({'execute': what, 'arguments': arguments}, qemu.stdin)
            qemu.stdin.flush()
            while True:
                reply = json.loads(qemu.stdout.readline())
                if 'event' not in reply and 'QMP' not in reply:
                    assert 'return' in reply, reply
                    return
        do('qmp_capabilities')
        for name in formats:
            do('dump-guest-memory', paging=False, format=name,
               protocol=f'file:{DIR}/{name}')
        do('quit')
    for name, kind in formats.items():
        got = inspect(f'{DIR}/{name}')
        assert got['kind'] == kind, got
        # Newer ones write "Unknown" into a compressed dump.
        assert got['kernel']['machine'] == 'x86-64' or (
            kind == 'kdump' and got['kernel']['machine'] is None), got
        assert got['preserved'] == inspect(FULL_FILE)['preserved']
        assert verify(f'{DIR}/{name}')['accounted'] == 716
        os.unlink(f'{DIR}/{name}')
    os.unlink(ram)


def other_dumps():
    """what is no dump that can be read is called what it is"""
    for begin, word in (
            (b'EMiL\1\0\0\0', 'LiME'), (b'LibvirtQemudSave', 'libvirt'),
            (b'LibvirtQemudPart', 'libvirt'), (b'QEVM\0\0\0\3', 'migration'),
            (b'QFI\xfb\0\0\0\3', 'qcow2'), (b'\xd2\xbe\xd2\xbe', 'VMware'),
            (b'PAGEDU64', 'Windows'), (b'\x1f\x8b\x08', 'gzip -dk'),
            (b'\xfd7zXZ\0', 'xz -dk'), (b'(\xb5/\xfd', 'zstd -d'),
            (b'BZh91AY&SY', 'bzip2 -dk'), (b'\x04"M\x18', 'lz4 -d'),
            (b'PK\3\4', 'zip'), (b'\x89LZO\0', 'lzop -d')):
        path = file('other', begin.ljust(8192, b'\0'))
        for verb in 'inspect', 'verify':
            error = kho(verb, path, code=2).stderr
            assert word in error and 'arena' not in error, error
    packed = f'{DATA}/sessions-7.3.4.core.xz'
    assert 'packed with xz' in kho('verify', packed, code=2).stderr


# Pictures, trimming, arenas

def picture(path, *args):
    svg = f'{DIR}/picture.svg'
    kho('inspect', '--svg', svg, *args, path, code=0)
    with open(svg, encoding='utf-8') as f:
        drawn = f.read()
    document = xml.dom.minidom.parseString(drawn.encode())
    names = {node.tagName for node in document.getElementsByTagName('*')}
    assert names <= {'svg', 'style', 'defs', 'pattern', 'rect', 'text', 'path',
                     'title'}, names
    for rect in document.getElementsByTagName('rect'):
        for side in 'width', 'height':
            size = rect.getAttribute(side)
            assert size == '100%' or float(size) > 0, rect.toxml()
    assert 'http' not in drawn.replace('http://www.w3.org/2000/svg', '')
    return drawn


def svg():
    """--svg: sessions, scratch, what is wrong; whatever the names are"""
    drawn = picture(FULL_FILE)
    for word in ('session files', 'session large', 'scratch', 'reserved memory',
                 'contents of large/0x', 'root FDT of /, pages: 1',
                 'Fragmentation', 'scratch: 0x19400000'):
        assert word in drawn, word
    assert 'nothing leads there' not in drawn
    core = Core(SMALL)
    at = core.at(0x29a1000) + 16
    name = b'<&"\'>\x01\xff\xef\xbf\xbe]]>x\0'
    core.data[at:at + len(name)] = name
    drawn = picture(core.file('odd'))
    assert 'session &lt;&amp;' in drawn
    # An error that is said, and a picture all the same.
    core = Core(SMALL)
    at, bit = core.leaf(inspect(SMALL_FILE)['root']['tracker'], 0x1bd2000)
    core.data[core.at(at)] &= ~bit
    svg_file = f'{DIR}/damage.svg'
    kho('inspect', '--svg', svg_file, core.file('lost'), code=2)
    with open(svg_file, encoding='utf-8') as f:
        assert 'damage: in use, not preserved' in f.read()
    err = kho('inspect', '--svg', f'{DIR}/no/such', SMALL_FILE, code=2).stderr
    assert 'No such file' in err


def trim():
    """--trim: a small core that says the same"""
    path, big = f'{DIR}/trimmed', raw_image(FULL, 0)
    kho('inspect', '--trim', path, big, code=0)
    assert os.path.getsize(path) < 4 << 20
    want, got = inspect(big), inspect(path)
    for key in 'root', 'preserved':
        assert got[key] == want[key], key
    for key in 'luo', 'scratch', 'metadata', 'regions':
        assert got['kernel'][key] == want['kernel'][key], key
    assert got['kind'] == 'elf-core'
    assert verify(path)['accounted'] == 716
    err = kho('inspect', '--trim', path, big, code=2).stderr
    assert 'File exists' in err, err


def arenas():
    """verify: an arena that is in use, and damaged ones"""
    run = subprocess.Popen([KHO, 'run', '--name', 'tally', '--', TALLY,
                            f'{DIR}/tally.sock'], env=ENV)
    try:
        status = f'{DIR}/run/tally/status.json'
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if os.path.exists(status):
                with open(status, encoding='utf-8') as f:
                    if json.load(f)['state'] == 'serving':
                        break
            time.sleep(0.05)
        d = verify('tally')
        assert (d['kind'], d['verdict'], d['problems']) == \
            ('arena', 'sound', [])
        assert d['accounted'] == 2 and d['accounted'] + d['own'] == \
            d['preserved']
        uses = {(u['owner'], u['what']): u['pages'] for u in d['uses']}
        assert uses['/', 'superblock'] == uses['/', 'root FDT'] == \
            uses['tally', 'blob'] == 1
        assert 'sound: tally: 2 of' in kho('verify', 'tally', code=0).stdout
        assert 'subtree tally' in picture('tally')
        err = kho('inspect', '--trim', f'{DIR}/x', 'tally', code=2).stderr
        assert 'not for an arena' in err
        info = inspect('tally')
        with open(status, encoding='utf-8') as f:
            fd = json.load(f)['arena']
        shutil.copy(f'/proc/{run.pid}/fd/{fd}', f'{DIR}/copy')
    finally:
        run.terminate()
        run.wait(20)
    with open(f'{DIR}/copy', 'rb') as f:
        data = f.read()
    verify(f'{DIR}/copy')
    tree = info['root']['subtrees'][0]
    key = 1 << 52 | tree['phys'] >> 12
    node = info['root']['tracker']
    for level in range(5, 0, -1):
        node, = struct.unpack_from(
            '<Q', data, node + 8 * (key >> (15 + 9 * (level - 1)) & 511))
    bad = bytearray(data)
    bad[node + (key & 32767) // 8] &= ~(1 << (key & 7))
    d = verify(file('unpreserved', bad), code=1)
    assert 'not preserved: blob of tally' in d['problems'][0]['text'], d
    # What only a program knows of is its own.
    more = bytearray(data)
    more[node + 400 // 8] |= 1 << (400 & 7)
    d = verify(file('more', more))
    assert (d['verdict'], d['own']) == ('sound', 1), d
    more[node + 600 // 8] |= 1 << (600 & 7)
    assert 'the arena ends at' in kho('verify', file('more', more),
                                      code=1).stdout
    bad = bytearray(data)
    bad[info['root']['phys']] ^= 0xff
    kho('verify', file('no-fdt', bad), code=1)
    bad = bytearray(data)
    bad[56:136] = bytes(80)
    kho('verify', file('no-slots', bad), code=1)
    bad = bytearray(data)
    struct.pack_into('<Q', bad, info['root']['tracker'], 0x123)
    assert 'not page aligned' in kho('verify', file('tracker', bad),
                                     code=1).stderr


TESTS = [small, full, text, accounted, raw, which_root, nothing, running,
         accounts, structures, flips, headers, left_out,
         kdumps, qemu_dumps, other_dumps, svg, trim, arenas]


try:
    tap.main(TESTS)
finally:
    shutil.rmtree(DIR, ignore_errors=True)
