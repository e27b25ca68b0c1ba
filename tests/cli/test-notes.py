#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The manifest notes that docs/formats.md shows, written without the library:
test-notes.py KHO FORMATS.MD COMPILER..."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, CC = sys.argv[1], sys.argv[3:]
with open(sys.argv[2], encoding='utf-8') as formats:
    BLOCKS = dict(re.findall(r'^```(\w+)\n(.*?)^```', formats.read(), re.M | re.S))
DIR = tempfile.mkdtemp()


def write(name, text):
    with open(f'{DIR}/{name}', 'w', encoding='utf-8') as f:
        f.write(text)
    return f'{DIR}/{name}'


def run(*command):
    subprocess.run(command, check=True, cwd=DIR)


def understood(path):
    out = subprocess.run([KHO, 'manifest', '--json', path], text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    component, = json.loads(out)['components']
    assert component['name'] == 'counter', component
    for what in 'write', 'read':
        assert component[what] == {'min': 1, 'max': 1}, component
    assert not any(v is True for v in component.values()), component
    assert component['deps'] == [], component


def program(*more):
    run(*CC, write('main.c', 'int main(void) { return 0; }\n'), *more, '-o', 'prog')
    return f'{DIR}/prog'


def assembler():
    """in assembler"""
    path = program(write('note.s', BLOCKS['asm']), '-Wl,--gc-sections')
    understood(path)
    run('strip', path)
    understood(path)


def linker_script():
    """in a linker script"""
    path = program(f'-Wl,-T,{write("note.ld", BLOCKS["ld"])}', '-fuse-ld=bfd')
    understood(path)
    run('strip', path)
    understood(path)


def rust():
    """in Rust"""
    if not shutil.which('rustc'):
        raise tap.Skip('no rustc')
    run('rustc', '-O', '-o', 'rust', write('note.rs', BLOCKS['rust'] +
                                           'fn main() {}\n'))
    understood(f'{DIR}/rust')


def added():
    """added to a program that is linked"""
    run(*CC, '-c', write('note.s', BLOCKS['asm']), '-o', 'note.o')
    run('objcopy', '-O', 'binary', '-j', '.note.kho', 'note.o', 'note')
    path = program()
    run('objcopy', '--add-section', '.note.kho=note', '--set-section-flags',
        '.note.kho=alloc,readonly', path)
    understood(path)


try:
    tap.main([assembler, linker_script, rust, added])
finally:
    shutil.rmtree(DIR)
