#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""What would go wrong in the next kernel is refused, and all serve on:
test-before-jump.py KHO MINIMAL KVSTORE [TEST]..."""
import os
import shutil
import stat
import sys

import guest
from guest import CMDLINE, CURRENT

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

PROGRAMS = [arg for arg in sys.argv[1:] if '/' in arg]
IMAGE = f'/boot/{CURRENT}'


def start(g):
    g.run('kho run --name store -- kvstore-v1 --port 6379 >/tmp/store.log 2>&1 & '
          'until redis-cli ping | grep -q PONG; do usleep 100000; done')
    g.run('kho run --name counter -- minimal >/tmp/counter.log 2>&1 & '
          'until tail -1 /tmp/counter.log | grep -q "^[0-9]*: "; do '
          'usleep 100000; done')


def boot(extra=None, cmdline=''):
    g = guest.boot([*PROGRAMS, shutil.which('redis-cli')], extra=extra,
                   cmdline=cmdline)
    start(g)
    g.run('redis-cli set precious data')
    g.pack()
    return g


def serves(g):
    """Nothing has happened: no kernel is loaded, no service stands still."""
    assert g.run('cat /proc/sys/kernel/random/boot_id').strip() == g.boot
    assert g.run('cat /sys/kernel/kexec_loaded').strip() == '0'
    assert g.run('redis-cli get precious | cat').strip() == 'data'
    g.run('was=$(tail -1 /tmp/counter.log); '
          'while [ "$(tail -1 /tmp/counter.log)" = "$was" ]; do '
          'usleep 100000; done')


def refused(g, options, *words, image=IMAGE):
    code, out = g.try_run(f'kho kexec {options} {image}')
    assert code == 1 and 'nothing has happened' in out, (options, code, out)
    for word in words:
        assert word in out, (options, word, out)


def wrong():
    """command lines, a LUO version, a held device: refused with the cause"""
    luo = guest.bumped(CURRENT, b'luo-v5\0', b'luo-v6\0')
    extra = {'boot/luo-v6': (stat.S_IFREG | 0o644, luo)}
    with boot(extra) as g:
        for options, *words in (
                ('--append "console=ttyS0"', 'liveupdate=on'),
                ('', 'liveupdate=on'),
                (f'--append "{CMDLINE} kho=off"', 'kho=off is on its command'),
                ('--reuse-cmdline --append kho=0', 'kho=0 is on its command'),
                ('--cmdline "kho=on liveupdate=off"', 'liveupdate=off is on'),
                ('--cmdline "kho=on -- liveupdate=on"', "behind '--'"),
                ('--cmdline "kho=on liveupdate=maybe"', 'understood (maybe)'),
                (f'--append "{CMDLINE} {2000 * "x"}"', 'shorten it')):
            refused(g, options, *words)
        code, out = g.try_run(f'kho check running {IMAGE}')
        assert code == 2 and '--reuse-cmdline' in out, out
        for more in '', '--force':
            refused(g, '--reuse-cmdline ' + more, 'it panics',
                    image='/boot/luo-v6')
        serves(g)
        g.run('sleep 100000 <>/dev/liveupdate & echo $! >/tmp/holder; '
              'until ls -l /proc/$(cat /tmp/holder)/fd | grep liveupdate; do '
              'usleep 100000; done')
        holder = g.run('cat /tmp/holder').strip()
        refused(g, '--reuse-cmdline', f'process {holder} (sleep) has it open')
        serves(g)
        g.run(f'kill {holder}; while [ -e /proc/{holder}/fd/0 ]; do '
              f'usleep 100000; done')
        # An initrd that cannot be one.
        g.run(': >/tmp/empty')
        code, out = g.try_run('kho kexec --initrd /tmp/empty --reuse-cmdline ' +
                              IMAGE)
        assert code == 2 and '/tmp/empty: is empty' in out, out
        serves(g)
        # Without all that it goes, also as the manual has it.
        options = f'--initrd /tmp/initrd --append "{CMDLINE}"'
        g.run(f'kho check {options} running {IMAGE}')
        g.send(f'kho kexec {options} {IMAGE}')
        g.boot = g.ready()
        g.run(f'ln -sf {CURRENT} /boot/vmlinuz-$(uname -r)')
        start(g)
        serves(g)
        # Where KHO is off, LUO's version does no harm but to the state.
        g.pack()
        g.send('kho kexec --force --initrd /tmp/initrd --reuse-cmdline '
               '--append kho=off /boot/luo-v6')
        boot_id = g.ready()
        assert boot_id != g.boot and b'forced' in g.before, g.before
        assert 'kho=off' in g.run('cat /proc/cmdline')


def small():
    """scratch that the next kernel does not fit into, or cannot start in"""
    with boot(cmdline='kho_scratch=4M,44M,0') as g:
        # 17 MiB for the kernel, 8 for page structs.
        g.run('head -c 30000000 /dev/zero >/tmp/large; '
              'head -c 27000000 /dev/zero >/tmp/medium')
        for name, words in ('large', 'one piece'), ('medium', 'would hang'):
            for more in '', ' --force':
                refused(g, f'--reuse-cmdline --initrd /tmp/{name}{more}', words,
                        'kho_scratch=', *['--force or not'] * bool(more))
        serves(g)
        g.run('echo 1 >/proc/sys/kernel/kexec_load_disabled')
        code, out = g.try_run(f'kho kexec --reuse-cmdline {IMAGE}')
        assert code == 2 and 'kexec_load_disabled' in out, out
        serves(g)


tap.main([wrong, small], [arg for arg in sys.argv[1:] if '/' not in arg],
         missing=guest.missing() or
         (not shutil.which('redis-cli') and 'no redis-cli'))
