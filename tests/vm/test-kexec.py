#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""From one real kernel to the next: test-kexec.py KHO SESSIONS"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

import guest
from guest import Guest

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, SESSIONS = sys.argv[1:]
SAME, NEXT = 'bzImage-7.3.4-kho', 'bzImage-7.3.4-kho-next'
OLDER = 'bzImage-7.2.13-kho'
SEALS = {1: 'seal', 2: 'shrink', 4: 'grow', 8: 'write'}

# Sessions and their files: token: (size, seals, position)
MADE = {
    'empty': {},
    'small': {1: (0, 0, 0), 2: (1, 1, 1), 0xffffffffffffffff: (4096, 15, 17),
              3: (4097, 0, 4096)},
    'large': {7: (20 << 20, 2, 12345)},
}


def contents(token, size):
    return bytes((at * 31 + (at >> 12) * 7 + token) & 255
                 for at in range(size))


def checksum(token, size):
    return hashlib.sha256(contents(token, size)).hexdigest()


def arguments(files):
    return ' '.join(f'{t}:{s}:{seals}:{p}'
                    for t, (s, seals, p) in files.items())


def boot(image=SAME, kernels=(SAME,), memory='1G'):
    paths = [guest.kernel(name) for name in kernels]
    if not all(paths) or not guest.kernel(image):
        raise tap.Skip(f'no {" or ".join(kernels)}')
    archive = guest.initramfs([KHO, SESSIONS], paths)
    machine = Guest(guest.kernel(image), archive, memory)
    # Where the running kernel's image is looked for.
    machine.run(f'ln -s {image} /boot/vmlinuz-$(uname -r)')
    return machine


def make(g, sessions=MADE):
    for name, files in sessions.items():
        g.run(f'sessions make {name} {arguments(files)} >/tmp/{name} 2>&1 & '
              f'until [ -s /tmp/{name} ]; do usleep 10000; done; '
              f'grep -qx made /tmp/{name} || {{ cat /tmp/{name}; false; }}')


def capture():
    """a capture shows exactly the sessions and files that were made"""
    with boot() as g, tempfile.TemporaryDirectory() as folder:
        make(g)
        g.send('kho kexec --capture')
        where = g.expect(rb'kho capture: fdt 0x(\S+) size')[1].decode()
        g.monitor(f'dump-guest-memory {folder}/core')
        ran = subprocess.run([KHO, 'inspect', '--json', f'{folder}/core'],
                             text=True, capture_output=True)
        assert ran.returncode == 0, ran.stderr
        state = json.loads(ran.stdout)
        assert state['root']['phys'] == int(where, 16), state['root']
        found = {s['name']: {f['token']: f for f in s['files']}
                 for s in state['kernel']['luo']['sessions']}
        assert sorted(found) == sorted(MADE), found
        for name, files in MADE.items():
            assert sorted(found[name]) == sorted(files), found[name]
            for token, (size, seals, position) in files.items():
                memfd = found[name][token]['memfd']
                names = [n for bit, n in SEALS.items() if seals & bit]
                assert memfd['size'] == size, memfd
                assert memfd['position'] == position, memfd
                assert sorted(memfd['seals']) == sorted(names), memfd
                assert memfd['sha256'] == checksum(token, size), memfd
        ran = subprocess.run([KHO, 'verify', f'{folder}/core'], text=True,
                             capture_output=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def same():
    """into the same kernel: every session and file is there"""
    with boot() as g:
        make(g)
        code, out = g.try_run('kho kexec --initrd /tmp/none /boot/' + SAME)
        assert (code, '/tmp/none' in out) == (2, True), out
        kexec(g, SAME)
        for name, files in MADE.items():
            assert 'taken' in g.run(f'sessions take {name} {arguments(files)}')


def kexec(g, image, options=''):
    """The initrd is what this kernel was booted with; it has no copy."""
    g.run('cd / && (echo init; find bin boot lib lib64; '
          'for i in dev proc sys tmp run; do echo $i; done) | '
          'cpio -o -H newc >/tmp/initrd')
    g.send(f'kho kexec --initrd /tmp/initrd --reuse-cmdline {options} '
           f'/boot/{image}')
    if g.expect(rb'@(ready|done) (\S+)\r?\n')[1] == b'done':
        raise AssertionError('no kexec: ' + g.before.decode())
    new = g.log[:g.seen].split()[-1].decode()
    assert new != g.boot
    g.boot = new


def refused():
    """a kernel that cannot read the state is refused; forced, it has lost it"""
    with boot(kernels=(SAME, NEXT)) as g:
        make(g)
        code, out = g.try_run(f'kho kexec --reuse-cmdline /boot/{NEXT}')
        assert code == 1, out
        failing = out.split('COMPONENT')[0]
        assert 'kho' in failing and 'memfd' in failing, out
        code, out = g.try_run(
            f'kho check --json running /boot/{NEXT}')
        report = json.loads(out.strip().splitlines()[-1])
        assert {c['name'] for c in report['components']
                if c['verdict'] in ('incompatible', 'unknown')} == \
            {'kho', 'memfd'}, out
        # It lives on, and so do its sessions.
        assert g.run('cat /proc/sys/kernel/random/boot_id').strip() == g.boot
        kexec(g, NEXT, '--force')
        code, out = g.try_run(f'sessions take small {arguments(MADE["small"])}')
        assert code == 1, out


def update():
    """7.2.13 to 7.3.4: every session and file is there"""
    with boot(OLDER, (OLDER, SAME)) as g:
        make(g)
        kexec(g, SAME)
        assert g.run('uname -r').startswith('7.3.4')
        for name, files in MADE.items():
            assert 'taken' in g.run(f'sessions take {name} {arguments(files)}')


tap.main([capture, same, refused, update], missing=guest.missing())
