#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""systemd's own judgement of our units: test-units.py KHO PRESET UNIT..."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, PRESET, *UNITS = map(os.path.abspath, sys.argv[1:])
FOLDER = 'usr/lib/systemd/system'
ALIAS = 'etc/systemd/system/kexec.target'


def run(*command, code=0):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == code, done
    return done.stdout


def install(root):
    """As in a system, but that kho is where it was built."""
    os.makedirs(f'{root}/{FOLDER}')
    os.makedirs(f'{root}/{FOLDER}-preset')
    shutil.copy(PRESET, f'{root}/{FOLDER}-preset')
    for path in UNITS:
        with open(path, encoding='utf-8') as f:
            content = re.sub(r'(?m)^(ExecStart=@?)\S+/kho ', rf'\1{KHO} ',
                             f.read())
        name = os.path.basename(path)
        with open(f'{root}/{FOLDER}/{name}', 'w', encoding='utf-8') as f:
            f.write(content)


def verify():
    """systemd-analyze verify finds nothing to complain about"""
    with tempfile.TemporaryDirectory() as root:
        install(root)
        units = [f'{root}/{FOLDER}/{os.path.basename(u)}' for u in UNITS]
        out = run('systemd-analyze', 'verify', '--man=no', *units)
        assert 'kho' not in out, out


def enable():
    """installed, kexec.target is as it was; enabled, it is checked"""
    with tempfile.TemporaryDirectory() as root:
        install(root)
        alias = f'{root}/{ALIAS}'
        systemctl = 'systemctl', '--root=' + root
        run(*systemctl, 'preset', 'kho-kexec.target')
        assert not os.path.lexists(alias)
        run(*systemctl, 'enable', 'kho-kexec.target')
        assert os.readlink(alias).endswith(FOLDER + '/kho-kexec.target')
        run(*systemctl, 'disable', 'kho-kexec.target')
        assert not os.path.lexists(alias)


tap.main([verify, enable], missing='' if shutil.which('systemd-analyze') else
         'no systemd')
